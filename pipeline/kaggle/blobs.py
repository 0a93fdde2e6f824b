"""Files on their way to Kaggle: uploads that go on where they were interrupted.

The client's own upload (2.2.5) resumes too, but sets no time limit, gives up at the first 500 and
sleeps as long as a 429 says.

Kaggle opens a resumable upload for each file, as Google Cloud Storage has them: its address says
how much has arrived, and takes the rest. The address waits a week; it is kept in the cache folder,
named after the file's content, so that another process can go on, and the same file is not sent
twice. https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pipeline.core.errors import KaggleUnreachable
from pipeline.core.records import from_json
from pipeline.kaggle import patience
from pipeline.kaggle.connection import BLOBS, TIMEOUT, Connection
from pipeline.kaggle.errors import SITE, Subject, note_response
from pipeline.system.caches import cache_folder
from pipeline.system.storage import file_sha256, write_json
from pipeline.system.transfers import byte_progress_bar

LIFETIME = 6 * 24 * 3600.0
"""Seconds after which an upload is begun anew: Google keeps one for a week."""
COMPLETE = (HTTPStatus.OK, HTTPStatus.CREATED)
AFTER_THE_LAST_BYTE = 60.0
"""Seconds that Kaggle may take over what has arrived, where patience is limited."""


@dataclass(frozen=True)
class _Session:
    """An upload that Kaggle has opened."""

    token: str
    """What a dataset names the file by."""
    url: str
    """Takes the content. Whoever knows it can write this one file, and nothing else."""
    started: float
    """Seconds since 1970."""


class _Transfer:
    """One file's upload, over as many attempts as it takes."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self.arrived = 0
        """Bytes that Kaggle has."""
        self._connection = connection
        self._path = path
        self._size = path.stat().st_size
        self._record = _record_of(connection, path)

    def attempt(self) -> str:
        """Send what Kaggle does not have yet; return the file's token."""
        session = self._resumed() or self._started()
        if self.arrived < self._size or not self._size:
            self._send(session)
        patience.renew(AFTER_THE_LAST_BYTE)
        return session.token

    def _resumed(self) -> _Session | None:
        """Return the upload that was begun before, if it can go on; find out how far it came."""
        session = _read(self._record)
        if session is None:
            return None
        response = _put(session.url, b"", {"Content-Range": f"bytes */{self._size}"})
        if response.status_code >= 500:
            response.raise_for_status()
        if response.status_code in COMPLETE:
            self.arrived = self._size
        elif response.status_code == HTTPStatus.PERMANENT_REDIRECT:
            self.arrived = _arrived(response)
        else:
            self._record.unlink(missing_ok=True)
            self.arrived = 0
            return None
        return session

    def _started(self) -> _Session:
        """Ask Kaggle for a new upload."""
        from kagglesdk.blobs.types import blob_api_service as types

        request = types.ApiStartBlobUploadRequest()
        request.type = types.ApiBlobType.DATASET
        request.name = self._path.name
        request.content_length = self._size
        request.last_modified_epoch_seconds = int(self._path.stat().st_mtime)
        found = self._connection.send_once(BLOBS + "start_blob_upload", request)
        session = _Session(str(found.token), str(found.create_url), time.time())
        _write(self._record, session)
        return session

    def _send(self, session: _Session) -> None:
        """Send the file from where Kaggle has it."""
        import requests
        from tqdm.utils import CallbackIOWrapper

        label = f"upload {self._path.name}"
        part = {"Content-Range": f"bytes {self.arrived}-{self._size - 1}/{self._size}"}
        with (
            self._path.open("rb") as file,
            byte_progress_bar(label, self._size, self.arrived) as bar,
        ):

            def moved_on(count: int) -> None:
                bar.update(count)
                patience.renew()

            file.seek(self.arrived)
            body = CallbackIOWrapper(moved_on, file, "read")
            response = _put(session.url, body, part if self.arrived else {})
        response.raise_for_status()
        if response.status_code not in COMPLETE:  # a part alone was kept
            raise requests.ConnectionError("the upload is not complete")


def upload_file(connection: Connection, path: Path) -> str:
    """Upload a file, going on with an upload of the same content; return its token.

    It is given up where several attempts in a row brought nothing further.

    Raises:
        KaggleError: if Kaggle refuses it.
        KaggleUnreachable: if nothing arrives any more; the same call goes on later.
    """
    transfer = _Transfer(connection, path)
    subject = Subject(f"the upload of {path.name}", SITE, "Call again")
    before = -1
    while True:
        try:
            return connection.call_with_retries(subject, transfer.attempt)
        except KaggleUnreachable:
            if transfer.arrived <= max(before, 0):
                raise
            before = transfer.arrived


def forget(connection: Connection, files: Iterable[Path]) -> None:
    """Forget the uploads of files: a dataset has them, or Kaggle did not want them."""
    for path in files:
        _record_of(connection, path).unlink(missing_ok=True)


def _put(url: str, body: Any, headers: dict[str, str]) -> Any:
    """Send a request to an upload's address, which carries its own permission."""
    import requests

    timeout = (patience.shortened(TIMEOUT)[0], TIMEOUT[1])
    response = requests.put(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
    note_response()
    return response


def _arrived(response: Any) -> int:
    """Return how many bytes Kaggle has, by the header Range of its answer."""
    found = re.fullmatch(r"bytes=0-(\d+)", response.headers.get("Range", ""))
    return int(found[1]) + 1 if found else 0


def _record_of(connection: Connection, path: Path) -> Path:
    """Return where the upload of a file is noted: by account, name and content."""
    what = "\n".join([connection.user, path.name, file_sha256(path)])
    return cache_folder() / "uploads" / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"


def _read(record: Path) -> _Session | None:
    """Return the upload that was noted, if it may still go on."""
    if not record.exists():
        return None
    try:
        session = from_json(_Session, json.loads(record.read_text(encoding="utf-8")))
    except (TypeError, ValueError, OSError):
        return None
    return session if 0 <= time.time() - session.started < LIFETIME else None


def _write(record: Path, session: _Session) -> None:
    """Note an upload, for this user's eyes alone; where nothing can be noted, it does without."""
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        record.parent.chmod(0o700)
        write_json(record, asdict(session))
