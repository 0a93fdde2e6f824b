"""Which part of generating and scoring is the slowest on this machine: a short run, no baseline.

`make bench-parts` measures the whole, and then each part with the others left out: the part that is
nearest to the whole holds it up.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.output import load_or_build_snapshot
from benchmarks.scoring import REFERENCE
from pipeline.bench.generating import in_batches, painters_zip
from pipeline.bench.measure import alternating, machine, seconds, table
from pipeline.bench.scoring import write_random_inception
from pipeline.data.images import ImageSet, open_images
from pipeline.data.synthetic_landscapes import draw_landscape
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import make_sampler
from pipeline.models.samplers import resize_images
from pipeline.models.snapshot import Snapshot
from pipeline.scoring import extractors
from pipeline.scoring.extractors import Extractor, make_extractor
from pipeline.scoring.features import extract
from pipeline.scoring.metrics import frechet_distance
from pipeline.stages.encoding import MAX_HELPERS, encoded_images, helper_count, thread_count
from pipeline.stages.generate import DEFAULT_BATCH, generate
from pipeline.system.devices import all_devices, default_device
from pipeline.system.image_writers import ZipImageWriter
from pipeline.system.parallel import map_in_order, prefetch, usable_cores
from submission.archive import check_archive
from submission.image_faults import image_fault
from submission.kernel.benchmark import running_check

MOST = 2000
"""Images of one part alone: enough for a rate, and for helper processes to be started."""
LANDSCAPES = 40
"""Drawn; one takes some twenty milliseconds."""
WARM_UP = 2 * DEFAULT_BATCH
"""Images before anything is timed: the first call of each part costs more."""

Work = Callable[[int], object]
"""Takes a number of images."""


class GeneratingParts:
    """The parts of generating, each on the same few images."""

    def __init__(self, snapshot: Snapshot, folder: Path) -> None:
        """Make a batch of images, and a zip to be checked, in `folder`."""
        self._snapshot, self._output = snapshot, snapshot.config.output
        sampler = make_sampler(snapshot, 0, all_devices())
        assert isinstance(sampler, NoiseSampler)
        self._sampler = sampler
        self._small = sampler.pixels_of(sampler.latents(range(DEFAULT_BATCH)))
        self._large = list(resize_images(self._small, self._output))
        self._zip, self._checked = folder / "parts.zip", folder / "checked.zip"
        generate(sampler, MOST, self._checked, self._output)

    def all(self) -> dict[str, Work]:
        """Return the parts by what they are."""
        processes = min(usable_cores(), MAX_HELPERS)
        return {
            "its generator alone": partial(in_batches, self._generate),
            "enlarging alone": partial(in_batches, self._enlarge),
            "JPEG alone, in threads": partial(self._encode, helpers=0),
            "JPEG alone, in helper processes": partial(self._encode, helpers=processes),
            "JPEG and its check alone, the same way": partial(
                self._encode, helpers=processes, check=True
            ),
            "writing and reading back alone": self._write,
            "the check of a finished zip alone": lambda _: check_archive(self._checked),
        }

    def _generate(self, indices: range) -> np.ndarray:
        return self._sampler.pixels_of(self._sampler.latents(indices), indices[0] // len(indices))

    def _enlarge(self, indices: range) -> np.ndarray:
        return resize_images(self._small[: len(indices)], self._output)

    def _encode(self, count: int, helpers: int | None, check: bool = False) -> None:
        def same(indices: Sequence[int]) -> list[np.ndarray]:
            return self._large[: len(indices)]

        find_fault = image_fault if check else None
        files = encoded_images(same, count, self._output, DEFAULT_BATCH, find_fault, helpers)
        with closing(files):
            deque(files, maxlen=0)

    def _write(self, count: int) -> None:
        (file, *_) = encoded_images(lambda _: self._large[:1], 1, self._output, 1, helpers=0)
        check = running_check(self._zip)
        with ZipImageWriter(self._zip, check.finish) as writer:
            for index in range(count):
                check.add(f"{index}.jpg", file)
                writer.add(f"{index}.jpg", file.content)


def measure_generating(snapshot: Snapshot, count: int, rounds: int, folder: Path) -> None:
    """Print how fast the whole is, and each part."""
    device = default_device()
    target = folder / "painter.zip"
    whole: dict[str, Work] = {
        "painter": lambda n: painters_zip(snapshot, n, target, running_check(target)),
        "painter, not checked": lambda n: painters_zip(snapshot, n, target),
    }
    work = {name: (part, count) for name, part in whole.items()}
    parts = GeneratingParts(snapshot, folder).all()
    work |= {name: (part, MOST) for name, part in parts.items()}
    rates = measured(work, rounds, device)
    helpers = helper_count(count, DEFAULT_BATCH)
    print(machine(device, f"{thread_count()} threads", f"{helpers} helper processes"))
    print(table(f"From noise to a checked zip of {count:,} images", "images/s", rates))


def measured(
    work: dict[str, tuple[Work, int]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Return the images a second of each piece of work, all in turn, after a first call of each."""
    for part, count in work.values():
        part(min(count, WARM_UP))

    def rate(part: Work, count: int) -> float:
        return count / seconds(lambda: part(count), device)

    return alternating({name: partial(rate, *pair) for name, pair in work.items()}, rounds)


# --- Scoring


def draw_quickly(folder: Path, images: int, reference: int) -> None:
    """Fill a folder with `generated` and `reference` images and random weights, in seconds."""
    few = draw_pictures(folder / "generated", images, LANDSCAPES)
    draw_pictures(folder / "reference", reference, LANDSCAPES, seed=1)
    some = torch.from_numpy(np.stack(few[:8])).permute(0, 3, 1, 2)
    write_random_inception(folder / "random.pth", some)


def draw_pictures(folder: Path, count: int, landscapes: int, seed: int = 0) -> list[np.ndarray]:
    """Fill a folder with JPEGs, and return the landscapes that they show.

    Each is one of them, moved round its edges, mirrored and in other light.
    """
    draw = np.random.default_rng(seed)
    few = [np.asarray(draw_landscape(i % 20, seed=seed + i // 20)) for i in range(landscapes)]
    folder.mkdir()
    for index in range(count):
        pixels = np.roll(few[index % landscapes], draw.integers(0, 256, 2), (0, 1))
        lit = (pixels[:, :: draw.choice([-1, 1])] * draw.uniform(0.6, 1, 3)).astype(np.uint8)
        Image.fromarray(lit).save(folder / f"{index:06d}.jpg", quality=90)
    return few


@contextmanager
def tf32() -> Iterator[None]:
    """Let a GPU's float32 convolutions round to TF32 meanwhile."""
    before, extractors.TF32 = extractors.TF32, True
    try:
        yield
    finally:
        extractors.TF32 = before


def with_tf32(work: Work) -> Work:
    """Return some work as it would be done with TF32."""

    def run(count: int) -> object:
        with tf32():
            return work(count)

    return run


class ScoringParts:
    """The parts of computing features from files."""

    def __init__(self, images: ImageSet, extractor: Extractor) -> None:
        """Take image files and the network that they are given to."""
        self._images, self._extractor = images, extractor
        few = [extractor.prepare(images.read_rgb(n)) for n in images.names[: extractor.batch_size]]
        self._batch = torch.from_numpy(np.stack(few)).permute(0, 3, 1, 2)

    def whole(self, count: int) -> None:
        """Compute features from files."""
        few = self._images.subset(self._images.names[:count])
        extract(few, self._extractor, "whole", quiet=True)

    def decode(self, count: int) -> None:
        """Read and decode the files."""

        def prepare(name: str) -> np.ndarray:
            return self._extractor.prepare(self._images.read_rgb(name))

        with closing(prefetch(prepare, self._images.names[:count])) as decoded:
            deque(decoded, maxlen=0)

    def network(self, count: int) -> None:
        """Run the network on one batch again and again, as many at a time as it takes."""
        batches = [self._batch] * max(1, count // len(self._batch))
        if self._extractor.replicas == 1:
            for batch in batches:
                self._extractor.outputs(batch)
            return
        run = self._extractor.outputs
        with closing(map_in_order(run, batches, self._extractor.replicas)) as results:
            deque(results, maxlen=0)


def measure_scoring(folder: Path, rounds: int) -> None:
    """Print how fast features come from files in `folder`, and each part of that.

    Args:
        folder: holds `generated`, `reference` and `random.pth`.
        rounds: how often each is measured.
    """
    device, weights = default_device(), folder / "random.pth"
    images, reference = (open_images(folder / name) for name in ("generated", "reference"))
    fast, exact = (make_extractor("inception", weights, all_devices(), e) for e in (False, True))
    parts, slow = ScoringParts(images, fast), ScoringParts(images, exact)
    count, few = len(images), min(len(images), 2 * MOST // 5)
    work: dict[str, tuple[Work, int]] = {
        "painter": (parts.whole, count),
        "painter --exact": (slow.whole, few),
        "decoding alone": (parts.decode, count),
        "network alone": (parts.network, count),
    }
    if device.type == "cuda":
        work["painter, if TF32 were allowed"] = (with_tf32(parts.whole), count)
        work["network alone, if TF32 were allowed"] = (with_tf32(parts.network), count)
    rates = measured(work, rounds, device)
    print(machine(device, fast.precision, f"batches of {fast.batch_size}"))
    print(table(f"From {count:,} JPEG files to features", "images/s", rates))
    print(distances(fid_by_each(images, reference, fast, exact)))


def fid_by_each(
    images: ImageSet, reference: ImageSet, fast: Extractor, exact: Extractor
) -> dict[str, float]:
    """Return what each way of computing makes of the same FID."""

    def fid(extractor: Extractor) -> float:
        sets = (extract(s, extractor, "FID", quiet=True).values for s in (images, reference))
        return frechet_distance(*sets)

    found = {"exact": fid(exact), "painter": fid(fast)}
    if default_device().type == "cuda":
        with tf32():
            found["painter, if TF32 were allowed"] = fid(fast)
    return found


def distances(found: Mapping[str, float]) -> str:
    """Return a table of FIDs of the same images, and how far they are from the exact one."""
    lines = ["\n| the same images by | FID | off |", "|---|---|---|"]
    lines += [
        f"| {n} | {v:.5f} | {100 * (v / found['exact'] - 1):+.4f}% |" for n, v in found.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=["generate", "score"], help="[default: both]")
    parser.add_argument("--count", type=int, default=7000, help="images to generate")
    parser.add_argument("--images", type=int, default=2000, help="images to score")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for what in arguments.what or ["generate", "score"]:
        with tempfile.TemporaryDirectory() as name:
            if what == "generate":
                snapshot = load_or_build_snapshot(None)
                measure_generating(snapshot, arguments.count, arguments.rounds, Path(name))
            else:
                draw_quickly(Path(name), arguments.images, REFERENCE)
                measure_scoring(Path(name), arguments.rounds)


if __name__ == "__main__":
    main()
