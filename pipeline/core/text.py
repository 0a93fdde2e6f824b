"""Names from outside as text that any file, page and terminal takes.

A file's name need not be UTF-8. Python keeps the bytes that are not as lone surrogates, which no
UTF-8 file can hold; here they become `\\xNN`, as a shell shows them. So do characters that a
terminal obeys, by which a name, or what strangers wrote, could steer it or pass for further lines.
"""

from __future__ import annotations

import codecs
import io
import re
import sys
from typing import Any

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_MARKS = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""Of lines, and of the direction of reading."""
_OBEYED = re.compile(rf"[\x00-\x1f\x7f-\x9f{_MARKS}]")
"""What a terminal does not show but carries out."""
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""A colour, or a move of the cursor, as a whole."""
_BREAKS = re.compile(r"[\n\v\f\r\x85\u2028\u2029]")
_CONTROL_OR_STYLE = re.compile(r"\x1b\[[\d;]*[mK]|(?![\t\n\r])[\x00-\x1f\x7f-\x9f]")
_MOVES = re.compile(r"(?:\x1b\[\??\d*[A-HJKhlm]+|[\r\n])+")
"""What a progress bar writes, by itself, to come to its line, and to clear it."""
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


def show_controls(text: str) -> str:
    """Return text as one line: what a terminal obeys is written as `\\n`, `\\xNN` or `\\uNNNN`."""
    return _OBEYED.sub(_escaped_control, escape_surrogates(text))


def one_line(text: str) -> str:
    """Return text by strangers as one line, which a terminal shows and does not obey.

    Sequences that set colours are left out, line breaks become spaces, tabs stay; all else is as
    `show_controls` writes it.
    """
    spaced = _BREAKS.sub(" ", _SEQUENCE.sub("", text))
    return "\t".join(map(show_controls, spaced.split("\t")))


def escape_controls(text: str) -> str:
    """Return what a program prints with control characters as `\\xNN`, but for its own.

    Ends of lines, tabs, colours and the moves of progress bars stay.
    """
    return text if moves_cursor(text) else _CONTROL_OR_STYLE.sub(_escaped_control, text)


def moves_cursor(text: str) -> bool:
    """Tell whether text is nothing but what a progress bar draws itself anew by."""
    return "\x1b" in text and _MOVES.fullmatch(text) is not None


def _escaped_control(match: re.Match[str]) -> str:
    return match[0] if len(match[0]) > 1 else repr(match[0])[1:-1]


def escape_values(content: Any) -> Any:
    """Return a JSON value with `escape_surrogates` applied to every string and key."""
    if isinstance(content, str):
        return escape_surrogates(content)
    if isinstance(content, dict):
        return {escape_values(key): escape_values(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [escape_values(value) for value in content]
    return content


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
