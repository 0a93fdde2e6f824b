"""Dataclasses read back from JSON files that people and other versions may have changed."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from pipeline.core.errors import LaterVersion

FORMAT = 1
"""Of the files that painter keeps; those that name none under `format` are in the first."""

T = TypeVar("T")


def check_format(path: Path, found: object, known: int = FORMAT) -> None:
    """Refuse a file in a format that this version does not know, before anything replaces it.

    Args:
        path: the file, for the message.
        found: what it says its format is: a whole number from 1 up.
        known: the latest format of such files that this version knows.

    Raises:
        LaterVersion: if `found` is anything else than 1 to `known`.
    """
    if type(found) is int and 1 <= found <= known:
        return
    raise LaterVersion(
        f"{path} is in format {found!r}, and this version of painter knows formats up to {known}: "
        "a later version wrote it. It is left as it is. Update painter, or work in another folder."
    )


def from_json(cls: type[T], content: Mapping[str, Any]) -> T:
    """Build a dataclass from a JSON object; unknown fields are ignored.

    Raises:
        TypeError: if a field is missing or has another type; whole numbers may stand for others.
    """
    hints = typing.get_type_hints(cls)
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # a dataclass
    values = {name: content[name] for name in known if name in content}
    for name, value in values.items():
        _check_type(name, value, hints[name])
    return cls(**values)


def drop_wrong_types(cls: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object without the values that have another type than a TypedDict gives them.

    What the TypedDict does not name is kept; whole numbers may stand for others.
    """
    hints = typing.get_type_hints(cls)
    return {
        name: value
        for name, value in content.items()
        if name not in hints or matches_type(value, hints[name])
    }


def _check_type(name: str, value: Any, hint: Any) -> None:
    if not matches_type(value, hint):
        raise TypeError(f"{name} is {value!r}")


def matches_type(value: object, hint: Any) -> bool:
    """Tell whether a value has a type that a hint allows; whole numbers may stand for others.

    What containers hold is not looked at. True and False are no numbers.
    """
    options = (dict if typing.is_typeddict(option) else option for option in union_members(hint))
    allowed = {typing.get_origin(option) or option for option in options}
    return type(value) in allowed or (type(value) is int and float in allowed)


def union_members(hint: Any) -> tuple[Any, ...]:
    """Return the types that a hint allows: those of a union, else the hint itself."""
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
