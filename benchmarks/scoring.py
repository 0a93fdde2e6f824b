"""Scoring speed against pytorch-fid and torchmetrics, alternating in one run: `make bench-score`.

From JPEG files to a FID, with one file of random Inception weights for all. Each measurement has
a process of its own: painter's settings of the C library would speed the others up too. Time is
taken without imports and without the reading of weights. Then the final statistic alone.

The other programs are measured if they are installed: pip install 'painter-gan[bench]'.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipeline.bench.measure import MB, alternating, machine, ratios, seconds, table
from pipeline.bench.scoring import write_random_inception
from pipeline.core.extras import install_extra
from pipeline.data.images import open_images
from pipeline.data.synthetic_landscapes import draw_landscape
from pipeline.scoring.extractors import make_extractor
from pipeline.scoring.features import extract
from pipeline.scoring.metrics import frechet_distance
from pipeline.system.devices import default_device
from pipeline.system.memory import peak_rss
from pipeline.system.parallel import allowed_cores

REFERENCE = 300
THEIR_BATCH = 50
"""pytorch-fid's own default."""

Statistic = Callable[[], float]
Program = Callable[[Path, Path, Path], Callable[[], Statistic]]
"""Takes weights, generated and reference images. The function that it returns is timed: it
extracts features, and returns a function that computes their FID."""


def painter(exact: bool) -> Program:
    def prepare(weights: Path, generated: Path, reference: Path) -> Callable[[], Statistic]:
        extractor = make_extractor("inception", weights, default_device(), exact)

        def run() -> Statistic:
            a, b = (
                extract(open_images(p), extractor, p.name).values for p in (generated, reference)
            )
            return lambda: frechet_distance(a, b)

        return run

    return prepare


def pytorch_fid(weights: Path, generated: Path, reference: Path) -> Callable[[], Statistic]:
    from pytorch_fid import fid_score, inception

    def load(*_: object, **__: object) -> Any:
        return torch.load(weights, weights_only=True)

    inception.load_state_dict_from_url = load
    network = inception.InceptionV3([3]).to(default_device())

    def run() -> Statistic:
        a, b = (
            fid_score.compute_statistics_of_path(
                str(path), network, THEIR_BATCH, 2048, default_device(), workers()
            )
            for path in (generated, reference)
        )
        return lambda: float(fid_score.calculate_frechet_distance(*a, *b))

    return run


def torchmetrics(weights: Path, generated: Path, reference: Path) -> Callable[[], Statistic]:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(2048, feature_extractor_weights_path=str(weights))
    metric = metric.to(default_device())

    def run() -> Statistic:
        with torch.no_grad():
            for path in (generated, reference):
                for batch in Batches(path):
                    metric.update(batch.to(default_device()), real=path == reference)
        return lambda: float(metric.compute())

    return run


class Files(torch.utils.data.Dataset[torch.Tensor]):
    """JPEG files as uint8 (3, H, W)."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels = np.array(Image.open(self._paths[index]).convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1)


def Batches(folder: Path) -> Iterable[torch.Tensor]:  # noqa: N802 - reads like the class it makes
    return torch.utils.data.DataLoader(Files(folder), THEIR_BATCH, num_workers=workers())


def workers() -> int:
    """Return pytorch-fid's own choice of processes that decode."""
    return min(allowed_cores(), 8)


PROGRAMS: dict[str, Program] = {
    "painter": painter(exact=False),
    "painter --exact": painter(exact=True),
    "pytorch_fid": pytorch_fid,
    "torchmetrics": torchmetrics,
}


def is_installed(program: str) -> bool:
    return program.startswith("painter") or importlib.util.find_spec(program) is not None


def measure_one(program: str, folder: Path) -> dict[str, float]:
    """Return the seconds for the features and in total, FID, and memory in MB."""
    run = PROGRAMS[program](folder / "random.pth", folder / "generated", folder / "reference")
    began = time.perf_counter()
    statistic = run()
    features = time.perf_counter() - began
    fid = statistic()
    seconds = time.perf_counter() - began
    memory = peak_rss() / MB
    return {"features": features, "seconds": seconds, "fid": fid, "memory": memory}


def in_own_process(program: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scoring", "--program", program]
    done = subprocess.run(
        [*command, "--folder", str(folder)], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def draw(folder: Path, images: int) -> None:
    """Fill a folder with landscapes, generated and reference, and random weights."""
    for name, count, first in (("generated", images, 0), ("reference", REFERENCE, images)):
        (folder / name).mkdir()
        for index in range(first, first + count):
            buffer = io.BytesIO()
            draw_landscape(index % 20, seed=index // 20).save(buffer, "JPEG", quality=90)
            (folder / name / f"{index:06d}.jpg").write_bytes(buffer.getvalue())
    some = [draw_landscape(index, seed=10**6) for index in range(8)]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in some]))
    write_random_inception(folder / "random.pth", pixels.permute(0, 3, 1, 2))


def compare_programs(folder: Path, images: int, rounds: int) -> None:
    draw(folder, images)
    programs = [program for program in PROGRAMS if is_installed(program)]
    results: dict[str, list[dict[str, float]]] = {program: [] for program in programs}
    for _ in range(rounds):
        for program in programs:
            measured = in_own_process(program, folder)
            results[program].append(measured | {"images": images + REFERENCE})
    for until, what in (("seconds", "a FID"), ("features", "features")):
        print_rates(results, until, f"From {images:,} + {REFERENCE} JPEG files to {what}")
    print()
    for program, rounds_of_one in results.items():
        memory = max(r["memory"] for r in rounds_of_one)
        print(f"- {program}: FID {rounds_of_one[0]['fid']:.3f}, at most {memory:,.0f} MB of memory")
    for program in PROGRAMS.keys() - set(programs):
        print(f"{program} is not installed and was left out: {install_extra('bench')}")


def print_rates(results: dict[str, list[dict[str, float]]], until: str, title: str) -> None:
    """Print images a second of each program, and painter's share of each other."""
    rates = {p: [r["images"] / r[until] for r in measured] for p, measured in results.items()}
    print(table(title, "images/s", rates))
    others = [program for program in rates if program != "painter"]
    print(
        table("Ratios", "times", {f"painter over {p}": ratios(rates, "painter", p) for p in others})
    )


def scipy_distance(generated: np.ndarray, reference: np.ndarray) -> float:
    """Return FID by the formula in the paper."""
    from scipy.linalg import sqrtm

    difference = generated.mean(0) - reference.mean(0)
    a, b = np.cov(generated, rowvar=False), np.cov(reference, rowvar=False)
    return float(difference @ difference + np.trace(a + b - 2 * sqrtm(a @ b).real))


def compare_statistic(rows: int, rounds: int) -> None:
    """Time the final statistic alone."""
    numbers = np.random.default_rng(0)
    mixing = numbers.normal(size=(2048, 2048)) * np.geomspace(1, 1e-3, 2048)[:, None]
    generated, reference = (
        np.abs(numbers.normal(size=(n, 2048)) @ mixing).astype(np.float32)
        for n in (rows, REFERENCE)
    )
    values: dict[str, float] = {}

    def timed(name: str, function: Callable[[np.ndarray, np.ndarray], float]) -> float:
        def work() -> None:
            values[name] = function(generated, reference)

        return seconds(work)

    functions = {"painter": frechet_distance, "scipy.linalg.sqrtm": scipy_distance}
    times = alternating({n: partial(timed, n, f) for n, f in functions.items()}, rounds)
    print(table(f"The statistic alone, {rows:,} x 2,048 against {REFERENCE}", "seconds", times))
    ratio = ratios(times, *reversed(times))
    print(table("Ratio", "times", {"painter over scipy": ratio}))
    print("\n" + ", ".join(f"{name} FID {value:.6g}" for name, value in values.items()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000, help="fewer are quicker to try")
    parser.add_argument("--rows", type=int, default=10_000, help="of the statistic alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", choices=PROGRAMS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.program is not None:
        print(json.dumps(measure_one(arguments.program, arguments.folder)))
        return
    print(machine(default_device()))
    with tempfile.TemporaryDirectory() as name:
        compare_programs(Path(name), arguments.images, arguments.rounds)
    compare_statistic(arguments.rows, arguments.rounds)


if __name__ == "__main__":
    main()
