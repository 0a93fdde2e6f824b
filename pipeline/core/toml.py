"""Values as TOML, which configs, `--set` and studies are read from."""

from __future__ import annotations

import json
from typing import Any


def toml_value(value: Any) -> str:
    """Return a text, number, truth value, or list of them as TOML.

    As JSON, but for what TOML refuses: halves of a character outside the first 65,536, and a raw
    delete character.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if not isinstance(value, str):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
