"""Uploads to Kaggle: private datasets, created or given a new version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core.errors import KaggleError, KaggleUnsure
from pipeline.kaggle.connection import BLOBS, DATASETS, TIMEOUT, Connection
from pipeline.kaggle.errors import SITE, Subject, dataset, split_name
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
    for path in files:
        file = types.ApiDatasetNewFile()
        file.token = _upload(connection, path)
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


def _upload(connection: Connection, path: Path) -> str:
    """Upload one file and return its token.

    The client's own upload leaves files out without an error when a transfer fails.
    """
    import requests
    from kagglesdk.blobs.types import blob_api_service as types
    from tqdm.utils import CallbackIOWrapper

    request = types.ApiStartBlobUploadRequest()
    request.type = types.ApiBlobType.DATASET
    request.name = path.name
    request.content_length = path.stat().st_size
    request.last_modified_epoch_seconds = int(path.stat().st_mtime)
    label = f"upload {path.name}"

    def upload() -> str:
        started = connection.send_once(BLOBS + "start_blob_upload", request)
        with path.open("rb") as file, byte_progress_bar(label, request.content_length) as bar:
            body = CallbackIOWrapper(bar.update, file, "read")
            requests.put(started.create_url, data=body, timeout=TIMEOUT).raise_for_status()
        return str(started.token)

    subject = Subject(f"the upload of {path.name}", SITE, "Call again")
    return connection.call_with_retries(subject, upload)
