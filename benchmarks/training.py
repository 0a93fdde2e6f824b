"""Training speed against a plain DCGAN loop, alternating in one run: `make bench-train`.

The baseline does what tutorials do: files decoded by a DataLoader each epoch, float32, NCHW, two
discriminator passes, losses read back every step. All train the networks of a preset on synthetic
landscapes, each in a process of its own. Prints images a second and their ratio, median and
spread, the memory of each process, where the time of a step goes on a GPU, and the share of the
machine's matrix rate.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from pipeline.bench.machine import Machine
from pipeline.bench.programs import draw
from pipeline.bench.settings import RECIPES, BenchmarkSettings
from pipeline.bench.training import as_plain, measure_training, training_tables
from pipeline.config import load_preset
from pipeline.system.devices import default_device


def main() -> None:
    """Measure and print."""
    gpu = default_device().type == "cuda"
    presets = list(BenchmarkSettings().recipes_on(gpu))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3 if gpu else 5)
    parser.add_argument("--preset", nargs="+", default=presets)
    parser.add_argument("--batch-size", type=int, help="by default the benchmark's")
    parser.add_argument("--minutes", type=float, default=0.7 if gpu else 1.5, help="to measure for")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    arguments = parser.parse_args()
    recipes = {
        name: arguments.batch_size or RECIPES.get(name) or load_preset(name).training.batch_size
        for name in arguments.preset
    }
    settings = BenchmarkSettings(arguments.minutes, arguments.rounds, ("training",), recipes)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), settings.drawn_images)
        found = measure_training(
            settings.configs(gpu),
            Path(folder),
            default_device(),
            settings.seconds("training"),
            settings.rounds,
        )
    print(Machine.here())
    print(training_tables(found))
    if arguments.out is not None:
        arguments.out.write_text(
            json.dumps([as_plain(one) for one in found], indent=1), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
