"""The sampler of families that generate from noise: generator, then upscaler or filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.config import OutputConfig
from pipeline.families.noise.distributions import NoiseDistribution
from pipeline.families.noise.latents import truncate
from pipeline.families.registry import latents_of, make_upscalers
from pipeline.models.inference import FastGenerator
from pipeline.models.precision import inference_precision
from pipeline.models.samplers import class_index, resize_images, to_pixels
from pipeline.models.snapshot import Snapshot
from pipeline.system.devices import one_thread_at_a_time


class NoiseSampler:
    """Generates images from noise, upscaled by an upscaler or an antialiasing filter."""

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
            devices: where the generator runs. Several devices take batches in turn (round robin).
            output: size and filter; by default those of the snapshot.
            wanted_class: class of all images; by default random classes, equally likely.

        Raises:
            ConfigError: if the generator has no such class, or images are to be upscaled by an
                upscaler and there is none.
        """
        self._output = output or snapshot.config.output
        devices = [devices] if isinstance(devices, torch.device) else list(devices)
        self._devices = devices
        trained_with = snapshot.config.training.precision
        self._replicas = [
            FastGenerator(snapshot.generator, inference_precision(trained_with, device))
            for device in devices
        ]
        learned = self._output.upscale == "learned"
        self._upscalers = make_upscalers(snapshot, devices) if learned else None
        self._latents = latents_of(snapshot.config)
        self._class = class_index(snapshot.config, wanted_class)
        self._seed = seed

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index."""
        if not indices:
            return []
        # By index, not by order of calls: the same call always runs on the same device.
        return self.images_of(self.latents(indices), turn=indices[0] // len(indices))

    @property
    def distribution(self) -> NoiseDistribution:
        """Return the distribution of the noise."""
        return self._latents.distribution

    @property
    def classes(self) -> int:
        """Return the number of classes: the last components of z."""
        return self._latents.classes

    def latents(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the z of images, truncated, float32 (N, D) on the CPU; N at least 1."""
        z = self._latents.images(self._seed, indices, self._class)
        if self._output.truncation == 1:
            return z
        return truncate(self.distribution, z, self._output.truncation, self.classes)

    def images_of(self, z: torch.Tensor, turn: int = 0) -> list[np.ndarray]:
        """Return the finished images of z (N, D): uint8 (S, S, 3), 0 to 255, one a row.

        An image depends on its own row alone, up to the rounding of the arithmetic.

        Args:
            z: of any floating-point type.
            turn: which of several devices, modulo their number.
        """
        return list(resize_images(self.pixels_of(z, turn), self._output))

    @torch.inference_mode()
    def pixels_of(self, z: torch.Tensor, turn: int = 0) -> np.ndarray:
        """Return the images of z before a filter resizes them: uint8 (N, s, s, 3), 0 to 255."""
        with one_thread_at_a_time(self._devices[turn % len(self._devices)]):
            return to_pixels(self.tensors_of(z, turn))

    def tensors_of(self, z: torch.Tensor, turn: int = 0) -> torch.Tensor:
        """Return the networks' output for z: float32 (N, C, s, s) in [-1, 1], on their device."""
        index = turn % len(self._replicas)
        images: torch.Tensor = self._replicas[index](z.float())
        return images if self._upscalers is None else self._upscalers[index](images)

    @property
    def output_size(self) -> int:
        """Return the side S of the finished images in pixels."""
        return self._output.output_size
