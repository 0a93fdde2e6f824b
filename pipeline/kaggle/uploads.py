"""Uploads to Kaggle: private datasets, created or given a new version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core.errors import KaggleError, KaggleUnsure
from pipeline.kaggle import blobs
from pipeline.kaggle.connection import DATASETS, Connection
from pipeline.kaggle.errors import dataset, split_name
from pipeline.kaggle.responses import text_of


def dataset_state(connection: Connection, name: str) -> str | None:
    """Return what Kaggle is doing with a dataset; None if there is no such dataset."""
    from kagglesdk.datasets.types import dataset_api_service as types

    request = types.ApiGetDatasetStatusRequest()
    request.owner_slug, request.dataset_slug = split_name(name, "dataset")
    found = connection.send_or_none(dataset(name), DATASETS + "get_dataset_status", request)
    return None if found is None else str(found.status.name)


def upload_dataset(
    connection: Connection, name: str, files: list[Path], notes: str, immutable: bool = False
) -> None:
    """Make the private dataset OWNER/SLUG of `files`, or a new version of it.

    Args:
        connection: the account.
        name: of the dataset.
        files: what it is to hold.
        notes: on a new version.
        immutable: whether its name stands for this content: if it is there, it is whole.

    Raises:
        KaggleError: if Kaggle refuses it or one of the files.
        KaggleUnreachable: if the upload breaks off again and again; the same call goes on with it.
    """
    there = dataset_state(connection, name) is not None
    try:
        response = _upload_and_make(connection, name, files, notes if there else None)
    except KaggleUnsure:
        if there or dataset_state(connection, name) is None:
            raise  # what has arrived is not sent again by the next call
        response = None
    except KaggleError:
        blobs.forget(connection, files)
        raise
    blobs.forget(connection, files)
    if response is None or not (response.error or response.status.lower() == "error"):
        return
    if immutable and not there and dataset_state(connection, name) is not None:
        return  # another process has made it meanwhile
    reason = text_of(response.error or response.status)
    raise KaggleError(f"Kaggle refused the dataset {name}: {reason}")


def _upload_and_make(
    connection: Connection, name: str, files: list[Path], notes: str | None
) -> Any:
    """Upload files, and make a dataset of them, or with notes a new version; return the answer."""
    from kagglesdk.datasets.types import dataset_api_service as types

    uploaded = []
    for path in files:
        file = types.ApiDatasetNewFile()
        # The client's own upload leaves files out without an error when a transfer fails.
        file.token = blobs.upload_file(connection, path)
        uploaded.append(file)
    if notes is None:
        return _create(connection, name, uploaded)
    return _create_version(connection, name, uploaded, notes)


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
