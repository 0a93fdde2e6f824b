"""Speed from noise to a checked zip, against plain loops: `make bench-generate bench-package`.

generate: the baseline does what tutorials do: batches of 64 in float32, one image after another to
Pillow, enlarged, saved as a JPEG into a folder; then the folder is zipped, unpacked and each file
opened. Network, filter and JPEG settings are the same. Also each half of painter's work
alone, and the memory for twice as many images.

package: the check of a zip, against unpacking it and opening each file.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.measure import alternating, machine, ratios, seconds, table
from pipeline.config import load_preset
from pipeline.families.registry import build_generator, latents_of, make_sampler
from pipeline.models.inference import FastGenerator
from pipeline.models.jpeg import encode_jpeg
from pipeline.models.precision import Precision, all_devices, choose_precision, default_device
from pipeline.models.samplers import resize_images
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot
from pipeline.stages.generate import DEFAULT_BATCH, generate
from pipeline.system.parallel import map_in_order, usable_cores
from submission.archive import check_archive
from submission.rules import IMAGE_SIZE
from submission.running_check import RunningCheck

PAINTER = "painter"
BASELINE = "plain loop, float32"
GENERATOR = "painter's generator alone"
ENCODER = "painter's enlarging and JPEG alone"


def load_or_build_snapshot(path: Path | None) -> Snapshot:
    """Return a snapshot, or an untrained generator of preset monet64."""
    if path is not None:
        return load_snapshot(path)
    config = load_preset("monet64")
    torch.manual_seed(0)
    return Snapshot(build_generator(config).eval(), config, 0)


# --- The plain loops


def save_images(snapshot: Snapshot, count: int, folder: Path) -> None:
    """Write JPEGs as tutorials do."""
    generator, output = snapshot.generator, snapshot.config.output
    device = next(generator.parameters()).device
    method = Image.Resampling[output.upscale.upper()]
    latent_size, done = latents_of(snapshot.config).size, 0
    with torch.no_grad():
        while done < count:
            z = torch.randn(DEFAULT_BATCH, latent_size, device=device)
            images = ((generator(z) + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1).cpu().numpy()
            for pixels in images[: count - done]:
                done += 1
                image = Image.fromarray(pixels.astype(np.uint8))
                image = image.resize((output.output_size, output.output_size), method)
                image.save(
                    folder / f"{done}.jpg",
                    quality=output.jpeg_quality,
                    subsampling=output.chroma_subsampling,
                )


def plain_zip(snapshot: Snapshot, count: int, target: Path) -> None:
    """Write a zip of JPEGs as tutorials do."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        save_images(snapshot, count, Path(folder))
        shutil.make_archive(str(target.with_suffix("")), "zip", folder)


def plain_check(path: Path) -> None:
    """Unpack a zip and open each image."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        for file in Path(folder).iterdir():
            with Image.open(file) as image:
                image.load()
                if (image.size, image.mode) != (IMAGE_SIZE, "RGB"):
                    raise ValueError(f"{file} is {image.size} {image.mode}")


# --- Painter, and its halves


def check_zip(path: Path) -> None:
    """Run painter's check of a zip; a small number of images is accepted here."""
    faults = [v for v in check_archive(path) if not v.kind.startswith("number of files")]
    if faults:
        raise ValueError(f"{path}: {faults}")


class CheckOfAnyCount(RunningCheck):
    """The check while a zip is written, of as few images as one likes."""

    def finish(self, path: Path) -> None:
        """Raise ValueError if anything but the count is wrong."""
        faults = [v for v in self.violations(path) if not v.kind.startswith("number of files")]
        if faults:
            raise ValueError(f"{path}: {faults}")


def checked_zip(snapshot: Snapshot, target: Path, count: int) -> None:
    """Write a zip by painter, checked while it is written."""
    sampler = make_sampler(snapshot, 0, all_devices())
    check = CheckOfAnyCount(target)
    generate(sampler, count, target, snapshot.config.output, check=check)


def painters_zip(snapshot: Snapshot, count: int, target: Path) -> None:
    """Write a zip by painter."""
    sampler = make_sampler(snapshot, 0, all_devices())
    generate(sampler, count, target, snapshot.config.output)


def in_batches(function: Callable[[range], object], count: int) -> None:
    """Run a function over all batches as `generate` does, and drop the results."""
    batches = (range(i, min(i + DEFAULT_BATCH, count)) for i in range(0, count, DEFAULT_BATCH))
    deque(map_in_order(function, batches, usable_cores()), maxlen=0)


def generator_alone(snapshot: Snapshot, count: int, precision: Precision) -> None:
    """Sample latents and run the network."""
    network = FastGenerator(snapshot.generator, precision)
    latents = latents_of(snapshot.config)

    def run(indices: range) -> torch.Tensor:
        images: torch.Tensor = network(latents.images(0, indices))
        return images.cpu()

    in_batches(run, count)


def encoder_alone(snapshot: Snapshot, count: int, pixels: np.ndarray) -> None:
    """Upscale and encode the same few images repeatedly."""
    output = snapshot.config.output

    def encode(indices: range) -> list[bytes]:
        return [
            encode_jpeg(image, output) for image in resize_images(pixels[: len(indices)], output)
        ]

    in_batches(encode, count)


def small_pixels(snapshot: Snapshot) -> np.ndarray:
    """Return a batch as it comes from the generator, uint8 (N, s, s, 3)."""
    z = torch.randn(DEFAULT_BATCH, latents_of(snapshot.config).size)
    with torch.inference_mode():
        images = ((snapshot.generator.cpu()(z) + 1) * 127.5).to(torch.uint8)
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


# --- What is printed


def compare_generating(snapshot: Snapshot, count: int, rounds: int, folder: Path) -> None:
    device = default_device()
    precision = Precision(choose_precision("auto", device), device)
    pixels = small_pixels(snapshot)
    output = snapshot.config.output
    on_device = replace(snapshot, generator=snapshot.generator.to(device))
    ours, theirs = folder / "painter.zip", folder / "plain.zip"

    def baseline(count: int) -> None:
        plain_zip(on_device, count, theirs)
        plain_check(theirs)

    work: dict[str, Callable[[int], None]] = {
        BASELINE: baseline,
        PAINTER: partial(checked_zip, snapshot, ours),
        f"{PAINTER}, zip not checked": lambda n: painters_zip(snapshot, n, ours),
        GENERATOR: lambda n: generator_alone(snapshot, n, precision),
        ENCODER: lambda n: encoder_alone(snapshot, n, pixels),
    }
    for function in work.values():  # the first call of each costs more
        function(min(count, 2 * DEFAULT_BATCH))
    rates = alternating({n: partial(rate, f, count, device) for n, f in work.items()}, rounds)
    print(machine(device, precision.name, f"{output.upscale}, JPEG {output.jpeg_quality}"))
    print(table(f"From noise to a checked zip of {count:,} images", "images/s", rates))
    print(table("Ratios", "times", ratio_table(rates)))


def rate(work: Callable[[int], None], count: int, device: torch.device) -> float:
    """Return images a second."""
    return count / seconds(lambda: work(count), device)


def ratio_table(rates: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return ratios of painter's speed to the baseline, and to its own halves."""
    writing = rates[f"{PAINTER}, zip not checked"]
    halves = list(zip(rates[GENERATOR], rates[ENCODER], strict=True))
    slower = [a / min(pair) for a, pair in zip(writing, halves, strict=True)]
    both = [a * (1 / g + 1 / e) for a, (g, e) in zip(writing, halves, strict=True)]
    return {
        f"{PAINTER} over {BASELINE}": ratios(rates, PAINTER, BASELINE),
        "writing the zip, over the slower half alone": slower,
        "writing the zip, over both halves on the same cores": both,
    }


def compare_memory(snapshot_path: Path | None, count: int) -> None:
    """Print the memory of processes that generate `count` and twice as many images."""
    command = [sys.executable, "-m", "benchmarks.output", "memory"]
    if snapshot_path is not None:
        command += ["--snapshot", str(snapshot_path)]
    values = {}
    for number in (count, 2 * count):
        done = subprocess.run(
            [*command, "--count", str(number)], check=True, stdout=subprocess.PIPE, text=True
        )
        values[f"{number:,} images"] = [float(done.stdout)]
    print(table(f"Most memory of {PAINTER}", "MB", values))


def compare_checking(snapshot: Snapshot, count: int, rounds: int, folder: Path) -> None:
    path = folder / "images.zip"
    painters_zip(snapshot, count, path)
    checks: dict[str, Callable[[Path], None]] = {
        "unpack, then open each image": plain_check,
        PAINTER: check_zip,
    }

    def measured(check: Callable[[Path], None]) -> float:
        return count / seconds(lambda: check(path))

    rates = alternating({name: partial(measured, c) for name, c in checks.items()}, rounds)
    print(machine(torch.device("cpu")))
    print(table(f"The check of {count:,} images in a zip", "images/s", rates))
    ratio = ratios(rates, *reversed(checks))
    print(table("Ratio", "times", {f"{PAINTER} over the plain loop": ratio}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["generate", "package", "memory"])
    parser.add_argument("--count", type=int, default=7000, help="images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--snapshot", type=Path, help="of a trained run [default: untrained]")
    arguments = parser.parse_args()
    snapshot = load_or_build_snapshot(arguments.snapshot)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.what == "generate":
            compare_generating(snapshot, arguments.count, arguments.rounds, folder)
            compare_memory(arguments.snapshot, arguments.count)
        elif arguments.what == "package":
            compare_checking(snapshot, arguments.count, arguments.rounds, folder)
        else:
            painters_zip(snapshot, arguments.count, folder / "images.zip")
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
