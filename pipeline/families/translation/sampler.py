"""The sampler of families that translate: photos to paintings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps

from pipeline.config import OutputConfig
from pipeline.core.errors import ConfigError
from pipeline.data.decoding import resize_and_crop
from pipeline.data.images import ImageSet
from pipeline.families.translation.networks import stride
from pipeline.families.translation.tiles import MAX_PIXELS, is_small, keep_statistics, translate
from pipeline.models.inference import FastGenerator
from pipeline.models.precision import inference_precision
from pipeline.models.samplers import to_pixels
from pipeline.models.snapshot import Snapshot
from pipeline.system.device_copies import to_device
from pipeline.system.devices import one_thread_at_a_time

CPU_BATCH, GPU_BATCH = 8, 32
"""Photos of 256 pixels that go through the network at once."""


class Translator:
    """A snapshot's generator on one device, for photos of any size; safe to call from threads."""

    def __init__(self, snapshot: Snapshot, device: torch.device) -> None:
        """Put a copy of the generator on the device.

        It runs in 16 bits where the device does that fast; in float32 if it was trained with
        precision=float32.
        """
        precision = inference_precision(snapshot.config.training.precision, device)
        self._network = FastGenerator(snapshot.generator, precision)
        self._statistics = keep_statistics(self._network)
        self._multiple = stride(snapshot.generator)
        self._device = device

    @torch.inference_mode()
    def __call__(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Translate photos, uint8 (H, W, 3), 0 to 255; a translation has the size of its photo."""
        with one_thread_at_a_time(self._device):
            return self._translations(photos)

    def _translations(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self._fits(photos):
            size = self._batch_size(photos[0])
            parts = (np.stack(photos[i : i + size]) for i in range(0, len(photos), size))
            made = (to_pixels(self._network(self._tensor(part))) for part in parts)
            return [image for part in made for image in part]
        return [self._translate(photo) for photo in photos]

    def _fits(self, photos: Sequence[np.ndarray]) -> bool:
        """Tell whether photos are of one size that the network takes as it is."""
        sizes = {photo.shape[:2] for photo in photos}
        height, width = next(iter(sizes))
        return (
            len(sizes) == 1
            and not is_small(height, width, self._multiple)
            and height * width <= MAX_PIXELS
            and height % self._multiple == width % self._multiple == 0
        )

    def _batch_size(self, photo: np.ndarray) -> int:
        """Return how many photos of one size go through the network at once."""
        most = GPU_BATCH if self._device.type == "cuda" else CPU_BATCH
        height, width, _ = photo.shape
        return max(1, most * 256**2 // int(height * width))

    def _tensor(self, photos: np.ndarray) -> torch.Tensor:
        """Return photos, uint8 (N, H, W, 3), as float32 (N, 3, H, W) in [-1, 1]."""
        pixels = to_device(torch.from_numpy(photos), self._device)
        return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1

    def _translate(self, photo: np.ndarray) -> np.ndarray:
        tensor = self._tensor(np.array(photo[None]))  # a copy: some arrays cannot be written
        made = translate(self._network, self._statistics, tensor, self._multiple)
        pixels: np.ndarray = to_pixels(made.clamp(-1, 1))[0]
        return pixels


class PhotoSampler:
    """Image i is the translation of photo i, and of photo i - N's mirror image from N on."""

    def __init__(
        self,
        snapshot: Snapshot,
        devices: torch.device | Sequence[torch.device],
        output: OutputConfig | None,
        photos: ImageSet,
        keep_size: bool = False,
    ) -> None:
        """Put a copy of the generator on each device.

        Args:
            snapshot: generator and config.
            devices: where the generator runs. Several devices take batches in turn (round robin).
            output: gives the size; by default that of the snapshot.
            photos: N photos that can be decoded.
            keep_size: a translation has the size of its photo; else photos are cropped to squares
                of the output's size before they are translated.

        Raises:
            ConfigError: if the output is to be upscaled by an upscaler.
        """
        output = output or snapshot.config.output
        if output.upscale == "learned":
            raise ConfigError(
                "upscale is 'learned', and translations have the size of their photos: nothing is "
                "upscaled. Leave it out."
            )
        devices = [devices] if isinstance(devices, torch.device) else list(devices)
        self._replicas = [Translator(snapshot, device) for device in devices]
        self._photos, self._size = photos, None if keep_size else output.output_size

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (H, W, 3), 0 to 255, one an index from 0 to 2 N - 1."""
        if not indices:
            return []
        turn = indices[0] // len(indices)  # the same call always runs on the same device
        return self._replicas[turn % len(self._replicas)]([self.photo(i) for i in indices])

    def photo(self, index: int) -> np.ndarray:
        """Return the photo, or its mirror image, that an image is the translation of."""
        mirrored, place = divmod(index, len(self._photos))
        image: Image.Image = self._photos.read_rgb(self._photos.names[place])
        if mirrored:
            image = ImageOps.mirror(image)
        return np.asarray(image) if self._size is None else resize_and_crop(image, self._size)
