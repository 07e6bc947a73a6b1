"""Every exception that rlvr_ray raises on purpose.

    RlvrError
    ├── ConfigError         a setting or an installation is wrong: nothing works until it is mended
    ├── InputError          a caller's data is wrong: mend the request (HTTP 422)
    │   ├── ContextOverflow the prompt does not fit the model
    │   └── KeyReused       an Idempotency-Key belongs to another request
    ├── NotFound            no such batch, document, ... (HTTP 404)
    ├── NoDocuments         there is nothing to search yet: ingest first (HTTP 409)
    ├── Overloaded          too much in flight, or no room: try again later (HTTP 503)
    ├── Unavailable         a part is down: try again later (HTTP 503)
    │   └── TimedOut        it did not answer in time
    ├── ReplyError          a server's answer cannot be used: a run ends (HTTP 502)
    ├── JudgeError          a judge answered, and its answer cannot be used
    └── LedgerError         the ledger is damaged, locked or from a newer version
        └── Unreadable      one record of it cannot be read; everything else goes on (HTTP 500)

Foreign exceptions are translated in the adapter that meets them. All of these survive pickling,
since Ray carries them between processes: one message, no further constructor arguments.
"""


class RlvrError(Exception):
    """Base of the tree above; ``str(error)`` is one line that says what to do."""


class ConfigError(RlvrError):
    """A setting or an installation is wrong."""


class InputError(RlvrError):
    """A caller's data is wrong."""


class ContextOverflow(InputError):
    """The prompt does not fit the model's context."""


class KeyReused(InputError):
    """An Idempotency-Key came with another request before."""

    def __init__(
        self, detail: str = "this Idempotency-Key belongs to another request; use a new key"
    ) -> None:
        super().__init__(detail)


class NotFound(RlvrError):
    """The thing asked for does not exist."""


class NoDocuments(RlvrError):
    """There is nothing to search yet."""


class Overloaded(RlvrError):
    """Too much is in flight."""


class Unavailable(RlvrError):
    """A part that is needed is down or too slow."""


class TimedOut(Unavailable):
    """A part did not answer in time: what it was given may be the reason."""


class ReplyError(RlvrError):
    """A model's server answers with an error or in another form: asked again, it would again."""


class JudgeError(RlvrError):
    """A judge's answer cannot be used; the message becomes the reason of a failed verification."""


class LedgerError(RlvrError):
    """The ledger cannot be opened or trusted."""


class Unreadable(LedgerError):
    """One record of the ledger cannot be read: it is set aside, and everything else goes on."""
