"""Credentials of other sites than Kaggle, which trackers and uploads log in with.

They are their clients' affair; painter looks them up only to hide them (`pipeline.core.redaction`).
"""

from __future__ import annotations

import netrc
import os
import re
from contextlib import suppress
from pathlib import Path

from pipeline.core.paths import expand_user

VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY")
LOGINS = ("api", "user")
"""The names that clients send with a token, where a password is asked for."""
_STORED_TOKEN = re.compile(r"^\s*hf_token\s*=\s*(\S+)", re.MULTILINE)


def tokens() -> set[str]:
    """Return the tokens in variables, and those that `hf auth login` keeps."""
    found = {os.environ.get(name, "") for name in VARIABLES}
    home = _hugging_face_home()
    token_file = os.environ.get("HF_TOKEN_PATH")
    with suppress(OSError, ValueError):
        found.add(
            (expand_user(token_file) if token_file else home / "token").read_text(encoding="utf-8")
        )
    with suppress(OSError, ValueError):
        found |= set(_STORED_TOKEN.findall((home / "stored_tokens").read_text(encoding="utf-8")))
    return {token.strip() for token in found} - {""}


def _hugging_face_home() -> Path:
    if chosen := os.environ.get("HF_HOME"):
        return expand_user(chosen)
    return expand_user(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def passwords() -> set[tuple[str, str]]:
    """Return logins and passwords in the file where `wandb login`, and other clients, keep them."""
    chosen = os.environ.get("NETRC")
    found = set()
    for name in [chosen] if chosen else ["~/.netrc", "~/_netrc"]:
        with suppress(OSError, ValueError, netrc.NetrcParseError):
            hosts = netrc.netrc(str(expand_user(name))).hosts
            found |= {(login or "", secret) for login, _, secret in hosts.values() if secret}
    return found
