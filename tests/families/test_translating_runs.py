"""Translators go the whole way: train, kill -9 and resume, generate, score and report."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.data.images import open_images
from pipeline.runs.files import read_json
from tests.support.family_desk import FamilyDesk, equal, learned
from tests.support.helpers import fill
from tests.support.painter_process import Done

STEPS = 16
TINY = (
    "image_size=64", "generator_channels=4", "discriminator_channels=4", "batch_size=2",
    f"images={2 * STEPS}", "minutes=none", "log_every=2", "sample_every=16", "sample_count=4",
    "score_every=none", "precision=float32", "checkpoint_minutes=0.001", "output_size=64",
)  # fmt: skip
"""A training of a few seconds that saves as often as it may."""


@dataclass(frozen=True)
class Case:
    """One family, and what is its own in a run."""

    preset: str
    settings: tuple[str, ...]
    networks: frozenset[str]
    metrics: frozenset[str]
    charts: tuple[str, ...]


CASES = {
    "cyclegan": Case(
        "photo2monet",
        ("image_buffer=4",),
        frozenset({"generator", "discriminator", "back_generator", "source_discriminator"}),
        frozenset({"cycle", "identity", "d_source_real", "d_source_fake"}),
        ("translated there and back ends at", "translated into its own domain ends at"),
    ),
    "cut": Case(
        "photo2monet-cut",
        ("residual_blocks=2", "nce_patches=16"),
        frozenset({"generator", "discriminator", "projections"}),
        frozenset({"nce", "identity_nce"}),
        ("photos ends at", "real images, into their own domain ends at"),
    ),
}


@dataclass(frozen=True)
class Trained:
    """A finished run of a family."""

    desk: FamilyDesk
    case: Case

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.desk.folder / "run"

    def train(self, run: str) -> Done:
        """Train into a folder."""
        settings = [word for text in (*TINY, *self.case.settings) for word in ("--set", text)]
        photos = ("--data", "monet", "--photos", "photos")
        return self.desk.painter(
            "train", *photos, "--run", run, "--preset", self.case.preset, *settings
        )


@pytest.fixture(scope="module", params=CASES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A trained run, its images and their score."""
    folder = tmp_path_factory.mktemp("desk")
    fill(folder / "monet", 5, (64, 64))
    for photo in fill(folder / "photos", 12, (80, 64)).iterdir():
        number = int(photo.stem)
        photo.rename(photo.with_stem(f"p{number:02d}"))
    trained = Trained(FamilyDesk(folder), CASES[request.param])
    done = trained.train("run")
    assert done.code == 0, done.err
    trained.desk.works("generate", "--run", "run", "--count", "16")
    trained.desk.works("score", "--run", "run", "--features", "efficientnet-lite0")
    return trained


def test_its_state_has_its_networks_and_its_curves_their_losses(trained: Trained) -> None:
    state = learned(trained.run)
    assert state["step"] == STEPS
    assert trained.case.networks | {"optimizer_d", "optimizer_g", "average"} <= set(state)
    last = json.loads((trained.run / "stats.jsonl").read_text().splitlines()[-1])
    assert {"loss_d", "loss_g", "d_real", "d_fake_after"} | trained.case.metrics <= set(last)


def test_killed_in_the_middle_it_resumes_to_the_same_bits(trained: Trained) -> None:
    killed = trained.desk.folder / "killed"
    trained.desk.killed(lambda: trained.train("killed"), killed / "stats.jsonl", STEPS // 8)
    assert 0 <= learned(killed)["step"] < STEPS
    done = trained.train("killed")
    assert done.code == 0, done.err
    assert "Resuming at" in (killed / "log.txt").read_text()
    assert equal(learned(killed), learned(trained.run))


def test_photos_come_first_and_then_their_mirror_images(trained: Trained) -> None:
    assert len(open_images(trained.run / "images.zip").names) == 16
    trained.desk.works("generate", "--run", "run", "--photos", "photos", "--count", "3",
                       "--size", "64", "--out", "some.zip")  # fmt: skip
    with (
        zipfile.ZipFile(trained.desk.folder / "some.zip") as some,
        zipfile.ZipFile(trained.run / "images.zip") as all_of_them,
    ):
        contents = [some.read(name) for name in some.namelist()]
        assert contents == [all_of_them.read(name) for name in some.namelist()]
        assert len({all_of_them.read(name) for name in all_of_them.namelist()}) == 16


def test_its_images_are_scored_and_its_losses_are_drawn(trained: Trained) -> None:
    score = read_json(trained.run / "score.json")
    assert score["n_generated"] == 16
    assert score["mifid"] > 0
    trained.desk.works("report", "--run", "run")
    page = (trained.run / "report.html").read_text()
    losses = ("discriminator ends at", "generator ends at", *trained.case.charts)
    assert all(text in page for text in losses)
