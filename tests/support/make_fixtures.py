"""Writes what one version of painter leaves behind, small, for later versions to read.

`python -m tests.support.make_fixtures FOLDER`, at the commit of a release; the folder is committed
as `tests/fixtures/VERSION`. Never write an existing one again: its worth is that an older version
wrote it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.compare import drawn_images, train_command
from pipeline.cli import run_command
from pipeline.config import OutputConfig
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.models.snapshots import load_snapshot
from tests.support.helpers import fill
from tests.support.kaggle_desk import PUSH, RUN, Desk
from tests.support.kaggle_server import KaggleServer
from tests.support.kaggle_state import Really
from tests.support.painter_process import PainterProcess

GENERATORS = ("dcgan", "lecam-r1", "classes", "grey", "dense-start", "fully-connected", "fastgan")
HALF = 40
"""Images after which the run in the middle of its training was stopped; it goes on to 80."""
STUDY = """
name = "seeds"
preset = "dcgan64"
seeds = [0, 1]
[settings]
image_size = 32
generator_channels = 4
discriminator_channels = 4
latent_size = 8
batch_size = 4
precision = "float32"
images = 16
minutes = "none"
sample_count = 4
score_every = "none"
output_size = 64
[grid]
beta1 = [0.0, 0.5]
[evaluation]
count = 60
features = "efficientnet-lite0"
"""
ELSEWHERE = "/home/alice/painter"
"""Stands for the folder in which all this was made."""


def painter(*arguments: object) -> None:
    """Run one command of painter here."""
    code = run_command([str(a) for a in arguments])
    assert code == 0, arguments


def pixels_of(snapshot: Path, target: Path) -> None:
    """Write eight images of a snapshot, one above the other, before anything enlarges them."""
    loaded = load_snapshot(snapshot)
    learned = loaded.upscaler is not None
    side = loaded.config.data.image_size * (2 if learned else 1)
    output = OutputConfig(output_size=side, upscale="learned" if learned else "lanczos")
    images = NoiseSampler(loaded, 3, torch.device("cpu"), output)(range(8))
    Image.fromarray(np.concatenate(images)).save(target)


def make_runs(out: Path) -> None:
    """Train every family; keep a run half-way, a finished one, snapshots and their images."""
    shutil.copytree(drawn_images(Path("images")), out / "images")
    half = train_command("adaptive", HALF)
    painter(*half)
    shutil.copytree("adaptive", out / "half")
    painter(*train_command("adaptive"))
    shutil.copyfile("adaptive/snapshot.safetensors", out / "half-at-80-images.safetensors")
    for name in (*GENERATORS, "another-seed", "upscaler"):
        painter(*train_command(name))
    painter("mix", "dcgan", "another-seed", "--run", "mix")
    shutil.copytree("dcgan", "learned")
    painter("generate", "--run", "learned", "--upscaler", "upscaler", "--count", 1)
    painter("generate", "--run", "dcgan", "--count", 60, "--set", "output_size=64")
    painter("score", "--run", "dcgan", "--features", "efficientnet-lite0")
    shutil.copytree("dcgan", out / "finished")
    (out / "snapshots").mkdir()
    for name in (*GENERATORS, "upscaler", "mix", "learned"):
        for kind in ("safetensors", "json"):
            shutil.copyfile(f"{name}/snapshot.{kind}", out / "snapshots" / f"{name}.{kind}")
        if name != "upscaler":
            pixels_of(out / "snapshots" / f"{name}.safetensors", out / "snapshots" / f"{name}.png")


def make_study(out: Path) -> None:
    """Run a study of two points and two seeds."""
    Path("seeds.toml").write_text(STUDY)
    painter("study", "seeds.toml", "--data", "images", "--out", out / "study")
    for picture in out.glob("study/comparison.*"):
        picture.unlink()


def make_submission(out: Path) -> None:
    """Train in a kernel of the local Kaggle, pull its output, submit it.

    Its images.zip is left out: the least that a submission may have is 7,000 images.
    """
    with KaggleServer() as server:
        images = fill(Path("kaggle/monet_jpg"), 4).parent
        server.files["gan-getting-started.zip"] = zipped(images)
        server.runner = Really(240)
        desk = Desk(server, PainterProcess(), Path("desk").resolve())
        desk.minimum = 7000
        desk.works(*PUSH, "--set", "precision=float32", "--minutes", "5", "--wait")
        desk.works("kernel", "pull", "--run", RUN)
        desk.works("submit", "--run", RUN, "--wait")
        desk.works("leaderboard")
        shutil.copytree(desk.run, out / "kernel", ignore=shutil.ignore_patterns("images.zip"))
        shutil.copyfile(desk.folder / "ledger.json", out / "ledger.json")


def zipped(folder: Path) -> bytes:
    """Return a folder as a zip."""
    return Path(shutil.make_archive("packed", "zip", folder)).read_bytes()


def without_places(out: Path, here: Path) -> None:
    """Put neutral names in the place of this machine's, in every text file; leave out locks."""
    for path in filter(Path.is_file, list(out.rglob("*"))):
        if path.name == ".lock":
            path.unlink()
        elif path.suffix in (".json", ".jsonl", ".txt", ".log"):
            text = path.read_text().replace(str(here), ELSEWHERE)
            text = re.sub(r"/tmp/kaggle-kernel-\w+", "/kaggle", text)
            path.write_text(re.sub(r'"platform": "[^"]*"', '"platform": "Linux-x86_64"', text))


def about(out: Path) -> dict[str, Any]:
    """Return what was written with which version."""
    from pipeline import __version__
    from pipeline.runs.provenance import git_revision

    return {"painter": __version__, "git_revision": git_revision(),
            "bytes": sum(p.stat().st_size for p in out.rglob("*") if p.is_file())}  # fmt: skip


def main() -> None:
    """Write all of it into the folder that is named."""
    torch.set_num_threads(1)
    out = Path(sys.argv[1]).resolve()
    if out.exists():
        raise SystemExit(f"{out} is there already, and what an older version wrote stays.")
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        sys.argv = ["painter"]  # goes into the records of what was trained
        made = Path("made").resolve()
        made.mkdir()
        make_runs(made)
        make_study(made)
        make_submission(made)
        without_places(made, Path(scratch).resolve())
        (made / "about.json").write_text(json.dumps(about(made), indent=2) + "\n")
        shutil.copytree(made, out)


if __name__ == "__main__":
    main()
