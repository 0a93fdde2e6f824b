"""Downloads from Kaggle: zips of data by its client, files of a kernel's output by ours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from pipeline.core.errors import KaggleError
from pipeline.kaggle.connection import TIMEOUT, Connection
from pipeline.kaggle.errors import SITE, Subject, note_response
from pipeline.system import transfers
from pipeline.system.storage import zip_damage
from pipeline.system.transfers import Response


def fetch(connection: Connection, url: str, path: Path, label: str) -> None:
    """Download a file of a kernel's output to `path`, resuming where an earlier call stopped.

    The client's own download (2.2.5) gives up at a first 429 or 500, sleeps as long as a later
    one says, and keeps a web page in the file's place.

    Raises:
        KaggleError: if Kaggle refuses, or sends a web page instead of the file.
        KaggleUnreachable: if the transfer breaks off again and again.
    """
    subject = Subject(f"the file {label}", SITE, "Pull again: links to output files expire.")
    version = path.with_name(f"{path.name}.etag")

    def try_once() -> None:
        transfers.download(
            lambda headers: _get(url, headers, label), path, version, label, keep_bar=False
        )

    connection.call_with_retries(subject, try_once)
    version.unlink(missing_ok=True)


@contextmanager
def _get(url: str, headers: dict[str, str], label: str) -> Iterator[Response]:
    import requests

    with requests.get(url, stream=True, headers=headers, timeout=TIMEOUT) as response:
        note_response()
        past_end = response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        if not past_end or "Range" not in headers:
            response.raise_for_status()
            _check_not_page(response.headers, label)
        yield Response(
            response.status_code, response.headers, response.iter_content(transfers.CHUNK_SIZE)
        )


def _check_not_page(headers: Mapping[str, str], label: str) -> None:
    if "text/html" in headers.get("Content-Type", "") and not label.endswith((".html", ".htm")):
        raise KaggleError(
            f"Kaggle sent a web page instead of {label}. Nothing of it was kept; call again later."
        )


def verified_zip(path: Path) -> Path:
    """Return `path` if it is a whole zip; else remove its folder, so that a call starts anew.

    Raises:
        KaggleError: if it is none.
    """
    if not path.exists():
        shutil.rmtree(path.parent, ignore_errors=True)
        raise KaggleError(f"Kaggle sent no zip (expected {path.name}). Call again later.")
    if problem := zip_damage(path):
        shutil.rmtree(path.parent, ignore_errors=True)
        raise KaggleError(f"What Kaggle sent is no whole zip ({problem}). Call again.")
    return path


def download_cache(folder: Path) -> Path:
    """Return where a download waits until it is whole, beside the data folder."""
    return folder.with_name(f".{folder.name}.download")


def remove_cache(folder: Path) -> None:
    """Remove what waits there."""
    shutil.rmtree(download_cache(folder), ignore_errors=True)
