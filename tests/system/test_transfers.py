"""Downloads that go on where they broke off, from a server that is a function."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.system.transfers import (
    QUIET_BELOW,
    IncompleteDownloadError,
    Response,
    byte_progress_bar,
    download,
)

CONTENT = bytes(range(256)) * 4


@dataclass
class Server:
    """Has one file, and understands ranges as RFC 9110 says."""

    content: bytes = CONTENT
    etag: str | None = '"v1"'
    ranges: bool = True
    announces: bool = True
    sends: int = 300
    """Bytes after which it hangs up."""
    shift: int = 0
    """How far a part begins beyond what was asked for."""
    asked: list[dict[str, str]] = field(default_factory=list)

    @contextmanager
    def __call__(self, headers: dict[str, str]) -> Iterator[Response]:
        self.asked.append(headers)
        first = 0
        if self.ranges and self.etag and headers.get("If-Range") == self.etag:
            first = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if first >= len(self.content):
            yield Response(416, {}, [])
            return
        rest = self.content[first:]
        about = {"Content-Range": f"bytes {first + self.shift}-"} if first else {}
        about |= {"ETag": self.etag} if self.etag else {}
        about |= {"Content-Length": str(len(rest))} if self.announces else {}
        sent = rest[: self.sends]
        yield Response(206 if first else 200, about, [sent[:100], sent[100:]])


@dataclass
class Place:
    """Where a download goes."""

    body: Path
    version: Path

    def download(self, server: Server) -> bytes:
        download(server, self.body, self.version, "file")
        return self.body.read_bytes()

    def breaks_off(self, server: Server, reason: str = "broke off after") -> None:
        with pytest.raises(IncompleteDownloadError, match=reason):
            self.download(server)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "body", tmp_path / "etag")


def test_a_download_goes_on_where_it_broke_off(place: Place) -> None:
    server = Server()
    for have in (300, 600, 900):
        place.breaks_off(server, f"broke off after {have} of 1024 bytes")
        assert place.body.read_bytes() == CONTENT[:have]
    assert place.download(server) == CONTENT
    ranges = [headers.get("Range") for headers in server.asked]
    assert ranges == [None, "bytes=300-", "bytes=600-", "bytes=900-"]
    assert {headers["Accept-Encoding"] for headers in server.asked} == {"identity"}


def test_another_version_is_fetched_from_its_beginning(place: Place) -> None:
    place.breaks_off(Server())
    other = Server(CONTENT[::-1], '"v2"')
    place.breaks_off(other)
    other.sends = 9999
    assert place.download(other) == CONTENT[::-1]


def test_a_server_without_ranges_sends_all_again(place: Place) -> None:
    place.breaks_off(Server(ranges=False))
    assert place.download(Server(ranges=False, sends=9999)) == CONTENT


@pytest.mark.parametrize("etag", [None, "", 'W/"v1"'])
def test_without_a_strong_version_nothing_is_gone_on_with(place: Place, etag: str | None) -> None:
    server = Server(etag=etag)
    place.breaks_off(server)
    assert not place.version.exists()
    place.breaks_off(server)
    assert [headers.get("Range") for headers in server.asked] == [None, None]


def test_bytes_of_which_no_version_is_known_are_replaced(place: Place) -> None:
    place.body.write_bytes(b"something else")
    assert place.download(Server(sends=9999)) == CONTENT


def test_another_part_than_was_asked_for_is_not_taken(place: Place) -> None:
    place.breaks_off(Server())
    place.breaks_off(Server(shift=1), "another part than was asked for")
    assert place.body.read_bytes() == CONTENT[:300]
    assert place.download(Server(sends=9999)) == CONTENT


@pytest.mark.parametrize("extra", [b"", b"and more"])
def test_a_file_that_is_as_long_as_the_servers_or_longer_is_fetched_anew(
    place: Place, extra: bytes
) -> None:
    place.body.write_bytes(bytes(len(CONTENT)) + extra)
    place.version.write_text('"v1"')
    server = Server(sends=9999)
    assert place.download(server) == CONTENT
    assert len(server.asked) == 2


def test_what_is_not_announced_ends_where_it_ends(place: Place) -> None:
    assert place.download(Server(announces=False)) == CONTENT[:300]


def test_a_refusal_leaves_what_is_there(place: Place) -> None:
    place.breaks_off(Server())

    def refuses(headers: dict[str, str]) -> AbstractContextManager[Response]:
        raise PermissionError

    with pytest.raises(PermissionError):
        download(refuses, place.body, place.version, "file")
    assert place.download(Server(sends=9999)) == CONTENT


def test_small_files_have_no_bar() -> None:
    assert byte_progress_bar("file", QUIET_BELOW - 1).disable
    for size in (QUIET_BELOW, None):
        with byte_progress_bar("file", size) as bar:
            assert not bar.disable
