"""Samplers: the one thing that generate, score, report and service read images from.

A sampler turns image indices into finished images. Image i depends on the sampler's seed and
i alone, not on its batch (up to the rounding of the arithmetic).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from PIL import Image

from pipeline.config import Config, OutputConfig
from pipeline.errors import ConfigError
from pipeline.latents import truncate
from pipeline.networks.inference import FastGenerator
from pipeline.training.checkpoints import Snapshot
from pipeline.training.grain import grain
from pipeline.training.noise import Latents, NoiseLaw
from pipeline.training.precision import Precision, choose_precision

UPSCALER_BATCH = 8
"""Images an upscaler takes at a time: its large layers then stay in a CPU's cache."""


class Sampler(Protocol):
    """A source of finished images."""

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3), 0 to 255, one an index.

        `generate` calls it from several threads at once.
        """


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
            ConfigError: if it is an upscaler, the generator knows no such class, or images are to
                be enlarged by an upscaler and there is none.
        """
        refuse_upscaler(snapshot.config)
        self._output = output or snapshot.config.output
        devices = [devices] if isinstance(devices, torch.device) else list(devices)
        wanted = "float32" if snapshot.config.training.precision == "float32" else "auto"
        self._replicas = [
            FastGenerator(snapshot.generator, Precision(choose_precision(wanted, device), device))
            for device in devices
        ]
        learned = self._output.upscale == "learned"
        self._upscalers = make_upscalers(snapshot, devices) if learned else None
        self._latents = Latents.from_config(snapshot.config)
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
        images = self.tensors_of(z, turn).expand(-1, 3, -1, -1)  # grey becomes RGB
        pixels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()
        finished: np.ndarray = pixels.contiguous().numpy()
        return finished

    def tensors_of(self, z: torch.Tensor, turn: int = 0) -> torch.Tensor:
        """Return what the networks make of z: float32 (N, C, s, s) in [-1, 1], on their device."""
        place = turn % len(self._replicas)
        images: torch.Tensor = self._replicas[place](z.float())
        return images if self._upscalers is None else self._upscalers[place](images)

    @property
    def output_size(self) -> int:
        """Return the side S of the finished images in pixels."""
        return self._output.output_size


class LearnedUpscaler:
    """A snapshot's upscaler on one device.

    All images get the same grain, so that an image depends on its z alone, and that grain stands
    still in a video.
    """

    def __init__(self, snapshot: Snapshot, device: torch.device, side: int) -> None:
        """Put a copy on the device.

        Args:
            snapshot: of the upscaler.
            device: where it runs.
            side: of the images to enlarge, in pixels.
        """
        precision = Precision(choose_precision("auto", device), device)
        self._network = FastGenerator(snapshot.generator, precision)
        shape = (1, snapshot.config.network.latent_size, side, side)
        self._grain = grain(0, "generate: grain", 0, shape).to(device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (N, 3, s, s), or grey ones, in [-1, 1] enlarged."""
        images = images.expand(-1, 3, -1, -1)
        return torch.cat([self._enlarged(part) for part in images.split(UPSCALER_BATCH)])  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def _enlarged(self, images: torch.Tensor) -> torch.Tensor:
        z = torch.cat([images, self._grain.expand(len(images), -1, -1, -1)], 1)
        larger: torch.Tensor = self._network(z)
        return larger


def make_upscalers(snapshot: Snapshot, devices: Sequence[torch.device]) -> list[LearnedUpscaler]:
    """Return a copy of a generator's upscaler on each device.

    Raises:
        ConfigError: if it has none.
    """
    if snapshot.upscaler is None:
        raise ConfigError(
            "upscale is 'learned', and the snapshot has no upscaler. Give it one with "
            "`painter generate --upscaler RUN|FILE`, or do without: "
            "`painter generate --upscale lanczos`."
        )
    side = snapshot.config.data.image_size
    return [LearnedUpscaler(snapshot.upscaler, device, side) for device in devices]


def refuse_upscaler(config: Config) -> None:
    """Refuse an upscaler where a generator is needed.

    Raises:
        ConfigError: if it is one.
    """
    if config.network.family == "upscaler":
        raise ConfigError(
            "This is an upscaler, which makes no images of its own. Give it to a generator: "
            "`painter generate --run RUN --upscaler UPSCALER`."
        )


def class_number(config: Config, name: str | None) -> int | None:
    """Return the place of a class among those of the training data; None for no name.

    Raises:
        ConfigError: if there is no such class.
    """
    names = config.data.class_names
    if name is None or name in names:
        return None if name is None else names.index(name)
    found = ", ".join(names) or "none: it was trained without classes"
    raise ConfigError(f"The generator knows no class {name!r}; its classes: {found}.")


def enlarge(images: np.ndarray, output: OutputConfig) -> np.ndarray:
    """Resize uint8 (N, s, s, 3) to (N, S, S, 3) with the filter that the config names.

    By torch, which computes as Pillow does with coarser weights, ten times as fast: bilinear gives
    the same pixels, bicubic and Lanczos differ by 1 or 2 of 255 in less than 0.2 % of them. A torch
    that does not know Lanczos leaves it to Pillow.
    """
    side = output.output_size
    method = "bicubic" if output.upscale == "learned" else output.upscale
    if images.shape[1:3] == (side, side):
        return images
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    try:
        larger = F.interpolate(pixels, (side, side), mode=method, antialias=True)
    except (NotImplementedError, ValueError):
        return np.stack([_enlarge_by_pillow(image, side, method) for image in images])
    return larger.permute(0, 2, 3, 1).numpy()


def _enlarge_by_pillow(image: np.ndarray, side: int, method: str) -> np.ndarray:
    """Resize uint8 (s, s, 3) to (side, side, 3)."""
    resampling = Image.Resampling[method.upper()]
    return np.asarray(Image.fromarray(image).resize((side, side), resampling))
