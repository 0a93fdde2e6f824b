"""Downloading the released weights, from a server in this process."""

import hashlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.core.errors import ScoringError
from pipeline.scoring import weights
from pipeline.scoring.weights import download, inception_weights
from tests.support.leftovers import name_by_a_process_that_is_gone

CONTENT = bytes(range(256)) * 5000  # more than one chunk of reading
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Counts the requests for each path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requested: list[str] = []
        self.sent = 0
        self.etag = '"v1"'

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    """The file under several circumstances, chosen by the path."""

    server: Server

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        kind = self.path.strip("/")
        if kind == "not-http":
            self.wfile.write(b"this is no HTTP reply\r\n\r\n")
            return
        if kind == "hangs-up":
            return
        if kind == "missing":
            self.send_error(404)
            return
        if kind.startswith("resumable"):
            self.send_resumable(breaks_off=len(self.server.requested) <= 2)
            return
        self.send_response(200)
        if kind == "weak":
            self.send_header("ETag", 'W/"v1"')
        if kind != "no-length":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:-1] if kind in ("short", "weak") else CONTENT)

    def send_resumable(self, breaks_off: bool) -> None:
        """Send the rest of the file, or 400,000 bytes of it; ranges as RFC 9110 says."""
        first = 0
        asked = self.headers.get("Range")
        if "no-ranges" not in self.path and asked and self.headers["If-Range"] == self.server.etag:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        if first >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        if first:
            start = first + ("wrong" in self.path)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        part = CONTENT[first : first + 400_000] if breaks_off else CONTENT[first:]
        self.server.sent += len(part)
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def assert_refused(
    url: str, folder: Path, reason: str, prefix: str = DIGEST[:8], timeout: float = 30
) -> None:
    """Download, expect `reason` and the other ways to score, and nothing left on disk."""
    with pytest.raises(ScoringError, match=reason) as caught:
        download(url, folder / "file.pth", prefix, timeout)
    message = str(caught.value)
    assert url in message
    assert "--weights FILE" in message
    assert "--features efficientnet-lite0" in message
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("path", ["whole", "no-length"])
def test_the_right_file_is_kept(server: Server, tmp_path: Path, path: str) -> None:
    download(server.url(path), tmp_path / "deep" / "file.pth", DIGEST[:8])
    assert (tmp_path / "deep" / "file.pth").read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["file.pth"]


def test_another_file_is_refused_and_nothing_is_left(server: Server, tmp_path: Path) -> None:
    reason = f"not the released file .*{DIGEST[:8]}.*expected 00000000"
    assert_refused(server.url("whole"), tmp_path, reason, prefix="00000000")


def test_a_refused_download_leaves_an_earlier_file_alone(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    file.write_bytes(b"earlier")
    with pytest.raises(ScoringError):
        download(server.url("whole"), file, "00000000")
    assert file.read_bytes() == b"earlier"


def test_a_missing_file_on_the_server_is_reported(server: Server, tmp_path: Path) -> None:
    assert_refused(server.url("missing"), tmp_path, "cannot be downloaded .*Not Found")


def test_a_connection_that_breaks_off_is_not_taken_for_the_whole(
    server: Server, tmp_path: Path
) -> None:
    # Even when what came has the expected hash: the server promised more.
    short = hashlib.sha256(CONTENT[:-1]).hexdigest()
    reason = f"broke off after {len(CONTENT) - 1} of {len(CONTENT)} bytes"
    assert_refused(server.url("short"), tmp_path, reason, prefix=short)


# A download that breaks off goes on later.


def break_off(server: Server, file: Path, path: str = "resumable") -> str:
    """Download until the server hangs up; return the message."""
    with pytest.raises(ScoringError, match="broke off after") as caught:
        download(server.url(path), file, DIGEST[:8])
    assert not file.exists()
    return str(caught.value)


def left(file: Path) -> Path:
    """Return the folder of the unfinished download, the only thing there is."""
    (folder,) = file.parent.iterdir()
    return folder


def test_a_download_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    assert "0.4 MB) is kept: the same command goes on" in break_off(server, file)
    assert "0.8 MB) is kept" in break_off(server, file)
    download(server.url("resumable"), file, DIGEST[:8])
    assert file.read_bytes() == CONTENT
    assert server.sent == len(CONTENT)  # no byte twice
    assert list(tmp_path.iterdir()) == [file]


def test_it_goes_on_after_the_process_was_killed(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    break_off(server, file)
    left(file).rename(name_by_a_process_that_is_gone(file))
    break_off(server, file)
    download(server.url("resumable"), file, DIGEST[:8])
    assert file.read_bytes() == CONTENT
    assert server.sent == len(CONTENT)
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_running_process_downloads_is_left_alone(server: Server, tmp_path: Path) -> None:
    other = tmp_path / f".file.pth.{os.getppid()}.partial"
    other.mkdir()
    (other / "body").write_bytes(b"theirs")
    download(server.url("whole"), tmp_path / "file.pth", DIGEST[:8])
    assert (other / "body").read_bytes() == b"theirs"


def test_another_version_on_the_server_is_fetched_from_the_beginning(
    server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "file.pth"
    break_off(server, file)
    (left(file) / "body").write_bytes(b"of the first version" * 100)
    server.etag = '"v2"'
    break_off(server, file)
    download(server.url("resumable"), file, DIGEST[:8])
    assert file.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    break_off(server, file, "resumable-no-ranges")
    break_off(server, file, "resumable-no-ranges")
    download(server.url("resumable-no-ranges"), file, DIGEST[:8])
    assert file.read_bytes() == CONTENT


def test_a_part_that_was_not_asked_for_is_refused_and_nothing_is_kept(
    server: Server, tmp_path: Path
) -> None:
    break_off(server, tmp_path / "file.pth", "resumable-wrong")
    assert_refused(server.url("resumable-wrong"), tmp_path, "another part than was asked for")


def test_a_whole_file_that_was_not_put_in_place_is_fetched_again(
    server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "file.pth"
    break_off(server, file)
    (left(file) / "body").write_bytes(CONTENT)
    server.requested.append("so that it does not break off")
    download(server.url("resumable"), file, DIGEST[:8])
    assert file.read_bytes() == CONTENT


def test_a_resumed_file_with_another_hash_is_removed(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    break_off(server, file)
    body = left(file) / "body"
    body.write_bytes(bytes(body.stat().st_size))
    server.requested.append("so that it does not break off")
    assert_refused(server.url("resumable"), tmp_path, "not the released file")


def test_a_weak_version_cannot_be_gone_on_from(server: Server, tmp_path: Path) -> None:
    assert_refused(server.url("weak"), tmp_path, "broke off")


@pytest.mark.parametrize("path", ["hangs-up", "not-http"])
def test_a_server_that_does_not_answer_properly_is_reported(
    server: Server, tmp_path: Path, path: str
) -> None:
    assert_refused(server.url(path), tmp_path, "cannot be downloaded")


def test_a_server_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/file"
        assert_refused(url, tmp_path, "cannot be downloaded .*refused")


def test_a_silent_server_is_given_up_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        assert_refused(url, tmp_path, "timed out", timeout=0.05)


def released_weights(server: Server, cache: Path, patch: pytest.MonkeyPatch) -> Path:
    """Return the weights that are released on the server, once they are in the cache."""
    patch.setenv("PAINTER_CACHE", str(cache))
    patch.setattr(weights, "INCEPTION_URL", server.url("whole"))
    patch.setattr(weights, "RELEASED_HASH_PREFIX", DIGEST[:8])
    return inception_weights()


def test_the_released_weights_are_fetched_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = released_weights(server, tmp_path, monkeypatch)
    assert first.read_bytes() == CONTENT
    assert first.is_relative_to(tmp_path)
    assert inception_weights() == first
    assert server.requested == ["/whole"]


def test_weights_that_were_damaged_in_the_cache_are_fetched_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = released_weights(server, tmp_path, monkeypatch)
    first.write_bytes(CONTENT[:-1])
    assert inception_weights().read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_names_the_other_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PAINTER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ScoringError, match=r"PAINTER_CACHE .*--weights FILE"):
        inception_weights()


def test_a_wrong_file_does_not_enter_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAINTER_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "INCEPTION_URL", server.url("whole"))
    for _ in range(2):
        with pytest.raises(ScoringError, match="not the released file"):
            inception_weights()
    assert list(tmp_path.iterdir()) == []
    assert server.requested == ["/whole", "/whole"]


def test_the_released_file_carries_its_hash_in_its_name() -> None:
    assert re.search(r"-([0-9a-f]{8})\.pth$", weights.INCEPTION_URL)
    assert weights.INCEPTION_URL.endswith(f"{weights.RELEASED_HASH_PREFIX}.pth")
    assert weights.INCEPTION_URL.startswith("https://")
