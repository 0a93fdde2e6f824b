"""What messages that suggest a command have in common."""

from __future__ import annotations

import shlex


def quoted(word: object) -> str:
    """Return a path or name as a shell takes it: in quotes if it has spaces or other signs."""
    return shlex.quote(str(word))
