"""Cost of loading and training by number of images, resolution and batch size: `make scale`.

Each measurement runs in a process of its own, so that its memory is its own. Images are noise in
small JPEG files, 64 to 96 pixels a side; training is that of preset monet64. Prints two tables
in Markdown.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

DISTINCT = 500
"""Different pictures among the files; the rest are copies, which cost the same to decode."""
MB = 1e6


def draw(folder: Path, count: int) -> None:
    """Fill a folder with small JPEG files of noise."""
    numbers = np.random.default_rng(0)
    contents = []
    for _ in range(min(count, DISTINCT)):
        height, width = numbers.integers(64, 97, 2)
        buffer = io.BytesIO()
        noise = numbers.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(buffer, "JPEG", quality=75)
        contents.append(buffer.getvalue())
    for index in range(count):
        (folder / f"{index:07d}.jpg").write_bytes(contents[index % len(contents)])


def measure_loading(folder: Path, size: int, on_disk: bool) -> dict[str, Any]:
    """Return seconds and memory of loading a folder, and the speed of training on it.

    Args:
        folder: the images.
        size: side in pixels.
        on_disk: act as if there were no free memory, so that pixels are memory-mapped.
    """
    from pipeline.config import apply_settings, load_preset
    from pipeline.data.images import content_hash, load_images, open_images
    from pipeline.stages.estimate import measure
    from pipeline.system.devices import default_device
    from pipeline.system.memory import peak_rss

    images, before = open_images(folder), peak_rss()
    began = time.perf_counter()
    content = content_hash(images)
    hashed = time.perf_counter()
    full = patch("pipeline.data.images.free_host_memory", lambda: 0)
    with full if on_disk else nullcontext():
        loaded = load_images(images, size, content)
    decoded = time.perf_counter()
    grown = peak_rss() - before
    config = apply_settings(load_preset("monet64"), {"image_size": size})
    estimate = measure(config, loaded.pixels, default_device())
    return {
        "images": len(loaded.names),
        "hash": hashed - began,
        "decode": decoded - hashed,
        "pixels": loaded.pixels.nbytes,
        "storage": "memory" if loaded.file is None else "disk",
        "memory": grown,
        "rate": estimate.images_per_second,
    }


def measure_training(size: int, batch: int) -> dict[str, Any]:
    """Return the speed and the peak memory of training at one resolution and batch size."""
    import torch

    from pipeline.config import apply_settings, load_preset
    from pipeline.stages.estimate import measure
    from pipeline.system.devices import default_device
    from pipeline.system.memory import peak_rss

    device = default_device()
    config = apply_settings(load_preset("monet64"), {"image_size": size, "batch_size": batch})
    pixels = torch.randint(0, 256, (300, 3, size, size), dtype=torch.uint8)
    estimate = measure(config, pixels, device)
    memory = estimate.memory if device.type == "cuda" else peak_rss()
    return {"rate": estimate.images_per_second, "steps": estimate.steps, "memory": memory}


def in_own_process(cache: Path, *words: str) -> dict[str, Any] | None:
    """Run one measurement in its own process; None if it had too little memory."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", *words],
        env=os.environ | {"PAINTER_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"{' '.join(words)} ended with {done.returncode}", file=sys.stderr)
        return None
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def print_loading(counts: Sequence[int], size: int) -> None:
    """Print the table of loading: each number of images in memory, the largest from disk too."""
    print(
        f"\n| images at {size} pixels | hash | decode | images a second | pixels | kept in ", end=""
    )
    print("| memory to load | training, images a second |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "images", Path(name) / "cache"
        folder.mkdir()
        for count in counts:
            draw(folder, count)
            ways: list[tuple[str, ...]] = [()]
            if count == max(counts):
                ways += [("--on-disk",), ("--on-disk",)]
            for number, way in enumerate(ways):
                row = in_own_process(cache, "--folder", str(folder), "--size", str(size), *way)
                if row:
                    print_loaded(row, again=number == 2)


def print_loaded(row: dict[str, Any], again: bool) -> None:
    """Print one row of the table of loading."""
    pace = "-" if again else f"{row['images'] / row['decode']:,.0f}"
    print(
        f"| {row['images']:,}{' (again)' if again else ''} | {row['hash']:.2f} s "
        f"| {row['decode']:.2f} s | {pace} "
        f"| {row['pixels'] / MB:,.1f} MB | {row['storage']} | {row['memory'] / MB:,.1f} MB "
        f"| {row['rate']:,.1f} |",
        flush=True,
    )


def print_training(sizes: Sequence[int], batches: Sequence[int]) -> None:
    """Print the table of training: images a second and peak memory of the whole process."""
    print("\nTraining: images a second, and the peak memory of the whole process\n")
    print("| resolution | " + " | ".join(f"batch {b}" for b in batches) + " |")
    print("|---" * (len(batches) + 1) + "|")
    for size in sizes:
        cells = []
        for batch in batches:
            row = in_own_process(
                Path(tempfile.gettempdir()), "--size", str(size), "--batch", str(batch)
            )
            cells.append(
                f"{row['rate']:,.1f} img/s, {row['memory'] / MB:,.0f} MB" if row else "too large"
            )
        print(f"| {size} | {' | '.join(cells)} |", flush=True)


def whole_numbers(text: str) -> list[int]:
    """Parse comma-separated integers."""
    return [int(word) for word in text.split(",") if word]


def main() -> None:
    """Measure and print, or take the one measurement that a process was started for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=whole_numbers, default=[300, 7_000, 60_000])
    parser.add_argument("--sizes", type=whole_numbers, default=[32, 64, 128, 256])
    parser.add_argument("--batches", type=whole_numbers, default=[16, 64, 256])
    parser.add_argument("--size", type=int, default=64, help="resolution of the first table")
    for internal in ("--folder", "--batch", "--on-disk"):  # what a process of its own is told
        kind: dict[str, Any] = {"action": "store_true"} if internal == "--on-disk" else {}
        parser.add_argument(internal, help=argparse.SUPPRESS, **kind)
    arguments = parser.parse_args()
    if arguments.folder:
        print(
            json.dumps(measure_loading(Path(arguments.folder), arguments.size, arguments.on_disk))
        )
    elif arguments.batch:
        print(json.dumps(measure_training(arguments.size, int(arguments.batch))))
    else:
        print(f"{platform.machine()}, {os.cpu_count()} cores, preset monet64")
        print_loading(arguments.counts, arguments.size)
        print_training(arguments.sizes, arguments.batches)


if __name__ == "__main__":
    main()
