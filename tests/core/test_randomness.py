"""Draws are a function of (seed, purpose, position)."""

import numpy as np
import pytest
import torch

from pipeline.core.errors import ConfigError
from pipeline.core.randomness import stream
from pipeline.families.noise.distributions import LatentDistribution, parse_noise


def test_same_place_same_numbers_whatever_was_drawn_before() -> None:
    first = stream(3, "latents", 7).random(5)
    stream(3, "flip", 7).random(100)
    assert np.array_equal(first, stream(3, "latents", 7).random(5))


@pytest.mark.parametrize("other", [(4, "latents", 7), (3, "flip", 7), (3, "latents", 8)])
def test_another_seed_purpose_or_position_gives_other_numbers(other: tuple[int, str, int]) -> None:
    assert not np.array_equal(stream(3, "latents", 7).random(5), stream(*other).random(5))


def test_neighbouring_positions_do_not_overlap_in_long_draws() -> None:
    here, next_door = stream(0, "x", 0).random(50_000), stream(0, "x", 1).random(50_000)
    assert not set(here) & set(next_door)


@pytest.mark.parametrize(
    ("text", "mean", "deviation"),
    [
        ("normal(0, 1)", 0, 1),
        ("normal(-1, 0.1)", -1, 0.1),
        ("uniform(-1, 1)", 0, 2 / 12**0.5),
        ("gamma(2, 1)", 2, 2**0.5),
    ],
)
def test_laws_have_their_closed_form_moments(text: str, mean: float, deviation: float) -> None:
    n = 200_000
    values = parse_noise(text).sample(stream(1, "moments"), (n,))
    # Six standard errors of the mean; the deviation's relative error is of the same order.
    assert abs(values.mean().item() - mean) < 6 * deviation / n**0.5
    assert values.std().item() == pytest.approx(deviation, rel=0.02)
    assert values.dtype == torch.float32


@pytest.mark.parametrize(
    "text",
    ["", "normal", "normal(1)", "normal(0, 0)", "uniform(1, 1)", "gamma(0, 1)", "cauchy(0, 1)",
     "normal(0, x)", "normal(0, nan)", "normal(0, inf)"],
)  # fmt: skip
def test_a_law_that_is_none_is_refused_with_the_laws_there_are(text: str) -> None:
    with pytest.raises(ConfigError, match="noise is"):
        parse_noise(text)


def test_latents_of_an_image_do_not_depend_on_its_neighbours() -> None:
    latents = LatentDistribution(parse_noise("normal(0, 1)"), 16)
    together = latents.images(5, range(10))
    assert torch.equal(together[7], latents.images(5, [7])[0])
    assert not torch.equal(together[7], latents.images(6, [7])[0])
