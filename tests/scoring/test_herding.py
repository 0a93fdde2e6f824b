"""Herding chooses what brute force chooses, and says how near it came."""

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.core.errors import ScoringError
from pipeline.scoring import herding
from pipeline.scoring.herding import HerdingKernel, Layer, herd

Matrix = npt.NDArray[np.float32]


def numbers(seed: int, rows: int, width: int, shift: float = 0.0) -> Matrix:
    drawn = np.random.default_rng(seed).normal(size=(rows, width)) + shift
    return drawn.astype(np.float32)


def two_layers(n: int = 40, m: int = 9) -> list[Layer]:
    return [
        Layer(numbers(1, n, 6, 0.5), numbers(2, m, 6)),
        Layer(3 * numbers(3, n, 4), 3 * numbers(4, m, 4)),
    ]


def full_kernel(layers: list[Layer]) -> npt.NDArray[np.float64]:
    """Return the kernel of all pairs of candidates, then reference images, from its definition."""
    total = 0.0
    for layer in layers:
        x = np.concatenate([layer.candidates, layer.reference]).astype(np.float64)
        k = (x @ x.T / x.shape[1] + 1) ** 3
        own = k[len(layer.candidates) :, len(layer.candidates) :]
        total = total + k / (own.diagonal().mean() - own.mean())
    return np.asarray(total)


def squared_mmd(k: npt.NDArray[np.float64], chosen: list[int], n: int) -> float:
    within = k[np.ix_(chosen, chosen)].mean()
    return float(within - 2 * k[chosen, n:].mean() + k[n:, n:].mean())


def brute_force(layers: list[Layer], count: int, allowed: list[int]) -> list[int]:
    """Return the choice that tries each candidate at each step."""
    k, n = full_kernel(layers), len(layers[0].candidates)
    chosen: list[int] = []
    for _ in range(count):
        left = [i for i in allowed if i not in chosen]
        chosen.append(min(left, key=lambda i: squared_mmd(k, [*chosen, i], n)))
    return chosen


def test_the_choice_is_that_of_brute_force_and_so_is_its_discrepancy() -> None:
    layers = two_layers()
    kernel = HerdingKernel(layers)
    found = herd(kernel, 25)
    assert found.indices.tolist() == brute_force(layers, 25, list(range(40)))
    expected = squared_mmd(full_kernel(layers), found.indices.tolist(), 40)
    # Kernels are computed in float32: 2^-23 each, of sums whose terms are up to a hundred.
    assert found.discrepancy == pytest.approx(expected, abs=1e-4)
    assert kernel.discrepancy(found.indices) == pytest.approx(expected, abs=1e-4)


def test_rows_computed_ahead_and_forgotten_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = HerdingKernel(two_layers())
    choices = []
    for at_once, kept in ((1, 1), (3, 5), (64, 512)):
        monkeypatch.setattr(herding, "ROWS_AT_ONCE", at_once)
        monkeypatch.setattr(herding, "ROWS_KEPT", kept)
        choices.append(herd(kernel, 30).indices.tolist())
    assert choices[0] == choices[1] == choices[2]


def test_the_first_of_a_choice_are_the_choice_of_fewer() -> None:
    kernel = HerdingKernel(two_layers())
    assert herd(kernel, 8).indices.tolist() == herd(kernel, 20).indices.tolist()[:8]


def test_of_equal_candidates_the_first_is_chosen() -> None:
    one = numbers(1, 5, 6)
    layers = [Layer(np.concatenate([one, one]), numbers(2, 9, 6))]
    assert herd(HerdingKernel(layers), 1).indices[0] < 5


def test_it_comes_nearer_than_the_first_as_they_come_and_finds_the_reference_among_others() -> None:
    reference = numbers(2, 30, 6)
    candidates = np.concatenate([numbers(5, 90, 6, 2.0), reference])
    kernel = HerdingKernel([Layer(candidates, reference)])
    found = herd(kernel, 30)
    assert found.discrepancy < kernel.discrepancy(np.arange(30)) / 100
    assert (found.indices >= 90).mean() > 0.9


def test_what_is_not_allowed_is_not_chosen() -> None:
    layers, allowed = two_layers(), np.arange(40) % 3 == 0
    found = herd(HerdingKernel(layers), 10, allowed)
    assert found.indices.tolist() == brute_force(layers, 10, np.flatnonzero(allowed).tolist())
    with pytest.raises(ScoringError, match="15 images are to be chosen from 14 that may be"):
        herd(HerdingKernel(layers), 15, allowed)


def test_each_group_gives_its_quota() -> None:
    groups = np.repeat([0, 1], 20)
    found = herd(HerdingKernel(two_layers()), 12, groups=groups, quotas=(3, 9))
    assert np.bincount(groups[found.indices]).tolist() == [3, 9]
    none = herd(HerdingKernel(two_layers()), 9, groups=groups, quotas=(0, 9))
    assert np.bincount(groups[none.indices]).tolist() == [0, 9]
    with pytest.raises(ScoringError, match="there are 20, 20 that may be"):
        herd(HerdingKernel(two_layers()), 25, groups=groups, quotas=(0, 25))


def test_a_layer_counts_the_same_whatever_its_size_in_the_kernel() -> None:
    """In units of the reference's variance a draw from the reference is 1 / n off in each layer."""
    reference = numbers(2, 400, 6)
    for layer in (Layer(reference, reference), Layer(50 * reference, 50 * reference)):
        kernel = HerdingKernel([layer])
        drawn = [
            kernel.discrepancy(np.random.default_rng(s).choice(400, 10, replace=False))
            for s in range(200)
        ]
        # Without replacement: (1 - 10 / 400) / 10 and a little more, for 1 / (n - 1) in place of
        # 1 / n; the mean of 200 draws has a standard error of about 5 % in a cubic kernel.
        assert np.mean(drawn) == pytest.approx(0.0977, rel=0.2)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Layer(numbers(1, 5, 3), numbers(2, 5, 4))], "as many numbers in each"),
        ([Layer(numbers(1, 5, 3), numbers(2, 1, 3))], "two reference images or more"),
        ([*two_layers(5), *two_layers(6)], "the same candidates in all layers"),
        ([Layer(numbers(1, 5, 3) * np.float32(np.nan), numbers(2, 5, 3))], "NaN"),
        ([Layer(numbers(1, 5, 3), np.ones((4, 3), np.float32))], "the same features"),
    ],
)
def test_what_cannot_be_compared_is_refused(layers: list[Layer], message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        HerdingKernel(layers)


def test_memory_holds_no_matrix_of_all_pairs() -> None:
    layers = [Layer(numbers(1, 6000, 4), numbers(2, 20, 4))]
    tracemalloc.start()  # numpy's memory alone; torch's is the rows, converted one block at a time
    herd(HerdingKernel(layers), 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6000 * 6000 * 4 / 10
