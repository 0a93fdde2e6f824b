"""The released Inception weights: downloaded once, checked by hash, cached."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from pipeline.caches import cache_folder
from pipeline.errors import ScoringError
from pipeline.storage import atomic_file

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
RELEASED_HASH_PREFIX = "6726825d"
"""The start of the sha256 of the released Inception weights; part of their file name."""
_CHUNK = 2**20
_TIMEOUT_SECONDS = 30


def inception_weights() -> Path:
    """Return the cached file of the released weights, downloading it (95 MB) if needed.

    Raises:
        ScoringError: if it cannot be fetched, or what came is not the released file.
    """
    path = _cached()
    if not path.exists():
        download(INCEPTION_URL, path, RELEASED_HASH_PREFIX)
    return path


def cached_weights() -> Path | None:
    """Return the file of the released weights if it has been downloaded already."""
    path = _cached()
    return path if path.exists() else None


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
        with atomic_file(path) as file:
            digest = _stream(url, file)
            if not digest.startswith(hash_prefix):
                raise ScoringError(
                    f"What came from {url} is not the released file (sha256 {digest[:8]}, "
                    f"expected {hash_prefix}). {others}"
                )
    except (OSError, http.client.HTTPException) as error:
        # A refused connection or status comes as URLError, a reset or time-out in the middle as
        # another OSError, and a reply that is not HTTP as HTTPException.
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the reply too, and holds the connection open
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise ScoringError(
            f"The Inception weights cannot be downloaded from {url} ({reason}). {others}"
        ) from None


def _stream(url: str, file: BinaryIO) -> str:
    """Copy the body of `url` into `file`; return its sha256."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as reply:
        size = int(reply.headers.get("Content-Length") or 0) or None
        with tqdm(total=size, desc="weights", unit="B", unit_scale=True) as bar:
            while chunk := reply.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
            if size is not None and file.tell() < size:
                raise ConnectionError(f"it broke off after {file.tell()} of {size} bytes")
    return digest.hexdigest()
