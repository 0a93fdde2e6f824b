"""From an account to a score on the leaderboard: all commands, real kernels, a real images.zip."""

import zipfile
from pathlib import Path

from pipeline.cli import run_command
from tests.support.helpers import TINY_RUN, encoded, pack, painting
from tests.support.kaggle_desk import NAME, PUSH, RUN, Desk, painter_process
from tests.support.kaggle_server import KaggleServer
from tests.support.kaggle_state import Really
from tests.support.painter_process import PainterProcess

__all__ = ["painter_process"]  # a fixture

LIMIT_SECONDS = 240


def set_up(server: KaggleServer, process: PainterProcess, tmp_path: Path) -> Desk:
    """Return a desk whose Kaggle holds paintings, runs kernels, and takes 7,000 images at least."""
    desk = Desk(server, process, tmp_path / "desk")
    paintings = {f"monet_jpg/{n}.jpg": encoded(painting((64, 64), n)) for n in range(3)}
    photos = {"photo_jpg/0.jpg": encoded(painting((64, 64), 9))}
    server.files["gan-getting-started.zip"] = pack(tmp_path / "z", paintings | photos).read_bytes()
    server.runner = Really(LIMIT_SECONDS)
    desk.minimum = 7000
    return desk


def test_a_kernel_trains_and_its_output_is_submitted(
    tmp_path: Path, painter_process: PainterProcess
) -> None:
    with KaggleServer() as server:
        desk = set_up(server, painter_process, tmp_path)
        desk.works("doctor")
        shown = desk.works(*PUSH, "--minutes", "5", "--wait")
        assert "training images: 3 from" in shown
        assert "score: skipped" in shown
        desk.works("kernel", "pull", "--run", RUN)
        provenance = desk.read(f"{RUN}/provenance.json")
        assert provenance["sittings"][0]["bundle"] == desk.read(f"{RUN}/kernel.json")["bundle_hash"]
        with zipfile.ZipFile(desk.run / "images.zip") as archive:
            assert len(archive.namelist()) == 7000
        desk.works("report", "--run", RUN)  # what a local run can do, this one can
        assert "public score 78.10" in desk.works("submit", "--run", RUN, "--wait")
        assert "first" in desk.works("leaderboard")
        desk.refuse_secrets()


def test_a_local_run_is_generated_there_and_submitted(
    tmp_path: Path, painter_process: PainterProcess
) -> None:
    with KaggleServer() as server:
        desk = set_up(server, painter_process, tmp_path)
        desk.works("download", "--source", "competition", "--data", "data")
        desk.works("train", "--data", "data", "--preset", "demo", "--run", RUN, *TINY_RUN)
        assert "public score 78.10" in desk.works("submit", "--run", RUN, "--wait")
        assert f"{NAME}-images" in server.kernels
        some = ["--count", "200", "--out", str(tmp_path / "here.zip")]
        assert run_command(["generate", "--run", str(desk.run), *some]) == 0
        with (
            zipfile.ZipFile(desk.run / "kaggle" / "images.zip") as there,
            zipfile.ZipFile(tmp_path / "here.zip") as here,
        ):
            assert len(there.namelist()) == 7000
            assert there.namelist()[:200] == here.namelist()
            # The same machine: the same arithmetic.
            assert all(there.read(name) == here.read(name) for name in here.namelist()[::20])
        desk.refuse_secrets()
