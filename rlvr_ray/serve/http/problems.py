"""Errors as ``application/problem+json`` (RFC 9457), and the limit of a body's size.

Errors never repeat what was sent.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlvr_ray.client.models.system import Problem
from rlvr_ray.core.errors import (
    InputError,
    LedgerError,
    NoDocuments,
    NotFound,
    Overloaded,
    ReplyError,
    RlvrError,
    Unavailable,
    Unreadable,
)
from rlvr_ray.documents.parsers import MAX_UPLOAD

MEDIA_TYPE = "application/problem+json"
MAX_BODY = 64 * 2**10
#: Seconds after which a caller that was turned away may try again.
RETRY_AFTER = 5
#: What FastAPI says, as a 400, of a body that breaks its JSON parser.
UNPARSED = "There was an error parsing the body"

STATUS: dict[type[RlvrError], int] = {
    InputError: 422,
    NotFound: 404,
    NoDocuments: 409,
    Overloaded: 503,
    Unavailable: 503,
    ReplyError: 502,
    LedgerError: 503,
    Unreadable: 500,  # nothing that waiting mends
}


def body_of(status: int, detail: str, **more: Any) -> dict[str, Any]:
    """The JSON of a problem."""
    return {"type": "about:blank", "status": status, "detail": detail, **more}


def body_of_error(error: RlvrError) -> dict[str, Any]:
    """The JSON of one of our errors."""
    kinds = [kind for kind in type(error).__mro__ if kind in STATUS]
    status = STATUS[kinds[0]] if kinds else 500
    return body_of(status, str(error), error=type(error).__name__)


def add_problems(api: FastAPI) -> None:
    """Have every error answered, and described, in this form."""
    api.router.responses["default"] = {"model": Problem, "description": "An error."}
    described = api.openapi

    def openapi() -> dict[str, Any]:
        """FastAPI would have every reply of a route be of one media type."""
        fresh = api.openapi_schema is None
        schema = described()
        if fresh:
            for operations in schema["paths"].values():
                for operation in operations.values():
                    content = operation["responses"]["default"]["content"]
                    ((_, problem),) = content.items()
                    operation["responses"]["default"]["content"] = {MEDIA_TYPE: problem}
        return schema

    api.openapi = openapi  # type: ignore[method-assign]

    def problem(
        status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> JSONResponse:
        if status == 503:
            headers = {"Retry-After": str(RETRY_AFTER)}
        body = body_of(status, detail, **more)
        return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)

    @api.exception_handler(RlvrError)
    async def ours(_: Request, error: RlvrError) -> JSONResponse:
        body = body_of_error(error)
        return problem(body.pop("status"), body.pop("detail"), **body)

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


class BodyLimit:
    """Refuses bodies over the limit, declared or not, before they are in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_UPLOAD if scope["path"].rstrip("/") == "/documents" else MAX_BODY
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise HTTPException(413, f"the body is larger than {limit:,} bytes")
            return message

        await self._app(scope, limited, send)
