"""Taking and printing measurements: alternating programs, median, range, number of rounds.

Tables are Markdown, so that `make bench` writes what docs/benchmarks.md shows.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from pipeline.runs.provenance import device_name
from pipeline.system.devices import synchronize
from pipeline.system.parallel import usable_cores

MB = 1e6
"""Bytes in the unit of memory in tables."""
Values = Mapping[str, Sequence[float]]
"""Measurements of each program, one per round."""


@dataclass(frozen=True)
class Comparison:
    """Programs that were measured in turn."""

    title: str
    """What they do."""
    unit: str
    values: dict[str, list[float]]
    """Of each program, one per round."""
    ratios: dict[str, list[float]] = field(default_factory=dict)
    """Of what to what, one per round."""
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """Return it as tables."""
        tables = [table(self.title, self.unit, self.values)]
        if self.ratios:
            tables.append(table("Ratio", "times", self.ratios))
        return "\n".join([*tables, *(f"\n{note}" for note in self.notes)])


def machine(device: torch.device, *more: str) -> str:
    """Return one line about the machine and the libraries."""
    words = [device_name(device), platform.machine(), f"{usable_cores()} usable cores"]
    return ", ".join([*words, f"torch {torch.__version__}", *more])


def seconds(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Return how long some work takes; a GPU is synchronised before and after it."""
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def alternating(programs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what each program measures in each round: all in turn, then all again."""
    found: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, measure in programs.items():
            found[name].append(measure())
    return found


def rates_within(
    work: Mapping[str, Callable[[int], object]],
    budget: float,
    rounds: int,
    smallest: int,
    largest: int,
    device: torch.device | None = None,
) -> dict[str, list[float]]:
    """Return items a second of each program in each round, within a time.

    Each begins with its smallest number of items, again if that was quick, since the first time
    costs more; then it gets as many as take it its share of the time.

    Args:
        work: takes a number of items and works on them.
        budget: seconds for all of it.
        rounds: measurements of each.
        smallest: number of items at a time, at least.
        largest: at most.
        device: that is waited for.
    """
    began = time.perf_counter()
    share = budget / ((rounds + 1) * len(work))
    first: dict[str, float] = {}
    for name, function in work.items():
        taken = seconds(partial(function, smallest), device)
        again = seconds(partial(function, smallest), device) if taken < share else taken
        first[name] = smallest / again
    share = (budget - (time.perf_counter() - began)) / (rounds * len(work))
    counts = {n: round(min(max(r * share, smallest), largest)) for n, r in first.items()}

    def rate(name: str) -> float:
        return counts[name] / seconds(partial(work[name], counts[name]), device)

    return alternating({name: partial(rate, name) for name in work}, rounds)


def ratios(values: Values, over: str, of: str) -> list[float]:
    """Return `over` divided by `of`, round by round."""
    return [a / b for a, b in zip(values[over], values[of], strict=True)]


def table(title: str, unit: str, values: Values) -> str:
    """Return a table with one row per program: median, minimum, maximum and number of rounds."""
    lines = [f"\n| {title} | {unit} | least to most | n |", "|---|---|---|---|"]
    lines += [f"| {label} | {spread(numbers)} |" for label, numbers in values.items()]
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Return the cells `median | least to most | n`."""
    least, middle, most = (number(v) for v in (min(values), statistics.median(values), max(values)))
    return f"{middle} | {least} to {most} | {len(values)}"


def number(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
