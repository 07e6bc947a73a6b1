"""Error replies and failed connections as rlvr_ray's exceptions."""

import json
from collections.abc import Callable
from typing import TypeVar

import httpx
from httpx_sse import SSEError

from rlvr_ray.client.models.system import Problem
from rlvr_ray.core.errors import InputError, NotFound, RlvrError, Unavailable

T = TypeVar("T")

#: How the content type of this application's own errors ends.
OURS = "problem+json"
#: Seconds before each further attempt where a connection dropped; then it is given up.
PAUSES = (0.1, 0.4, 1.0)
#: Not even a connection: what was to be sent has not been.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def of_status(status: int, detail: str) -> RlvrError:
    """The exception of an HTTP status, with the server's words."""
    kinds: dict[int, type[RlvrError]]
    kinds = {404: NotFound} | dict.fromkeys((429, 502, 503, 504), Unavailable)
    kind = kinds.get(status, InputError if 400 <= status < 500 else RlvrError)
    return kind(f"{detail} (HTTP {status})")


def of_reply(reply: httpx.Response) -> RlvrError:
    """The exception of a reply that is an error."""
    if reply.status_code == 404 and not reply.headers.get("content-type", "").endswith(OURS):
        # A proxy's word, while the application behind it starts, or another program's.
        return Unavailable(f"{reply.url.host} answers, and not as rlvr_ray does (HTTP 404)")
    try:
        detail = Problem.from_json(reply.json()).detail
    except (ValueError, RlvrError):
        detail = reply.text[:200]
    return of_status(reply.status_code, detail)


def result(reply: httpx.Response, read: Callable[[httpx.Response], T]) -> T:
    """What a reply says; raises NotFound, InputError, Unavailable, RlvrError."""
    if not reply.is_success:
        raise of_reply(reply)
    try:
        return read(reply)
    except (ValueError, KeyError, TypeError) as error:
        request = reply.request
        raise RlvrError(
            f"the reply to {request.method} {request.url.path} cannot be read "
            f"({type(error).__name__}); does another program answer there?"
        ) from None


def of_text(text: str) -> RlvrError:
    """The exception of a problem that did not come as a reply's status."""
    try:
        problem = Problem.from_json(json.loads(text))
    except (ValueError, RlvrError):
        return RlvrError(f"the ask failed: {text[:200]}")
    return of_status(problem.status, problem.detail)


def unreachable(url: str, error: Exception | None) -> RlvrError:
    """What a failed connection means for a user; None is a stream that ended early."""
    if error is None:
        return Unavailable(f"{url} ended the stream of events early, again and again")
    if isinstance(error, SSEError):
        return Unavailable(f"{url} answers, and not as rlvr_ray does: no stream of events")
    if isinstance(error, httpx.ReadTimeout):
        return Unavailable(f"{url} did not answer in time; rlvr status says what it does")
    return Unavailable(f"{url} does not answer ({type(error).__name__}); start it with: rlvr serve")


class Attempts:
    """Counts the attempts of one request.

    One that is ``repeatable`` is repeated where the connection dropped, and any where there was no
    connection although the server ``has_answered`` before. A server that never did is not there.
    """

    def __init__(self, url: str, *, repeatable: bool, has_answered: bool) -> None:
        self._url = url
        self._repeatable = repeatable
        self._has_answered = has_answered
        self._failures = 0

    def pause(self, error: httpx.HTTPError) -> float:
        """Seconds until the next attempt; raises Unavailable where there is none."""
        if isinstance(error, _NOT_SENT):
            again = self._has_answered or self._failures > 0
        else:
            again = self._repeatable and not isinstance(error, httpx.TimeoutException)
        if not again or self._failures >= len(PAUSES):
            raise unreachable(self._url, error) from None
        self._failures += 1
        return PAUSES[self._failures - 1]
