"""Small image sets and a stand-in extractor for the tests of scoring."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.scoring.extractors import CPU_BATCH, Outputs


def png(pixels: np.ndarray) -> bytes:
    """Encode without loss: what is decoded equals `pixels`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def noise(seed: int, width: int = 16, height: int = 16) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def patches(seed: int, size: int = 64) -> np.ndarray:
    """Return coarse coloured squares: they look different to any network, unlike noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return coarse.repeat(size // 8, 0).repeat(size // 8, 1)


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


def batch(*seeds: int) -> torch.Tensor:
    """Return `patches` as uint8 (N, 3, 64, 64)."""
    return torch.from_numpy(np.stack([patches(s) for s in seeds])).permute(0, 3, 1, 2)


class QuadrantMeans:
    """The mean colour of each quarter of an image, 12 numbers; counts what it is asked."""

    name = "quadrant-means"
    precision = "float32"
    replicas = 1
    batch_size = CPU_BATCH
    comparable_with_leaderboard = False

    def __init__(self, identity: str = "quadrant-means:1") -> None:
        self.identity = identity
        self.batches: list[tuple[int, ...]] = []

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image)

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        self.batches.append(tuple(pixels.shape))
        means = [torch.from_numpy(quadrant_means(p.permute(1, 2, 0))) for p in pixels]
        return Outputs(torch.stack(means), None)


class WavesOfMeans(QuadrantMeans):
    """Waves of the means: they point in all directions, so that alike images are no copies."""

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        means = super().outputs(pixels).features.double()
        mixed = means @ torch.from_numpy(np.random.default_rng(0).normal(size=(12, 12)))
        return Outputs(torch.sin(10 * mixed).float(), None)


def quadrant_means(pixels: np.ndarray | torch.Tensor) -> np.ndarray:
    """Return the features that `QuadrantMeans` gives one (H, W, 3) image."""
    array = np.asarray(pixels)
    half, middle = array.shape[0] // 2, array.shape[1] // 2
    rows = array[:half], array[half:]
    quarters = [part for row in rows for part in (row[:, :middle], row[:, middle:])]
    return np.concatenate([q.mean((0, 1)) for q in quarters]).astype(np.float32)
