"""Uploads to Kaggle: private datasets, created or given a new version."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from pipeline.core.errors import KaggleError, KaggleUnsure
from pipeline.kaggle.connection import (
    BLOBS,
    DATASETS,
    TIMEOUT,
    Connection,
    unfinished_uploads,
)
from pipeline.kaggle.errors import SITE, Subject, dataset, split_name
from pipeline.system.storage import file_sha256
from pipeline.system.transfers import byte_progress_bar


def dataset_state(connection: Connection, name: str) -> str | None:
    """Return what Kaggle is doing with a dataset; None if there is no such dataset."""
    from kagglesdk.datasets.types import dataset_api_service as types

    request = types.ApiGetDatasetStatusRequest()
    request.owner_slug, request.dataset_slug = split_name(name, "dataset")
    found = connection.send_or_none(dataset(name), DATASETS + "get_dataset_status", request)
    return None if found is None else str(found.status.name)


def upload_dataset(connection: Connection, name: str, files: list[Path], notes: str) -> None:
    """Make the private dataset OWNER/SLUG of `files`, or a new version of it.

    Raises:
        KaggleError: if Kaggle refuses it or one of the files.
        KaggleUnreachable: if the upload breaks off again and again.
    """
    from kagglesdk.datasets.types import dataset_api_service as types

    there = dataset_state(connection, name) is not None
    uploaded = []
    with unfinished_uploads() as context:
        for path in files:
            file = types.ApiDatasetNewFile()
            file.token = _upload(connection, path, context)
            uploaded.append(file)
    try:
        if there:
            response = _create_version(connection, name, uploaded, notes)
        else:
            response = _create(connection, name, uploaded)
    except KaggleUnsure:
        if there or dataset_state(connection, name) is None:
            raise
        return
    if response.error or response.status.lower() == "error":
        raise KaggleError(f"Kaggle refused the dataset {name}: {response.error or response.status}")


def _create(connection: Connection, name: str, files: list[Any]) -> Any:
    from kagglesdk.datasets.types import dataset_api_service as types

    request = types.ApiCreateDatasetRequest()
    request.owner_slug, request.slug = split_name(name, "dataset")
    request.title = request.slug.replace("-", " ")
    request.license_name = "other"
    request.is_private = True
    request.files = files
    return connection.send(dataset(name), DATASETS + "create_dataset", request, idempotent=False)


def _create_version(connection: Connection, name: str, files: list[Any], notes: str) -> Any:
    from kagglesdk.datasets.types import dataset_api_service as types

    body = types.ApiCreateDatasetVersionRequestBody()
    body.version_notes = notes
    body.files = files
    body.delete_old_versions = True
    request = types.ApiCreateDatasetVersionRequest()
    request.owner_slug, request.dataset_slug = split_name(name, "dataset")
    request.body = body
    # Repeating it makes the same version once more, which harms nothing.
    return connection.send(dataset(name), DATASETS + "create_dataset_version", request)


def _upload(connection: Connection, path: Path, context: Any) -> str:
    """Upload one file, from where an earlier call stopped, and return its token.

    The client's own upload (2.2.5) sets no time limit, gives up at the first 500, and sleeps as
    long as a 429 says; what it remembers of unfinished uploads is used.
    """
    from kagglesdk.blobs.types import blob_api_service as types

    request = types.ApiStartBlobUploadRequest()
    request.type = types.ApiBlobType.DATASET
    request.name = path.name
    request.content_length = path.stat().st_size
    request.last_modified_epoch_seconds = int(path.stat().st_mtime)
    key = f"painter-{file_sha256(path)}"  # other content is another upload

    def upload() -> str:
        session = context.new_resumable_file_upload(key, request)
        known = session.start_blob_upload_response if session.can_resume else None
        offset = None if known is None else _arrived(known.create_url, request.content_length)
        if offset is None:
            session.upload_initiated(connection.send_once(BLOBS + "start_blob_upload", request))
        started = session.start_blob_upload_response
        _send_rest(started.create_url, path, offset or 0)
        return str(started.token)

    subject = Subject(f"the upload of {path.name}", SITE, "Call again")
    return connection.call_with_retries(subject, upload)


def _arrived(url: str, size: int) -> int | None:
    """Return how many bytes of an upload have arrived; None if it has expired."""
    import requests

    headers = {"Content-Range": f"bytes */{size}"}
    response = requests.put(url, headers=headers, timeout=TIMEOUT)
    if response.status_code == HTTPStatus.PERMANENT_REDIRECT:  # means "resume incomplete" here
        last = response.headers.get("Range", "").rpartition("-")[2]
        return int(last) + 1 if last.isdigit() else 0
    if 400 <= response.status_code < 500 and response.status_code != 429:
        return None
    response.raise_for_status()
    return size


def _send_rest(url: str, path: Path, offset: int) -> None:
    """Send a file from `offset` on; do nothing if all of it has arrived."""
    import requests
    from tqdm.utils import CallbackIOWrapper

    size = path.stat().st_size
    if offset and offset == size:
        return
    headers = {"Content-Range": f"bytes {offset}-{size - 1}/{size}"} if offset else {}
    with path.open("rb") as file, byte_progress_bar(f"upload {path.name}", size, offset) as bar:
        file.seek(offset)
        body = CallbackIOWrapper(bar.update, file, "read")
        response = requests.put(url, data=body, headers=headers, timeout=TIMEOUT)
    response.raise_for_status()
    if response.status_code == HTTPStatus.PERMANENT_REDIRECT:
        raise requests.ConnectionError("less has arrived than was sent")
