"""The released Inception weights: downloaded once, checked by hash, cached.

A download that breaks off is kept beside its target and goes on where it stopped, in this process
or the next one, if the server can (it names the file's version by an ETag, and sends ranges).
"""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.error
import urllib.request
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from pipeline.core.errors import ScoringError
from pipeline.system.caches import cache_folder
from pipeline.system.storage import file_sha256, partial_name, remove_stale_partials, stale_partials

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
RELEASED_HASH_PREFIX = "6726825d"
"""The start of the sha256 of the released Inception weights; part of their file name."""
_CHUNK = 2**20
_TIMEOUT_SECONDS = 30
_BODY, _VERSION = "body", "etag"
"""The files of an unfinished download."""


def inception_weights() -> Path:
    """Return the cached file of the released weights, downloading it (95 MB) if needed.

    One that is damaged is downloaded again.

    Raises:
        ScoringError: if it cannot be fetched, or what came is not the released file.
    """
    path = _cached()
    if not path.exists() or not file_sha256(path).startswith(RELEASED_HASH_PREFIX):
        download(INCEPTION_URL, path, RELEASED_HASH_PREFIX)
    return path


def cached_weights() -> Path | None:
    """Return the file of the released weights if it has been downloaded already."""
    path = _cached()
    return path if os.access(path, os.R_OK) else None


def _cached() -> Path:
    return cache_folder() / "weights-inception-2015-12-05.pth"


def download(url: str, path: Path, hash_prefix: str) -> None:
    """Fetch `url` to `path`; it appears only when its sha256 starts with `hash_prefix`.

    Raises:
        ScoringError: with the other ways to score.
    """
    others = (
        "Fetch the file by other means and pass --weights FILE, or score without a network: "
        "--features efficientnet-lite0"
    )
    try:
        folder = _partial_folder(path)
    except OSError as error:
        raise ScoringError(
            f"The Inception weights cannot be kept in {path.parent} ({error.strerror or error}). "
            f"Set PAINTER_CACHE to a folder that can be written to. {others}"
        ) from None
    try:
        _fetch(url, folder)
        digest = file_sha256(folder / _BODY)
        if digest.startswith(hash_prefix):
            (folder / _BODY).replace(path)
            shutil.rmtree(folder)
            return
    except (OSError, http.client.HTTPException) as error:
        raise ScoringError(
            f"The Inception weights cannot be downloaded from {url} ({_reason(error)})."
            f"{_keep_or_remove(folder)} {others}"
        ) from None
    shutil.rmtree(folder)
    raise ScoringError(
        f"What came from {url} is not the released file (sha256 {digest[:8]}, "
        f"expected {hash_prefix}). {others}"
    )


def _reason(error: OSError | http.client.HTTPException) -> str:
    """Return why a download failed.

    A refused connection or status comes as URLError, a reset or time-out in the middle as another
    OSError, and a reply that is not HTTP as HTTPException.
    """
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the reply too, and holds the connection open
    if isinstance(error, http.client.InvalidURL):  # of a proxy, with its password
        return type(error).__name__
    return str(getattr(error, "reason", None) or str(error) or type(error).__name__)


def _partial_folder(path: Path) -> Path:
    """Return this process's folder for an unfinished download: `body`, and `etag` of its version.

    An earlier call's is taken up again, and so is that of a process that is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = partial_name(path)
    for stale in stale_partials(path):
        if stale.is_dir() and not folder.exists():
            with suppress(OSError):  # another process was quicker
                stale.rename(folder)
    remove_stale_partials(path)
    folder.mkdir(exist_ok=True)
    return folder


def _fetch(url: str, folder: Path) -> None:
    """Download to the folder's body, beginning where that ends if it is of the same version."""
    body, version = folder / _BODY, folder / _VERSION
    here = body.stat().st_size if body.exists() and version.exists() else 0
    request = urllib.request.Request(url)
    if here:
        request.add_header("Range", f"bytes={here}-")
        request.add_header("If-Range", version.read_text())
    try:
        reply = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not here:
            raise
        error.close()
        version.unlink()
        _fetch(url, folder)
        return
    with reply:
        if reply.status != HTTPStatus.PARTIAL_CONTENT:
            here = 0  # another version, or a server without ranges: from the beginning
        elif not reply.headers.get("Content-Range", "").startswith(f"bytes {here}-"):
            version.unlink()
            raise ConnectionError("the server sent another part than was asked for")
        with body.open("ab" if here else "wb") as file:
            _note_version(reply.headers.get("ETag"), version)
            _copy(reply, file, here)


def _note_version(etag: str | None, version: Path) -> None:
    if etag is None or etag.startswith("W/"):  # weak: the bytes may differ all the same
        version.unlink(missing_ok=True)
    else:
        version.write_text(etag)


def _copy(reply: http.client.HTTPResponse, file: BinaryIO, here: int) -> None:
    """Append what comes to `file`, which holds `here` bytes.

    Raises:
        ConnectionError: if less came than was announced.
    """
    length = reply.headers.get("Content-Length")
    size = here + int(length) if length else None
    with tqdm(total=size, initial=here, desc="weights", unit="B", unit_scale=True) as bar:
        while chunk := reply.read(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        if size is not None and file.tell() < size:
            raise ConnectionError(f"it broke off after {file.tell()} of {size} bytes")
        file.flush()
        os.fsync(file.fileno())


def _keep_or_remove(folder: Path) -> str:
    """Remove a partial download that cannot go on; return what to say of one that can."""
    if (folder / _VERSION).exists() and (size := (folder / _BODY).stat().st_size):
        return f" What came ({size / 1e6:.1f} MB) is kept: the same command goes on from there."
    shutil.rmtree(folder)
    return ""
