"""Walks and sums in latent space, by their closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import ConfigError
from pipeline.families.noise.distributions import parse_noise
from pipeline.families.noise.latents import (
    average,
    interpolate,
    lerp,
    signed_sum,
    slerp,
    truncate,
    walk,
)

NORMAL, UNIFORM = parse_noise("normal(0, 1)"), parse_noise("uniform(-1, 1)")
EVENLY = torch.linspace(0, 1, 9, dtype=torch.float64)
ROUNDING = 1e-12
"""A few dozen float64 operations on numbers of the order of 10, each off by 1e-16 of them."""


def vectors(count: int, size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def of_length(vector: torch.Tensor, length: float) -> torch.Tensor:
    direction: torch.Tensor = vector.double() / vector.double().norm()
    return direction * length


def angles(points: torch.Tensor) -> torch.Tensor:
    """Return the angle from each point to the next."""
    units: torch.Tensor = points / points.norm(dim=1, keepdim=True)
    return (units[1:] * units[:-1]).sum(1).clamp(-1, 1).arccos()


def test_slerp_of_axes_is_the_quarter_circle() -> None:
    x, y = torch.eye(2, dtype=torch.float64)
    quarter = EVENLY * math.pi / 2
    expected = torch.stack([quarter.cos(), quarter.sin()], 1)
    torch.testing.assert_close(slerp(x, y, EVENLY), expected, atol=ROUNDING, rtol=0)


@given(st.integers(0, 2**32), st.integers(2, 200), st.floats(0.1, 20))
def test_slerp_keeps_length_in_equal_angles(seed: int, size: int, length: float) -> None:
    a, b = (of_length(v, length) for v in vectors(2, size, seed))
    points = slerp(a, b, EVENLY)
    # Near opposite vectors (size 2) the sine in the denominator magnifies rounding.
    torch.testing.assert_close(
        points.norm(dim=1), torch.full((9,), length, dtype=torch.float64), atol=0, rtol=1e-7
    )
    steps = angles(points)
    # The arc cosine turns rounding of 1e-16 into 1e-8 where the angle is small.
    torch.testing.assert_close(steps, steps.mean().expand(8), atol=1e-6, rtol=0)


@pytest.mark.parametrize("function", [lerp, slerp])
def test_both_ends_are_exact(function: object) -> None:
    a, b = vectors(2)
    ends = function(a, b, torch.tensor([0.0, 1.0]))  # type: ignore[operator]
    assert torch.equal(ends, torch.stack([a, b]).double())


@pytest.mark.parametrize("factor", [1, 3, 1 + 1e-9])
def test_slerp_of_parallel_vectors_is_the_line(factor: float) -> None:
    a = vectors(1)[0].double()
    points = slerp(a, factor * a, EVENLY)
    torch.testing.assert_close(points, lerp(a, factor * a, EVENLY), atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("zero", ["first", "second", "both"])
def test_slerp_with_a_zero_vector_is_the_line(zero: str) -> None:
    a, b = vectors(2).double()
    if zero != "second":
        a = torch.zeros_like(a)
    if zero != "first":
        b = torch.zeros_like(b)
    assert torch.equal(slerp(a, b, EVENLY), lerp(a, b, EVENLY))


@pytest.mark.parametrize("factor", [1, 2.5])
@pytest.mark.parametrize("size", [2, 3, 100])
def test_slerp_of_opposite_vectors_is_half_a_circle(size: int, factor: float) -> None:
    a = vectors(1, size)[0].double()
    points = slerp(a, -factor * a, EVENLY)
    lengths = a.norm() * torch.linspace(1, factor, 9, dtype=torch.float64)
    torch.testing.assert_close(points.norm(dim=1), lengths, atol=ROUNDING, rtol=0)
    eighth = torch.full((8,), math.pi / 8, dtype=torch.float64)
    torch.testing.assert_close(angles(points), eighth, atol=1e-9, rtol=0)
    torch.testing.assert_close(points[-1], -factor * a, atol=ROUNDING, rtol=0)


def test_opposite_numbers_have_only_the_line() -> None:
    a = torch.tensor([2.0])
    assert torch.equal(slerp(a, -a, EVENLY), lerp(a, -a, EVENLY))


@pytest.mark.parametrize("tilt", [1e-3, 1e-5, 1e-7, 1e-9])
def test_nearly_parallel_and_nearly_opposite_vectors_keep_their_length(tilt: float) -> None:
    a = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    for sign in (1, -1):
        b = of_length(torch.tensor([sign, tilt, 0.0], dtype=torch.float64), 1)
        lengths = slerp(a, b, EVENLY).norm(dim=1)
        # A chord of 1e-6 lies 1e-13 below its arc; sines of 1e-5 are known to 1e-16 of pi.
        torch.testing.assert_close(lengths, torch.ones(9, dtype=torch.float64), atol=1e-9, rtol=0)


def test_normal_noise_walks_round_its_mean() -> None:
    distribution = parse_noise("normal(5, 2)")
    a, b = vectors(2).double()
    expected = 5 + slerp(a, b, EVENLY)
    torch.testing.assert_close(
        interpolate(distribution, a + 5, b + 5, EVENLY), expected, atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("text", ["uniform(-1, 1)", "gamma(2, 1)"])
def test_uniform_and_gamma_noise_walk_on_the_line(text: str) -> None:
    a, b = vectors(2).abs()
    assert torch.equal(interpolate(parse_noise(text), a, b, EVENLY), lerp(a, b, EVENLY))


@pytest.mark.parametrize(
    "distribution", [NORMAL, UNIFORM], ids=lambda distribution: distribution.name
)
@pytest.mark.parametrize(("loop", "count"), [(True, 12), (False, 9)])
def test_key_frames_are_in_their_places_unchanged(
    distribution: object, loop: bool, count: int
) -> None:
    keys = vectors(3)
    path = walk(distribution, keys, 4, loop)  # type: ignore[arg-type]
    assert path.shape == (count, 16)
    assert path.dtype == torch.float32
    assert torch.equal(path[::4], keys)


def test_a_loop_closes_without_showing_a_frame_twice() -> None:
    keys = torch.stack([of_length(v, 4.0) for v in vectors(3)]).float()
    path = walk(NORMAL, keys, 5, loop=True)
    opened = walk(NORMAL, torch.cat([keys, keys[:1]]), 5, loop=False)
    assert torch.equal(path, opened[:-1])
    assert len({tuple(row) for row in path.tolist()}) == len(path)
    last_step = angles(torch.cat([path[-2:], path[:1]]).double())
    # Equal angles up to the rounding of float32 latents, 6e-8 of them.
    torch.testing.assert_close(last_step[0], last_step[1], atol=1e-5, rtol=0)


def test_one_frame_a_step_shows_the_key_frames_alone() -> None:
    keys = vectors(4)
    assert torch.equal(walk(NORMAL, keys, 1, loop=True), keys)
    assert torch.equal(walk(NORMAL, keys, 1, loop=False), keys)


def test_the_same_image_twice_in_a_row_is_a_pause() -> None:
    key = vectors(1)
    path = walk(NORMAL, torch.cat([key, key]), 3, loop=False)
    torch.testing.assert_close(path, key.expand(4, -1), atol=1e-6, rtol=0)  # float32


@pytest.mark.parametrize("count", [0, 1])
def test_a_walk_needs_two_images(count: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 2 images as key frames; found {count}"):
        walk(NORMAL, vectors(count), 4, loop=True)


def test_arithmetic_adds_and_subtracts_averages() -> None:
    first, second = torch.tensor([[1.0, 2], [3, 6]]), torch.tensor([[4.0, 1]])
    assert average(first).tolist() == [2, 4]
    assert signed_sum([1, -1, 1], [average(first), average(second), average(first)]).tolist() == [
        0,
        7,
    ]


def test_a_term_taken_away_from_itself_leaves_nothing() -> None:
    mean = average(vectors(3))
    assert not signed_sum([1, -1], [mean, mean]).any()


def test_three_averages_of_three_have_the_variance_of_the_noise() -> None:
    means = [vectors(3, 100_000, seed).double().mean(0) for seed in range(3)]
    result = signed_sum([1, -1, 1], means)
    # The variance of 100,000 normal numbers deviates by sqrt(2 / 100,000) = 0.0045; five times.
    assert float(result.var()) == pytest.approx(1, abs=0.023)


def test_the_class_changes_along_the_line_and_stays_where_both_agree() -> None:
    keys = torch.cat([vectors(3), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])], 1)
    path = walk(NORMAL, keys, 4, loop=False, classes=2)
    assert torch.equal(path[:5, 16:], keys[:1, 16:].expand(5, 2))
    # Quarters are exact in float32.
    assert path[4:, 17].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert torch.equal(path[:, :16], walk(NORMAL, keys[:, :16], 4, loop=False))


# --- Truncation


@pytest.mark.parametrize(
    ("text", "mean"), [("normal(3, 2)", 3.0), ("uniform(-1, 4)", 1.5), ("gamma(2, 0.5)", 1.0)]
)
def test_truncation_scales_towards_the_mean_of_the_law(text: str, mean: float) -> None:
    distribution = parse_noise(text)
    z = distribution.sample(np.random.default_rng(0), (50, 200))
    # Three laws of deviation at most 2: the mean of 10,000 draws is off by 0.02, once in three.
    assert distribution.mean == mean == pytest.approx(float(z.mean()), abs=0.1)
    assert torch.equal(truncate(distribution, z, 1.0), z)
    assert torch.equal(truncate(distribution, z, 0.0), torch.full_like(z, mean))
    half = truncate(distribution, z, 0.5)
    torch.testing.assert_close(half - mean, (z - mean) / 2)
    assert float(half.std()) == pytest.approx(float(z.std()) / 2)


def test_truncation_leaves_the_class_alone() -> None:
    z = torch.tensor([[2.0, -4.0, 0.0, 1.0]])
    assert truncate(NORMAL, z, 0.5, classes=2).tolist() == [[1.0, -2.0, 0.0, 1.0]]
