"""Pushing an exported model to the Hugging Face hub, by its own client: `painter export --push`.

Nothing goes there unless it is asked for. The repository is made if there is none, private unless
it is to be public; the files are listed before the first byte is sent, and come in one commit. The
token is the client's affair: `hf auth login` keeps it, or HF_TOKEN holds it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

from pipeline import __version__
from pipeline.core.errors import ConfigError, WorkFailed
from pipeline.core.redaction import PLACEHOLDER, redact

INSTALL = "pip install huggingface_hub"
LOGIN = "`hf auth login` keeps a token that may write, or HF_TOKEN holds one"
_REPOSITORY = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}")


def check_push(repository: str) -> None:
    """Check, before anything is made, that pushing is possible as far as this machine knows.

    Args:
        repository: OWNER/NAME.

    Raises:
        ConfigError: if that is no such name, the client is not installed, or there is no token.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigError(f"--push is {repository!r}; expected OWNER/NAME, as the hub writes it.")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError(
            f"--push needs huggingface_hub, which is not installed. Install it: {INSTALL}"
        )
    _token()


def push(folder: Path, repository: str, public: bool, say: Callable[[str], None]) -> str:
    """Upload a model's folder in one commit, and return the address of its page.

    Args:
        folder: of an exported model.
        repository: OWNER/NAME; made if there is none, else its visibility stays as it is.
        public: make it public.
        say: takes the lines that list what is sent, before it is.

    Raises:
        ConfigError: if there is no token.
        WorkFailed: if the hub refuses, or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    token = _token()
    api = HfApi(token=token, library_name="painter", library_version=__version__)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    say(f"To {api.endpoint}/{repository}, {'public' if public else 'private'} if it is new:")
    for path in files:
        say(f"  {path.relative_to(folder).as_posix()}  {path.stat().st_size / 1e6:.2f} MB")
    try:
        made = api.create_repo(repository, private=not public, exist_ok=True)
        api.create_commit(
            made.repo_id,
            [CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in files],
            commit_message=f"{folder.name}, exported by painter {__version__}",
        )
    except Exception as error:
        # The client lets the errors of its HTTP library through, and has changed that library.
        raise WorkFailed(
            f"The hub did not take {repository} ({_reason(error, token)}). {folder} is "
            f"whole: the same command under another --name exports it again. {LOGIN}."
        ) from None
    return str(made)


def _reason(error: BaseException, token: str) -> str:
    """Return what went wrong and because of what, on one line and without the token."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        parts.append(f"{type(cause).__name__}: {' '.join(str(cause).split())}")
        cause = cause.__cause__
    return redact("; ".join(parts).replace(token, PLACEHOLDER))


def _token() -> str:
    """Return the token that the client finds.

    Raises:
        ConfigError: if it finds none.
    """
    from huggingface_hub import get_token

    token: str | None = get_token()
    if token is None:
        raise ConfigError(
            f"--push needs a token of the Hugging Face hub, and there is none: {LOGIN}."
        )
    return token
