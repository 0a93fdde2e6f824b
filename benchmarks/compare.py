"""Does this tree compute what another commit computed? `python -m benchmarks.compare REF`.

A regression test for refactoring: checks out the tree of REF beside the working tree and runs the
same commands in both: twenty training steps of every family of networks and of every option that
changes a step, some runs in two sessions, and eight images of every kind of sampler. One
environment, one thread, float32. Then it compares byte for byte: the weights of every snapshot,
all tensors of every state, every number in stats.jsonl that is no time, and every generated
file. Prints a table, and exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TIMES = ("seconds", "images_per_second")
"""Keys of stats.jsonl that differ from run to run."""
STEPS = 20
BATCH = 4
SMALL = (
    "image_size=32", "generator_channels=4", "discriminator_channels=4", f"batch_size={BATCH}",
    "precision=float32", "minutes=none", "log_every=5", "sample_count=4", "sample_every=40",
    "score_every=none", "seed=3",
)  # fmt: skip
"""Settings that make any preset take seconds."""
FROM_NOISE = ("latent_size=8",)
"""A further one of generators that start from noise."""
DIFFAUGMENT = 'diffaugment=["colour","translation","cutout"]'

TRANSLATIONS: dict[str, tuple[str, ...]] = {
    "cyclegan": ("family=cyclegan", "image_size=64", DIFFAUGMENT, "diffaugment_strength=0.5"),
    "cyclegan-resnet": ("family=cyclegan", "image_size=64", "generator=resnet", "residual_blocks=1",
                        "upsampling=nearest", "loss=two-headed", "image_buffer=8"),
    "cut": ("family=cut", "image_size=64", "residual_blocks=2", "nce_patches=64", DIFFAUGMENT),
    "cut-unet": ("family=cut", "image_size=64", "generator=unet", "identity_nce_weight=0"),
}  # fmt: skip
"""Settings of trainings that need photos too, over those of `SMALL`."""
TRAININGS: dict[str, tuple[str, ...]] = {
    "dcgan": (),
    "another-seed": ("seed=4",),
    "augmented": ("rotation=10", "zoom=1.2", "vertical_flip=true", "generator_dropout=0.2"),
    "adaptive": (DIFFAUGMENT, "diffaugment_target=0.6", "diffaugment_ramp=100"),
    "lecam-r1": ("discriminator_norm=layer", "lecam_weight=0.3", "r1_weight=1.0", "r1_every=4"),
    "wgan-gp": ("loss=wgan-gp", "discriminator_norm=layer", "discriminator_steps=2"),
    "spectral": ("loss=hinge", "discriminator_norm=spectral", "beta1=0.0"),
    "kernel5": ("kernel_size=5", "loss=lsgan", "noise=gamma(2, 1)"),
    "classes": ("conditional=true", "discriminator_dropout=0.5", "noise=uniform(-1, 1)"),
    "grey": ("channels=1", "loss=minimax", "discriminator_passes=joined"),
    "dense-start": ("family=dense-start",),
    "fully-connected": ("family=fully-connected",),
    "fastgan": ("family=fastgan", "image_size=64", DIFFAUGMENT, "diffaugment_strength=0.5"),
    "fastgan-adaptive": ("family=fastgan", "image_size=64", DIFFAUGMENT, "diffaugment_target=0.6",
                         "lecam_weight=0.1", "loss=hinge"),
    "upscaler": ("family=upscaler", "image_size=64", "crop_size=32", "upscale_factor=2",
                 "residual_blocks=1", "input_noise=0.1", "loss=hinge"),
    "upscaler-of-images": ("family=upscaler", "image_size=64", "crop_size=64", "upscale_factor=2"),
    **TRANSLATIONS,
}  # fmt: skip
"""Settings of each training, over those of `SMALL`."""
INTERRUPTED = ("dcgan", "adaptive", "fastgan-adaptive", "cyclegan-resnet", "cut")
"""Trainings that are interrupted half-way and resumed."""
EXTRA_OPTIONS = {"upscaler-of-images": ("--generator", "dcgan")} | dict.fromkeys(
    TRANSLATIONS, ("--photos", "photos")
)
"""Further options of `painter train`."""
IMAGES: dict[str, tuple[str, ...]] = {
    "plain": ("--run", "dcgan", "--set", "upscale=lanczos"),
    "bilinear": ("--run", "dcgan", "--set", "upscale=bilinear", "--seed", "5"),
    "truncated": ("--run", "dcgan", "--set", "truncation=0.5"),
    "one-class": ("--run", "classes", "--class", "b"),
    "any-class": ("--run", "classes"),
    "of-grey": ("--run", "grey"),
    "of-dense-start": ("--run", "dense-start"),
    "of-fully-connected": ("--run", "fully-connected"),
    "of-fastgan": ("--run", "fastgan"),
    "of-cyclegan": ("--run", "cyclegan"),
    "of-cyclegan-resnet": ("--run", "cyclegan-resnet"),
    "of-cut": ("--run", "cut"),
    "of-a-mix": ("--run", "mix"),
    "learned": ("--run", "kernel5", "--upscaler", "upscaler", "--set", "upscale=learned"),
    "shipped": ("--model", "monet-dcgan"),
}
"""Options of `painter generate`."""


def drawn_images(folder: Path, seed: int = 0) -> Path:
    """Write twelve pictures of noise and ramps, 72x64, in two folders; return `folder`."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(seed)
    for place in range(12):
        ramp = np.linspace(0, 200, 72)[None, :, None] * draw.random(3)
        picture = (ramp + draw.integers(0, 56, (64, 72, 3))).astype(np.uint8)
        path = folder / ("a" if place % 2 else "b") / f"{place:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return folder


def settings_of(name: str) -> list[str]:
    """Return the settings of one of `TRAININGS`, over those of preset `dcgan64`."""
    return [*SMALL, *(() if name in TRANSLATIONS else FROM_NOISE), *TRAININGS[name]]


def train_command(name: str, images: int = STEPS * BATCH) -> list[str]:
    """Return the arguments of `painter` that train one of `TRAININGS` to so many images."""
    more = EXTRA_OPTIONS.get(name, ())
    settings = (*settings_of(name), f"images={images}")
    assignments = [word for setting in settings for word in ("--set", setting)]
    return ["train", "--data", "images", "--preset", "dcgan64", "--run", name, *assignments, *more]


def is_known(name: str) -> bool:
    """Tell whether the painter that is imported here has the family of a training."""
    if name not in TRANSLATIONS:
        return True  # all versions have it
    family = TRANSLATIONS[name][0].removeprefix("family=")
    try:
        return importlib.util.find_spec(f"pipeline.families.{family}") is not None
    except ModuleNotFoundError:  # 0.1.0 has no folder of families
        return False


def commands() -> Iterator[list[str]]:
    """Yield the commands that a tree runs, as arguments of `painter`.

    Both run the same, but for families that one of them does not have.
    """
    for name in filter(is_known, TRAININGS):
        if name in INTERRUPTED:
            yield train_command(name, STEPS * BATCH // 2)
        yield train_command(name)
    yield ["mix", "dcgan", "another-seed", "--run", "mix"]
    for name, options in IMAGES.items():
        if not is_known(options[1]):
            continue
        yield ["generate", *options, "--count", "8", "--out", f"generated/{name}"]


def work(folder: Path) -> None:
    """Run all commands in `folder` with the painter that is imported here."""
    import click
    import torch

    from pipeline.cli import cli
    from pipeline.core.errors import PainterError

    torch.set_num_threads(1)
    drawn_images(folder / "images")
    drawn_images(folder / "photos", seed=1)
    os.chdir(folder)
    for arguments in commands():
        try:
            cli.main(arguments, standalone_mode=False)
        except (click.ClickException, PainterError) as error:
            raise SystemExit(f"painter {' '.join(arguments)}: {error}") from None


def tree_of(reference: str, folder: Path) -> str:
    """Write the files of a commit to `folder`; return the commit's full hash.

    Raises:
        SystemExit: if git knows no such commit.
    """
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run(
        [*git, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode:
        raise SystemExit(f"git knows no commit {reference!r}. Give a branch, tag or hash.")
    packed = subprocess.run([*git, "archive", reference], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return found.stdout.strip()


def start(tree: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that runs all commands in `folder` with the painter of `tree`."""
    folder.mkdir(parents=True)
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "OMP_NUM_THREADS": "1",
        "PAINTER_CACHE": str(folder / "cache"),
    }
    return subprocess.Popen(
        [sys.executable, "-P", __file__, "--work", str(folder)],
        cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def tensors_of(value: Any) -> Iterator[str]:
    """Yield a hash of every tensor in nested dictionaries and lists, whatever their names.

    Tensors of one or two numbers are left out: counters and the like, which may be stored in
    other ways. Where they matter, the next step shows it.
    """
    import torch

    if isinstance(value, torch.Tensor):
        if value.numel() <= 2:
            return
        content = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        yield f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(content).hexdigest()}"
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors_of(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            yield from tensors_of(inner)


def contents(path: Path) -> Any:
    """Return the content of a file that must be equal in both trees; None if nothing must.

    States are compared as multisets of tensors, since names in them may differ.
    """
    import safetensors.torch
    import torch

    if path.name == "stats.jsonl":
        lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
    if path.suffix == ".safetensors":
        tensors = safetensors.torch.load_file(path)
        return {name: list(tensors_of(tensor)) for name, tensor in tensors.items()}
    if path.name == "state.pt":
        return Counter(tensors_of(torch.load(path, map_location="cpu", weights_only=True)))
    if path.suffix in (".jpg", ".png"):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return None


def compare(here: Path, there: Path) -> dict[str, list[str]]:
    """Return for each training and each set of images the files that differ.

    A state may hold more tensors than the other, as long as it has all of the other's.
    """
    folders = [*(p.parent for p in sorted(there.glob("*/config.json"))),
               *sorted(p for p in (there / "generated").iterdir())]  # fmt: skip
    found = {}
    for folder in folders:
        name = folder.relative_to(there)
        files = {p.relative_to(there) for p in folder.rglob("*") if p.is_file()}
        files |= {p.relative_to(here) for p in (here / name).rglob("*") if p.is_file()}
        found[str(name)] = sorted(str(f) for f in files if not same(here / f, there / f))
    return found


def same(here: Path, there: Path) -> bool:
    """Tell whether the content of two files is the same, as far as it must be."""
    if not (here.exists() and there.exists()):
        return contents(here if here.exists() else there) is None
    ours, theirs = contents(here), contents(there)
    return theirs <= ours if isinstance(theirs, Counter) else bool(ours == theirs)


def main() -> None:
    """Run both trees and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", nargs="?", help="Commit to compare with.")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work)
        return
    if options.reference is None:
        parser.error("Which commit? For example: python -m benchmarks.compare HEAD~1")
    with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
        folder = Path(scratch)
        commit = tree_of(options.reference, folder / "tree")
        runs = {"this tree": start(ROOT, folder / "here")}
        runs[commit] = start(folder / "tree", folder / "there")
        for name, process in runs.items():
            output, _ = process.communicate()
            if process.returncode:
                raise SystemExit(f"{output.decode(errors='replace')[-3000:]}\nfailed: {name}")
        differing = compare(folder / "here", folder / "there")
    print(f"| this tree and {commit[:12]} | |\n|---|---|")
    for name, files in differing.items():
        print(f"| {name} | {'DIFFERS: ' + ', '.join(files) if files else 'same'} |")
    if any(differing.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
