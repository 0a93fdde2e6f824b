"""A small Hugging Face hub on this machine that speaks to the hub's own client, unmodified.

It makes repositories, says which files are large, takes these by Git LFS, and commits. As the hub
does, it refuses a token that it does not know, a commit of large files that were never sent, and a
card whose header is no YAML mapping.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

TOKEN = "hf_0123secret4567token89"
LARGE = 10_000
"""Bytes from which a file goes by Git LFS; some millions at the real one."""


@dataclass
class Repository:
    """A repository of the hub."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    """Their messages."""


class Hub:
    """The hub, as a context."""

    def __init__(self) -> None:
        """Begin with no repositories."""
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        """Large files by their sha256."""
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hub.handle(self)

            def do_PUT(self) -> None:
                hub.handle(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        body = _body(request)
        self.requests.append(f"{request.command} {request.path}")
        given = str(request.headers.get("Authorization", "")).removeprefix("Bearer ")
        if request.command == "PUT":
            status, answer = self._receive(request.path, body)
        elif given != TOKEN:
            status, answer = 401, {"error": f"Invalid credentials: {given}"}
        else:
            status, answer = self._answer(request.path.strip("/"), body)
        content = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _receive(self, path: str, body: bytes) -> tuple[int, Any]:
        name = path.rpartition("/")[2]
        if hashlib.sha256(body).hexdigest() != name:
            return 400, {"error": "these are other bytes"}
        self.blobs[name] = body
        return 200, {}

    def _answer(self, path: str, body: bytes) -> tuple[int, Any]:
        if path == "api/repos/create":
            return self._create(json.loads(body))
        if path == "api/validate-yaml":
            text = json.loads(body)["content"]
            fine = text.startswith("---\n") and "\n---\n" in text
            return (200, {}) if fine else (400, {"errors": [{"message": "there is no header"}]})
        if path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            return 200, {"files": [_mode(file) for file in files]}
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [
                {**wanted, "actions": {"upload": {"href": f"{self.url}/blobs/{wanted['oid']}"}}}
                for wanted in json.loads(body)["objects"]
            ]}  # fmt: skip
        if path.endswith("/commit/main"):
            name = path.removeprefix("api/models/").removesuffix("/commit/main")
            return self._commit(name, [json.loads(line) for line in body.splitlines()])
        return 404, {"error": f"there is no {path}"}

    def _create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        name = f"{wanted['organization']}/{wanted['name']}"
        url = f"{self.url}/{name}"
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", "url": url}
        private = wanted.get("private", wanted.get("visibility") == "private")
        self.repositories[name] = Repository(bool(private))
        return 200, {"url": url}

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        repository = self.repositories[name]
        added = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                added[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.blobs:
                    return 400, {"error": f"{value['path']} was never sent"}
                added[value["path"]] = self.blobs[value["oid"]]
            else:
                repository.commits.append(value["summary"])
        repository.files |= added
        number = str(len(repository.commits))
        return 200, {"commitUrl": f"{self.url}/{name}/commit/{number}", "commitOid": number}


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """Return what a request carries, whole or in chunks, each after its length."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while length := int(request.rfile.readline(), 16):
        body += request.rfile.read(length)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    """Return how a file is to be sent."""
    mode = "lfs" if file["size"] >= LARGE else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
