"""A small Kaggle on this machine that speaks to Kaggle's own client, unmodified.

The client sends `POST {base}/{service}/{Method}` with JSON. Told that its environment is
LOCALHOST and that the server is its proxy, it sends everything here, wherever it would go.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from zipfile import ZipFile

from tests.support.kaggle_state import OWNER, KaggleState, KernelVersion, Refused, Upload

COMPETITIONS = "competitions.CompetitionApiService"
DATASETS = "datasets.DatasetApiService"
KERNELS = "kernels.KernelsApiService"
BLOBS = "blobs.BlobApiService"
INTROSPECT = "security.OAuthService/IntrospectToken"
LOG_STREAM = "logs/stream"
USER = OWNER
KEY = "0123secret4567key89"
TOKEN = "KGAT_0123secret4567token89"
EXPIRED_TOKEN = "KGAT_expired0123secret45"
HTML = {"Content-Type": "text/html"}
PAGE = b"<!doctype html><title>Kaggle</title>"
OWN_HOSTS = {"localhost", "127.0.0.1"}
MUTATING = {
    f"{KERNELS}/SaveKernel",
    f"{COMPETITIONS}/CreateCodeSubmission",
    f"{DATASETS}/CreateDataset",
    f"{DATASETS}/CreateDatasetVersion",
    f"{BLOBS}/StartBlobUpload",
}


@dataclass(frozen=True)
class Request:
    """What the client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, str] = field(default_factory=dict)
    base: str = "http://localhost"
    """The scheme and host that it was sent to."""

    @property
    def name(self) -> str:
        """Return "service/Method", "files/NAME", "blobs/NAME" or "logs/stream"."""
        if self.path.startswith("/files/"):
            return self.path[1:]
        if self.path.startswith("/blobs/"):
            return f"blobs/{self.path.split('/', 3)[-1]}"
        if f"/{LOG_STREAM}/" in self.path:
            return LOG_STREAM
        return "/".join(self.path.split("/")[-2:])

    @property
    def host(self) -> str:
        """Return the host that it was meant for."""
        return urlsplit(self.base).hostname or ""

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
    pieces: Iterator[bytes] | None = None
    """Sent one by one as they come, instead of `body`."""
    broken_after: int | None = None
    """Bytes of the body after which the connection breaks."""


def as_json(content: dict[str, Any], status: int = 200) -> Reply:
    return Reply(json.dumps(content).encode(), status, {"Content-Type": "application/json"})


def refusal(status: int, message: str = "refused") -> Reply:
    """Return an error in the form of Kaggle's API."""
    return as_json({"code": status, "message": message}, status)


@dataclass
class Fault:
    """Something that goes wrong with one request, or with every one if `for_ever`."""

    for_ever: bool = field(default=False, kw_only=True)

    def reply(self, handle: Callable[[], Reply]) -> Reply | None:
        """Return what is sent, None for nothing at all; `handle` does what was asked for."""
        return handle()


@dataclass
class Fine(Fault):
    """Nothing goes wrong: this request is let through before the next fault."""


@dataclass
class Instead(Fault):
    """Another reply; what was asked for is not done."""

    other: Reply = field(default_factory=lambda: refusal(500, "Internal error"))

    def reply(self, handle: Callable[[], Reply]) -> Reply | None:
        return self.other


def too_many(retry_after: str = "1", for_ever: bool = False) -> Fault:
    """Return a 429 that says when to come back."""
    reply = refusal(429, "Too many requests")
    headers = reply.headers | {"Retry-After": retry_after}
    return Instead(replace(reply, headers=headers), for_ever=for_ever)


def broken(status: int = 500, for_ever: bool = False) -> Fault:
    """Return an error of the site's own."""
    return Instead(refusal(status, "Internal error"), for_ever=for_ever)


def web_page(for_ever: bool = False) -> Fault:
    """Return a page for people where data was expected."""
    return Instead(Reply(PAGE, headers=HTML), for_ever=for_ever)


@dataclass
class Unheard(Fault):
    """The connection is closed before anything is done."""

    def reply(self, handle: Callable[[], Reply]) -> Reply | None:
        return None


@dataclass
class LostReply(Fault):
    """What was asked for is done, but the connection is closed before the reply."""

    def reply(self, handle: Callable[[], Reply]) -> Reply | None:
        handle()
        return None


@dataclass
class BreaksAfter(Fault):
    """The connection is closed after so many bytes of the body."""

    size: int = 0

    def reply(self, handle: Callable[[], Reply]) -> Reply | None:
        return replace(handle(), broken_after=self.size)


@dataclass
class Truncated(Fault):
    """The body is cut, and the length that is announced with it."""

    size: int = 0

    def reply(self, handle: Callable[[], Reply]) -> Reply | None:
        reply = handle()
        return replace(reply, body=reply.body[: self.size])


@dataclass
class ArrivesInPart(LostReply):
    """The connection is closed after so many bytes of what is sent."""

    size: int = 0


@dataclass
class Slow(Fault):
    """What was asked for is done after a while."""

    seconds: float = 1.0


class KaggleServer(KaggleState):
    """Serves on a port of 127.0.0.1 while the `with` block runs.

    To teach it another call, put a function into `calls` under "service/Method"; to make any
    call fail always, put a `Reply` into `refusals` under the same name, and to make it fail in
    a certain order, append to `faults[name]`. The names are those of `Request.name`.

    The end of the block ends all kernels. It fails if a request was meant for another host, or
    if the server itself has failed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []
        """Everything that arrived, in order."""
        self.refusals: dict[str, Reply] = {}
        self.faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self.after: dict[str, Callable[[Request], object]] = {}
        """Called when a request of that name was handled, before it is replied to."""
        self.break_off_after: int | None = None
        """Bytes of the next file after which the connection breaks, once."""
        self.accounts = {basic(USER, KEY), f"Bearer {TOKEN}"}
        """What the header Authorization may say."""
        self.tokens = {TOKEN: USER}
        """The user of each token that has not expired."""
        self.calls: dict[str, Callable[[Request], Reply]] = {
            INTROSPECT: self._introspect,
            LOG_STREAM: self._log_stream,
            f"{COMPETITIONS}/DownloadDataFiles": self._download_competition,
            f"{COMPETITIONS}/DownloadDataFile": self._download_competition_file,
            f"{DATASETS}/DownloadDataset": self._download_dataset,
            f"{KERNELS}/ListKernelSessionOutput": self._list_output,
            f"{BLOBS}/StartBlobUpload": self._start_upload,
        } | {name: self._answering(call) for name, call in self._plain_calls().items()}
        self._stopping = threading.Event()
        self.errors: list[BaseException] = []
        """The server's own."""
        self.connections: set[socket.socket] = set()
        self._http = _Server(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def _plain_calls(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            f"{COMPETITIONS}/GetCompetition": self.get_competition,
            f"{COMPETITIONS}/ListDataFiles": self.list_data_files,
            f"{COMPETITIONS}/GetSubmissionLimits": self.get_submission_limits,
            f"{COMPETITIONS}/CreateCodeSubmission": self.create_code_submission,
            f"{COMPETITIONS}/ListSubmissions": self.list_submissions,
            f"{COMPETITIONS}/GetSubmission": self.get_submission,
            f"{COMPETITIONS}/GetLeaderboard": self.get_leaderboard,
            f"{KERNELS}/SaveKernel": self.save_kernel,
            f"{KERNELS}/ListKernels": self.list_kernels,
            f"{KERNELS}/GetKernel": self.get_kernel,
            f"{KERNELS}/GetKernelSessionStatus": self.get_kernel_session_status,
            f"{KERNELS}/GetAcceleratorQuotaStatistics": self.get_accelerator_quota_statistics,
            f"{DATASETS}/GetDatasetStatus": self.get_dataset_status,
            f"{DATASETS}/CreateDataset": self.create_dataset,
            f"{DATASETS}/CreateDatasetVersion": self.create_dataset_version,
        }

    @staticmethod
    def _answering(
        call: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> Callable[[Request], Reply]:
        return lambda request: as_json(call(request.json()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self.stop()
        self._http.shutdown()
        self._thread.join()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()
        if error is None and self.errors:
            raise self.errors[0]
        if error is None and self.foreign_hosts():
            raise AssertionError(f"requests went to other hosts: {self.foreign_hosts()}")

    @property
    def url(self) -> str:
        """Return the address without a path."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def environment(self, home: Path, credentials: bool = True) -> dict[str, str]:
        """Return the variables of a process whose Kaggle client talks to this server alone."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("KAGGLE_")}
        account = {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY} if credentials else {}
        return own | account | {
            "HOME": str(home),
            "TMPDIR": str(home),
            "KAGGLE_CONFIG_DIR": str(home / ".kaggle"),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": self.url,
            "http_proxy": self.url,
            "HTTPS_PROXY": self.url,
            "https_proxy": self.url,
            "NO_PROXY": "",
            "no_proxy": "",
        }  # fmt: skip

    def called(self) -> list[str]:
        """Return the name of each request: "service/Method"."""
        return [r.name for r in self.requests]

    def mutating(self) -> list[str]:
        """Return the names of those requests that change something on the site."""
        return [n for n in self.called() if n in MUTATING or n.startswith("blobs/")]

    def hosts(self) -> set[str]:
        """Return the hosts that requests were meant for."""
        return {r.host for r in self.requests}

    def foreign_hosts(self) -> set[str]:
        """Return those of them that are not this machine."""
        return self.hosts() - OWN_HOSTS

    def answer(self, request: Request) -> Reply | None:
        """Return the reply to any request, or None for a connection that closes without one."""
        with self.lock:
            self.requests.append(request)
            if request.name in self.refusals:
                return self.refusals[request.name]
            faults = self.faults[request.name]
            fault = Fine() if not faults else faults[0] if faults[0].for_ever else faults.pop(0)
        if isinstance(fault, Slow):
            self._stopping.wait(fault.seconds)
        if isinstance(fault, ArrivesInPart):
            request = replace(request, body=request.body[: fault.size])
        return fault.reply(lambda: self._handle(request))

    def _handle(self, request: Request) -> Reply:
        with self.lock:
            try:
                reply = self._route(request)
            except Refused as error:
                reply = refusal(error.status, error.message)
        if request.name in self.after:
            self.after[request.name](request)
        return reply

    def _route(self, request: Request) -> Reply:
        if request.host not in OWN_HOSTS:
            return refusal(502, f"This server opens no connection to {request.host}")
        if request.path.startswith("/files/"):
            return self._file(request)
        if request.path.startswith("/blobs/"):
            return self._receive(request)
        if request.name != INTROSPECT and request.headers.get("Authorization") not in self.accounts:
            return refusal(401, "Unauthorized")
        call = self.calls.get(request.name)
        return call(request) if call else refusal(404, f"no call {request.name}")

    def _introspect(self, request: Request) -> Reply:
        user = self.tokens.get(request.json().get("token", ""))
        return as_json({"active": True, "username": user} if user else {"active": False})

    # Downloads

    def _download_competition(self, request: Request) -> Reply:
        self._refuse_without_rules()
        return self._redirect(request, request.json()["competitionName"])

    def _download_competition_file(self, request: Request) -> Reply:
        self._refuse_without_rules()
        content = request.json()
        where = f"{request.base}/files/{content['fileName']}?from={content['competitionName']}"
        return Reply(status=302, headers={"Location": where})

    def _refuse_without_rules(self) -> None:
        if not self.rules_accepted:
            raise Refused(403, "You must accept this competition's rules before you can download")

    def _download_dataset(self, request: Request) -> Reply:
        return self._redirect(request, request.json()["datasetSlug"])

    def _redirect(self, request: Request, slug: str) -> Reply:
        name = f"{slug}.zip"
        if name not in self.files:
            return refusal(404, "Not found")
        return Reply(status=302, headers={"Location": f"{request.base}/files/{name}?sign=1"})

    def _file(self, request: Request) -> Reply:
        content = self._content(request)
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
            "ETag": tag,
            "Last-Modified": "Tue, 20 Oct 2026 10:11:12 GMT",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if not asked or request.headers.get("If-Range", tag) not in (tag, headers["Last-Modified"]):
            return self._breaking(Reply(content, 200, headers))
        start, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if start >= len(content):
            return Reply(b"", 416, {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
        return self._breaking(Reply(content[start : last + 1], 206, headers))

    def _content(self, request: Request) -> bytes:
        name = unquote(request.path.removeprefix("/files/"))
        if "kernel" in request.query:
            content = self.output(request.query, name)
            return content.read_bytes() if isinstance(content, Path) else content
        if "from" in request.query:
            with ZipFile(io.BytesIO(self.files[f"{request.query['from']}.zip"])) as archive:
                return archive.read(name)
        return self.files[name]

    def _breaking(self, reply: Reply) -> Reply:
        size, self.break_off_after = self.break_off_after, None
        return replace(reply, broken_after=size)

    # Uploads

    def _start_upload(self, request: Request) -> Reply:
        content = self.start_blob_upload(request.json())
        return as_json(content | {"createUrl": request.base + content["createUrl"]})

    def _receive(self, request: Request) -> Reply:
        """Take a blob, or the rest of one, or say how much of it there is."""
        upload = self.uploads[request.path.split("/")[2]]
        part = re.fullmatch(r"bytes (\*|(\d+)-\d+)/\d+", request.headers.get("Content-Range", ""))
        if part is None or part[2]:
            del upload.content[int(part[2]) if part else 0 :]
            upload.content += request.body
        return _progress(upload)

    # Kernels

    def _list_output(self, request: Request) -> Reply:
        content = self.list_kernel_session_output(request.json())
        for file in content["files"]:
            file["url"] = request.base + file["url"]
        return as_json(content)

    def _log_stream(self, request: Request) -> Reply:
        user, slug = request.path.split("/")[-2:]
        _, run = self.kernel({"userName": user, "kernelSlug": slug} | request.query)
        if run.finished:
            headers = {"Content-Type": "application/json"}
            return Reply(json.dumps(run.log).encode(), headers=headers)
        headers = {"Content-Type": "text/event-stream"}
        return Reply(headers=headers, pieces=self._events(run))

    def _events(self, run: KernelVersion) -> Iterator[bytes]:
        """Yield the lines of a log from the first one on, as they come, to the end of the run."""
        sent = 0
        while not self._stopping.is_set():
            finished = run.finished  # asked first: what comes before the end is not missed
            for event in run.log[sent:]:
                sent += 1
                yield f"data: {json.dumps(event)}\n\n".encode()
            if finished:
                yield b"data: END_OF_LOG\n\n"
                return
            self._stopping.wait(0.02)
            self.look_at(run)


def _progress(upload: Upload) -> Reply:
    if len(upload.content) == upload.length:
        return Reply(status=200)
    arrived = {"Range": f"bytes=0-{len(upload.content) - 1}"} if upload.content else {}
    return Reply(status=308, headers=arrived)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that the end waits for every thread

    def __init__(self, kaggle: KaggleServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kaggle = kaggle

    def handle_error(self, request: object, client_address: object) -> None:
        """Note the server's own faults; a client that has gone away is none."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.kaggle.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.kaggle.connections.add(self.connection)

    def finish(self) -> None:
        self.server.kaggle.connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self.close_connection = True
        reply = self.server.kaggle.answer(self._request())
        if reply is None:
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        if reply.pieces is None:
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.broken_after])
        else:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._send_pieces(reply.pieces, reply.broken_after)

    do_POST = do_PUT = do_CONNECT = do_GET  # noqa: N815 - the names are inherited

    def _send_pieces(self, pieces: Iterator[bytes], left: int | None) -> None:
        for piece in pieces:
            part = piece[:left]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            if left is not None:
                left -= len(part)
                if left <= 0:
                    return
        self.wfile.write(b"0\r\n\r\n")

    def _request(self) -> Request:
        address = f"https://{self.path}" if self.command == "CONNECT" else self.path
        parts = urlsplit(address)
        base = f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"http://{self._host()}"
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        headers = dict(self.headers.items())
        return Request(self.command, parts.path, headers, self._body(), query, base)

    def _host(self) -> str:
        return str(self.headers.get("Host", "127.0.0.1"))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self._chunks())
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length and self.command != "PUT":  # half an upload can be resumed
            raise ConnectionError("the client has gone away")
        return body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
        """Keep the tests' output clean."""


def basic(user: str, key: str) -> str:
    """Return the header that carries a user name and a key."""
    return "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()
