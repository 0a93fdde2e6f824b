"""Speed from photos to a checked zip, against a plain loop: `make bench-translate`.

The baseline does what tutorials do: one photo after another is decoded, goes through the generator
in float32, and is saved as a JPEG into a folder, which is zipped; it may use all cores for each.
Network, size and JPEG settings are the same.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.bench.generating import untrained_snapshot
from pipeline.bench.measure import alternating, machine, ratios, seconds, table
from pipeline.bench.programs import draw
from pipeline.config import load_preset
from pipeline.data.photos import open_photos
from pipeline.families.registry import make_sampler
from pipeline.models.precision import choose_precision
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot
from pipeline.stages.generate import generate
from pipeline.stages.photos import BATCH_SIZE
from pipeline.system.devices import all_devices, default_device

PAINTER, BASELINE = "painter", "plain loop, float32"


def load_or_build_snapshot(path: Path | None) -> Snapshot:
    """Return a translator's snapshot, or an untrained one of preset photo2monet."""
    if path is not None:
        return load_snapshot(path)
    return untrained_snapshot(load_preset("photo2monet"))


def plain_zip(snapshot: Snapshot, photos: Path, target: Path) -> None:
    """Translate photos one by one, and zip them."""
    generator, output = snapshot.generator, snapshot.config.output
    quality, subsampling = output.coding
    device, side = next(generator.parameters()).device, output.output_size
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, torch.no_grad():
        for path in sorted(photos.iterdir()):
            with Image.open(path) as photo:
                pixels = np.asarray(photo.convert("RGB").resize((side, side)))
            x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(device) / 127.5 - 1
            made = ((generator(x)[0] + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).cpu().numpy()
            file = Path(folder, path.name)
            Image.fromarray(made.astype(np.uint8)).save(
                file, quality=quality, subsampling=subsampling
            )
        shutil.make_archive(str(target.with_suffix("")), "zip", folder)


def painters_zip(snapshot: Snapshot, photos: Path, count: int, target: Path) -> None:
    """Translate photos by painter."""
    opened = open_photos(photos, quiet=True)
    sampler = make_sampler(snapshot, 0, all_devices(), photos=opened)
    generate(sampler, count, target, snapshot.config.output, BATCH_SIZE)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshot", type=Path, help="of a trained translator")
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    device = default_device()
    snapshot = load_or_build_snapshot(arguments.snapshot)
    plain = Snapshot(snapshot.generator.to(device), snapshot.config, 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = folder / "photos"
        photos.mkdir()
        draw(photos, arguments.count)
        work: dict[str, Callable[[], None]] = {
            BASELINE: partial(plain_zip, plain, photos, folder / "plain.zip"),
            PAINTER: partial(
                painters_zip, snapshot, photos, arguments.count, folder / "painter.zip"
            ),
        }

        def rate(function: Callable[[], None]) -> float:
            return float(arguments.count / seconds(function, device))

        rates = alternating({n: partial(rate, f) for n, f in work.items()}, arguments.rounds)
    print(machine(device, choose_precision("auto", device)))
    print(table(f"From {arguments.count} photos to a zip", "images/s", rates))
    ratio = {f"{PAINTER} over {BASELINE}": ratios(rates, PAINTER, BASELINE)}
    print(table("Ratio", "times", ratio))


if __name__ == "__main__":
    main()
