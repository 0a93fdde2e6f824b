"""A seed on each GPU: runs of their own, the best of which becomes the kernel's run.

While they train, each has a folder `seed-S` in the working folder. Then the files of the best move
to the top, where a run has them; the others stay in their folders, and `seeds.json` says how they
compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import Config, apply_settings
from pipeline.core.errors import PainterError, RankLost, RunError
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import write_json
from submission.kernel.distributed import gpu_count, train_on_gpu
from submission.kernel.job import Job
from submission.kernel.machine import clean_up, log
from submission.kernel.training import TrainingRequest, train_rank

RECORD = "seeds.json"
CRITERIA = ("holdout_kid", "mifid")
"""Validation scores by which snapshots are chosen, the first of those that there are; lower is
better."""


@dataclass(frozen=True)
class SeedResult:
    """What came of one seed."""

    seed: int
    images_seen: int | None = None
    """None if it failed."""
    criterion: str | None = None
    score: float | None = None
    """The validation score of its best snapshot, by that criterion; None without one."""
    failure: str | None = None


@dataclass(frozen=True)
class SeedsRecord:
    """The seeds of a kernel: which were trained, and which was kept."""

    first: int
    kept: int

    def replace_seed(self, config: Config, old: int, new: int) -> Config:
        """Return a config with seed `new` if it has seed `old`, else as it is."""
        same = config.training.seed == old
        return apply_settings(config, {"seed": new}) if same else config


def read_seeds(run: RunFolder) -> SeedsRecord | None:
    """Return the seeds of the kernel that trained a run; None if it trained one alone."""
    try:
        found = read_json(run.path / RECORD)
        return SeedsRecord(int(found["seeds"][0]["seed"]), int(found["kept"]))
    except (RunError, KeyError, IndexError, TypeError, ValueError):
        return None


def with_kept_seed(run: RunFolder, config: Config) -> Config:
    """Return a config with the seed that was kept, if it has the first of a run's several seeds."""
    seeds = read_seeds(run)
    return config if seeds is None else seeds.replace_seed(config, seeds.first, seeds.kept)


def with_first_seed(run: RunFolder, config: Config) -> Config:
    """Return a config with the first of a run's several seeds, if it has the one that was kept."""
    seeds = read_seeds(run)
    return config if seeds is None else seeds.replace_seed(config, seeds.kept, seeds.first)


def seeds_to_train(job: Job) -> int:
    """Return how many seeds the kernel trains: one a GPU, or one that all share.

    A run that is there already goes on alone.
    """
    apart = job.settings.trains_seeds and not job.run.state.exists()
    return gpu_count() if apart else 1


def train_seeds(request: TrainingRequest, count: int, scratch: Path) -> None:
    """Train a seed on each GPU, and leave the run of the best one in the run folder.

    Raises:
        PainterError: if none was trained; what the first of them raised.
    """
    requests = seed_requests(request, count)
    seeds = [seed_of(one) for one in requests]
    log(f"training seeds {', '.join(map(str, seeds))}, one on each of {count} GPUs")
    failures = _train_all(requests, seeds, scratch)
    if all(isinstance(failure, RankLost) for failure in failures):
        log(f"No seed was trained to its end. Seed {seeds[0]} goes on alone.")
        train_rank(requests[0])
        failures[0] = None
    if all(failures):
        raise next(f for f in failures if f is not None and not isinstance(f, RankLost))
    results = [_result(one, failure) for one, failure in zip(requests, failures, strict=True)]
    for result in results:
        log(describe(result))
    kept, reason = choose(results)
    log(f"kept: seed {kept.seed}, {reason}")
    _move_to_top(requests, results, kept, RunFolder(Path(request.run)))


def seed_requests(request: TrainingRequest, count: int) -> list[TrainingRequest]:
    """Return the requests of `count` seeds, from the config's own on, each with a run folder."""
    config = Config.from_saved(request.config)
    configs = [
        apply_settings(config, {"seed": (config.training.seed + place) % 2**63})
        for place in range(count)
    ]
    return [
        replace(
            request,
            config=own.to_dict(),
            run=str(Path(request.run, f"seed-{own.training.seed}")),
        )
        for own in configs
    ]


def seed_of(request: TrainingRequest) -> int:
    """Return the seed of a request."""
    return Config.from_saved(request.config).training.seed


def _train_all(
    requests: Sequence[TrainingRequest], seeds: Sequence[int], scratch: Path
) -> list[PainterError | None]:
    """Train at the same time; return what each raised. One that fails stops no other."""

    def train(place: int) -> PainterError | None:
        label, folder = f"seed {seeds[place]}", scratch / f"seed-{seeds[place]}"
        try:
            train_on_gpu(asdict(requests[place]), place, len(requests), folder, label)
        except PainterError as error:
            log(f"{label}: failed, and the others go on. {error}")
            return error
        return None

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(train, range(len(requests))))


def _result(request: TrainingRequest, failure: PainterError | None) -> SeedResult:
    seed = seed_of(request)
    if failure is not None:
        return SeedResult(seed, failure=str(failure))
    snapshot = load_snapshot(RunFolder(Path(request.run)).best_or_last)
    criterion, score = _criterion(snapshot.score or {})
    last = load_snapshot(RunFolder(Path(request.run)).snapshot)
    return SeedResult(seed, last.images_seen, criterion, score)


def _criterion(score: dict[str, Any]) -> tuple[str | None, float | None]:
    for name in CRITERIA:
        value = score.get(name)
        if isinstance(value, float) and math.isfinite(value):
            return name, value
    return None, None


def describe(result: SeedResult) -> str:
    """Return a line on what came of a seed."""
    if result.failure is not None:
        return f"seed {result.seed}: not trained to its end"
    score = (
        "no validation score" if result.score is None else f"{result.criterion} {result.score:.4g}"
    )
    return f"seed {result.seed}: {result.images_seen:,} images seen, {score}"


def choose(results: Sequence[SeedResult]) -> tuple[SeedResult, str]:
    """Return the seed to keep, and why: the best by validation scores, else the first."""
    trained = [result for result in results if result.failure is None]
    if len(trained) == 1:
        return trained[0], "the only one that was trained to its end"
    if any(result.score is None for result in trained):
        return trained[0], (
            "the first: without validation scores of all, nothing tells which is better. The "
            f"others are kept whole, in {', '.join(f'seed-{r.seed}' for r in trained[1:])}"
        )
    best = min(trained, key=lambda result: result.score or 0.0)
    return best, f"whose {best.criterion} is lowest"


def _move_to_top(
    requests: Sequence[TrainingRequest],
    results: Sequence[SeedResult],
    kept: SeedResult,
    run: RunFolder,
) -> None:
    """Move the files of the seed that is kept to the run folder; record how the seeds compare.

    Of those that lost by their scores the states go, which are large, and only serve to train on.
    """
    judged = all(result.failure is None and result.score is not None for result in results)
    for request, result in zip(requests, results, strict=True):
        own = RunFolder(Path(request.run))
        clean_up(own)
        if result is kept:
            for path in own.path.iterdir():
                path.replace(run.path / path.name)
            own.path.rmdir()
        elif judged:
            own.state.unlink(missing_ok=True)
    seeds = [asdict(result) for result in results]
    write_json(run.path / RECORD, {"kept": kept.seed, "seeds": seeds})
