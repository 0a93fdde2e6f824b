"""What a user asks for, as the plan of a kernel."""

import math
from pathlib import Path

import pytest

from kernels.metadata import CPU, MAX_MINUTES
from kernels.planning import STARTUP_MINUTES, KernelRequest, describe_plan, plan_training
from kernels.upscalers import DEFAULT_PRESET, UpscalerOptions
from pipeline.config import Config, resolve
from pipeline.core.errors import ConfigError, KaggleError
from submission.kernel.settings import CPU_SECONDS_A_PHOTO, GPU_SECONDS_AN_IMAGE

RUN = Path("runs/first")


def config(minutes: float | None) -> Config:
    return resolve("demo", None, [f"minutes={'none' if minutes is None else minutes}"])


def test_a_kernel_takes_what_its_training_and_its_images_need() -> None:
    plan = plan_training("alice", RUN, config(20), KernelRequest(7000))
    assert plan.settings.train_minutes == 20
    assert 20 + STARTUP_MINUTES < plan.settings.minutes < MAX_MINUTES
    assert plan.settings.minutes == round(plan.settings.minutes)


def test_minutes_that_are_given_are_the_whole_kernels() -> None:
    plan = plan_training("alice", RUN, config(20), KernelRequest(7000, minutes=50))
    assert (plan.settings.minutes, plan.settings.train_minutes) == (50, None)


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("demo", "training  26.67 minutes at most; 3.33 kept to generate, check and score"),
        ("upscaler64to256", "training  29 minutes at most; 1 kept to save"),
    ],
)
def test_the_plan_says_how_long_every_recipe_trains(preset: str, words: str) -> None:
    plan = plan_training("alice", RUN, resolve(preset), KernelRequest(7000, minutes=30))
    assert words in describe_plan(plan, "alice").splitlines()


@pytest.mark.parametrize("minutes", [None, 9999])
def test_no_kernel_takes_more_than_kaggle_gives(minutes: float | None) -> None:
    plan = plan_training("alice", RUN, config(minutes), KernelRequest(7000))
    assert plan.settings.minutes == MAX_MINUTES


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (KernelRequest(7000, minutes=0), "cannot be pushed"),
        (KernelRequest(7000, minutes=291), "cannot be pushed"),
        (KernelRequest(7000, accelerator="p100"), "P100"),
        (KernelRequest(7000, attach=("weights",)), "OWNER/SLUG"),
    ],
)
def test_what_kaggle_would_not_take_is_refused(order: KernelRequest, message: str) -> None:
    with pytest.raises(KaggleError, match=message):
        plan_training("alice", RUN, config(20), order)


def test_a_seed_of_the_images_is_refused_where_it_has_no_effect() -> None:
    with pytest.raises(ConfigError, match="--image-seed would have no effect"):
        plan_training("alice", RUN, resolve("photo2monet"), KernelRequest(image_seed=4))


def test_all_that_was_asked_for_is_in_the_plan() -> None:
    order = KernelRequest(
        8000, 4, "dataset:bob/monet", "art", 30, "cpu", attach=("bob/weights",), notebook=True
    )
    plan = plan_training("alice", RUN, config(20), order)
    assert (plan.slug, plan.accelerator, plan.notebook) == ("painter-first", CPU, True)
    assert plan.datasets == ["bob/monet", "bob/weights"]
    settings = plan.settings
    assert (settings.count, settings.seed, settings.domain) == (8000, 4, "art")


def test_time_to_choose_is_kept_as_that_to_generate_is() -> None:
    plain = plan_training("alice", RUN, config(60), KernelRequest(7000)).settings
    plan = plan_training("alice", RUN, config(60), KernelRequest(7000, choose_from=20_000))
    settings = plan.settings
    assert settings.choose_from == 20_000
    more = settings.reserved_seconds - plain.reserved_seconds
    assert more == pytest.approx(20_000 * GPU_SECONDS_AN_IMAGE)
    assert settings.minutes - plain.minutes == pytest.approx(more / 60, abs=1)  # whole minutes
    assert "chooses   7,000 images of 20,000" in describe_plan(plan, "alice")
    assert "choose_from" not in plain.to_dict()


def test_a_plan_is_described_with_its_time_and_seeds() -> None:
    plan = plan_training("alice", RUN, config(20), KernelRequest(8000, image_seed=4, minutes=30))
    shown = describe_plan(plan, "alice")
    assert '"id": "alice/painter-first"' in shown
    assert "minutes   30 (Kaggle ends it after 2400 s)" in shown
    assert "seeds     0 to train, 4 for the images" in shown


def test_an_upscaler_is_trained_where_a_run_takes_a_shipped_one_here() -> None:
    settings = plan_training("alice", RUN, resolve("monet-dcgan"), KernelRequest()).settings
    assert settings.training_config().output.upscaler is None
    assert settings.upscaler == resolve(DEFAULT_PRESET).to_dict()
    assert settings.upscaler_minutes == 60  # its preset's: the kernel has them
    free = settings.minutes - settings.reserved_seconds / 60
    assert free > (settings.train_minutes or 0) + 60
    settings = plan_training(
        "alice", RUN, resolve("monet-dcgan"), KernelRequest(minutes=60)
    ).settings
    free = 60 - settings.reserved_seconds / 60
    assert settings.upscaler_minutes == pytest.approx(free / 2)  # shared out: its preset has 60
    other = UpscalerOptions(preset=DEFAULT_PRESET, minutes=3)
    settings = plan_training(
        "alice", RUN, resolve("monet-dcgan"), KernelRequest(upscalers=other)
    ).settings
    assert settings.upscaler_minutes == 3
    assert plan_training("alice", RUN, config(20), KernelRequest()).settings.upscaler is None


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_an_upscaler_is_given_minutes_above_nothing(minutes: float) -> None:
    other = UpscalerOptions(preset=DEFAULT_PRESET, minutes=minutes)
    with pytest.raises(ConfigError, match=r"--upscaler-minutes is .*; expected a number above 0"):
        plan_training("alice", RUN, config(20), KernelRequest(upscalers=other))


def test_time_to_translate_is_that_of_the_machine() -> None:
    """Seven thousand photos take a CPU an hour, which the kernel has beside its training."""
    recipe = resolve("photo2monet", None, ["minutes=30"])
    plans = [
        plan_training("alice", RUN, recipe, KernelRequest(7000, accelerator=name))
        for name in ("t4", "cpu")
    ]
    expected = [
        math.ceil(30 + STARTUP_MINUTES + 1 + 7000 * seconds / 60)
        for seconds in (GPU_SECONDS_AN_IMAGE, CPU_SECONDS_A_PHOTO)
    ]
    assert [plan.settings.minutes for plan in plans] == expected
    assert "training  30 minutes at most; " in describe_plan(plans[1], "alice")


def test_a_kernel_chooses_as_the_settings_say_or_as_it_is_told() -> None:
    chosen = [
        plan_training("alice", RUN, resolve(preset), request).settings.choose_from
        for preset, request in (
            ("monet-dcgan", KernelRequest()),
            ("monet-dcgan", KernelRequest(8000)),
            ("monet-dcgan", KernelRequest(8000, choose_from=9000)),
            ("demo", KernelRequest()),
        )
    ]
    assert chosen == [21000, 24000, 9000, None]
