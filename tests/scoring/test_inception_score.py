"""The Inception Score against torch-fidelity and closed forms."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import (
    KEY_METRIC_ISC_MEAN,
    KEY_METRIC_ISC_STD,
    isc_features_to_metric,
)

from pipeline.core.errors import ScoringError
from pipeline.core.randomness import stream
from pipeline.scoring.inception_score import inception_score
from tests.support.feature_helpers import EPSILON, random_set


@pytest.mark.parametrize(("n", "splits"), [(200, 10), (203, 10), (57, 1), (10, 10)])
def test_agrees_with_torch_fidelity_in_the_same_order(n: int, splits: int) -> None:
    logits = 3 * random_set(0, n, 12)
    order = stream(7, "inception score").permutation(n)
    theirs = isc_features_to_metric(torch.from_numpy(logits[order]), splits, shuffle=False)
    ours = inception_score(logits, splits=splits, seed=7)
    # Both in float64: a sum over 12 classes and up to 57 images.
    assert ours.mean == pytest.approx(theirs[KEY_METRIC_ISC_MEAN], rel=1000 * EPSILON)
    assert ours.std == pytest.approx(theirs[KEY_METRIC_ISC_STD], abs=1e4 * EPSILON)


def test_certain_and_varied_images_score_the_number_of_classes() -> None:
    # Each of 8 classes once: p(class) is 1/8, each image is certain up to exp(-100).
    assert inception_score(100 * np.eye(8), splits=1).mean == pytest.approx(8, rel=1e-12)


@pytest.mark.parametrize(
    "logits", [np.zeros((20, 6)), np.tile([100.0, 0, 0], (20, 1)), np.full((20, 3), 1e4)]
)
def test_images_that_are_all_alike_score_one(logits: np.ndarray) -> None:
    found = inception_score(logits, splits=4)
    assert found.mean == pytest.approx(1, abs=100 * EPSILON)
    assert found.std <= 100 * EPSILON


def test_a_class_of_probability_zero_adds_nothing() -> None:
    # torch-fidelity gives NaN here: 0 times the logarithm of 0.
    assert inception_score([[0.0, -2000.0], [0.0, -2000.0]], splits=1).mean == pytest.approx(1)


def test_a_constant_added_to_an_images_logits_changes_nothing() -> None:
    logits = random_set(1, 50, 5)
    shifted = logits + np.arange(50.0)[:, None]
    # Logits up to 50 lose 50 roundings.
    assert inception_score(shifted).mean == pytest.approx(inception_score(logits).mean, rel=1e-12)


def test_splits_depend_on_the_seed_alone() -> None:
    logits = random_set(2, 50, 5)
    assert inception_score(logits, seed=1) == inception_score(logits, seed=1)
    assert inception_score(logits, seed=1) != inception_score(logits, seed=2)


def test_the_order_does_not_matter_within_one_split() -> None:
    logits = random_set(3, 50, 5)
    assert inception_score(logits[::-1], splits=1).mean == pytest.approx(
        inception_score(logits, splits=1).mean, rel=100 * EPSILON
    )


@pytest.mark.parametrize(("n", "splits"), [(9, 10), (5, 0)])
def test_fewer_images_than_splits_are_refused(n: int, splits: int) -> None:
    with pytest.raises(ScoringError, match=f"{n} images .* {splits} splits"):
        inception_score(np.zeros((n, 3)), splits=splits)


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ScoringError, match="logit features contain NaN"):
        inception_score(np.full((20, 3), np.nan))
