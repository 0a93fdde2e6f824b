"""What a translator's score means: controls under one protocol. `make controls DATA=...`.

From the same photos: the photos themselves, photos that have taken over the colours of paintings
and nothing else, and the shipped translator; then as many images of a generator that has
learned nothing, and of each shipped model that generates from noise. All are JPEGs of the same
quality and size, scored with the same features against the same paintings. What no model has been
trained on stands against held-out paintings too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from pipeline.bench.measure import machine
from pipeline.config import DataConfig, OutputConfig, resolve
from pipeline.core.randomness import stream
from pipeline.data.decoding import resize_and_crop
from pipeline.data.holdout import split_holdout
from pipeline.data.images import ImageSet, open_images, spread_evenly
from pipeline.data.photos import open_photos, usable_photos
from pipeline.families.registry import make_sampler, takes_photos
from pipeline.models.builders import build_generator
from pipeline.models.samplers import Sampler
from pipeline.models.shipped import model_file, model_names
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot
from pipeline.scoring.extractors import make_extractor
from pipeline.scoring.metric_table import METRIC
from pipeline.scoring.record import Score, format_metric, metric_value
from pipeline.scoring.score import ReferenceFeatures, extract_references, score
from pipeline.stages.generate import generate
from pipeline.system.devices import all_devices, default_device

OUTPUT = OutputConfig(jpeg_quality=75)
HELD_OUT = DataConfig(holdout=0.2)
COLUMNS = ("fid", "kid", "precision", "recall", "memorization_distance", "memorized_count")


class RawPhotos:
    """Photos as they are, centre-cropped."""

    def __init__(self, photos: ImageSet) -> None:
        self._photos = photos

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3)."""
        side = OUTPUT.output_size
        return [
            resize_and_crop(self._photos.read_rgb(self._photos.names[i]), side) for i in indices
        ]


class ColourMatched:
    """Photos with the mean and the deviation of each colour of a random painting.

    Reinhard et al. 2001, "Color transfer between images", in RGB.
    """

    def __init__(self, photos: ImageSet, paintings: ImageSet) -> None:
        self._raw, self._paintings = RawPhotos(photos), RawPhotos(paintings)
        self._count = len(paintings)

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return uint8 images (S, S, 3)."""
        return [self._matched(index) for index in indices]

    def _matched(self, index: int) -> np.ndarray:
        chosen = int(stream(0, "painting of a photo", index).integers(self._count))
        (photo,), (painting,) = self._raw([index]), self._paintings([chosen])
        pixels, aim = photo.astype(np.float32), painting.astype(np.float32)
        deviation = pixels.std((0, 1)).clip(1)
        pixels = (pixels - pixels.mean((0, 1))) / deviation * aim.std((0, 1)) + aim.mean((0, 1))
        matched: np.ndarray = pixels.round().clip(0, 255).astype(np.uint8)
        return matched


def row(name: str, found: Score) -> str:
    """Return a row of the table: intervals where there are any."""
    cells = [format_metric(found, METRIC[key]) for key in COLUMNS[:2]]
    for key in COLUMNS[2:]:
        value = metric_value(found, METRIC[key]) if key in METRIC else found.get(key)
        cells.append("–" if value is None else f"{value:.3g}")
    held_out = found["holdout"]
    cells.append("seen" if held_out is None else format_metric(held_out, METRIC["kid"]))
    return f"| {name} | " + " | ".join(cells) + " |"


def models_by_name(snapshots: Sequence[Path]) -> dict[str, Path]:
    """Return the files of painter's models and of others, which have their paths for names."""
    shipped = {name: model_file(name) for name in model_names()}
    return shipped | {str(path): path for path in snapshots}


def model_sampler(path: Path, photos: ImageSet) -> Sampler:
    """Return the sampler of a snapshot."""
    snapshot = load_snapshot(path)
    given = photos if takes_photos(snapshot.config) else None
    return make_sampler(snapshot, 0, all_devices(), photos=given)


def untrained_sampler() -> Sampler:
    """Return the sampler of preset demo's generator as it is before the first step."""
    config = resolve("demo")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = build_generator(config).eval()
    return make_sampler(Snapshot(generator, config, images_seen=0), 0, all_devices())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the competition's folder or zip")
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--features", default="efficientnet-lite0")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--snapshot", type=Path, action="append", default=[], help="one more model")
    parser.add_argument("--keep", type=Path, help="folder for the zips of images")
    arguments = parser.parse_args()
    paintings, photos = open_images(arguments.data), usable_photos(open_photos(arguments.data))
    photos = photos.subset(spread_evenly(photos.names, arguments.count))
    training, held_out = split_holdout(paintings, HELD_OUT)
    extractor = make_extractor(arguments.features, arguments.weights, default_device())
    references = extract_references(paintings, None, None, extractor)
    unseen = extract_references(paintings, None, held_out, extractor)
    controls: dict[str, tuple[Callable[[], Sampler], ReferenceFeatures]] = {
        "photos": (partial(RawPhotos, photos), unseen),
        "photos in the colours of paintings": (partial(ColourMatched, photos, training), unseen),
        "preset `demo`, untrained": (untrained_sampler, unseen),
    }
    for name, path in models_by_name(arguments.snapshot).items():
        controls[f"`{name}`"] = (partial(model_sampler, path, photos), references)
    count = len(photos)
    print(machine(default_device(), extractor.name, f"n = {count:,}"))
    print("\n| images | " + " | ".join([*COLUMNS, "KID, held out"]) + " |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, (make, against)) in enumerate(controls.items()):
            path = (arguments.keep or Path(scratch)) / f"{number}.zip"
            generate(make(), count, path, OUTPUT, 16)
            print(row(name, score(open_images(path), against, extractor)), flush=True)


if __name__ == "__main__":
    main()
