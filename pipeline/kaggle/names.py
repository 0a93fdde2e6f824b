"""Parses dataset and competition names, also from the URLs of Kaggle's pages.

Knows the form of those URLs; sends no request.
"""

from __future__ import annotations

import re

DATASET = "dataset:"
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?kaggle\.com/", re.IGNORECASE)
_PREFIX = re.compile(r"datasets?\s*[:/]\s*", re.IGNORECASE)
_SLUG = r"\w[\w.-]*"
_PAGES = (
    "c", "code", "competitions", "datasets", "discussions", "docs", "kernels", "learn", "models",
    "notebooks", "organizations", "settings",
)  # fmt: skip
"""First parts of addresses under which no user's name stands."""


def parse_dataset_name(text: str) -> str | None:
    """Return OWNER/SLUG of the dataset that `text` names in some form, or None."""
    given = _PREFIX.sub("", text.strip(), count=1)
    path = _page_path(given)
    if path is not None:
        path = _PREFIX.sub("", path, count=1)
        if path.split("/")[0].lower() in _PAGES:
            return None
    parts = (given if path is None else path).split("/")
    if path is not None or given != text.strip():
        parts = parts[:2]  # what follows is a tab of the page, or a version
    whole = len(parts) == 2 and all(re.fullmatch(_SLUG, part, re.ASCII) for part in parts)
    return "/".join(parts) if whole else None


def parse_source(text: str, competition: str) -> str | None:
    """Return the source that `text` names in some form, as `--source` takes it, or None.

    Args:
        text: what was given: a page's address, OWNER/SLUG, or a word in another case.
        competition: slug of the one whose data there is a source for.
    """
    plain = text.strip().lower()
    if plain in ("competition", "sample"):
        return plain
    path = _page_path(plain) or plain
    if re.sub(r"^(competitions?[:/]|c/)\s*", "", path).split("/")[0] == competition:
        return "competition"
    name = parse_dataset_name(text)
    return None if name is None else f"{DATASET}{name}"


def did_you_mean(meant: str | None) -> str:
    """Return a question to end a message with, or nothing."""
    return "" if meant is None else f" Did you mean {meant}?"


def _page_path(address: str) -> str | None:
    """Return what follows the host in the address of one of Kaggle's pages; None for others."""
    if not _ADDRESS.match(address):
        return None
    return re.split(r"[?#]", _ADDRESS.sub("", address, count=1))[0].strip("/")
