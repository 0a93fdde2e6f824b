"""The choose stage: of many images of one or several models those that come nearest to others.

Reads snapshots and reference images; decides which candidates a set consists of, by kernel herding
(`scoring/herding.py`) in the last and the middle layers of a network. What stands in choice.json is
enough to make the same set again, elsewhere and without the reference.
`painter generate --choose-from N`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from pipeline.config import DataConfig
from pipeline.core.advice import counted
from pipeline.core.errors import ConfigError, DataError
from pipeline.data.holdout import MIN_HELD_OUT, split_holdout
from pipeline.data.images import ImageSet, content_hash
from pipeline.runs.choices import ChoiceRecord, Criterion
from pipeline.scoring.features import cached_extract
from pipeline.scoring.herding import ROWS_AT_ONCE, HerdingKernel, Layer, herd
from pipeline.scoring.kernel_distance import kernel_distance
from pipeline.scoring.layers import LAYERS, Layered, LayerSplit, Matrix, layers_of
from pipeline.scoring.memorization import are_nearer
from pipeline.scoring.metrics import nearest_training
from pipeline.stages.candidates import (
    CandidateFeatures,
    Source,
    divide,
    interleaved,
    union_of,
)
from pipeline.stages.estimate import megabytes

TIMED_ROWS = 2048
"""Candidates by which the time to choose is estimated."""
MIN_JUDGED = 2
"""Images of a set that KID can judge; fewer are chosen all the same."""


@dataclass(frozen=True)
class Wanted:
    """What is to be chosen."""

    count: int
    """Images of the set."""
    candidates: int
    """Images that they are chosen from."""
    seed: int = 0
    shares: Sequence[float] | None = None
    """Of each source in the set, in proportion; None: whatever comes nearest."""

    def quotas(self, sources: Sequence[Source]) -> list[int] | None:
        """Return how many images of each source are in the set; None if any number may be."""
        if self.shares is None:
            return None
        return divide(self.count, self.shares, [source.most for source in sources])

    def counts(self, sources: Sequence[Source]) -> list[int]:
        """Return the number of candidates of each source: as the shares, else as many of each.

        At least as many as are to be in the set.
        """
        shares, most = self.shares or [1.0] * len(sources), [source.most for source in sources]
        return divide(self.candidates, shares, most, self.quotas(sources))


def check_wanted(wanted: Wanted, sources: Sequence[Source]) -> None:
    """Check what can be known before anything is computed.

    Raises:
        ConfigError: for fewer candidates than images, shares that do not fit the sources, or a
            source none of whose images would be there.
    """
    if wanted.candidates < wanted.count:
        raise ConfigError(
            f"{wanted.count:,} images cannot be chosen from {wanted.candidates:,}. Take a larger "
            "--choose-from, or a smaller --count."
        )
    shares = wanted.shares
    if shares is not None and not (
        len(shares) == len(sources) and all(0 < share < math.inf for share in shares)
    ):
        raise ConfigError(
            f"--share is given as {', '.join(f'{share:g}' for share in shares)}; expected a number "
            f"above 0 for each of {counted(len(sources), 'model')}, in their order."
        )
    quotas = wanted.quotas(sources)
    _check_none_left_out(sources, wanted.counts(sources), "--choose-from or --count")
    if quotas is not None:
        _check_none_left_out(sources, quotas, "--count")


def _check_none_left_out(sources: Sequence[Source], parts: Sequence[int], option: str) -> None:
    for source, part in zip(sources, parts, strict=True):
        if part < 1:
            raise ConfigError(
                f"Of {counted(sum(parts), 'image')} of {counted(len(sources), 'model')} none would "
                f"be of {source.name}; expected 1 or more of each. Take a larger {option}, give it "
                "a larger --share, or leave the model out."
            )


@dataclass(frozen=True)
class Seconds:
    """About how long a choice takes."""

    candidates: float
    """Making those that are not known, and their features."""
    choosing: float
    images: float
    """Making what was chosen once more."""

    @property
    def total(self) -> float:
        """Return how long all takes."""
        return self.candidates + self.choosing + self.images


@dataclass(frozen=True)
class Yardstick:
    """The images that a set shall come near to, and those that only judge it."""

    images: ImageSet
    """All of them."""
    config: DataConfig
    """`holdout` and `holdout_seed`: which have no say."""

    @cached_property
    def parts(self) -> tuple[ImageSet, ImageSet | None]:
        """Return the reference, and what is held out."""
        return split_holdout(self.images, self.config)

    def check(self) -> None:
        """Raise DataError if there are fewer than two images to come near to, or held out."""
        reference, _ = self.parts
        if len(reference) < MIN_HELD_OUT:
            raise DataError(
                f"{reference.label} has {counted(len(reference), 'image')} to come near to; "
                f"expected at least {MIN_HELD_OUT}. Name others: --reference DIR|ZIP"
            )

    def record(self) -> dict[str, Any]:
        """Return which images had a say."""
        reference, held_out = self.parts
        return {
            "count": len(reference),
            "content_hash": content_hash(reference),
            "held_out": 0 if held_out is None else len(held_out),
        }


class Choosing:
    """A choice that is to be made: estimated, then made."""

    def __init__(
        self,
        sources: Sequence[Source],
        wanted: Wanted,
        yardstick: Yardstick,
        layered: Layered,
        devices: Sequence[torch.device],
    ) -> None:
        """Look what is in the cache; nothing is computed yet.

        Args:
            sources: their images are the candidates.
            wanted: how many of how many.
            yardstick: what they are to come near to.
            layered: computes their features.
            devices: where the generators run.

        Raises:
            ConfigError: if it cannot be done so.
            DataError: if too few images are held out, or left to come near to.
        """
        check_wanted(wanted, sources)
        yardstick.check()
        self.sources, self.wanted, self.yardstick = sources, wanted, yardstick
        self.counts = wanted.counts(sources)
        self._layered = layered
        self._union = union_of(sources, self.counts, wanted.seed, devices)
        self._features = [
            CandidateFeatures(source, wanted.seed, count, layered.extractor)
            for source, count in zip(sources, self.counts, strict=True)
        ]

    def seconds(self) -> Seconds:
        """Return how long it takes on this machine, by a batch of each source."""
        seconds, again = 0.0, 0.0
        for part, features in enumerate(self._features):
            image, its_features = features.measure(self._union.samplers[part])
            seconds += features.missing * (image + its_features)
            again += image * self.wanted.count * features.count / self.wanted.candidates
        herding = seconds_to_herd(self.wanted.candidates, self._width(), self.wanted.count)
        return Seconds(seconds, herding, again)

    def estimate(self) -> str:
        """Return how long it takes on this machine and what it needs."""
        missing = sum(features.missing for features in self._features)
        n, width, seconds = self.wanted.candidates, self._width(), self.seconds()
        of_each = ", ".join(
            f"{source.name} {count:,}"
            for source, count in zip(self.sources, self.counts, strict=True)
        )
        return (
            f"candidates {n:,} ({of_each}), of which {n - missing:,} are known already\n"
            f"takes      about {seconds.total / 60:.1f} minutes: candidates and their features "
            f"{seconds.candidates / 60:.1f}, choosing {seconds.choosing / 60:.1f}, images "
            f"{seconds.images / 60:.1f}\n"
            f"needs      {megabytes(3 * 4 * n * width)} of memory, {megabytes(4 * n * width)} in "
            "the cache"
        )

    def _width(self) -> int:
        blank = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
        return self._layered.extractor.outputs(blank).features.shape[1]

    def choose(self) -> ChoiceRecord:
        """Compute the features, choose, and return what was chosen and how near it comes.

        Raises:
            ScoringError: if there are too few candidates that are no copies, or they have no
                features.
            DataError: if no reference image can be decoded.
        """
        features = self._all_features()
        reference, held_out = (
            None if images is None else cached_extract(images, self._layered.extractor, name).values
            for images, name in zip(self.yardstick.parts, ("reference", "held-out"), strict=True)
        )
        assert reference is not None
        # Held-out images have no say in what is near, but a copy of one is a copy too.
        real = reference if held_out is None else np.concatenate([reference, held_out])
        allowed = self._no_copies(features, real)
        split = LayerSplit(reference, self._layered.width)
        layers = layers_of(split, features, reference)
        groups = np.repeat(np.arange(len(self.sources)), self.counts)
        with tqdm(total=self.wanted.count, desc="choose", unit="img") as bar:
            chosen = herd(
                HerdingKernel(layers),
                self.wanted.count,
                allowed,
                groups,
                self.wanted.quotas(self.sources),
                bar.update,
            ).indices
        judged = {}
        if len(chosen) >= MIN_JUDGED:
            judged["reference"] = self._judged(layers, chosen)
        if len(chosen) >= MIN_JUDGED and held_out is not None:
            judged["held_out"] = self._judged(layers_of(split, features, held_out), chosen)
        return self._record(chosen, int((~allowed).sum()), judged)

    def _all_features(self) -> Matrix:
        """Return the features of all candidates, (n, d)."""
        with tqdm(total=self.wanted.candidates, desc="candidates", unit="img") as bar:
            return np.concatenate(
                [
                    features.compute(sampler, bar)
                    for features, sampler in zip(self._features, self._union.samplers, strict=True)
                ]
            )

    def _no_copies(self, features: Matrix, real: Matrix) -> npt.NDArray[np.bool_]:
        """Return which candidates are no nearer to a real image than the memorisation threshold."""
        width = self._layered.width
        nearest = nearest_training(features[:, :width], real[:, :width])
        allowed = np.zeros(len(features), bool)  # images without features have no nearest
        allowed[nearest.rows] = ~are_nearer(nearest)
        return allowed

    def _judged(self, layers: Sequence[Layer], chosen: npt.NDArray[np.intp]) -> dict[str, Any]:
        """Return KID in each layer of as many candidates as they come, and of the chosen."""
        as_they_come = np.array(interleaved(self.counts)[: len(chosen)])
        return {
            name: {
                layer: kernel_distance(features.candidates[rows], features.reference).mean
                for layer, features in zip(LAYERS, layers, strict=True)
            }
            for name, rows in (("as_they_come", as_they_come), ("chosen", chosen))
        }

    def _record(
        self, chosen: npt.NDArray[np.intp], left_out: int, judged: dict[str, Any]
    ) -> ChoiceRecord:
        extractor = self._layered.extractor
        criterion = Criterion(
            extractor.name,
            extractor.identity,
            list(LAYERS),
            self.yardstick.record(),
            left_out,
            judged,
        )
        return choice_of(self.sources, self.counts, self.wanted.seed, chosen.tolist(), criterion)


def mixed_as_they_come(sources: Sequence[Source], wanted: Wanted) -> ChoiceRecord:
    """Return the mix of the first images of several sources, each as often as its share says."""
    check_wanted(wanted, sources)
    counts = wanted.counts(sources)
    return choice_of(sources, counts, wanted.seed, interleaved(counts))


def choice_of(
    sources: Sequence[Source],
    counts: Sequence[int],
    seed: int,
    indices: list[int],
    criterion: Criterion | None = None,
) -> ChoiceRecord:
    """Return the record of a choice."""
    starts = np.concatenate([[0], np.cumsum(counts)])
    taken = np.histogram(indices, starts)[0].tolist()
    records = [
        source.record(count, chosen)
        for source, count, chosen in zip(sources, counts, taken, strict=True)
    ]
    return ChoiceRecord(seed, records, indices, criterion)


def seconds_to_herd(candidates: int, width: int, count: int) -> float:
    """Return about how long choosing takes, by the product of matrices that it mostly is."""
    some = torch.ones(min(candidates, TIMED_ROWS), width)
    likely = torch.ones(ROWS_AT_ONCE, width)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        some @ likely.T
        times.append(time.perf_counter() - began)
    a_row = min(times) / ROWS_AT_ONCE * candidates / len(some)
    # A row in ten is computed in vain, and its cube and the sums take as long again.
    return 2.2 * a_row * count


def describe_judgement(choice: ChoiceRecord) -> str:
    """Return what choosing has changed, in lines for people."""
    if choice.criterion is None:
        return ""
    lines = []
    for images, found in choice.criterion.judged.items():
        values = "; ".join(
            f"{layer} {1000 * found['as_they_come'][layer]:.2f} as they come, "
            f"{1000 * found['chosen'][layer]:.2f} chosen"
            for layer in LAYERS
        )
        lines.append(f"KID x 1000 to the {images.replace('_', '-')} images, by layers: {values}")
    if left_out := choice.criterion.left_out:
        lines.append(
            f"{counted(left_out, 'candidate')} left out: nearer to a real image than the "
            "memorisation threshold"
        )
    return "\n".join(lines)
