"""A small Kaggle on this machine that speaks to Kaggle's own client, unmodified.

The client sends `POST {base}/{service}/{Method}` with JSON. Told that its environment is
LOCALHOST and that the server is its proxy, it sends everything here, wherever it would go.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

COMPETITIONS = "competitions.CompetitionApiService"
DATASETS = "datasets.DatasetApiService"
INTROSPECT = "security.OAuthService/IntrospectToken"
USER = "alice"
KEY = "0123secret4567key89"
HTML = {"Content-Type": "text/html"}


@dataclass(frozen=True)
class Request:
    """What the client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body as the object that it is."""
        content: dict[str, Any] = json.loads(self.body or b"{}")
        return content


@dataclass(frozen=True)
class Reply:
    """What it gets back."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def as_json(content: dict[str, Any], status: int = 200) -> Reply:
    return Reply(json.dumps(content).encode(), status, {"Content-Type": "application/json"})


def refusal(status: int, message: str = "refused") -> Reply:
    """Return an error in the form of Kaggle's API."""
    return as_json({"code": status, "message": message}, status)


class KaggleServer:
    """Serves on a port of 127.0.0.1 while the `with` block runs.

    To teach it another call, put a function into `calls` under "service/Method"; to make any
    call fail, put a `Reply` into `refusals` under the same name.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        """Everything that arrived, in order."""
        self.files: dict[str, bytes] = {}
        """What `GET /files/NAME` gives, by name."""
        self.refusals: dict[str, Reply] = {}
        self.break_off_after: int | None = None
        """Bytes of the next file after which the connection breaks, once."""
        self.calls: dict[str, Callable[[Request], Reply]] = {
            f"{COMPETITIONS}/DownloadDataFiles": self._download_competition,
            f"{DATASETS}/DownloadDataset": self._download_dataset,
        }
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def environment(self, home: Path, credentials: bool = True) -> dict[str, str]:
        """Return the variables of a process whose Kaggle client talks to this server alone."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("KAGGLE_")}
        proxy = f"http://127.0.0.1:{self._http.server_port}"
        account = {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY} if credentials else {}
        return own | account | {
            "HOME": str(home),
            "KAGGLE_CONFIG_DIR": str(home / ".kaggle"),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": proxy,
            "http_proxy": proxy,
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "",
            "no_proxy": "",
        }  # fmt: skip

    def called(self) -> list[str]:
        """Return the last two parts of each path that was asked for: "service/Method"."""
        return ["/".join(r.path.split("/")[-2:]) for r in self.requests]

    def answer(self, request: Request) -> Reply:
        """Return the reply to any request."""
        self.requests.append(request)
        name = "/".join(request.path.split("/")[-2:])
        if name in self.refusals:
            return self.refusals[name]
        if name.startswith("files/"):
            return self._file(request, name.removeprefix("files/"))
        if request.headers.get("Authorization") != basic(USER, KEY):
            return refusal(401, "Unauthorized")
        call = self.calls.get(name)
        return call(request) if call else refusal(404, f"no call {name}")

    def _download_competition(self, request: Request) -> Reply:
        return self._redirect(request.json()["competitionName"])

    def _download_dataset(self, request: Request) -> Reply:
        return self._redirect(request.json()["datasetSlug"])

    def _redirect(self, slug: str) -> Reply:
        name = f"{slug}.zip"
        if name not in self.files:
            return refusal(404, "Not found")
        return Reply(status=302, headers={"Location": f"http://localhost/files/{name}?sign=1"})

    def _file(self, request: Request, name: str) -> Reply:
        content = self.files[name]
        headers = {
            "Content-Type": "application/zip",
            "Accept-Ranges": "bytes",
            "ETag": '"1"',
            "Last-Modified": "Tue, 20 Oct 2026 10:11:12 GMT",
        }
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if not asked:
            return Reply(content, 200, headers)
        start = int(asked[1])
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(content[start:], 206, headers)

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply()

            def do_POST(self) -> None:
                self._reply()

            def _reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = urlsplit(self.path).path
                request = Request(self.command, path, dict(self.headers.items()), body)
                reply = server.answer(request)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                sent = len(reply.body)
                if "/files/" in path and server.break_off_after is not None:
                    sent, server.break_off_after = server.break_off_after, None
                self.wfile.write(reply.body[:sent])

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
                """Keep the tests' output clean."""

        return Handler


def basic(user: str, key: str) -> str:
    """Return the header that carries a user name and a key."""
    return "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()
