"""The files of the page, which needs no other server."""

import json
from importlib import resources
from typing import Any, get_args

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from rlvr_ray.core.records import Reason
from rlvr_ray.dataset.filters import REVIEWS
from rlvr_ray.documents.parsers import MAX_UPLOAD, SUFFIXES
from rlvr_ray.pipeline import live
from rlvr_ray.settings import MAX_QUESTION_CHARS, MAX_TOP_K

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
#: What the page imports from ``ui/enums.js``, by name.
ENUMS: dict[str, Any] = {
    "REASONS": list(Reason),
    "REVIEWS": REVIEWS,
    "EVENTS": get_args(live.Kind),
    "SUFFIXES": SUFFIXES,
    "MAX_UPLOAD": MAX_UPLOAD,
    "MAX_QUESTION": MAX_QUESTION_CHARS,
    "MAX_TOP_K": MAX_TOP_K,
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

    enums = "".join(f"export const {name} = {json.dumps(of)};\n" for name, of in ENUMS.items())

    @api.get("/ui/enums.js", include_in_schema=False)
    async def page_enums() -> Response:
        return Response(enums, headers=HEADERS, media_type="text/javascript")

    api.mount("/ui", _Files(directory=FOLDER, check_dir=False))
