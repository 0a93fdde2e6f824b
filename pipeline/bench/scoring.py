"""Scoring speed: from JPEG files to the features of an Inception network with random weights.

Where torch-fidelity is there, its network is built, with weights drawn at random in the released
format. Where it is not, as in a kernel without a dataset that brings it, torchvision's Inception v3
stands in: the same blocks, so about as much work, in one precision throughout.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from pipeline.bench.measure import Comparison, rates_within, seconds
from pipeline.data.images import ImageSet
from pipeline.models.precision import Precision, choose_precision
from pipeline.scoring.extractors import Extractor, Outputs, make_extractor
from pipeline.scoring.fast import INCEPTION_SIZE, resize_like_tensorflow1
from pipeline.scoring.features import extract
from pipeline.scoring.metrics import frechet_distance
from pipeline.system.devices import memory_format

FAST, EXACT = "painter", "painter --exact"
STAND_IN = "torchvision's Inception v3 in place of torch-fidelity's"
MOST_IMAGES = 5000
SMALLEST = 64
"""Images that are scored at least in a round."""
FEATURES = 2048
REFERENCE = 300
"""Rows of real images in the statistic, as many as there are paintings."""


def write_random_inception(path: Path, images: torch.Tensor) -> Path:
    """Write Inception weights drawn at random, in the released file's format.

    Args:
        path: where to.
        images: uint8 (N, 3, H, W); each layer's statistics are theirs, so that no layer dies or
            explodes.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Untrained(FeatureExtractorInceptionV3):  # type: ignore[misc]  # it has no types
        def load_state_dict(self, *_: Any, **__: Any) -> None:
            """Keep the weights as they were drawn."""

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Untrained("untrained", ["2048"], empty)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # keep this one batch's statistics
            nn.init.normal_(norm.weight, 1, 0.1)
            nn.init.normal_(norm.bias, 0, 0.1)
        network.train()
        network(images)
    torch.save(network.state_dict(), path)
    return path


class StandInInception:
    """torchvision's Inception v3 with random weights: an extractor to be timed, no more."""

    name = "inception v3, random"
    comparable_with_leaderboard = False
    replicas = 1
    batch_size = SMALLEST

    def __init__(self, device: torch.device, precision: str) -> None:
        from torchvision.models import inception_v3

        network = inception_v3(weights=None, init_weights=False).eval().requires_grad_(False)
        network.fc = nn.Identity()
        how = Precision(precision, device)
        self._network = network.to(device, how.dtype, memory_format=memory_format(device))
        self._device, self._dtype = device, how.dtype
        self.precision = precision
        self.identity = f"{self.name}:{precision}"

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return the image at its own size."""
        return np.asarray(image)

    @torch.inference_mode()
    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """Turn uint8 (N, 3, H, W) into features (N, 2048)."""
        x = resize_like_tensorflow1(pixels.to(self._device).float(), INCEPTION_SIZE)
        x = ((x - 128) / 128).to(self._dtype, memory_format=memory_format(self._device))
        return Outputs(self._network(x).float().cpu(), None)


def extractors(
    folder: Path, images: ImageSet, devices: Sequence[torch.device]
) -> tuple[dict[str, Extractor], str]:
    """Return what is timed, and a note on the network.

    Args:
        folder: for a file of weights.
        images: give the layers' statistics.
        devices: where the fast form runs; the exact one runs on the first.
    """
    if importlib.util.find_spec("torch_fidelity") is None:
        precisions = {EXACT: "float32", FAST: choose_precision("auto", devices[0])}
        return {n: StandInInception(devices[0], p) for n, p in precisions.items()}, STAND_IN
    first = [np.asarray(images.read_rgb(name)) for name in images.names[:4]]
    pixels = torch.from_numpy(np.stack(first)).permute(0, 3, 1, 2)
    weights = write_random_inception(folder / "random.pth", pixels)
    found = {
        name: make_extractor("inception", weights, devices, exact)
        for name, exact in ((EXACT, True), (FAST, False))
    }
    return found, "torch-fidelity's Inception v3 with random weights"


def repeated(files: Sequence[Path], count: int) -> ImageSet:
    """Return a set of `count` images, read from the files again and again."""
    names = tuple(f"{index:06d}.jpg" for index in range(count))
    return ImageSet(
        names,
        lambda name: files[int(name.removesuffix(".jpg")) % len(files)].read_bytes(),
        "drawn landscapes",
    )


def measure_scoring(
    drawn: Path,
    folder: Path,
    devices: Sequence[torch.device],
    budget: float,
    rounds: int,
    smallest: int = SMALLEST,
    rows: int = MOST_IMAGES,
) -> Comparison:
    """Return the speed of extracting features within a time, and the seconds of a FID from them.

    Args:
        drawn: folder of JPEG files.
        folder: for a file of weights.
        devices: all that may be used.
        budget: seconds, but each program takes `smallest` images at least in each round.
        rounds: measurements of each program, in turn.
        smallest: number of images.
        rows: generated images in the statistic that is timed.
    """
    files = sorted(drawn.glob("*.jpg"))
    found, note = extractors(folder, repeated(files, len(files)), devices)

    def score(extractor: Extractor, count: int) -> None:
        extract(repeated(files, count), extractor, "score", quiet=True)

    work: dict[str, Callable[[int], None]] = {n: partial(score, e) for n, e in found.items()}
    rates = rates_within(work, budget, rounds, smallest, MOST_IMAGES, devices[0])
    rng = np.random.default_rng(0)
    generated, reference = (
        rng.normal(size=(count, FEATURES)).astype(np.float32) for count in (rows, REFERENCE)
    )
    statistic = seconds(lambda: frechet_distance(generated, reference))
    notes = (
        f"{note}: " + ", ".join(f"{name} in {e.precision}" for name, e in found.items()) + ".",
        f"A FID from {rows:,} x {FEATURES:,} features against {REFERENCE}: {statistic:.2f} s.",
    )
    return Comparison("From JPEG files of 256 pixels to features", "images/s", rates, {}, notes)
