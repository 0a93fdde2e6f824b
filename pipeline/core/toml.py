"""Values as TOML, which configs, `--set` and studies are read from."""

from __future__ import annotations

import json
import tomllib
from typing import Any

LARGEST = 2**63 - 1
"""Whole numbers of TOML have 64 bits."""


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a TOML document holds.

    Raises:
        tomllib.TOMLDecodeError: if it is none.
        ValueError: also if a whole number has more than 64 bits, or lists or tables lie too deep
            in each other.
    """
    try:
        content = tomllib.loads(text)
        _check_numbers(content)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("lists or tables lie too deep in each other") from None
    except ValueError:  # more digits than Python reads
        raise ValueError("a number is beyond 2**63 - 1, the largest that there may be") from None
    return content


def _check_numbers(value: Any) -> None:
    """Raise ValueError if a whole number in a value has more than 64 bits."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            _check_numbers(inner)
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise ValueError


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
