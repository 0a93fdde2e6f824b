"""All that a kernel of task `bench` measures, from this checkout: `make bench-machine`.

Writes `bench.json` and `bench.md` into a folder, and prints the latter. Needs no data, no network
and nothing beyond what Kaggle's image has.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.bench.record import MARKDOWN
from pipeline.bench.settings import PARTS, BenchmarkSettings
from submission.kernel.benchmark import measure


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder to write to")
    parser.add_argument("--minutes", type=float, default=4.0, help="to measure for")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    arguments = parser.parse_args()
    settings = BenchmarkSettings(arguments.minutes, arguments.rounds, tuple(arguments.parts))
    arguments.out.mkdir(parents=True, exist_ok=True)
    measure(settings, arguments.out, arguments.out)
    print((arguments.out / MARKDOWN).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
