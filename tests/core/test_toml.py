"""What is written as TOML is read again as it was."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.toml import LARGEST, parse_toml, toml_value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_is_read_again(text: str) -> None:
    assert tomllib.loads(f"a = {toml_value(text)}") == {"a": text}


@pytest.mark.parametrize(
    "value", [True, 3, 1e-05, float("inf"), [], [["a"], [2.5, False]], "😀\x7f"]
)
def test_every_value_is_read_again(value: Any) -> None:
    assert tomllib.loads(f"a = {toml_value(value)}") == {"a": value}


def test_whole_numbers_have_64_bits() -> None:
    assert parse_toml(f"a = [{LARGEST}, -{LARGEST}, 1e300]") == {"a": [LARGEST, -LARGEST, 1e300]}
    for number in (LARGEST + 1, -LARGEST - 2):
        with pytest.raises(ValueError, match="beyond"):
            parse_toml(f"a = [{{b = {number}}}]")
