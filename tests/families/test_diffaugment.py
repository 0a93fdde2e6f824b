"""Differentiable augmentation: by hand on small images, its gradient, and its strength."""

import copy

import pytest
import torch

from pipeline.config import Config, apply_settings, load_preset
from pipeline.core.errors import ConfigError
from pipeline.families.adversarial.diffaugment import (
    DRAWS,
    DifferentiableAugmentation,
    adapt_strength,
    cut_out,
    jitter_colour,
    translate,
)
from pipeline.families.adversarial.objective import AdversarialObjective
from pipeline.models.precision import Precision
from pipeline.training.state import TrainingState
from pipeline.training.step import StepSettings, train_step
from tests.support import factories
from tests.support.factories import CPU, batches_of

ALL = ("colour", "translation", "cutout")
ONE, NONE = torch.tensor(1.0), torch.tensor(0.0)
TINY = factories.TINY | {"images": 48, "precision": "float32"}


def pictures(count: int = 3, side: int = 8) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(count, 3, side, side) * 2 - 1


def test_colours_by_hand() -> None:
    images = pictures(1)
    draws = torch.tensor([[0.75, 0.25, 0.0]])  # brighter by 0.25, half as colourful and as strong
    brighter = images + 0.25
    grey = brighter.mean(1, keepdim=True)
    duller = grey + (brighter - grey) / 2
    expected = duller.mean() + (duller - duller.mean()) / 2
    # A few float32 additions of numbers near 1.
    assert torch.allclose(jitter_colour(images, draws), expected, atol=1e-6)


def test_shifts_are_whole_pixels_and_grey_comes_in() -> None:
    images = pictures(3)
    draws = torch.tensor([[0.5, 0.5], [0.999, 0.5], [0.5, 0.0]])  # none; 2 to the left; 2 down
    still, left, down = translate(images, draws, 0.25)
    assert torch.equal(still, images[0])
    assert torch.equal(left[:, :, :-2], images[1, :, :, 2:])
    assert torch.equal(left[:, :, -2:], torch.zeros(3, 8, 2))
    assert torch.equal(down[:, 2:], images[2, :, :-2])
    assert torch.equal(down[:, :2], torch.zeros(3, 2, 8))


@pytest.mark.parametrize("side", [32, 64, 128])
def test_every_shift_copies_pixels(side: int) -> None:
    images = pictures(64, side)
    draws = torch.linspace(0, 0.999, 64)[:, None].expand(64, 2)
    reach = side // 8
    for image, moved, draw in zip(images, translate(images, draws, 0.125), draws, strict=True):
        pixels = int(draw[0] * (2 * reach + 1)) - reach
        padded = torch.nn.functional.pad(image, (reach,) * 4)
        start = reach + pixels
        assert torch.equal(moved, padded[:, start : start + side, start : start + side])


def test_a_square_is_cut_out() -> None:
    images = pictures(2) + 5
    draws = torch.tensor([[0.0, 0.5, 0.25], [0.9, 0.5, 0.5]])
    cut, whole = cut_out(images, draws, torch.tensor(0.5))
    hole = torch.zeros(8, 8, dtype=torch.bool)
    hole[0:4, 2:6] = True  # half the side, around a centre at (1/4, 1/2) down and across
    assert torch.equal(cut == 0, hole.expand(3, 8, 8))
    assert torch.equal(whole, images[1])


@pytest.mark.parametrize("changes", [("colour",), ("translation",), ("cutout",), ALL])
def test_the_strength_is_the_share_of_images_changed(changes: tuple[str, ...]) -> None:
    augment = DifferentiableAugmentation(changes)
    images, draws = pictures(400, 16), torch.rand(400, DRAWS)
    assert torch.allclose(augment(images, draws, NONE), images, atol=1e-6)  # rounding of colours
    changed = augment(images, draws, torch.tensor(0.3)) - images
    share = (changed.abs().amax((1, 2, 3)) > 1e-3).float().mean().item()
    expected = 0.3 if len(changes) == 1 else 1 - 0.7**3
    # Four standard deviations of a share of 400: 4 * sqrt(0.25 / 400) = 0.1.
    assert share == pytest.approx(expected, abs=0.1)


def test_without_changes_images_pass_through() -> None:
    images = pictures()
    assert DifferentiableAugmentation()(images, torch.rand(3, DRAWS), ONE) is images
    assert DifferentiableAugmentation(ALL)(images, None, ONE) is images


def test_the_gradient_passes_through() -> None:
    images = pictures(2).double().requires_grad_()
    changed = DifferentiableAugmentation(ALL)(images, torch.rand(2, DRAWS), ONE)
    (slope,) = torch.autograd.grad(changed.sum(), images)
    assert slope.abs().sum() > 0
    assert slope.isfinite().all()


def test_the_strength_follows_the_signs() -> None:
    strength = torch.tensor(0.5)
    # One float32 rounding of numbers below 1.
    assert adapt_strength(strength, ONE, 0.6, 0.01).item() == pytest.approx(0.51, abs=1e-7)
    assert adapt_strength(strength, NONE, 0.6, 0.01).item() == pytest.approx(0.49, abs=1e-7)
    assert adapt_strength(ONE, ONE, 0.6, 0.01).item() == 1
    assert adapt_strength(NONE, NONE, 0.6, 0.01).item() == 0


@pytest.mark.parametrize(("ramp", "expected"), [(1000, 0.064), (200_000, 0.00032)])
def test_the_ramp_says_how_fast(ramp: int, expected: float) -> None:
    settings = {"diffaugment": ALL, "diffaugment_target": 0.6, "diffaugment_ramp": ramp}
    config = apply_settings(Config(), TINY | settings)
    state = TrainingState.fresh(config, Precision("float32", CPU))
    state.objective.update({"d_real_sign": ONE}, 64)
    # One float32 rounding of a number below 1.
    assert strength_of(state).item() == pytest.approx(expected, abs=1e-7)


def trained(config: Config, steps: int, state: TrainingState | None = None) -> TrainingState:
    precision = Precision("float32", CPU)
    state = state or TrainingState.fresh(config, precision)
    pixels = (pictures(10, 32) * 127 + 128).byte()
    batches = batches_of(pixels, config, precision.device)
    for _ in range(steps):
        batch, settings = batches(state.step + 1), StepSettings.from_config(config)
        state.objective.update(train_step(state, batch, precision, settings), 20_000)
    return state


def strength_of(state: TrainingState) -> torch.Tensor:
    assert isinstance(state.objective, AdversarialObjective)
    return state.objective.strength


def test_an_adapting_strength_starts_at_zero_and_is_resumed() -> None:
    config = apply_settings(Config(), TINY | {"diffaugment": ALL, "diffaugment_target": 0.0})
    state = trained(config, 2)
    for _ in range(3):
        state.objective.update({"d_real_sign": ONE}, 20_000)  # as if it knew every painting
    assert 0.2 < strength_of(state).item() < 0.4
    precision = Precision("float32", CPU)
    resumed = TrainingState.fresh(config, precision)
    assert strength_of(resumed).item() == 0
    resumed.load(copy.deepcopy(state.to_dict()))
    assert torch.equal(strength_of(resumed), strength_of(state))
    a, b = trained(config, 2, state), trained(config, 2, resumed)
    for one, other in zip(a.generator.parameters(), b.generator.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_fixed_strength_is_the_settings() -> None:
    config = apply_settings(Config(), TINY | {"diffaugment": ALL, "diffaugment_strength": 0.25})
    assert strength_of(trained(config, 2)).item() == 0.25


def test_it_changes_the_training_of_both_networks() -> None:
    plain = trained(apply_settings(Config(), TINY), 1)
    augmented = trained(apply_settings(Config(), TINY | {"diffaugment": ALL}), 1)
    for name in ("generator", "discriminator"):
        pairs = zip(
            plain.networks[name].parameters(), augmented.networks[name].parameters(), strict=True
        )
        assert any(not torch.equal(one, other) for one, other in pairs)


def test_rows_of_a_batch_get_their_own_numbers() -> None:
    config = apply_settings(Config(), TINY | {"diffaugment": ALL})
    pixels = (pictures(10, 32) * 127 + 128).byte()
    cpu = CPU
    whole, part = (
        batches_of(pixels, config, cpu)(3),
        batches_of(pixels, config, cpu, slice(1, 3))(3),
    )
    numbers = whole.draws["diffaugment"]
    assert numbers.shape == (3, 4, DRAWS)
    assert torch.equal(numbers[:, 1:3], part.draws["diffaugment"])
    assert not torch.equal(numbers[0], numbers[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("diffaugment", ["colour", "flip"]), ("diffaugment_strength", 1.5),
        ("diffaugment_target", -0.1), ("diffaugment_ramp", 0), ("diffaugment_translation", 2.0),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        apply_settings(Config(), {name: value})


def test_a_run_that_begins_to_adapt_begins_at_zero() -> None:
    fixed = apply_settings(Config(), TINY | {"diffaugment": ALL})
    adapting = apply_settings(fixed, {"diffaugment_target": 0.5})
    saved = copy.deepcopy(trained(fixed, 1).to_dict())
    state = TrainingState.fresh(adapting, Precision("float32", CPU))
    state.load(saved)
    assert strength_of(state).item() == 0


def test_a_target_without_changes_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no changes"):
        apply_settings(Config(), {"diffaugment_target": 0.6})


def test_a_fixed_strength_beside_a_target_is_refused() -> None:
    settings = {"diffaugment": ALL, "diffaugment_target": 0.6, "diffaugment_strength": 0.5}
    with pytest.raises(ConfigError, match="Leave one out: diffaugment_target=none"):
        apply_settings(Config(), settings)
    apply_settings(Config(), settings | {"diffaugment_target": "none"})


@pytest.mark.parametrize("name", ["diffaugment_strength", "diffaugment_translation"])
def test_an_upscaler_is_not_augmented(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0.5, and family 'upscaler' has no such"):
        apply_settings(load_preset("upscaler64to256"), {name: 0.5})


def test_shifts_are_whole_pixels_in_16_bits_too() -> None:
    images, draws = pictures(8, 256), torch.rand(8, 2)
    expected = translate(images, draws, 0.125)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(translate(images, draws, 0.125), expected)
