"""Access: API keys, and the limit on asks at the same time.

Programs send the key as a bearer token. The page sends a cookie, because a browser's
``EventSource`` cannot set headers. The cookie has a hash made with the key, not the key.
"""

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, SecretStr
from starlette.exceptions import HTTPException

from rlvr_ray.core.errors import Overloaded
from rlvr_ray.settings import LOOPBACK, Settings

COOKIE = "rlvr_session"
SAFE = ("GET", "HEAD", "OPTIONS")


class KeyBody(BaseModel):
    """The API key, as a person enters it."""

    model_config = ConfigDict(extra="forbid")

    key: SecretStr


def guard(settings: Settings) -> Any:
    """The dependency that asks for the API key, where there is one."""
    key = settings.api.key
    bearer = HTTPBearer(auto_error=False)

    async def check(
        request: Request,
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> None:
        if key is None:
            return
        if given is not None and _equal(given.credentials, key.get_secret_value()):
            return
        if given is None and _equal(request.cookies.get(COOKIE, ""), _session(key)):
            return
        raise HTTPException(
            401,
            "give the API key: Authorization: Bearer KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )

    return Depends(check)


def routes(settings: Settings) -> APIRouter:
    """The page's way to give the key once."""
    router = APIRouter(tags=["access"])
    key = settings.api.key

    @router.post("/session", status_code=204)
    async def open_session(body: KeyBody, request: Request, response: Response) -> None:
        """Accept the API key, and set a cookie that replaces it until the browser is closed."""
        if key is None:
            return
        if not _equal(body.key.get_secret_value(), key.get_secret_value()):
            raise HTTPException(401, "this is not the API key")
        response.set_cookie(
            COOKIE,
            _session(key),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    @router.delete("/session", status_code=204)
    async def close_session(response: Response) -> None:
        """Forget it."""
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")

    return router


def _session(key: SecretStr) -> str:
    return hmac.new(key.get_secret_value().encode(), b"rlvr_ray page", "sha256").hexdigest()


def _equal(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())


def local_name(request: Request) -> None:
    """A page on the internet must not reach a local server under a name of its own."""
    if request.url.hostname not in LOOPBACK:
        raise HTTPException(400, "without an API key only loopback names are served")


def same_origin(request: Request) -> None:
    """A page of another server must not change anything here; programs send no origin."""
    origin = request.headers.get("origin")
    if request.method in SAFE or origin is None:
        return
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "this request comes from another server's page")


class Gate:
    """Bounds the asks in flight: so many at work, as many again waiting, the rest turned away."""

    def __init__(self, at_work: int) -> None:
        self._limit = 2 * at_work
        self._inside = 0
        self._work = asyncio.Semaphore(at_work)

    def enter(self) -> None:
        """Raise Overloaded where there is no place left; who enters leaves."""
        if self._inside >= self._limit:
            raise Overloaded(f"{self._inside} questions are being answered; try again in a while")
        self._inside += 1

    def leave(self) -> None:
        """Make room for another one."""
        self._inside -= 1

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """For who has entered: wait for the turn."""
        async with self._work:
            yield
