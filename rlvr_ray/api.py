"""The HTTP interface: checks what comes in, asks the pipeline, says what happened.

Errors are ``application/problem+json`` (RFC 9457) and never repeat what was sent.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Protocol
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, Header, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlvr_ray import __version__, codec
from rlvr_ray.core import ids, rows
from rlvr_ray.core.documents import MAX_UPLOAD, TEXT_SUFFIXES
from rlvr_ray.core.questions import filled
from rlvr_ray.core.records import Batch, Candidate, Kind
from rlvr_ray.errors import (
    InputError,
    LedgerError,
    NoDocuments,
    NotFound,
    Overloaded,
    RlvrError,
    Unavailable,
)
from rlvr_ray.pipeline import Ask, Pipeline
from rlvr_ray.ports import BatchState, Document, Generator, Recorder, Retriever
from rlvr_ray.settings import (
    LOOPBACK,
    MAX_CANDIDATES,
    MAX_QUESTION_CHARS,
    MAX_TOP_K,
    Settings,
    Temperature,
)
from rlvr_ray.throttle import Limited

MAX_BODY = 64 * 2**10
MAX_REFERENCES = 20
#: Seconds after which a caller that was turned away may try again.
RETRY_AFTER = 5
#: Longest wait for one part when readiness is asked.
PROBE_TIMEOUT_S = 5.0
#: What FastAPI says, as a 400, of a body that breaks its JSON parser.
UNPARSED = "There was an error parsing the body"

STATUS: dict[type[RlvrError], int] = {
    InputError: 422,
    NotFound: 404,
    NoDocuments: 409,
    Overloaded: 503,
    Unavailable: 503,
    LedgerError: 503,
}


class Probed(Generator, Protocol):
    """A Generator that can say whether it is there."""

    async def check(self) -> str:
        """The model's name."""
        ...


class Counted(Recorder, Protocol):
    """A Recorder that can say what it holds."""

    async def stats(self) -> dict[str, Any]:
        """Counts, files, the last error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the interface stands on."""

    retriever: Retriever
    generator: Probed
    recorder: Counted
    engine: str  #: what runs the generator's model, and why

    async def close(self) -> None:
        """Let go of what this process holds: the client, where the generator is a server's."""
        if isinstance(self.generator, Limited):
            await self.generator.close()


def _listed(given: Any) -> list[Any]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise ValueError("must be a text or a list of texts")
    return given


Text = Annotated[str, AfterValidator(filled)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Reference = Annotated[Text, Field(max_length=MAX_QUESTION_CHARS)]
#: One text is taken for a list of one, not as another form: errors then name ``reference.0``.
References = Annotated[
    list[Reference],
    Field(max_length=MAX_REFERENCES),
    BeforeValidator(
        _listed,
        json_schema_input_type=Reference
        | Annotated[list[Reference], Field(max_length=MAX_REFERENCES)],
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QuestionBody(_Body):
    """One question."""

    question: Annotated[Text, Field(max_length=MAX_QUESTION_CHARS)]
    top_k: int | None = Field(default=None, ge=1, le=MAX_TOP_K)
    correlation_id: Annotated[Text, Field(max_length=200)] | None = None
    seed: Seed | None = None
    reference: References | None = None
    """The right answer, or several of which any is right."""


class MultiCandidateBody(QuestionBody):
    """A question and how many answers it gets."""

    num_candidates: int = Field(default=3, ge=2, le=MAX_CANDIDATES)
    temperatures: list[Temperature] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_each(self) -> "MultiCandidateBody":
        if self.temperatures and len(self.temperatures) > self.num_candidates:
            raise ValueError("more temperatures than candidates")
        return self


Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


def create_api(settings: Settings, parts: Parts) -> FastAPI:
    """The whole interface over the given parts."""
    pipeline = Pipeline(
        parts.retriever, parts.generator, parts.recorder, settings.generator.max_tokens
    )
    gate = _Gate(settings.api.max_asks)
    guard = _guard(settings)
    local_only = [Depends(_local_name)] if settings.api.key is None else []
    api = FastAPI(title="rlvr_ray", version=__version__, dependencies=local_only)
    api.add_middleware(_BodyLimit)
    _add_problems(api)

    async def ask(
        body: QuestionBody,
        key: str | None,
        kind: Kind,
        num_candidates: int,
        temperatures: Sequence[float] | None,
    ) -> Batch:
        async with gate:
            return await pipeline.ask(
                Ask(
                    batch_id=ids.batch_for_key(key) if key else uuid4(),
                    correlation_id=body.correlation_id or str(uuid4()),
                    question=body.question,
                    kind=kind,
                    num_candidates=num_candidates,
                    temperatures=tuple(temperatures or settings.generator.temperatures),
                    top_k=body.top_k or settings.retrieval.top_k,
                    repeated=key is not None,
                    seed=body.seed,
                    references=tuple(body.reference or ()),
                )
            )

    @api.post("/ask/multi-candidate", dependencies=[guard])
    async def ask_multi_candidate(body: MultiCandidateBody, key: Key = None) -> dict[str, Any]:
        """Several answers to one question. They are verified next, and may become a pair."""
        batch = await ask(body, key, Kind.PREFERENCE, body.num_candidates, body.temperatures)
        return {
            **_head(batch),
            "candidates": [_candidate(candidate) for candidate in batch.candidates],
            "num_candidates": len(batch.candidates),
        }

    @api.post("/ask", dependencies=[guard])
    async def ask_once(body: QuestionBody, key: Key = None) -> dict[str, Any]:
        """One answer. It is verified and kept as training data; it makes no pair."""
        batch = await ask(body, key, Kind.SINGLE, 1, None)
        return {**_head(batch), **_candidate(batch.candidates[0])}

    @api.get("/batches/{batch_id}", dependencies=[guard])
    async def get_batch(batch_id: UUID) -> dict[str, Any]:
        """A batch with its candidates, verifications and outcome, as far as they are known."""
        state = await parts.recorder.find(batch_id)
        if state is None:
            raise NotFound(f"there is no batch {batch_id}")
        return _state(state)

    @api.get("/stats", dependencies=[guard])
    async def get_stats() -> dict[str, Any]:
        """Counts by outcome, the latest outcomes, files."""
        passages = await parts.retriever.count()
        return {**await parts.recorder.stats(), "passages": passages}

    @api.post("/documents", dependencies=[guard])
    async def add_documents(files: list[UploadFile]) -> dict[str, Any]:
        """Ingest Markdown and text files; a file of a name that is known replaces that one."""
        documents = [await _document(file) for file in files]
        ingested = await parts.retriever.ingest(documents)
        await parts.recorder.ingested(ingested)
        return {"documents": codec.plain(ingested)}

    @api.get("/livez")
    async def livez() -> dict[str, str]:
        """Whether this process answers."""
        return {"status": "ok", "version": __version__}

    @api.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether every part answers: 200, or 503 with what each one said."""
        states = dict(
            await asyncio.gather(
                _probe("generator", parts.generator.check),
                _probe("retriever", parts.retriever.count),
                _probe("aggregator", lambda: parts.recorder.find(UUID(int=0))),
            )
        )
        ready = all(state["ok"] for state in states.values())
        states["generator"]["engine"] = parts.engine
        return JSONResponse(
            {"status": "ready" if ready else "not ready", "parts": states}, 200 if ready else 503
        )

    return api


def _head(batch: Batch) -> dict[str, Any]:
    return {
        "batch_id": str(batch.batch_id),
        "correlation_id": batch.correlation_id,
        "question": batch.question,
        "contexts": [rows.context(context) for context in batch.contexts],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    metadata = codec.plain(candidate)
    metadata["candidate_index"] = metadata.pop("index")
    return {"answer": metadata.pop("answer"), "metadata": metadata}


def _state(state: BatchState) -> dict[str, Any]:
    batch, outcome = state.batch, state.outcome
    candidates = []
    for candidate in batch.candidates:
        result = state.results.get(candidate.event_id)
        candidates.append(
            _candidate(candidate) | {"verification": rows.verification(result) if result else None}
        )
    return {
        **_head(batch),
        "kind": batch.kind,
        "references": list(batch.references),
        "state": "open" if outcome is None else "decided",
        "created_at": batch.created_at.isoformat(),
        "candidates": candidates,
        "outcome": None
        if outcome is None
        else {**codec.plain(outcome), "pair": outcome.reason is None}
        | {"score_diff": outcome.score_diff},
    }


async def _document(file: UploadFile) -> Document:
    name = file.filename or ""
    if PurePath(name).suffix.lower() not in TEXT_SUFFIXES:
        raise InputError(f"{name!r} is not a text: {', '.join(TEXT_SUFFIXES)} can be ingested")
    try:
        text = (await file.read()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None
    return Document(source=name, text=text)


async def _probe(name: str, call: Callable[[], Awaitable[Any]]) -> tuple[str, dict[str, Any]]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            answer = await call()
    except Exception as error:
        return name, {"ok": False, "detail": str(error) or "no answer in time"}
    return name, {"ok": True, "detail": answer}


def _local_name(request: Request) -> None:
    """A page on the internet must not reach a local server under a name of its own."""
    if request.url.hostname not in LOOPBACK:
        raise HTTPException(400, "without an API key only loopback names are served")


class _Gate:
    """Bounds the asks in flight: so many at work, as many again waiting, the rest turned away."""

    def __init__(self, at_work: int) -> None:
        self._limit = 2 * at_work
        self._inside = 0
        self._work = asyncio.Semaphore(at_work)

    async def __aenter__(self) -> None:
        if self._inside >= self._limit:
            raise Overloaded(f"{self._inside} questions are being answered; try again in a while")
        self._inside += 1
        try:
            await self._work.acquire()
        except BaseException:
            self._inside -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self._work.release()
        self._inside -= 1


def _guard(settings: Settings) -> Any:
    """The dependency that asks for the API key, where there is one."""
    key = settings.api.key
    bearer = HTTPBearer(auto_error=False)

    async def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        if key is None:
            return
        expected = key.get_secret_value().encode()
        if given is None or not secrets.compare_digest(given.credentials.encode(), expected):
            raise HTTPException(
                401,
                "give the API key: Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )

    return Depends(check)


def _add_problems(api: FastAPI) -> None:
    def problem(
        status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> JSONResponse:
        if status == 503:
            headers = {"Retry-After": str(RETRY_AFTER)}
        body = {"type": "about:blank", "status": status, "detail": detail, **more}
        return JSONResponse(body, status, headers, media_type="application/problem+json")

    @api.exception_handler(RlvrError)
    async def ours(_: Request, error: RlvrError) -> JSONResponse:
        kinds = [kind for kind in type(error).__mro__ if kind in STATUS]
        return problem(STATUS[kinds[0]] if kinds else 500, str(error), error=type(error).__name__)

    @api.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        if error.detail == UNPARSED:
            errors = [{"field": "body", "reason": "it cannot be read as JSON"}]
            return problem(422, "body: it cannot be read as JSON", errors=errors)
        return problem(error.status_code, error.detail, error.headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"field": ".".join(str(part) for part in e["loc"][1:]) or "body", "reason": e["msg"]}
            for e in error.errors()
        ]
        summary = "; ".join(f"{e['field']}: {e['reason']}" for e in errors)
        return problem(422, summary, errors=errors)

    @api.exception_handler(Exception)
    async def defect(_: Request, __: Exception) -> JSONResponse:
        return problem(500, "internal error; the server's log says more")


class _BodyLimit:
    """Refuses bodies over the limit, declared or not, before they are in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_UPLOAD if scope["path"].rstrip("/") == "/documents" else MAX_BODY
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, f"the body is larger than {limit:,} bytes")
            return message

        await self._app(scope, limited, send)
