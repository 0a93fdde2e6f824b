"""Inception Score: are single images recognisable, and the set varied? Needs no reference.

Salimans et al. 2016, "Improved techniques for training GANs", section 4: the exponential of the
mean divergence of p(class | image) from p(class), over 10 splits, as torch-fidelity computes it.
For paintings the classes of ImageNet mean little: compare it only within one series of runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pipeline.core.errors import ScoringError
from pipeline.core.randomness import stream
from pipeline.scoring.metrics import FloatArray, check_features

SPLITS = 10


@dataclass(frozen=True)
class InceptionScore:
    """The score over the splits: 1 at worst, the number of classes at best."""

    mean: float
    std: float
    """Over the splits (population standard deviation)."""


def inception_score(
    logits: npt.ArrayLike, *, splits: int = SPLITS, seed: int = 0
) -> InceptionScore:
    """Return the Inception Score of a set.

    Args:
        logits: (n, classes), before the softmax.
        splits: the images are shuffled and split into so many parts, each with its own score. A
            part's score grows with its size, so scores of sets of different size do not compare.
        seed: of the shuffling.

    Raises:
        ScoringError: for fewer images than splits.
    """
    rows = check_features(logits, "logit", 1)
    n = len(rows)
    if not 1 <= splits <= n:
        raise ScoringError(
            f"The Inception Score of {n} images cannot be taken over {splits} splits; each needs "
            "an image."
        )
    rows = rows[stream(seed, "inception score").permutation(n)]
    log_p: FloatArray = special.log_softmax(rows, axis=1)
    scores = [_one_split(log_p[i * n // splits : (i + 1) * n // splits]) for i in range(splits)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _one_split(log_p: FloatArray) -> float:
    p = np.exp(log_p)
    marginal = special.logsumexp(log_p, axis=0) - np.log(len(log_p))
    # A class of probability 0 has a logarithm far below 0, never minus infinity: 0 times it is 0.
    return float(np.exp((p * (log_p - marginal)).sum(1).mean()))
