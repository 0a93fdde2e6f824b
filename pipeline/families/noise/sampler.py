"""Images from noise: through a generator, then enlarged by an upscaler or a filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.config import OutputConfig
from pipeline.families.noise.latents import truncate
from pipeline.families.noise.laws import NoiseLaw
from pipeline.families.registry import latents_of, make_enlargers
from pipeline.models.inference import FastGenerator
from pipeline.models.precision import Precision, choose_precision
from pipeline.models.samplers import class_number, enlarge, to_pixels
from pipeline.models.snapshot import Snapshot


class NoiseSampler:
    """Noise through a generator, enlarged by an upscaler or an antialiasing filter."""

    def __init__(
        self,
        snapshot: Snapshot,
        seed: int,
        devices: torch.device | Sequence[torch.device],
        output: OutputConfig | None = None,
        wanted_class: str | None = None,
    ) -> None:
        """Put a copy of the generator on each device.

        Args:
            snapshot: generator and config. It runs in 16 bits where the device does that fast,
                but for its last convolution; in float32 if it was trained with precision=float32.
            seed: picks the set of images; 0 or more.
            devices: where the generator runs. Batches are dealt to several devices in turn.
            output: size and filter; by default those of the snapshot.
            wanted_class: of all images; by default any, each as likely.

        Raises:
            ConfigError: if the generator knows no such class, or images are to be enlarged by an
                upscaler and there is none.
        """
        self._output = output or snapshot.config.output
        devices = [devices] if isinstance(devices, torch.device) else list(devices)
        wanted = "float32" if snapshot.config.training.precision == "float32" else "auto"
        self._replicas = [
            FastGenerator(snapshot.generator, Precision(choose_precision(wanted, device), device))
            for device in devices
        ]
        learned = self._output.upscale == "learned"
        self._upscalers = make_enlargers(snapshot, devices) if learned else None
        self._latents = latents_of(snapshot.config)
        self._class = class_number(snapshot.config, wanted_class)
        self._seed = seed

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index."""
        if not indices:
            return []
        # By place, not by whose turn it is: the same call is always answered by the same device.
        return self.images_of(self.latents(indices), turn=indices[0] // len(indices))

    @property
    def law(self) -> NoiseLaw:
        """Return the law of the noise."""
        return self._latents.law

    @property
    def classes(self) -> int:
        """Return how many classes the generator knows: the last components of z."""
        return self._latents.classes

    def latents(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the z of images, truncated, float32 (N, D) on the CPU; N at least 1."""
        z = self._latents.images(self._seed, indices, self._class)
        if self._output.truncation == 1:
            return z
        return truncate(self.law, z, self._output.truncation, self.classes)

    def images_of(self, z: torch.Tensor, turn: int = 0) -> list[np.ndarray]:
        """Return the finished images of z (N, D): uint8 (S, S, 3), 0 to 255, one a row.

        An image depends on its own row alone, up to the rounding of the arithmetic.

        Args:
            z: of any floating-point type.
            turn: of several devices, which one; counted round and round.
        """
        return list(enlarge(self.pixels_of(z, turn), self._output))

    @torch.inference_mode()
    def pixels_of(self, z: torch.Tensor, turn: int = 0) -> np.ndarray:
        """Return the images of z before a filter enlarges them: uint8 (N, s, s, 3), 0 to 255."""
        return to_pixels(self.tensors_of(z, turn))

    def tensors_of(self, z: torch.Tensor, turn: int = 0) -> torch.Tensor:
        """Return what the networks make of z: float32 (N, C, s, s) in [-1, 1], on their device."""
        place = turn % len(self._replicas)
        images: torch.Tensor = self._replicas[place](z.float())
        return images if self._upscalers is None else self._upscalers[place](images)

    @property
    def output_size(self) -> int:
        """Return the side S of the finished images in pixels."""
        return self._output.output_size
