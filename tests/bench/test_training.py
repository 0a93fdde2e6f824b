"""The speed of training, and where the time of a step goes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.bench import training
from pipeline.bench.programs import BASELINE, TrainingProgram, draw
from pipeline.bench.settings import RECIPES, BenchmarkSettings
from pipeline.bench.training import (
    PROGRAM,
    RecipeSpeed,
    as_plain,
    from_plain,
    measure_training,
    training_tables,
)
from pipeline.core.errors import ConfigError
from pipeline.models.precision import choose_precision
from tests.support.benchmark_helpers import TINY_BENCHMARK, Here, StatedSpeed
from tests.support.factories import CPU

GPU = torch.device("cuda")
SPEEDS = {BASELINE: 0.1, "float32": 0.02, "bfloat16": 0.01}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw(folder, 4)
    return folder


@pytest.fixture(autouse=True)
def _bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "choose_precision", lambda *_: "bfloat16")


def stated(budget: float, *presets: str, fails: str = "", **more: Any) -> list[RecipeSpeed]:
    """Measure programs of stated speed, at batch 2."""
    settings = BenchmarkSettings(recipes=dict.fromkeys(presets, 2))
    recipes = settings.configs(gpu=True)
    device = more.pop("device", GPU)
    started: list[StatedSpeed] = []

    def start() -> StatedSpeed:
        # What fails does so in the processes of the first recipe alone.
        started.append(StatedSpeed(SPEEDS, fails if len(started) < 3 else "", device == GPU))
        return started[-1]

    found = measure_training(recipes, Path(), device, budget, 3, start=start, **more)
    assert all(program.closed for program in started)
    return found


# --- What follows from the speeds


def test_rates_ratios_shares_and_waiting_follow_from_the_times() -> None:
    (found,) = stated(60, "monet64")
    plain, full, half = found.programs
    assert (found.preset, found.batch_size, found.image_size, found.unit) == (
        "monet64", 2, 64, "images",
    )  # fmt: skip
    assert plain.rates == pytest.approx([20] * 3)
    assert half.rates == pytest.approx([200] * 3)
    assert plain.over_baseline is None
    assert half.over_baseline == pytest.approx([10] * 3)
    # 500 FLOPs an image at 200 images a second, of a million FLOP/s.
    assert half.matrix_share == pytest.approx(0.1)
    assert full.matrix_share == pytest.approx(0.05)
    # A step takes 10 ms, and its kernels 2 of them.
    assert half.waiting_ms == pytest.approx(8)
    assert plain.waiting_ms is None


def test_tables_show_the_rates_the_kernels_the_launches_and_the_share() -> None:
    shown = training_tables(stated(60, "monet64"))
    rows = [line for line in shown.splitlines() if "bfloat16" in line]
    label = "| `monet64`, batch 2"
    assert rows == [
        f"{label}, images | painter, bfloat16 | 200 | 200 to 200 | 3 | **10 times** (10 to 10) "
        "| 100 |",
        f"{label} | painter, bfloat16 | 10 | 2 | 8 | 7 | 3 |",
        f"{label} | painter, bfloat16 | 5e-07 | 0 | 2,000 | **10.0%** |",
    ]
    widths = [line.count("|") for line in shown.splitlines() if line]
    assert sorted(set(widths)) == [7, 8]  # two tables of seven columns with edges, one of six


def test_without_a_gpu_there_are_no_columns_of_it() -> None:
    found = stated(60, "monet64", device=CPU)
    assert found[0].programs[2].waiting_ms is None
    assert "launches" not in training_tables(found)


def test_a_recipe_that_fails_says_why_and_the_others_go_on() -> None:
    first, second = stated(60, "monet64", "photo2monet", fails="profile_")[:2]
    assert first.error is None
    first, second = stated(60, "monet64", "photo2monet", fails="flops")
    assert (first.programs, first.error) == ((), "flops failed: out of memory")
    assert (len(second.programs), second.unit) == (3, "pairs")
    assert "`monet64`, batch 2 was not measured: flops failed" in training_tables([first, second])


def test_a_profiler_that_fails_costs_no_speeds() -> None:
    (found,) = stated(60, "monet64", fails="profile")
    assert found.error is None
    assert [p.kernel_ms for p in found.programs] == [None] * 3


def test_a_recipe_without_time_for_its_steps_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPEEDS, "float32", 40.0)
    monkeypatch.setattr(training, "LEAST_STEPS", 10**9)  # so that the first one is too slow for it
    (found,) = stated(1, "monet64")
    assert found.error == "a step takes 40 s here, and 3000000000 had 61 s"


def test_speeds_come_back_from_json() -> None:
    found = stated(60, "monet64", "paint256", fails="flops")
    assert [from_plain(as_plain(one)) for one in found] == found
    assert as_plain(found[1])["programs"][2]["matrix_share"] == pytest.approx(0.1)


# --- Real programs


@pytest.mark.parametrize("preset", [name for name in RECIPES if name != "monet64"])
@pytest.mark.parametrize("name", [BASELINE, "float32"])
def test_every_recipe_trains_beside_its_plain_loop(drawn: Path, preset: str, name: str) -> None:
    small = {"image_size": 64, "generator_channels": 4, "discriminator_channels": 4}
    settings = BenchmarkSettings(recipes={preset: 2}, changes=small)
    program = TrainingProgram()
    program.start(name, str(drawn), settings.configs(gpu=True)[preset].to_dict())
    assert program.seconds(1) > 0
    assert program.memory() > 0


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("photo2monet-cut", {"residual_blocks": 1, "nce_patches": 4}),
        ("monet64", {"loss": "wgan-gp", "discriminator_norm": "layer"}),
        ("monet64", {"loss": "hinge", "hinge_margin_spread": 0.5}),
    ],
)
def test_a_plain_loop_draws_what_an_objective_asks_for(
    drawn: Path, preset: str, changes: dict[str, Any]
) -> None:
    small = {"image_size": 64, "generator_channels": 4, "discriminator_channels": 4}
    settings = BenchmarkSettings(recipes={preset: 2}, changes=small | changes)
    program = TrainingProgram()
    program.start(BASELINE, str(drawn), settings.configs(gpu=True)[preset].to_dict())
    assert program.seconds(1) > 0


def test_real_programs_are_measured(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_STEPS", 2)
    settings = BenchmarkSettings.from_dict(TINY_BENCHMARK)
    recipes = {"monet64": settings.configs(gpu=False)["monet64"]}
    (found,) = measure_training(recipes, drawn, CPU, 30, 1, 32, lambda: Here(PROGRAM))
    assert found.error is None
    assert all(min(p.rates) > 0 for p in found.programs)
    assert all(p.matrix_share for p in found.programs[1:])


def test_a_step_is_counted_operation_by_operation(drawn: Path) -> None:
    settings = BenchmarkSettings.from_dict(TINY_BENCHMARK)
    program = TrainingProgram()
    program.start("float32", str(drawn), settings.configs(gpu=False)["monet64"].to_dict())
    counted = program.flops()
    assert program.flops() == counted
    # DCGAN at 32 pixels, 4 channels: multiply-adds of a generator's and a discriminator's forward
    # pass, by hand. Outputs times inputs times 16 for each 4x4 kernel that meets all of them.
    generator = 16 * (4 * 16 * 16 + 16 * 16 * 8 + 64 * 8 * 4 + 256 * 4 * 3)
    discriminator = 16 * (256 * 3 * 4 + 64 * 4 * 8 + 16 * 8 * 16 + 16 * 16)
    # Per image: the generator forward and backward (twice as much), the discriminator on real and
    # on generated images, and again under the generator, without gradients of its weights; where
    # nothing asks for the gradients of images or noise, the first layers have none.
    passes = 3 * generator + 3 * 2 * discriminator + 2 * discriminator
    assert 0.75 < counted / (2 * 4 * passes) < 1.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_step_is_profiled(drawn: Path) -> None:
    settings = BenchmarkSettings.from_dict(TINY_BENCHMARK)
    program = TrainingProgram()
    program.start("float32", str(drawn), settings.configs(gpu=False)["monet64"].to_dict())
    program.seconds(5)
    found = program.profile(2)
    assert found is not None
    assert found["launches"] > 0
    assert 0 < found["milliseconds"] / 1e3 < program.seconds(2)


# --- Settings


def test_settings_of_a_benchmark_come_back_from_plain_values() -> None:
    settings = BenchmarkSettings.from_dict(TINY_BENCHMARK | {"parts": ["checks", "scoring"]})
    assert BenchmarkSettings.from_dict(settings.to_dict()) == settings
    assert settings.configs(gpu=False)["monet64"].training.batch_size == 4
    assert sum(map(settings.seconds, settings.parts)) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minuts": 4}, "no setting 'minuts'; it has minutes, rounds, parts"),
        ({"minutes": "4"}, "minutes is '4'; expected int or float"),
        ({"minutes": 0}, "minutes is 0; expected above 0"),
        ({"rounds": 0}, "rounds is 0; expected at least 1"),
        ({"images": 2}, "images is 2; expected at least 4"),
        ({"parts": ["dancing"]}, r"parts is \['dancing'\]; expected some of training, "),
        ({"parts": []}, r"parts is \[\]"),
        ({"recipes": {}}, "recipes is empty"),
        ({"recipes": {"manet64": 4}}, "manet64"),
        ({"recipes": {"monet64": -1}}, "batch_size"),
        ({"recipes": {"upscaler64to256": 4}}, "trains an upscaler, which has no plain loop"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BenchmarkSettings.from_dict(changes)


def test_the_best_precision_is_measured_beside_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "choose_precision", choose_precision)
    names = training.program_names(CPU)
    assert names[:2] == [BASELINE, "float32"]
    assert len(names) == (2 if choose_precision("auto", CPU) == "float32" else 3)
