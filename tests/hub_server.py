"""A model hub for tests: an HTTP server with the part of its interface that an upload needs.

It holds datasets, knows tokens and what each may do, and takes all files as regular ones.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

WRITER, READER = "hf_writer", "hf_reader"


@dataclass
class Dataset:
    """A dataset repository."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


@dataclass
class HubServer:
    """What it holds, and what it was asked for."""

    url: str = ""
    datasets: dict[str, Dataset] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refused_license: str | None = None
    failing: tuple[int, str] | None = None  #: status and message of every answer

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> tuple[int, Any]:
        self.requests.append(f"{method} {path}")
        if self.failing is not None:
            return self.failing[0], {"error": self.failing[1]}
        if token not in (WRITER, READER):
            return 401, {"error": "Invalid username or password."}
        if method == "POST" and token != WRITER:
            return 403, {"error": "You don't have the rights to create a dataset under me"}
        match method, path.strip("/").split("/"):
            case "POST", ["api", "repos", "create"]:
                return self._create(json.loads(body))
            case "POST", ["api", "validate-yaml"]:
                return self._validate(json.loads(body))
            case _, ["api", "datasets", owner, name, *rest]:
                dataset = self.datasets.get(f"{owner}/{name}")
                if dataset is None:
                    return 404, {"error": "Repository not found"}
                return self._dataset(f"{owner}/{name}", dataset, method, rest, body)
        return 404, {"error": "Not found"}

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        assert asked["type"] == "dataset"
        name = f"{asked['organization'] or 'me'}/{asked['name']}"
        reply = {"url": f"{self.url}/datasets/{name}", "name": name}
        if name in self.datasets:
            return 409, reply | {"error": "You already created this dataset repo"}
        self.datasets[name] = Dataset(asked["visibility"] == "private")
        return 200, reply

    def _validate(self, asked: dict[str, Any]) -> tuple[int, Any]:
        if self.refused_license and f"license: {self.refused_license}\n" in asked["content"]:
            wrong = {"message": '"license" must be one of [apache-2.0, mit, …]'}
            return 400, {"errors": [wrong], "warnings": []}
        return 200, {"errors": [], "warnings": []}

    def _dataset(
        self, name: str, dataset: Dataset, method: str, rest: list[str], body: bytes
    ) -> tuple[int, Any]:
        about = {"id": name, "private": dataset.private, "sha": "0" * 40, "siblings": []}
        match method, rest:
            case "GET", []:
                return 200, about
            case "GET", ["revision", _]:
                return 200, about
            case "GET", ["tree", _]:
                return 200, [
                    {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                    for path, content in dataset.files.items()
                ]
            case "POST", ["preupload", _]:
                wanted = json.loads(body)["files"]
                known = {"uploadMode": "regular", "shouldIgnore": False}
                return 200, {"files": [{"path": f["path"], **known} for f in wanted]}
            case "POST", ["commit", _]:
                self._commit(dataset, [json.loads(line) for line in body.splitlines()])
                url = f"{self.url}/datasets/{name}/commit/{'1' * 40}"
                return 200, {"success": True, "commitOid": "1" * 40, "commitUrl": url}
        return 404, {"error": "Not found"}

    def _commit(self, dataset: Dataset, operations: list[dict[str, Any]]) -> None:
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "header":
                    dataset.commits.append(value["summary"])
                case "file":
                    dataset.files[value["path"]] = base64.b64decode(value["content"])
                case "deletedFile":
                    del dataset.files[value["path"]]
                case other:
                    raise AssertionError(f"a commit with {other}")


@contextmanager
def serving() -> Iterator[HubServer]:
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self._body()
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            path = urlsplit(self.path).path
            known = token if scheme == "Bearer" else None
            status, reply = hub.answer(self.command, path, known, body)
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
