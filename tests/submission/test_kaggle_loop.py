"""From an account to a score on the leaderboard: all commands, and kernels that really run."""

import json
import shlex
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.data.images import open_images
from submission.rules import MINIMUM_IMAGES
from tests.support import forks
from tests.support.documents import make_dry
from tests.support.helpers import TINY_RUN, encoded, pack, painting
from tests.support.kaggle_desk import MINIMUM, NAME, PUSH, RUN, Desk, painter_process
from tests.support.kaggle_server import KaggleServer
from tests.support.kaggle_state import Really
from tests.support.kernel_sandbox import start_script
from tests.support.painter_process import PainterProcess

__all__ = ["painter_process"]  # a fixture

LIMIT_SECONDS = 240


CALL = "run(SETTINGS, INPUT, WORKING)"


def with_few_images(text: str, inputs: Path, working: Path) -> forks.Process:
    """Start a kernel in which a submission needs no more images than at the tests' desks."""
    few = f"import submission.archive\nsubmission.archive.MINIMUM_IMAGES = {MINIMUM}\n{CALL}"
    assert text.count(CALL) == 1
    return start_script(text.replace(CALL, few), inputs, working)


def set_up(server: KaggleServer, process: PainterProcess, tmp_path: Path, minimum: int) -> Desk:
    """Return a desk whose Kaggle holds paintings, runs kernels, and takes `minimum` images."""
    desk = Desk(server, process, tmp_path / "desk")
    paintings = {f"monet_jpg/{n}.jpg": encoded(painting((64, 64), n)) for n in range(3)}
    photos = {"photo_jpg/0.jpg": encoded(painting((64, 64), 9))}
    server.files["gan-getting-started.zip"] = pack(tmp_path / "z", paintings | photos).read_bytes()
    unchanged = minimum == MINIMUM_IMAGES
    server.runner = Really(LIMIT_SECONDS, None if unchanged else with_few_images)
    server.minimum_images = desk.minimum = minimum
    return desk


# That a kernel makes 7,000 which are valid, tests/kernels/test_bundle.py shows.
@pytest.mark.parametrize("count", [MINIMUM, pytest.param(MINIMUM_IMAGES, marks=pytest.mark.slow)])
def test_a_kernel_trains_and_its_output_is_submitted(
    tmp_path: Path, painter_process: PainterProcess, count: int
) -> None:
    with KaggleServer() as server:
        desk = set_up(server, painter_process, tmp_path, count)
        desk.works("doctor")
        shown = desk.works(*PUSH, "--count", str(count), "--minutes", "5", "--wait")
        assert "training images: 3 from" in shown
        assert "score: skipped" in shown
        desk.works("kernel", "pull", "--run", RUN)
        provenance = desk.read(f"{RUN}/provenance.json")
        assert provenance["sittings"][0]["bundle"] == desk.read(f"{RUN}/kernel.json")["bundle_hash"]
        with zipfile.ZipFile(desk.run / "images.zip") as archive:
            assert len(archive.namelist()) == count
        desk.works("report", "--run", RUN)  # what a local run can do, this one can
        assert "public score 78.10" in desk.works("submit", "--run", RUN, "--wait")
        assert "first" in desk.works("leaderboard")
        desk.refuse_secrets()


def test_what_make_runs_as_it_is_typed_ends_on_the_leaderboard(
    tmp_path: Path, painter_process: PainterProcess
) -> None:
    small = ["generator_channels=4", "discriminator_channels=4", "batch_size=4", "images=8"]
    smaller = [word for setting in (*small, "score_every=none") for word in ("--set", setting)]
    with KaggleServer() as server:
        desk = set_up(server, painter_process, tmp_path, MINIMUM)
        for command in make_dry("download", "train", "submit"):
            words = shlex.split(command)[1:]
            desk.works(*words, *(smaller if words[0] == "train" else []))
        assert "public score 78.10" in desk.works(*words, "--wait")  # the same submission
        assert "78.10" in desk.works("leaderboard")
        run = desk.folder / "runs" / "monet-dcgan"
        record = json.loads((run / "images.json").read_text())
        assert record["output"]["upscale"] == "learned"
        assert record["choice"]["candidates"] == 3 * MINIMUM
        names = [f"{name}/images.zip" for name in (run, run / "kaggle")]
        here, there = (pixels_of(Path(name)) for name in names)
        assert np.abs(here - there).max() <= 2  # as chosen images made elsewhere may differ


def pixels_of(path: Path) -> npt.NDArray[np.int16]:
    """Return the images of a zip, in the order of their numbers."""
    images = open_images(path)
    return np.stack([np.asarray(images.read_rgb(name), np.int16) for name in images.names])


def test_a_kernel_with_the_scorer_comes_back_with_its_score(
    tmp_path: Path, painter_process: PainterProcess
) -> None:
    with KaggleServer() as server:
        desk = set_up(server, painter_process, tmp_path, MINIMUM)
        desk.works("kernel", "scorer", "--features", "efficientnet-lite0")
        push = [word for word in PUSH if word != "--no-scorer"]
        changed = (
            "score_every=8",
            "score_images=50",
            "score_time_share=1e9",
            "candidates_per_image=2",
        )
        scores = [word for setting in changed for word in ("--set", setting)]
        shown = desk.works(*push, *scores, "--count", str(MINIMUM), "--minutes", "5", "--wait")
        said = shown[shown.index("images.zip: ") :]
        assert "score: MiFID " in said
        assert "features efficientnet-lite0" in said
        assert f"{MINIMUM} chosen of {2 * MINIMUM}" in shown
        assert "snapshot: best" in shown
        desk.works("kernel", "pull", "--run", RUN)
        score = desk.read(f"{RUN}/score.json")
        assert (score["features"], score["n_generated"]) == ("efficientnet-lite0", MINIMUM)
        assert len((desk.run / "scores.jsonl").read_text().splitlines()) == 1
        shown = desk.works("leaderboard")
        assert f"{score['mifid']:.2f}" in shown
        assert "efficientnet-lite0" in shown
        desk.refuse_secrets()


def test_a_local_run_is_generated_there_and_submitted(
    tmp_path: Path, painter_process: PainterProcess
) -> None:
    with KaggleServer() as server:
        desk = set_up(server, painter_process, tmp_path, MINIMUM)
        desk.works("download", "--source", "competition", "--data", "data")
        desk.works("train", "--data", "data", "--preset", "demo", "--run", RUN, *TINY_RUN)
        desk.works("generate", "--run", RUN, "--count", "20")
        assert "public score 78.10" in desk.works("submit", "--run", RUN, "--wait")
        assert f"{NAME}-images" in server.kernels
        with (
            zipfile.ZipFile(desk.run / "kaggle" / "images.zip") as there,
            zipfile.ZipFile(desk.run / "images.zip") as here,
        ):
            assert len(there.namelist()) == 20
            assert there.namelist() == here.namelist()
            # The same machine: the same arithmetic.
            assert all(there.read(name) == here.read(name) for name in here.namelist())
        desk.refuse_secrets()
