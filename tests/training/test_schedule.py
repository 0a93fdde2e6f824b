"""The learning-rate schedule: its closed forms, and that a resumed run goes on where it stood."""

import json
import math
import os
import shutil
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, Interrupted
from pipeline.runs.folder import RunFolder
from pipeline.stages.estimate import describe
from pipeline.training import loop
from pipeline.training.continuation import continue_from
from pipeline.training.distributed.context import DistributedContext
from pipeline.training.run_logger import RunLogger
from pipeline.training.schedule import Schedule, described
from pipeline.training.state import TrainingState
from pipeline.training.step import StepSettings, train_step
from tests.stages.test_estimate import prepared
from tests.support.clock import StandingTime
from tests.support.factories import batches_of, noise_paintings
from tests.support.rank_processes import run_ranks
from tests.training.test_training import (
    DATA,
    assert_equal_runs,
    happens_after,
    timed_by,
    tiny,
    train,
)

RATE = 2e-4
LINEAR: dict[str, Any] = {"learning_rate_schedule": "linear", "log_every": 1}


def rates(run: Path) -> list[float]:
    """Return the learning rate of every step of a run."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["learning_rate"] for line in lines]


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("kind", "share", "used", "factor"),
    [
        ("constant", 0.5, 1.0, 1.0),
        ("linear", 0.5, 0.5, 1.0),
        ("linear", 0.5, 0.75, 0.5),
        ("linear", 0.5, 1.0, 0.0),
        ("linear", 1.0, 0.25, 0.75),
        ("linear", 0.0, 1.0, 1.0),
        ("cosine", 1.0, 0.0, 1.0),
        ("cosine", 1.0, 1 / 3, 0.75),
        ("cosine", 1.0, 0.5, 0.5),
        ("cosine", 1.0, 1.0, 0.0),
        ("cosine", 0.5, 0.5, 1.0),
        ("cosine", 0.5, 0.75, 0.5),
        ("cosine", 0.0, 1.0, 1.0),
    ],
)
def test_the_factor_has_its_closed_form(
    kind: str, share: float, used: float, factor: float
) -> None:
    # Doubles: a few roundings of numbers up to 1.
    assert Schedule(kind, share).factor(used) == pytest.approx(factor, abs=1e-15)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("share", [1e-9, 0.1, 0.37, 1.0])
def test_the_factor_never_rises_and_stays_between_0_and_1(kind: str, share: float) -> None:
    factors = [Schedule(kind, share).factor(n / 1000) for n in range(1001)]
    assert all(0 <= late <= early <= 1 for early, late in pairwise(factors))
    assert factors[0] == 1
    assert factors[-1] == 0


def test_settings_out_of_range_are_refused_and_those_of_before_still_load() -> None:
    with pytest.raises(ConfigError, match="one of constant, linear, cosine"):
        tiny(learning_rate_schedule="step")
    with pytest.raises(ConfigError, match=r"learning_rate_decay_share is 1\.5"):
        tiny(learning_rate_decay_share=1.5)
    earlier = tiny().to_dict()
    del earlier["training"]["learning_rate_schedule"]
    del earlier["training"]["learning_rate_decay_share"]
    assert Config.from_saved(earlier) == tiny()


@pytest.mark.parametrize("family", ["dcgan", "dense-start", "fully-connected", "fastgan"])
def test_every_phase_takes_the_factor_times_its_own_rate(tmp_path: Path, family: str) -> None:
    settings = {"family": family, "image_size": 32, "generator_channels": 2, "latent_size": 2,
                "discriminator_channels": 2, "batch_size": 2, "precision": "float32"}  # fmt: skip
    config = apply_settings(Config(), settings | {"discriminator_learning_rate": 1e-3})
    precision = loop.precision_of(config, torch.device("cpu"))
    state = TrainingState.fresh(config, precision)
    batches = batches_of(noise_paintings(), config, precision.device)
    state.learning_rate_factor = 0.25
    train_step(state, batches(1), precision, StepSettings.from_config(config))
    found = {name: o.param_groups[0]["lr"] for name, o in state.optimizers.items()}
    assert found == {"discriminator": 0.25 * 1e-3, "generator": 0.25 * RATE}


def test_a_run_follows_its_schedule_and_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole", **LINEAR)
    # Twelve steps, each at the rate of the budget that is used before it.
    expected = [RATE * min(1, 2 * (12 - step) / 12) for step in range(12)]
    assert rates(tmp_path / "whole") == pytest.approx(expected, rel=1e-5)  # six digits are written
    with monkeypatch.context() as patched:
        happens_after(patched, 36, interrupt)
        with pytest.raises(Interrupted):
            train(tmp_path / "parts", **LINEAR)
    train(tmp_path / "parts", **LINEAR)
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")
    train(tmp_path / "constant", log_every=1)
    assert "learning_rate" not in (tmp_path / "constant" / "stats.jsonl").read_text()
    with pytest.raises(AssertionError):
        assert_equal_runs(tmp_path / "whole", tmp_path / "constant")


def test_under_a_budget_in_minutes_the_rate_goes_on_from_where_it_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = StandingTime()
    timed_by(monkeypatch, time, 10)
    cosine = {"learning_rate_schedule": "cosine", "learning_rate_decay_share": 1.0, "log_every": 1,
              "images": None, "minutes": 2.0}  # fmt: skip
    train(tmp_path / "whole", **cosine)
    expected = [RATE * (1 + math.cos(math.pi * step / 12)) / 2 for step in range(11)]
    assert rates(tmp_path / "whole") == pytest.approx(expected, rel=1e-5)  # 10 s are kept to save
    with monkeypatch.context() as patched:
        happens_after(patched, 20, interrupt)
        with pytest.raises(Interrupted):
            train(tmp_path / "parts", **cosine)
    time.sleep(3600)  # a pause is no training time
    train(tmp_path / "parts", **cosine)
    assert rates(tmp_path / "parts") == rates(tmp_path / "whole")


def test_a_larger_budget_has_its_own_schedule_and_so_has_a_continued_run(tmp_path: Path) -> None:
    train(tmp_path / "run", images=16, **LINEAR)
    shutil.copytree(tmp_path / "run", tmp_path / "larger")
    train(tmp_path / "larger", images=32, **LINEAR)
    first = [RATE * factor for factor in (1, 1, 1, 0.5)]
    # Half of eight steps are taken: the second half falls.
    assert rates(tmp_path / "larger") == pytest.approx(
        [*first, *(RATE * (4 - step) / 4 for step in range(4))], rel=1e-5
    )
    config = tiny(images=16, **LINEAR)
    continue_from(RunFolder(tmp_path / "run"), RunFolder(tmp_path / "next"), config, DATA)
    train(tmp_path / "next", images=16, **LINEAR)
    assert rates(tmp_path / "next") == pytest.approx(first * 2, rel=1e-5)


def rates_of_a_rank(distributed: DistributedContext, run: Path) -> list[float]:
    """Train for two minutes of ten-second steps on the writer's clock, which others do not know."""
    RunLogger.clock = lambda self: 10.0 * self.steps  # type: ignore[method-assign]  # a process of its own
    taken = []

    def take(state: Any, *arguments: Any) -> Any:
        taken.append(state.learning_rate_factor)
        return train_step(state, *arguments)

    vars(loop)["step_function"] = lambda *_: take  # a process of its own
    config = tiny(images=None, minutes=2.0, learning_rate_decay_share=1.0, **LINEAR)
    loop.train(config, noise_paintings(), DATA, run, torch.device("cpu"), distributed=distributed)
    return taken


def test_all_ranks_take_the_rate_of_the_writers_clock(tmp_path: Path) -> None:
    writer, onlooker = run_ranks(2, rates_of_a_rank, tmp_path / "run")
    assert writer == pytest.approx([1 - step / 12 for step in range(11)])
    assert onlooker == writer


def test_the_schedule_is_told_in_words_and_by_a_dry_run(tmp_path: Path) -> None:
    assert described(tiny().training) == "0.0002, constant"
    falling = tiny(discriminator_learning_rate=4e-4, **LINEAR)
    words = "0.0002, the discriminator's 0.0004, linear to zero over the last 0.5 of the budget"
    assert described(falling.training) == words
    cosine = tiny(learning_rate_schedule="cosine", learning_rate_decay_share=1.0)
    assert described(cosine.training).endswith(
        "along a cosine to zero over the last 1 of the budget"
    )
    assert f"rate     {words}\n" in describe(prepared(tmp_path, falling))
