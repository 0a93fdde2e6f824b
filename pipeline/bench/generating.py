"""Speed from noise to a checked zip, against a plain loop, and each half of the work alone.

The plain loop does what tutorials do: batches of 64 in float32, one image after another to Pillow,
enlarged, saved as a JPEG into a folder; then the folder is zipped, unpacked and each file opened.
Network, filter and JPEG settings are the same.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.bench.measure import Comparison, rates_within, ratios
from pipeline.config import Config, OutputConfig
from pipeline.core.errors import ConfigError
from pipeline.families.registry import build_generator, latents_of, make_sampler
from pipeline.models.inference import FastGenerator
from pipeline.models.precision import Precision, choose_precision
from pipeline.models.samplers import resize_images, to_pixels
from pipeline.models.snapshot import Snapshot
from pipeline.stages.encoding import FileCheck, encoded_images, thread_count
from pipeline.stages.generate import DEFAULT_BATCH, DEFAULT_COUNT, generate
from pipeline.system.devices import all_devices, default_device
from pipeline.system.parallel import map_in_order

PAINTER = "painter"
BASELINE = "plain loop, float32"
UNCHECKED = f"{PAINTER}, zip not checked"
GENERATOR = "painter's generator alone"
ENCODER = "painter's enlarging and JPEG alone"

MakeCheck = Callable[[Path], FileCheck]
"""Returns painter's check of a zip while it is written."""
CODED = OutputConfig(jpeg_quality=75, chroma_subsampling="4:2:0")
"""How an untrained generator's images are coded: as the competition's paintings are."""


def untrained_snapshot(config: Config) -> Snapshot:
    """Return the generator of a config with weights as they are drawn."""
    torch.manual_seed(0)
    coded = replace(config, output=config.output.coded_as(CODED))
    return Snapshot(build_generator(config).eval(), coded, 0)


# --- The plain loop


def save_images(snapshot: Snapshot, count: int, folder: Path) -> None:
    """Write JPEGs as tutorials do."""
    generator, output = snapshot.generator, snapshot.config.output
    quality, subsampling = output.coding
    device = next(generator.parameters()).device
    method = Image.Resampling[output.resampling.upper()]
    latents, done = latents_of(snapshot.config), 0
    with torch.no_grad():
        while done < count:
            z = torch.randn(DEFAULT_BATCH, latents.size, device=device)
            if latents.classes:
                wanted = torch.randint(latents.classes, (DEFAULT_BATCH,), device=device)
                z = torch.cat([z, F.one_hot(wanted, latents.classes)], 1)
            images = ((generator(z) + 1) * 127.5).clamp(0, 255).expand(-1, 3, -1, -1)
            images = images.permute(0, 2, 3, 1).cpu().numpy()
            for pixels in images[: count - done]:
                done += 1
                image = Image.fromarray(pixels.astype(np.uint8))
                image = image.resize((output.output_size, output.output_size), method)
                image.save(folder / f"{done}.jpg", quality=quality, subsampling=subsampling)


def plain_zip(snapshot: Snapshot, count: int, target: Path) -> None:
    """Write a zip of JPEGs as tutorials do."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        save_images(snapshot, count, Path(folder))
        shutil.make_archive(str(target.with_suffix("")), "zip", folder)


def plain_check(path: Path, side: int = 256) -> None:
    """Unpack a zip and open each image.

    Raises:
        ValueError: for one of another size, or another mode than RGB.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        for file in Path(folder).iterdir():
            with Image.open(file) as image:
                image.load()
                if (image.size, image.mode) != ((side, side), "RGB"):
                    raise ValueError(f"{file} is {image.size} {image.mode}")


# --- Painter, and its halves


def painters_zip(
    snapshot: Snapshot, count: int, target: Path, check: FileCheck | None = None
) -> None:
    """Write a zip by painter."""
    sampler = make_sampler(snapshot, 0, all_devices())
    generate(sampler, count, target, snapshot.config.output, check=check)


def in_batches(function: Callable[[range], object], count: int) -> None:
    """Run a function over all batches in the threads of `generate`, and drop the results."""
    batches = (range(i, min(i + DEFAULT_BATCH, count)) for i in range(0, count, DEFAULT_BATCH))
    deque(map_in_order(function, batches, thread_count()), maxlen=0)


def generator_alone(snapshot: Snapshot, count: int, precision: Precision) -> None:
    """Sample latents and run the network."""
    network = FastGenerator(snapshot.generator, precision)
    latents = latents_of(snapshot.config)

    def run(indices: range) -> torch.Tensor:
        images: torch.Tensor = network(latents.images(0, indices))
        return images.cpu()

    in_batches(run, count)


def encoder_alone(snapshot: Snapshot, count: int, pixels: np.ndarray) -> None:
    """Upscale and encode the same few images repeatedly, where `generate` does."""
    output = snapshot.config.output

    def same(indices: Sequence[int]) -> list[np.ndarray]:
        return list(resize_images(pixels[: len(indices)], output))

    with closing(encoded_images(same, count, output, DEFAULT_BATCH)) as files:
        deque(files, maxlen=0)


def small_pixels(snapshot: Snapshot) -> np.ndarray:
    """Return a batch as it comes from the generator, uint8 (N, s, s, 3)."""
    z = latents_of(snapshot.config).images(0, range(DEFAULT_BATCH))
    with torch.inference_mode():
        return to_pixels(snapshot.generator.cpu()(z))


# --- What is measured


def programs(
    snapshot: Snapshot, folder: Path, make_check: MakeCheck, device: torch.device
) -> dict[str, Callable[[int], None]]:
    """Return what is compared: each makes a number of images.

    Args:
        snapshot: with the generator; it is moved to the device.
        folder: for the zips.
        make_check: returns painter's check of a zip.
        device: where the generator runs.

    Raises:
        ConfigError: if images are upscaled by an upscaler, or not made from noise.
    """
    if snapshot.config.output.upscale == "learned":
        raise ConfigError(
            "The plain loop enlarges images by a filter, and this model by its upscaler: they do "
            "not do the same. Take the snapshot of a run without an upscaler."
        )
    precision = Precision(choose_precision("auto", device), device)
    pixels = small_pixels(snapshot)
    on_device = replace(snapshot, generator=snapshot.generator.to(device))
    ours, theirs = folder / "painter.zip", folder / "plain.zip"

    def painter(count: int) -> None:
        painters_zip(snapshot, count, ours, make_check(ours))

    def baseline(count: int) -> None:
        plain_zip(on_device, count, theirs)
        plain_check(theirs, snapshot.config.output.output_size)

    return {
        BASELINE: baseline,
        PAINTER: painter,
        UNCHECKED: lambda n: painters_zip(snapshot, n, ours),
        GENERATOR: lambda n: generator_alone(snapshot, n, precision),
        ENCODER: lambda n: encoder_alone(snapshot, n, pixels),
    }


def measure_generating(
    config: Config,
    folder: Path,
    make_check: MakeCheck,
    budget: float,
    rounds: int,
    smallest: int = DEFAULT_BATCH,
) -> Comparison:
    """Return the speed of generating within a time.

    Args:
        config: of a generator that starts from noise.
        folder: for the zips.
        make_check: returns painter's check of a zip.
        budget: seconds, but each program makes `smallest` images at least in each round.
        rounds: measurements of each program, in turn.
        smallest: number of images.
    """
    device = default_device()
    snapshot = untrained_snapshot(config)
    work = programs(snapshot, folder, make_check, device)
    rates = rates_within(work, budget, rounds, smallest, DEFAULT_COUNT, device)
    output = snapshot.config.output
    how = f"{output.output_size} pixels, {output.upscale}, JPEG {output.jpeg_quality}"
    title = f"From noise to a checked zip, {how}, {choose_precision('auto', device)}"
    return Comparison(title, "images/s", rates, ratio_table(rates))


def ratio_table(rates: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return ratios of painter's speed to the baseline, and to its own halves."""
    writing = rates[UNCHECKED]
    halves = list(zip(rates[GENERATOR], rates[ENCODER], strict=True))
    slower = [a / min(pair) for a, pair in zip(writing, halves, strict=True)]
    both = [a * (1 / g + 1 / e) for a, (g, e) in zip(writing, halves, strict=True)]
    return {
        f"{PAINTER} over {BASELINE}": ratios(rates, PAINTER, BASELINE),
        "writing the zip, over the slower half alone": slower,
        "writing the zip, over both halves on the same cores": both,
    }
