"""Taking and printing measurements: alternating programs, median, range, number of rounds.

Tables are Markdown, so that `make bench` writes what docs/benchmarks.md shows.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from pipeline.runs.provenance import device_name
from pipeline.system.parallel import usable_cores

Values = Mapping[str, Sequence[float]]
"""Measurements of each program, one per round."""


def machine(device: torch.device, *more: str) -> str:
    """Return one line about the machine and the libraries."""
    words = [device_name(device), platform.machine(), f"{usable_cores()} usable cores"]
    return ", ".join([*words, f"torch {torch.__version__}", *more])


def seconds(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Return how long some work takes; a GPU is synchronised."""
    began = time.perf_counter()
    work()
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def alternating(programs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what each program measures in each round: all in turn, then all again."""
    found: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, measure in programs.items():
            found[name].append(measure())
    return found


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
