"""Task `bench`: what this machine does, into `bench.json` and `bench.md`.

Needs no data: landscapes are drawn, weights are random. Each part runs in a process of its own, so
that one which fails or hangs, or leaves a GPU unusable, costs the others nothing. The same runs
from a checkout, on any machine: `python -m benchmarks.machine`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.bench.checks import (
    CheckResult,
    apart,
    check_images,
    check_replayed,
    check_resumed,
    fresh_weights,
    judge,
    run_checks,
    small_run,
    thin,
)
from pipeline.bench.generating import measure_generating
from pipeline.bench.machine import Machine
from pipeline.bench.programs import draw
from pipeline.bench.record import BenchmarkRecord, PartRecord
from pipeline.bench.scoring import SMALLEST, measure_scoring
from pipeline.bench.settings import CPU_RECIPES, BenchmarkSettings
from pipeline.bench.training import as_plain, measure_training
from pipeline.bench.worker import Caller, Worker
from pipeline.config import Config
from pipeline.core.errors import ScoringError, WorkFailed
from pipeline.families.registry import takes_photos
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.stages.generate import DEFAULT_BATCH
from pipeline.system.devices import all_devices, default_device
from pipeline.system.storage import write_json
from pipeline.training.checkpoints import load_state
from submission.archive import check_archive
from submission.kernel.distributed import gpu_count, train_in_processes
from submission.kernel.machine import isolated, log
from submission.kernel.scoring import find_torch_fidelity
from submission.kernel.training import TrainingRequest, train_rank
from submission.running_check import RunningCheck

MODULE = "submission.kernel.benchmark"
SLACK = 2.0, 240.0
"""A part is ended after its time this many times, and so many seconds."""

Start = Callable[[], Caller]
"""Begins a process that serves this module."""


def measure(
    settings: BenchmarkSettings,
    inputs: Path,
    out: Path,
    deadline: float = float("inf"),
    start: Start | None = None,
) -> BenchmarkRecord:
    """Measure part by part, and write what is known after each.

    Args:
        settings: what, and for how long.
        inputs: where torch-fidelity's wheel is looked for.
        out: folder for `bench.json` and `bench.md`.
        deadline: value of `time.monotonic` at which all must be over.
        start: begins a process for a part; by default a `Worker`.

    Raises:
        WorkFailed: if no part found anything.
    """
    start = start or partial(Worker, MODULE)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    record = BenchmarkRecord(Machine.here(), settings, started)
    log(f"benchmark: {record.machine}")
    with tempfile.TemporaryDirectory(prefix="painter-bench-") as scratch:
        drawn = Path(scratch, "images")
        draw(drawn, settings.drawn_images)
        for place, name in enumerate(settings.parts):
            later = sum(map(settings.seconds, settings.parts[place + 1 :]))
            own = SLACK[0] * settings.seconds(name) + SLACK[1]
            limit = min(own, deadline - time.monotonic() - later)
            record.parts[name] = _part(name, settings, inputs, drawn, limit, start)
            record.write(out)
    if all(part.result is None for part in record.parts.values()):
        raise WorkFailed(f"No part of the benchmark ended well: see {out / 'bench.md'}.")
    return record


def _part(
    name: str, settings: BenchmarkSettings, inputs: Path, drawn: Path, limit: float, start: Start
) -> PartRecord:
    """Run one part in a process of its own."""
    began = time.monotonic()
    result, error = None, None
    try:
        if limit <= 0:
            raise WorkFailed("no time was left")
        caller = start()
        try:
            arguments = (settings.to_dict(), str(inputs), str(drawn))
            result = caller.call(name, *arguments, limit=limit)
        finally:
            caller.close()
    except WorkFailed as failure:
        error = str(failure)
        if so_far(name, drawn).exists():
            result = read_json(so_far(name, drawn))["known"]
    part = PartRecord(round(time.monotonic() - began, 1), result, error)
    log(f"{name}: {part.seconds:.0f} s, {'done' if error is None else error}")
    return part


# --- The parts, as a process of their own calls them: plain values in, plain values out


def training(settings: dict[str, Any], inputs: str, drawn: str) -> list[dict[str, Any]]:
    """Return `RecipeSpeed` of each recipe."""
    del inputs
    chosen = BenchmarkSettings.from_dict(settings)
    found = measure_training(
        chosen.configs(gpu=default_device().type == "cuda"),
        Path(drawn),
        default_device(),
        chosen.seconds("training"),
        chosen.rounds,
        chosen.matrix_size,
        note=lambda known: note("training", drawn, map(as_plain, known)),
    )
    return [as_plain(recipe) for recipe in found]


def note(part: str, drawn: str, known: Iterable[dict[str, Any]]) -> None:
    """Note what a part has found so far."""
    write_json(so_far(part, Path(drawn)), {"known": list(known)})


def so_far(part: str, drawn: Path) -> Path:
    """Return where a part notes what it has found so far."""
    return drawn.with_name(f"{part}.json")


def generating(settings: dict[str, Any], inputs: str, drawn: str) -> dict[str, Any]:
    """Return the `Comparison` of ways to make a zip."""
    del inputs, drawn
    chosen = BenchmarkSettings.from_dict(settings)
    with tempfile.TemporaryDirectory(prefix="painter-bench-") as folder:
        found = measure_generating(
            from_noise(chosen),
            Path(folder),
            running_check,
            chosen.seconds("generating"),
            chosen.rounds,
            min(DEFAULT_BATCH, chosen.images),
        )
    return asdict(found)


def scoring(settings: dict[str, Any], inputs: str, drawn: str) -> dict[str, Any]:
    """Return the `Comparison` of ways to extract features."""
    chosen = BenchmarkSettings.from_dict(settings)
    with suppress(ScoringError):  # what stands in without it says so
        find_torch_fidelity(Path(inputs))
    with tempfile.TemporaryDirectory(prefix="painter-bench-") as folder:
        found = measure_scoring(
            Path(drawn),
            Path(folder),
            all_devices(),
            chosen.seconds("scoring"),
            chosen.rounds,
            min(SMALLEST, chosen.images),
        )
    return asdict(found)


def checks(settings: dict[str, Any], inputs: str, drawn: str) -> list[dict[str, Any]]:
    """Return the `CheckResult` of each promise."""
    del inputs
    chosen, device = BenchmarkSettings.from_dict(settings), default_device()
    config, images = from_noise(chosen), Path(drawn)
    with (
        tempfile.TemporaryDirectory(prefix="painter-bench-") as name,
        isolated(Path(name)),
    ):
        scratch = Path(name)
        found = run_checks(
            [
                ("resuming", lambda: check_resumed(config, images, scratch, device)),
                *(
                    (f"replaying {preset}", partial(check_replayed, preset, own, images, device))
                    for preset, own in chosen.configs(gpu=device.type == "cuda").items()
                ),
                ("images", lambda: check_images(config, all_devices())),
                ("several GPUs", lambda: check_shared(config, images, scratch, gpu_count())),
            ],
            lambda known: note("checks", drawn, map(asdict, known)),
        )
    return [asdict(one) for one in found]


def from_noise(settings: BenchmarkSettings) -> Config:
    """Return the first recipe whose generator starts from noise; without one, monet64's."""
    for one in (settings, replace(settings, recipes=CPU_RECIPES)):
        for config in one.configs(gpu=False).values():
            if not takes_photos(config):
                return config
    raise AssertionError(CPU_RECIPES)


def running_check(target: Path) -> RunningCheck:
    """Return painter's check of a zip while it is written; any number of images is accepted."""
    return RunningCheck(target, any_number=True)


def check_zip(path: Path) -> None:
    """Run painter's check of a finished zip; any number of images is accepted.

    Raises:
        ValueError: if anything else is wrong with it.
    """
    faults = [v for v in check_archive(path) if not v.kind.startswith("number of files")]
    if faults:
        raise ValueError(f"{path}: {faults}")


def check_shared(config: Config, drawn: Path, scratch: Path, count: int) -> CheckResult:
    """Train on one device, and on several that share each batch; compare the generators.

    Args:
        config: of the training.
        drawn: folder of JPEG files.
        scratch: an empty folder.
        count: devices that share.
    """
    name = "GPUs that share each batch compute what one does"
    if count < 2:
        return CheckResult(name, None, "one device")
    chosen, requests = small_run(thin(config)), []
    for run in ("alone", "shared"):
        (scratch / run).mkdir()
        requests.append(
            TrainingRequest(
                config=chosen.to_dict(),
                data=str(drawn),
                domain=None,
                run=str(scratch / run),
                inputs=str(scratch),
                kernel_minutes=10,
                deadline=time.monotonic() + 600,
            )
        )
    train_rank(requests[0])
    train_in_processes(asdict(requests[1]), count, scratch)
    device = default_device()
    alone, shared = (load_state(RunFolder(Path(r.run)).state)["generator"] for r in requests)
    return judge(name, apart(fresh_weights(chosen, device), alone, shared), device)
