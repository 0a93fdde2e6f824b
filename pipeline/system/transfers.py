"""File transfers over HTTP: a download that resumes where it broke off, and its progress bar.

Knows the ranges of HTTP (RFC 9110, section 14), and no HTTP library: the caller passes the
function that sends a request. So a caller that runs where little is installed needs no more than
the standard library.
"""

from __future__ import annotations

import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

CHUNK_SIZE = 2**20
"""Bytes to read at a time."""
QUIET_BELOW = 4 * 2**20
"""Bytes below which a file gets no progress bar."""


class IncompleteDownloadError(ConnectionError):
    """Less came than was announced, or another part than was asked for."""


@dataclass(frozen=True)
class Response:
    """A server's response."""

    status: int
    """200, 206, or 416 to a request for a range; others were raised."""
    headers: Mapping[str, str]
    """Names are case-insensitive."""
    chunks: Iterable[bytes]


Send = Callable[[dict[str, str]], AbstractContextManager[Response]]
"""Sends a GET with these headers; raises for other statuses than those of `Response`."""


def download(send: Send, body: Path, version: Path, label: str, keep_bar: bool = True) -> None:
    """Download to `body`, beginning where that ends if it is of the version that the server has.

    Args:
        send: sends the request.
        body: the file; what an earlier call left of it is kept.
        version: a file with the ETag of what is in `body`. It is there after a download that
            broke off and can go on, and after one that is complete.
        label: names the file on the bar.
        keep_bar: whether the bar stays on the screen.

    Raises:
        IncompleteDownloadError: if less came than was announced, or another range than requested.
    """
    offset = body.stat().st_size if body.exists() and version.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # compressed, it could not go on
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": version.read_text(encoding="utf-8")}
    with send(headers) as response:
        past_end = response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        if not past_end:
            _take(response, offset, body, version, label, keep_bar)
    if past_end:  # the file on the server ends here, or before: start over
        version.unlink()
        download(send, body, version, label, keep_bar)


def _take(
    response: Response, offset: int, body: Path, version: Path, label: str, keep_bar: bool
) -> None:
    """Write what comes to `body`, from its end on or from its beginning."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        offset = 0  # another version, or a server without ranges
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        version.unlink()
        raise IncompleteDownloadError("the server sent another part than was asked for")
    length = response.headers.get("Content-Length")
    size = offset + int(length) if length else None
    with (
        body.open("ab" if offset else "wb") as file,
        byte_progress_bar(label, size, offset, keep_bar) as bar,
    ):
        _note_version(response.headers.get("ETag"), version)
        _copy(response, file, size, bar)


def _note_version(etag: str | None, version: Path) -> None:
    if not etag or etag.startswith("W/"):  # weak: the bytes may differ all the same
        version.unlink(missing_ok=True)
    else:
        version.write_text(etag, encoding="utf-8")


def _copy(response: Response, file: BinaryIO, size: int | None, bar: Any) -> None:
    for chunk in response.chunks:
        file.write(chunk)
        bar.update(len(chunk))
    if size is not None and file.tell() != size:
        raise IncompleteDownloadError(f"it broke off after {file.tell()} of {size} bytes")
    file.flush()
    os.fsync(file.fileno())


def answers(url: str, seconds: float) -> bool:
    """Tell whether a server answers a request for `url` within so many seconds, in whatever way.

    Also looking up its name, for which no library takes a limit, takes no longer.
    """
    heard = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(url, timeout=seconds).close()
        except urllib.error.HTTPError as error:
            error.close()
        except (OSError, ValueError, http.client.HTTPException):
            return
        heard.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return heard.is_set()


def byte_progress_bar(label: str, size: int | None, offset: int = 0, leave: bool = True) -> Any:
    """Return a progress bar for `size` bytes, `offset` of which are done; none for a small file."""
    quiet = size is not None and size < QUIET_BELOW
    return tqdm(
        total=size,
        initial=offset,
        desc=label,
        unit="B",
        unit_scale=True,
        leave=leave,
        disable=quiet,
    )
