"""Training speed against a plain loop, in turn, and where the time of a step goes.

Each program trains in a process of its own, since painter's settings of the C library would speed
the plain loop up too. On a GPU the kernels' own time, the launches and the waiting of a step are
measured; everywhere the share of the machine's matrix rate: a step's FLOPs a second over those of a
large matrix product in the same precision, in the same run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline.bench.measure import MB, alternating, number, ratios, spread
from pipeline.bench.programs import BASELINE
from pipeline.bench.worker import Caller, Worker
from pipeline.config import Config
from pipeline.core.advice import per_cent
from pipeline.core.errors import WorkFailed
from pipeline.families.registry import takes_photos
from pipeline.models.precision import choose_precision

WARM_UP = {"cuda": 12, "mps": 2, "cpu": 1}
"""Steps of each program before any is timed: they choose algorithms, allocate and record."""
PROFILED_STEPS = 5
MOST_STEPS = 500
"""In a measurement."""
PROGRAM = "pipeline.bench.programs:TrainingProgram"
LEAST_STEPS = 5
"""Of each program, those before the first round included: without time for them a recipe is left
out."""
START_LIMIT = 240.0
"""Seconds that a program may take to begin."""
PATIENCE = 60.0
"""Seconds beyond its own that a recipe may take at least, before it is given up."""

Start = Callable[[], Caller]
"""Begins a process that serves a `TrainingProgram`."""


@dataclass(frozen=True)
class ProgramSpeed:
    """What was measured of one program."""

    name: str
    precision: str
    rates: list[float]
    """Images (or pairs of them) a second, one per round."""
    memory: int
    """Bytes at most: of the GPU, else of the process."""
    over_baseline: list[float] | None = None
    """Rates over those of the plain loop, round by round."""
    flops: float | None = None
    """Floating-point operations an image."""
    matrix_rate: float | None = None
    """FLOP/s of large matrix products in this precision."""
    kernel_ms: float | None = None
    """Milliseconds of the GPU's kernels in a step: the sum of their own time."""
    kernels: float | None = None
    """How many in a step."""
    launches: float | None = None
    """Calls of the processor in a step that start them."""
    step_ms: float = 0.0
    """Milliseconds of a step, the median of the rounds."""

    @property
    def matrix_share(self) -> float | None:
        """Return the share of the matrix rate that the steps reach."""
        if self.flops is None or self.matrix_rate is None:
            return None
        return statistics.median(self.rates) * self.flops / self.matrix_rate

    @property
    def waiting_ms(self) -> float | None:
        """Return the milliseconds of a step in which no kernel runs."""
        return None if self.kernel_ms is None else max(0.0, self.step_ms - self.kernel_ms)


@dataclass(frozen=True)
class RecipeSpeed:
    """What was measured of one recipe, or why it was not."""

    preset: str
    batch_size: int
    image_size: int
    unit: str
    """`images` or `pairs`, a painting and a photo each."""
    programs: tuple[ProgramSpeed, ...] = ()
    error: str | None = None


def measure_training(
    recipes: Mapping[str, Config],
    folder: Path,
    device: torch.device,
    budget: float,
    rounds: int,
    matrix_size: int | None = None,
    start: Start | None = None,
    note: Callable[[list[RecipeSpeed]], object] = lambda known: None,
) -> list[RecipeSpeed]:
    """Return the speed of each recipe; one that fails says why, and the others go on.

    Args:
        recipes: settings by the names of their presets.
        folder: of JPEG files to train on.
        device: that is measured.
        budget: seconds for all, without the starts; a measurement takes a step at least.
        rounds: measurements of each program, in turn.
        matrix_size: as `matrix_rate` takes it.
        start: begins a process; by default a `Worker`.
        note: called after each recipe with all that is known.
    """
    names, start = program_names(device), start or partial(Worker, PROGRAM)
    found: list[RecipeSpeed] = []
    callers: dict[str, Caller] = {}
    for preset, config in recipes.items():
        found.append(unmeasured(preset, config))
        try:
            callers = callers or {name: start() for name in names}
            recipe = _Recipe(callers, config, budget / len(recipes), matrix_size)
            programs = recipe.measure(folder, rounds, WARM_UP[device.type])
            found[-1] = replace(found[-1], programs=programs)
        except WorkFailed as error:
            found[-1] = replace(found[-1], error=str(error))
            close(callers)
        note(found)
        if device.type == "cpu":  # the memory of a process is the most that it ever took
            close(callers)
    close(callers)
    return found


def unmeasured(preset: str, config: Config) -> RecipeSpeed:
    """Return what is known of a recipe before it is measured."""
    unit = "pairs" if takes_photos(config) else "images"
    return RecipeSpeed(preset, config.training.batch_size, config.data.image_size, unit)


def close(callers: dict[str, Caller]) -> None:
    """End the processes."""
    while callers:
        callers.popitem()[1].close()


def program_names(device: torch.device) -> list[str]:
    """Return the plain loop, and the precisions of painter that count on a device."""
    return list(dict.fromkeys((BASELINE, "float32", choose_precision("auto", device))))


class _Recipe:
    """The programs of one recipe, each in a process that has been started."""

    def __init__(
        self, callers: Mapping[str, Caller], config: Config, budget: float, matrix_size: int | None
    ) -> None:
        self._callers, self._config, self._budget = callers, config, budget
        self._batch, self._matrix_size = config.training.batch_size, matrix_size
        self._flops: dict[str, float] = {}
        self._memory: dict[str, int] = {}
        self._began = time.monotonic()

    def _call(self, name: str, method: str, *arguments: Any) -> Any:
        """Call a program's method, while there is time left for the recipe."""
        return self._callers[name].call(method, *arguments, limit=max(1.0, self._left()))

    def _left(self) -> float:
        """Return the seconds until the recipe is given up."""
        return max(2 * self._budget, self._budget + PATIENCE) - (time.monotonic() - self._began)

    def measure(self, folder: Path, rounds: int, warm_up: int) -> tuple[ProgramSpeed, ...]:
        """Start all programs, and measure them in turn."""
        for name, caller in self._callers.items():
            arguments = (name, str(folder), self._config.to_dict())
            caller.call("start", *arguments, limit=START_LIMIT)
        self._began = time.monotonic()
        self._check_time()
        steps = self._warm_up(rounds, warm_up)
        self._memory = {n: self._call(n, "memory") for n in self._callers}  # without large matrices
        # Before the rounds and after them: other programs of the machine slow either down.
        peaks = {n: self._call(n, "matrix_rate", self._matrix_size) for n in self._flops}
        rates = self._measure_rates(*steps)
        return tuple(self._speed(name, rates, peaks) for name in self._callers)

    def _check_time(self) -> None:
        """Raise WorkFailed if the steps that are needed at least take longer than there is time."""
        name = next(name for name in self._callers if name != BASELINE)
        began = time.monotonic()
        self._flops[name] = self._call(name, "flops")
        needed = LEAST_STEPS * len(self._callers)
        if needed * (time.monotonic() - began) < self._left():
            return
        a_step = self._call(name, "seconds", 1)  # the first costs more
        if needed * a_step > (left := self._left()):
            raise WorkFailed(f"a step takes {a_step:.2g} s here, and {needed} had {left:.0f} s")

    def _warm_up(self, rounds: int, warm_up: int) -> tuple[int, dict[str, int]]:
        """Return how many rounds there is time for, and steps of each program in a round."""
        a_step = {}
        for name in self._callers:
            if name != BASELINE and name not in self._flops:
                self._flops[name] = self._call(name, "flops")
            self._call(name, "seconds", warm_up)
            a_step[name] = self._call(name, "seconds", 2) / 2
        left = self._budget - (time.monotonic() - self._began)
        rounds = max(1, min(rounds, int(left / sum(a_step.values()))))
        share = left / (rounds * len(a_step))
        steps = {n: max(1, min(MOST_STEPS, int(share / one))) for n, one in a_step.items()}
        return rounds, steps

    def _measure_rates(self, rounds: int, steps: Mapping[str, int]) -> dict[str, list[float]]:
        def rate(name: str) -> float:
            return float(steps[name] * self._batch / self._call(name, "seconds", steps[name]))

        return alternating({name: partial(rate, name) for name in steps}, rounds)

    def _speed(
        self, name: str, rates: Mapping[str, list[float]], peaks: Mapping[str, float]
    ) -> ProgramSpeed:
        """Return what one program did, with what is asked of it once the rounds are over."""
        step = 1e3 * self._batch / statistics.median(rates[name])
        memory = self._memory[name]
        if name == BASELINE:
            return ProgramSpeed(name, "float32", rates[name], memory, step_ms=step)
        work: dict[str, float] = {}
        with suppress(WorkFailed):  # a profiler that sees nothing is no reason to lose the speeds
            work = self._call(name, "profile", PROFILED_STEPS) or {}
        return ProgramSpeed(
            name=f"painter, {name}",
            precision=name,
            rates=rates[name],
            memory=memory,
            over_baseline=ratios(rates, name, BASELINE),
            flops=self._flops[name] / self._batch,
            matrix_rate=max(peaks[name], self._call(name, "matrix_rate", self._matrix_size)),
            kernel_ms=work.get("milliseconds"),
            kernels=work.get("kernels"),
            launches=work.get("launches"),
            step_ms=step,
        )


def as_plain(recipe: RecipeSpeed) -> dict[str, Any]:
    """Return a recipe's speed as JSON holds it, with what follows from it."""
    programs = [
        asdict(p) | {"matrix_share": p.matrix_share, "waiting_ms": p.waiting_ms}
        for p in recipe.programs
    ]
    return asdict(recipe) | {"programs": programs}


def from_plain(values: Mapping[str, Any]) -> RecipeSpeed:
    """Return the speed of a recipe from what `as_plain` returned."""
    derived = ("matrix_share", "waiting_ms")
    programs = (
        ProgramSpeed(**{n: v for n, v in program.items() if n not in derived})
        for program in values["programs"]
    )
    return RecipeSpeed(**{**values, "programs": tuple(programs)})


def training_tables(recipes: Sequence[RecipeSpeed]) -> str:
    """Return tables: speeds, where the time of a step goes, and the share of the matrix rate."""
    parts = [_speed_table(recipes)]
    if any(p.kernel_ms is not None for r in recipes for p in r.programs):
        parts.append(_device_table(recipes))
    parts.append(_matrix_table(recipes))
    parts += [f"\n{_label(r)} was not measured: {r.error}" for r in recipes if r.error]
    return "\n".join(parts)


def _label(recipe: RecipeSpeed) -> str:
    return f"`{recipe.preset}`, batch {recipe.batch_size}"


def _speed_table(recipes: Sequence[RecipeSpeed]) -> str:
    lines = [
        "\n| training | | a second | least to most | n | over the plain loop | memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for recipe in recipes:
        for p in recipe.programs:
            over = "" if p.over_baseline is None else _times(p.over_baseline)
            lines.append(
                f"| {_label(recipe)}, {recipe.unit} | {p.name} | {spread(p.rates)} | {over} "
                f"| {p.memory / MB:,.0f} |"
            )
    return "\n".join(lines)


def _times(values: Sequence[float]) -> str:
    least, middle, most = min(values), statistics.median(values), max(values)
    return f"**{number(middle)} times** ({number(least)} to {number(most)})"


def _device_table(recipes: Sequence[RecipeSpeed]) -> str:
    lines = [
        "\n| a step on the GPU | | ms | kernels' own ms | waiting, ms | kernels | launches |",
        "|---|---|---|---|---|---|---|",
    ]
    for recipe in recipes:
        for p in recipe.programs:
            if p.kernel_ms is not None and p.waiting_ms is not None:
                counts = f"{p.kernels or 0:,.0f} | {p.launches or 0:,.0f}"
                lines.append(
                    f"| {_label(recipe)} | {p.name} | {number(p.step_ms)} | {number(p.kernel_ms)} "
                    f"| {number(p.waiting_ms)} | {counts} |"
                )
    return "\n".join(lines)


def _matrix_table(recipes: Sequence[RecipeSpeed]) -> str:
    lines = [
        "\n| of the matrix rate | | GFLOP each | matrix product, GFLOP/s | at that rate | share |",
        "|---|---|---|---|---|---|",
    ]
    for recipe in recipes:
        for p in recipe.programs:
            if p.flops and p.matrix_rate and p.matrix_share is not None:
                lines.append(
                    f"| {_label(recipe)} | {p.name} | {number(p.flops / 1e9)} "
                    f"| {p.matrix_rate / 1e9:,.0f} | {number(p.matrix_rate / p.flops)} "
                    f"| **{per_cent(p.matrix_share)}** |"
                )
    return "\n".join(lines)
