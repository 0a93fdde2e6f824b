"""The one wrapper round Kaggle's own client: right calls, clear errors, no secrets printed."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, KaggleError

TOKEN_PAGE = "https://www.kaggle.com/settings"
SITE = "https://www.kaggle.com"


class KaggleClient:
    """Kaggle's API for downloads."""

    def __init__(self) -> None:
        """Find the client and the credentials.

        Raises:
            KaggleError: if the client is not installed, there are no credentials, or Kaggle
                refuses them or cannot be reached.
        """
        # The client prints pages of help and calls exit() when it is unhappy.
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                from kaggle.api.kaggle_api_extended import KaggleApi

                self._api: Any = KaggleApi()
                with _explained("your account", TOKEN_PAGE, f"Create a new token: {TOKEN_PAGE}"):
                    self._authenticate()
            except ModuleNotFoundError as error:
                raise KaggleError(
                    f"Kaggle's client cannot be imported ({error.name} is missing). "
                    "Install it: pip install kaggle six"
                ) from None

    def _authenticate(self) -> None:
        try:
            self._api.authenticate()
        except SystemExit:
            raise KaggleError(
                "No valid Kaggle credentials found. Create a token on "
                f"{TOKEN_PAGE} and save it as ~/.kaggle/access_token, set KAGGLE_API_TOKEN, "
                "or run `kaggle auth login`. Without an account: --source sample"
            ) from None

    def download_competition(self, slug: str, folder: Path) -> Path:
        """Fetch the competition's zip into `folder`, made for it, resuming a broken transfer.

        Raises:
            KaggleError: if the rules are not accepted, the slug is unknown, or the site refuses.
        """
        page = f"{SITE}/competitions/{slug}"
        with _explained(f"the competition {slug!r}", page, f"Accept the rules on {page}/rules"):
            self._quietly(self._api.competition_download_files, slug, path=str(folder))
        return _whole_zip(folder / f"{slug}.zip")

    def download_dataset(self, name: str, folder: Path) -> Path:
        """Fetch the zip of the dataset `OWNER/SLUG` into `folder`, made for it, likewise.

        Raises:
            KaggleError: if there is no such dataset, or the site refuses.
        """
        if name.count("/") != 1 or not all(name.split("/")):
            raise KaggleError(f"A dataset is named OWNER/SLUG, found {name!r}.")
        page = f"{SITE}/datasets/{name}"
        with _explained(f"the dataset {name!r}", page, f"Ask its owner for access: {page}"):
            self._quietly(self._api.dataset_download_files, name, path=str(folder))
        return _whole_zip(folder / f"{name.split('/')[1]}.zip")

    @staticmethod
    def _quietly(call: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Call the client with its progress bar, but without its chatter on standard output."""
        with contextlib.redirect_stdout(io.StringIO()):
            call(*args, quiet=False, **options)


@contextlib.contextmanager
def _explained(what: str, page: str, when_forbidden: str) -> Iterator[None]:
    """Turn the client's exceptions into messages that name the next step."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise KaggleError(_status_message(status, what, page, when_forbidden)) from None
    except requests.RequestException:
        raise KaggleError(
            f"Kaggle cannot be reached for {what}. Check the network and call again; "
            "what has arrived is kept."
        ) from None
    except (ValueError, SystemExit) as error:
        raise KaggleError(f"Kaggle's client refused {what}: {error}.") from None


def _status_message(status: int, what: str, page: str, when_forbidden: str) -> str:
    if status == 401:
        return f"Kaggle does not accept the credentials (401). Create a new token: {TOKEN_PAGE}"
    if status == 403:
        return f"Kaggle refuses {what} (403). {when_forbidden}"
    if status == 404:
        return f"Kaggle knows no {what.removeprefix('the ')} (404). Look it up: {page}"
    if status == 429:
        return f"Kaggle has had too many requests (429) for {what}. Wait a minute, call again."
    return f"Kaggle answered {status} for {what}. Call again later; its status: {SITE}"


def _whole_zip(path: Path) -> Path:
    """Return `path` if it is a whole zip; else remove its folder, so that a call starts anew."""
    from pipeline.data.images import open_images

    if not path.exists():
        shutil.rmtree(path.parent, ignore_errors=True)
        raise KaggleError(f"Kaggle sent no zip (expected {path.name}). Call again later.")
    try:
        open_images(path)
    except DataError as error:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise KaggleError(f"What Kaggle sent is no whole zip of images: {error}") from None
    return path


def download_cache(folder: Path) -> Path:
    """Return where a download waits until it is whole, beside the data folder."""
    return folder.with_name(f".{folder.name}.download")


def remove_cache(folder: Path) -> None:
    """Remove what waits there."""
    shutil.rmtree(download_cache(folder), ignore_errors=True)
