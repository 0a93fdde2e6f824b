"""What the code says about itself: docstrings, those after a name, and comments of presets."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache
from importlib import import_module, resources
from pathlib import Path

ROOT = Path(__file__).parents[2]


def first_sentence(thing: object) -> str:
    """Return the first sentence of a docstring, in one line."""
    text = one_line((inspect.getdoc(thing) or "").split("\n\n")[0])
    return re.split(r"(?<=[.])\s", text)[0]


def one_line(text: str) -> str:
    """Return text without its line ends."""
    return re.sub(r"\s+", " ", text).strip()


def module_sentence(name: str) -> str:
    """Return the first sentence of a module's docstring."""
    return first_sentence(import_module(name))


@cache
def field_docs(cls: type) -> dict[str, str]:
    """Return the docstrings after the fields of a dataclass, its own before inherited ones."""
    found: dict[str, str] = {}
    for part in cls.__mro__:
        if part.__module__ != "builtins":
            found = _docs_in(textwrap.dedent(inspect.getsource(part))) | found
    return found


def _docs_in(source: str) -> dict[str, str]:
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    return {
        field.target.id: one_line(text.value.value)
        for field, text in zip(node.body, node.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def top_comment(package: str, *place: str) -> str:
    """Return the comment with which a TOML file of a package begins."""
    lines = resources.files(package).joinpath(*place).read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return one_line(" ".join(comment))
