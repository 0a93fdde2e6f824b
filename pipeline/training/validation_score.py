"""Validation scores during training, by which a run's best snapshot is chosen.

Generates some images with the averaged generator, as `painter generate` would write them, and
compares them with the training images, whose features are cached.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.config import Config
from pipeline.core.errors import ScoringError
from pipeline.data.images import ImageSet, spread_evenly
from pipeline.data.photos import usable_photos
from pipeline.families.registry import make_sampler, makes_images
from pipeline.models.jpeg import encode_jpeg
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import with_upscaler
from pipeline.scoring import metrics
from pipeline.scoring.extractors import (
    Extractor,
    Inception,
    make_extractor,
    preferred_features,
)
from pipeline.scoring.features import Features, cached_extract, extract
from pipeline.scoring.kernel_distance import kernel_distance
from pipeline.scoring.memorization import count_nearer
from pipeline.scoring.metric_table import SNAPSHOT_CRITERIA
from pipeline.scoring.weights import cached_weights

SEED = 2**62
"""Other images than those that are submitted, so that the choice of a snapshot is unbiased."""
BENCHMARK_IMAGES = 16
BATCH_SIZE = 64


class ValidationScore:
    """Scores a generator while it is being trained."""

    def __init__(
        self,
        config: Config,
        extractor: Extractor,
        training: ImageSet,
        held_out: ImageSet | None,
        photos: ImageSet | None = None,
        upscaler: Snapshot | None = None,
    ) -> None:
        """Extract the features of the real images, or load them from the cache.

        Args:
            config: of the training.
            extractor: of the features.
            training: images that are trained on.
            held_out: images that are not, if there are any.
            photos: of a translator: of them as many are translated as images are scored.
            upscaler: enlarges what is scored; by default the config's filter.

        Raises:
            ScoringError: if there are too few real images to score against.
            DataError: if none of a set can be decoded.
        """
        self._config = config
        self._extractor = extractor
        self._upscaler = upscaler
        self._count = config.logging.score_images
        self._photos = None
        if photos is not None:
            self._photos = usable_photos(photos.subset(spread_evenly(photos.names, self._count)))
            self._count = len(self._photos)
        self._training = cached_extract(training, extractor, "features of the training images")
        what = "features of the held-out images"
        self._held_out = cached_extract(held_out, extractor, what) if held_out else None
        for features, what in ((self._training, "training"), (self._held_out, "held-out")):
            if features is not None and len(features.names) < 2:
                raise ScoringError(
                    f"{len(features.names)} readable {what} painting; a score needs 2 at least"
                )

    @property
    def criterion(self) -> str:
        """Return the number by which snapshots are chosen; lower is better."""
        held_out, training = SNAPSHOT_CRITERIA
        return training if self._held_out is None else held_out

    def seconds_expected(self, generator: nn.Module, device: torch.device) -> float:
        """Measure how long a score takes, on a few images."""
        self._generated(generator, device, BENCHMARK_IMAGES)  # warm-up
        began = time.perf_counter()
        self._generated(generator, device, BENCHMARK_IMAGES)
        seconds_per_image = (time.perf_counter() - began) / BENCHMARK_IMAGES
        return seconds_per_image * self._count

    def __call__(self, generator: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return `fid`, `mifid`, `memorization_distance` and `memorized_share`.

        With held-out images, also `holdout_fid` and `holdout_kid`.

        Args:
            generator: in evaluation mode.
            device: where it runs.
        """
        generated = self._generated(generator, device, self._count)
        fid = metrics.frechet_distance(generated.values, self._training.values)
        nearest = metrics.nearest_training(generated.values, self._training.values)
        distance = float(nearest.distances.mean())
        score: dict[str, Any] = {
            "fid": fid,
            "mifid": metrics.memorization_informed_fid(fid, distance),
            "memorization_distance": distance,
            "memorized_share": count_nearer(nearest) / len(nearest.distances),
            "n_generated": len(generated.names),
            "features": self._extractor.name,
        }
        if self._held_out is not None:
            score["holdout_fid"] = metrics.frechet_distance(generated.values, self._held_out.values)
            score["holdout_kid"] = kernel_distance(generated.values, self._held_out.values).mean
        return score

    def _generated(self, generator: nn.Module, device: torch.device, count: int) -> Features:
        """Return the features of images as they would be written to a file."""
        snapshot = Snapshot(generator, self._config, 0)
        if self._upscaler is not None:
            snapshot = with_upscaler(snapshot, self._upscaler)
        sampler = make_sampler(snapshot, SEED, device, photos=self._photos)
        count = min(count, self._count)
        files: dict[str, bytes] = {}
        for start in range(0, count, BATCH_SIZE):
            for image in sampler(range(start, min(start + BATCH_SIZE, count))):
                files[f"{len(files):06d}.jpg"] = encode_jpeg(image, self._config.output)
        images = ImageSet(tuple(files), files.__getitem__, "generated images")
        return extract(images, self._extractor, "score", quiet=True)


def make_validation_score(
    config: Config,
    training: ImageSet,
    held_out: ImageSet | None,
    device: torch.device,
    weights: Path | None = None,
    photos: ImageSet | None = None,
    upscaler: Snapshot | None = None,
) -> ValidationScore | str:
    """Return the validation score of a training, or the reason why there is none."""
    if config.logging.score_every is None:
        return "score_every is none"
    if not makes_images(config):
        return "an upscaler makes no images of its own"
    found = _extractor(config.logging.score_features, device, weights)
    if isinstance(found, str):
        return found
    try:
        return ValidationScore(config, found, training, held_out, photos, upscaler)
    except Exception as error:  # memory, files, numbers: whatever it is, training needs no score
        return str(error).strip() or type(error).__name__


def _extractor(name: str, device: torch.device, weights: Path | None) -> Extractor | str:
    name = preferred_features(weights) if name == "auto" else name
    try:
        # The offline extractor brings its own weights, and takes no others.
        local = weights or cached_weights()
        return make_extractor(name, local if name == Inception.name else None, device)
    except ScoringError as error:
        return str(error)
