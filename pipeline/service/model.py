"""The generator that is served: what is known of it, and its images from noise or from photos.

Reads a snapshot and, where it lies in a run folder, that run's score.json and provenance.json.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from pipeline import __version__
from pipeline.config import OutputConfig
from pipeline.core.errors import PainterError
from pipeline.core.text import escape_values
from pipeline.families.noise.distributions import NoiseDistribution
from pipeline.families.noise.latents import truncate
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import latents_of, takes_photos
from pipeline.families.translation.sampler import Translator
from pipeline.models.samplers import class_index
from pipeline.models.shipped import FILE
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_hashed_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.runs.provenance import device_name
from pipeline.scoring.metric_table import COMPARABLE, SCALE, Place, keys_in
from pipeline.scoring.record import Score, score_of_snapshot

SCORE_KEYS = (*keys_in(Place.SERVICE), *SCALE)
"""Keys of a score that are public, beside whether it can be compared with the leaderboard's."""


class Model(ABC):
    """A generator on one device, whatever it starts from; may be called from several threads."""

    takes_photos: ClassVar[bool]
    """Whether it translates photos; else it makes images from noise."""
    purpose: ClassVar[str]
    """What the service answers with, in a sentence."""

    def __init__(
        self,
        snapshot: Snapshot,
        name: str,
        sha256: str,
        device: torch.device,
        score: Mapping[str, object] | None = None,
        trained_on: dict[str, Any] | None = None,
    ) -> None:
        """Keep what is known of it, and put the generator on the device.

        Args:
            snapshot: generator and config.
            name: shown to users.
            sha256: of the snapshot's file.
            device: where it runs.
            score: of its images, as `painter score` writes it.
            trained_on: count and domain of its training images.
        """
        self.name, self.sha256, self.device = name, sha256, device
        self._snapshot = snapshot
        self._score = score if score is not None else snapshot.score
        self._trained_on = trained_on
        self._load(snapshot)

    @abstractmethod
    def _load(self, snapshot: Snapshot) -> None:
        """Put the generator on the device."""

    @property
    def output(self) -> OutputConfig:
        """Return size, filter and JPEG settings of its images, unless others are asked for."""
        return self._snapshot.config.output

    @property
    def slug(self) -> str:
        """Return the name as a part of file names."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-.") or "painter"

    def about(self) -> dict[str, Any]:
        """Return what it is, how it was trained, and its score."""
        config = self._snapshot.config
        score = self._score
        return {
            "name": self.name,
            "sha256": self.sha256,
            "painter": __version__,
            "device": device_name(self.device),
            "parameters": sum(p.numel() for p in self._snapshot.generator.parameters()),
            "images_seen": self._snapshot.images_seen,
            "generator_size": config.data.image_size,
            "output_size": self.output.output_size,
            "takes_photos": self.takes_photos,
            "trained_on": self._trained_on,
            "score": None if score is None else _public_score(score),
            "settings": {
                section: getattr(config, section).__dict__ | {}
                for section in ("data", "network", "training", "output")
            },
        }


class NoiseModel(Model):
    """A generator from noise: from (seed, number) to z, to pixels."""

    takes_photos = False
    purpose = "Images of a trained generator."

    def _load(self, snapshot: Snapshot) -> None:
        self._sampler = NoiseSampler(snapshot, 0, self.device)
        self._latents = latents_of(snapshot.config)

    @property
    def distribution(self) -> NoiseDistribution:
        """Return the law of noise that it was trained on."""
        return self._latents.distribution

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes that it was trained on; none, if there were none."""
        return self._snapshot.config.data.class_names

    def latents(
        self,
        seed: int,
        numbers: Sequence[int],
        distribution: NoiseDistribution | None = None,
        truncation: float | None = None,
        wanted_class: str | None = None,
    ) -> torch.Tensor:
        """Return z (N, D) of images, numbered from 1 as the files of `painter generate`.

        Args:
            seed: which set of images; 0 or more.
            numbers: of the images, at least one.
            law: of the noise; by default the trained one.
            truncation: as `truncate` takes it (see `pipeline.families.noise.latents`); by default
                the snapshot's.
            wanted_class: of all; by default any, each as likely.

        Raises:
            ConfigError: if there is no such class.
        """
        drawn = replace(self._latents, distribution=distribution or self.distribution)
        wanted = class_index(self._snapshot.config, wanted_class)
        z = drawn.images(seed, [number - 1 for number in numbers], wanted)
        if truncation is None:
            truncation = self.output.truncation
        return truncate(drawn.distribution, z, truncation, drawn.classes)

    def pixels(self, z: torch.Tensor) -> np.ndarray:
        """Return the images of z (N, D) as the generator makes them: uint8 (N, s, s, 3)."""
        return self._sampler.pixels_of(z)

    def tensors(self, z: torch.Tensor) -> torch.Tensor:
        """Return the same images before they are rounded: float32 (N, C, s, s) in [-1, 1]."""
        return self._sampler.tensors_of(z)

    def examples(self, count: int) -> torch.Tensor:
        """Return z (count, D) to test batch sizes with."""
        return self.latents(0, range(1, count + 1))

    def about(self) -> dict[str, Any]:
        """Return what it is, how it was trained, and its score."""
        noise = self._snapshot.config.values()["noise"]
        return {**super().about(), "noise": noise, "classes": list(self.classes)}


class TranslatorModel(Model):
    """A translator: from a photo to its painting."""

    takes_photos = True
    purpose = "Paintings of photos, by a trained translator; photos are not kept."

    def _load(self, snapshot: Snapshot) -> None:
        self._translator = Translator(snapshot, self.device)

    def translate(self, photo: np.ndarray) -> np.ndarray:
        """Return the painting of a photo, uint8 (H, W, 3), 0 to 255: of the same size."""
        return self._translator([photo])[0]


def _public_score(score: Mapping[str, object]) -> dict[str, object]:
    # A score without the key, such as a validation score, is not comparable.
    comparable = score.get(COMPARABLE) is True
    return {key: score.get(key) for key in SCORE_KEYS} | {COMPARABLE: comparable}


def load_model(path: Path, device: torch.device) -> Model:
    """Load a snapshot, and the score and training data from its run folder.

    Raises:
        RunError: if the snapshot is missing, damaged, or something else.
        ConfigError: if it makes no images, or none from noise or photos.
    """
    snapshot, sha256 = load_hashed_snapshot(path)
    run = RunFolder(path.resolve().parent)
    in_run = run.config.exists()
    kind: type[Model] = TranslatorModel if takes_photos(snapshot.config) else NoiseModel
    return kind(
        snapshot,
        name=run.path.name if in_run or path.name == FILE else path.stem,
        sha256=sha256,
        device=device,
        score=_own_score(run, sha256) if in_run else None,
        trained_on=_training_data(run) if in_run else None,
    )


def _own_score(run: RunFolder, sha256: str) -> Score | None:
    """Return the run's score, unless it is known to be that of another snapshot's images."""
    try:
        return score_of_snapshot(run, sha256, trust_dates=True)
    except PainterError:  # damaged: it only informs
        return None


def _training_data(run: RunFolder) -> dict[str, Any] | None:
    try:
        data = run.read_data()
    except PainterError:
        return None
    summary = {"count": data.count, "domain": data.domain, "content_hash": data.content_hash}
    if data.photos is not None:
        summary["photos"] = data.photos.count
    return dict(escape_values(summary))
