"""Names from outside as text that any file, page and terminal takes.

A file's name need not be UTF-8. Python keeps the bytes that are not as lone surrogates, which no
UTF-8 file can hold; here they become `\\xNN`, as a shell shows them. What strangers wrote may hold
characters that a terminal obeys; these become the same, or nothing.
"""

from __future__ import annotations

import codecs
import io
import re
import sys
from typing import Any

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_OBEYED = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # a colour, or a move of the cursor, as a whole
    "|[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
"""What a terminal does not show but carries out: control characters, marks of direction."""
_BREAKS = "\n\v\f\r\x85\u2028\u2029"
_LEGIBLE = "painter-legible"
_FIRST_BYTE, _LAST_BYTE = 0xDC80, 0xDCFF
"""The surrogates that stand for the bytes 0x80 to 0xFF of a name."""


def escape_surrogates(text: str) -> str:
    """Return text without lone surrogates: bytes that are not UTF-8 are written as `\\xNN`.

    Other text is returned as it is: calling it twice changes nothing more.
    """
    return _LONE_SURROGATE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if _FIRST_BYTE <= code <= _LAST_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}"


def escape_values(content: Any) -> Any:
    """Return a JSON value with `escape_surrogates` applied to every string and key."""
    if isinstance(content, str):
        return escape_surrogates(content)
    if isinstance(content, dict):
        return {escape_values(key): escape_values(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [escape_values(value) for value in content]
    return content


def one_line(text: str) -> str:
    """Return text by strangers as one line, which a terminal shows and does not obey.

    Sequences that set colours are left out, line breaks become spaces; other control characters but
    tabs, and marks that turn the direction of reading, are written as `\\xNN` or `\\uNNNN`.
    """
    return _OBEYED.sub(_harmless, text)


def _harmless(match: re.Match[str]) -> str:
    found = match[0]
    if len(found) > 1:
        return ""
    if found in _BREAKS:
        return " "
    return f"\\x{ord(found):02x}" if found <= "\xff" else f"\\u{ord(found):04x}"


def escape_output() -> None:
    """Make standard output and standard error escape names that are not UTF-8 likewise."""
    codecs.register_error(_LEGIBLE, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_LEGIBLE)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Stand in for what a stream's encoding lacks: a handler of `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = escape_surrogates(error.object[error.start : error.end])
    return lacking.encode("ascii", "backslashreplace").decode(), error.end
