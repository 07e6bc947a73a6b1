"""The page: files of this package, which need nothing but this server."""

from importlib import resources

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = str(resources.files("rlvr_ray.serve") / "ui")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",  # asked for again, and answered with 304
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def add_page(api: FastAPI) -> None:
    """Serve it at ``/``, and its modules below ``/ui``."""

    @api.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(f"{FOLDER}/index.html", headers=HEADERS)

    api.mount("/ui", _Files(directory=FOLDER, check_dir=False))
