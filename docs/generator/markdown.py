"""Markdown as GitHub renders it: tables, code, lists of links."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

NOTICE = "<!-- Written by `make reference` from the code. Change it there. -->"
_CODE = re.compile(r"(`[^`]+`)")


def document(*parts: str) -> str:
    """Return a page of parts with an empty line between them, marked as generated."""
    return "\n\n".join([NOTICE, *(part.strip("\n") for part in parts if part)]) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Cells are Markdown; bars and line ends in them are taken care of."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", r"\|")


def code(text: object) -> str:
    """Return a piece of code inside a line."""
    return f"`{text}`"


def plain(text: str) -> str:
    """Return text that was written for people, code in it between backticks, as Markdown."""
    parts = _CODE.split(text)
    return "".join(p if p.startswith("`") else re.sub(r"([*<])", r"\\\1", p) for p in parts)


def block(text: str, language: str = "") -> str:
    """Return lines of code."""
    return f"```{language}\n{text.strip()}\n```"


def link(title: str) -> str:
    """Return a link to a heading of the same page."""
    anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    return f"[{title}](#{anchor})"
