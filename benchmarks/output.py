"""Speed from noise to a checked zip, against plain loops: `make bench-generate bench-package`.

generate: the baseline is that of `pipeline.bench.generating`. Also each half of painter's work
alone, and the memory for twice as many images.

package: the check of a zip, against unpacking it and opening each file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from pipeline.bench.generating import (
    PAINTER,
    painters_zip,
    plain_check,
    programs,
    ratio_table,
    untrained_snapshot,
)
from pipeline.bench.measure import MB, alternating, machine, ratios, seconds, table
from pipeline.config import load_preset
from pipeline.core.errors import ConfigError
from pipeline.models.precision import choose_precision
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot
from pipeline.stages.generate import DEFAULT_BATCH
from pipeline.system.devices import default_device
from pipeline.system.memory import peak_rss
from submission.kernel.benchmark import check_zip, running_check


def load_or_build_snapshot(path: Path | None) -> Snapshot:
    """Return a snapshot, or an untrained generator of preset monet64."""
    return untrained_snapshot(load_preset("monet64")) if path is None else load_snapshot(path)


# --- What is printed


def compare_generating(snapshot: Snapshot, count: int, rounds: int, folder: Path) -> None:
    device = default_device()
    output = snapshot.config.output
    work = programs(snapshot, folder, running_check, device)
    for function in work.values():  # the first call of each costs more
        function(min(count, 2 * DEFAULT_BATCH))
    rates = alternating({n: partial(rate, f, count, device) for n, f in work.items()}, rounds)
    print(
        machine(
            device,
            choose_precision("auto", device),
            f"{output.upscale}, JPEG {output.jpeg_quality}",
        )
    )
    print(table(f"From noise to a checked zip of {count:,} images", "images/s", rates))
    print(table("Ratios", "times", ratio_table(rates)))


def rate(work: Callable[[int], None], count: int, device: torch.device) -> float:
    """Return images a second."""
    return count / seconds(lambda: work(count), device)


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
            try:
                compare_generating(snapshot, arguments.count, arguments.rounds, folder)
            except ConfigError as error:  # no plain loop makes what this model makes
                parser.error(str(error))
            compare_memory(arguments.snapshot, arguments.count)
        elif arguments.what == "package":
            compare_checking(snapshot, arguments.count, arguments.rounds, folder)
        else:
            painters_zip(snapshot, arguments.count, folder / "images.zip")
            print(peak_rss() / MB)


if __name__ == "__main__":
    main()
