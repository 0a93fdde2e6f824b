"""Ranges of the numbers that options take, in words: click writes 0<=x<=9223372036854775807."""

from __future__ import annotations

from typing import Any

import click

ENDLESS = 2**63 - 1
"""The end of a range that is only there because the number must fit somewhere."""


def in_words(numbers: click.IntRange | click.FloatRange) -> str:
    """Return which numbers a range has, for help, messages and documentation."""
    least, most = numbers.min, numbers.max
    if most is None or most == ENDLESS:
        return f"above {least}" if numbers.min_open else f"{least} or more"
    if numbers.min_open and numbers.max_open:
        return f"between {least} and {most}"
    return f"from {least} to {most}"


class WholeRange(click.IntRange):
    """A whole number."""

    name = "integer"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """Return the number; one that does not fit anywhere is refused by its real limit."""
        if self.max == ENDLESS and click.INT.convert(value, parameter, context) > ENDLESS:
            self.fail(f"{value} is too large; expected at most 2**63 - 1.", parameter, context)
        return super().convert(value, parameter, context)

    def _describe_range(self) -> str:
        return in_words(self)


class NumberRange(click.FloatRange):
    """A number."""

    name = "float"

    def _describe_range(self) -> str:
        return in_words(self)
