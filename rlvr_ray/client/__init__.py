"""A small HTTP client: what the command line uses, and any Python program may."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx

from rlvr_ray.errors import InputError, NotFound, RlvrError, Unavailable
from rlvr_ray.ports import Document

#: Seconds between two looks at a batch that is being verified.
POLL_S = 0.25


class Client:
    """Talks to a running rlvr_ray; replies are the JSON that the API documents.

    Raises Unavailable where nobody answers or the server is busy, InputError where the server
    refuses a request, with the server's own words.
    """

    def __init__(self, url: str, key: str | None = None, timeout_s: float = 600) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url = url
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)

    def __enter__(self) -> "Client":
        """Close the connections at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, question: str, **options: Any) -> dict[str, Any]:
        """Ask for several candidates; options are the other fields of the request."""
        body = {"question": question} | {k: v for k, v in options.items() if v is not None}
        return self._call("POST", "/ask/multi-candidate", json=body)

    def batch(self, batch_id: UUID | str) -> dict[str, Any]:
        """A batch as it stands."""
        return self._call("GET", f"/batches/{batch_id}")

    def wait(self, batch_id: UUID | str, timeout_s: float = 600) -> dict[str, Any]:
        """A batch once it is decided; raises Unavailable if that takes longer."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            batch = self.batch(batch_id)
            if batch["outcome"] is not None:
                return batch
            time.sleep(POLL_S)
        raise Unavailable(f"batch {batch_id} is still being verified after {timeout_s:g} s")

    def ingest(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Store documents; each source must end in .md, .markdown, .txt or .rst."""
        files = [("files", (d.source, d.text.encode(), "text/plain")) for d in documents]
        stored: list[dict[str, Any]] = self._call("POST", "/documents", files=files)["documents"]
        return stored

    def stats(self) -> dict[str, Any]:
        """Counts by outcome, latest outcomes, files."""
        return self._call("GET", "/stats")

    def is_up(self) -> bool:
        """Whether somebody answers at the URL."""
        try:
            self._call("GET", "/livez")
        except RlvrError:
            return False
        return True

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            reply = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{self._url} does not answer ({type(error).__name__}); start it with: rlvr serve"
            ) from None
        if reply.is_success:
            body: dict[str, Any] = reply.json()
            return body
        try:
            detail = reply.json()["detail"]
        except (ValueError, KeyError):
            detail = reply.text[:200]
        kinds = {404: NotFound, 429: Unavailable, 503: Unavailable}
        kind = kinds.get(reply.status_code, InputError if reply.is_client_error else RlvrError)
        raise kind(f"{detail} (HTTP {reply.status_code})")
