"""Dataclasses from JSON: what fits is taken, what does not is refused."""

from dataclasses import dataclass

import pytest

from pipeline.core.records import from_json


@dataclass(frozen=True)
class Thing:
    name: str
    size: float
    count: int | None = None
    parts: dict[str, int] | None = None


def test_fields_are_taken_and_others_passed_over() -> None:
    found = from_json(Thing, {"name": "a", "size": 1, "parts": {"x": 1}, "later": True})
    assert found == Thing("a", 1, None, {"x": 1})


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"name": "a"},
        {"name": 1, "size": 1.0},
        {"name": "a", "size": "1"},
        {"name": "a", "size": True},
        {"name": "a", "size": 1.0, "count": 1.5},
        {"name": "a", "size": 1.0, "parts": []},
    ],
)
def test_what_is_missing_or_of_another_type_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        from_json(Thing, content)
