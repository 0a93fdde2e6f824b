"""The released Inception weights: downloaded once, checked by hash, cached.

An interrupted download is kept beside its target and resumes where it stopped, in this process or
the next one, if the server supports it (ETag and range requests).
"""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http import HTTPStatus
from pathlib import Path

from pipeline.core.errors import ScoringError
from pipeline.system import transfers
from pipeline.system.caches import cache_folder
from pipeline.system.partials import remove_stale_partials, stale_partials, temporary_name
from pipeline.system.storage import file_sha256
from pipeline.system.transfers import Response

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
RELEASED_HASH_PREFIX = "6726825d"
"""The start of the sha256 of the released Inception weights; part of their file name."""
WEIGHTS_BYTES = 95_600_000
"""Their size, about: what is said before they are there."""
_TIMEOUT_SECONDS = 30
_BODY, _ETAG = "body", "etag"
"""The files of an unfinished download."""
_ALTERNATIVES = (
    "Fetch the file by other means and pass --weights FILE, or score without a network: "
    "--features efficientnet-lite0"
)


def inception_weights() -> Path:
    """Return the cached file of the released weights, downloading it (95 MB) if needed.

    One that is damaged is downloaded again.

    Raises:
        ScoringError: if it cannot be fetched, or what came is not the released file.
    """
    path = _cache_path()
    if not path.exists() or not file_sha256(path).startswith(RELEASED_HASH_PREFIX):
        download(INCEPTION_URL, path, RELEASED_HASH_PREFIX)
    return path


def cached_weights() -> Path | None:
    """Return the file of the released weights if it has been downloaded already."""
    path = _cache_path()
    return path if os.access(path, os.R_OK) else None


def _cache_path() -> Path:
    return cache_folder() / "weights-inception-2015-12-05.pth"


def download(url: str, path: Path, hash_prefix: str, timeout: float = _TIMEOUT_SECONDS) -> None:
    """Fetch `url` to `path`; it appears only when its sha256 starts with `hash_prefix`.

    A server that sends nothing for `timeout` seconds fails the download.

    Raises:
        ScoringError: with the other ways to score.
    """
    try:
        folder = _partial_folder(path)
    except OSError as error:
        raise ScoringError(
            f"The Inception weights cannot be kept in {path.parent} ({error.strerror or error}). "
            f"Set PAINTER_CACHE to a folder that can be written to. {_ALTERNATIVES}"
        ) from None
    body = folder / _BODY
    try:
        transfers.download(
            lambda headers: _open_url(url, headers, timeout), body, folder / _ETAG, "weights"
        )
        digest = file_sha256(body)
        if digest.startswith(hash_prefix):
            body.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise ScoringError(
            f"The Inception weights cannot be downloaded from {url} ({_reason(error)})."
            f"{_keep_or_remove(folder)} {_ALTERNATIVES}"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    if not digest.startswith(hash_prefix):
        raise ScoringError(
            f"What came from {url} is not the released file (sha256 {digest[:8]}, "
            f"expected {hash_prefix}). {_ALTERNATIVES}"
        )


def _partial_folder(path: Path) -> Path:
    """Return this process's folder for an unfinished download: `body`, and `etag` of its version.

    That of an earlier call is resumed, and so is that of a process that is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = _own_folder(path, os.getpid())
    for stale in stale_partials(path):
        if stale.is_dir() and not folder.exists():
            with suppress(OSError):  # another process was quicker
                stale.rename(folder)
    remove_stale_partials(path)
    folder.mkdir(exist_ok=True)
    return folder


@cache
def _own_folder(path: Path, process: int) -> Path:
    """Return the same temporary name at each call of a process."""
    return temporary_name(path)


@contextmanager
def _open_url(url: str, headers: dict[str, str], timeout: float) -> Iterator[Response]:
    """Request `url`; status 416, a range that the file does not have, is a response like others."""
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or "Range" not in headers:
            raise
        response = error
    with response:
        chunks = iter(lambda: response.read(transfers.CHUNK_SIZE), b"")
        yield Response(response.status, response.headers, chunks)


def _reason(error: OSError | http.client.HTTPException) -> object:
    """Return what went wrong, and close the connection.

    A refused connection or status comes as URLError, a reset or timeout in the middle as another
    OSError, and a response that is not HTTP as HTTPException.
    """
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the response too, and holds the connection open
    if isinstance(error, http.client.InvalidURL):  # of a proxy, with its password
        return type(error).__name__
    return getattr(error, "reason", None) or str(error) or type(error).__name__


def _keep_or_remove(folder: Path) -> str:
    """Remove a partial download that cannot be resumed; return a message about one that can."""
    if (folder / _ETAG).exists() and (size := (folder / _BODY).stat().st_size):
        return f" What came ({size / 1e6:.1f} MB) is kept: the same command goes on from there."
    shutil.rmtree(folder)
    return ""
