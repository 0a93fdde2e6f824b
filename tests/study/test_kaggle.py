"""A study on Kaggle: points as kernels, two at a time, pulled and scored here."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import stand_in_painter
from tests.support.helpers import TINY_RUN, fill
from tests.support.kaggle_desk import Desk, output
from tests.support.kaggle_server import KaggleServer
from tests.support.kaggle_state import Scripted
from tests.support.painter_process import PainterProcess

STUDY = """
name = "laws"
preset = "demo"
[settings]
{settings}
[grid]
sample_every = [1000, 2000, 3000]
[evaluation]
count = 5
features = "efficientnet-lite0"
"""


STAND_IN = (sys.executable, stand_in_painter.__file__)


@contextmanager
def study_desk(
    folder: Path, commands: tuple[str, ...] | None = STAND_IN, polls: int = 3
) -> Iterator[Desk]:
    """Yield a desk for studies, whose images are scored by `commands`; None: by painter's."""
    with KaggleServer() as server:
        server.runner = Scripted(files=output(), log=["paintings: 300"], polls=polls)
        desk = Desk(server, PainterProcess(commands), folder / "desk")
        settings = [w for w in TINY_RUN if w != "--set"]
        lines = [
            f"{n} = {v if v != 'none' else repr(v)}" for n, v in (s.split("=") for s in settings)
        ]
        (desk.folder / "laws.toml").write_text(STUDY.format(settings="\n".join(lines)))
        fill(desk.folder / "paintings", 4, (64, 64))
        yield desk
        desk.refuse_secrets()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with study_desk(tmp_path) as desk:
        yield desk


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, str]]:
    """Yield a desk whose study is complete, and what the study said."""
    with study_desk(tmp_path_factory.mktemp("finished")) as desk:
        yield desk, desk.works(*STUDY_COMMAND)


def two_points(desk: Desk) -> None:
    """Leave out a point, where two show the same."""
    points(desk, "1000, 2000")


def points(desk: Desk, values: str) -> None:
    """Leave out all points but these."""
    file = desk.folder / "laws.toml"
    file.write_text(file.read_text().replace("1000, 2000, 3000", values))


STUDY_COMMAND = ("study", "laws.toml", "--data", "paintings", "--out", "laws", "--on", "kaggle")


def test_points_are_pushed_pulled_scored_here_and_never_pushed_again(
    finished: tuple[Desk, str],
) -> None:
    desk, shown = finished
    assert "| `1000` | 1 |" in shown
    assert (desk.folder / "laws" / "comparison.html").exists()
    assert len(desk.server.kernels) == 3
    runs = [p for p in (desk.folder / "laws").iterdir() if (p / "kernel.json").exists()]
    assert len(runs) == 3
    for run in runs:
        score = desk.read(f"laws/{run.name}/score.json")
        assert (score["features"], score["n_generated"]) == ("efficientnet-lite0", 5)
    pushed = [len(k.versions) for k in desk.server.kernels.values()]
    desk.works(*STUDY_COMMAND)
    assert [len(k.versions) for k in desk.server.kernels.values()] == pushed


def test_what_was_pulled_and_is_gone_is_pulled_or_pushed_again(
    finished: tuple[Desk, str],
) -> None:
    desk, _ = finished
    whole, bare, *_ = sorted(p for p in (desk.folder / "laws").iterdir() if p.is_dir())
    shutil.rmtree(whole)
    for name in ("images.zip", "score.json"):
        (bare / name).unlink()
    shown = desk.works(*STUDY_COMMAND)
    assert shown.count("` | 1 |") == 3
    assert desk.read(f"laws/{bare.name}/score.json")["n_generated"] == 5
    # One kernel was pushed anew; the output of the other was still there.
    versions = sorted(len(k.versions) for k in desk.server.kernels.values())
    assert versions in ([1, 1, 1], [1, 1, 2])


def test_a_kernel_that_fails_is_a_point_that_failed(desk: Desk) -> None:
    two_points(desk)
    desk.server.runner = Scripted("ERROR", polls=0, failure_message="out of memory")
    message = desk.fails(1, *STUDY_COMMAND)
    assert "2 points failed" in message
    assert "out of memory" in message
    desk.server.runner = Scripted(files=output(), polls=0)
    assert "| `2000` | 1 |" in desk.works(*STUDY_COMMAND)


def test_what_kernels_cannot_do_is_refused(desk: Desk) -> None:
    for text, message in (
        ('[[points]]\nlabel = "a"\n[[points]]\nlabel = "b"\ncontinues = "a"', "run here alone"),
        ("[search]\nbatch_size = [8, 16]", "set pruning = false"),
    ):
        (desk.folder / "other.toml").write_text(f'name = "o"\npreset = "demo"\n{text}\n')
        words = ("study", "other.toml", "--data", "paintings", "--out", "o", "--on", "kaggle")
        assert message in desk.fails(2, *words)
    assert not desk.server.kernels


@pytest.mark.slow  # a new interpreter; that painter's commands make a point, test_point.py shows
def test_painters_own_command_scores_what_was_pulled(tmp_path: Path) -> None:
    with study_desk(tmp_path, commands=None, polls=0) as desk:
        points(desk, "1000")
        assert "| `1000` | 1 |" in desk.works(*STUDY_COMMAND)
        (score,) = (desk.folder / "laws").glob("*/score.json")
        found = desk.read(str(score.relative_to(desk.folder)))
        assert (found["features"], found["n_generated"]) == ("efficientnet-lite0", 5)
        assert found["n_reference"] == 4
