"""A study on Kaggle: points as kernels, two at a time, pulled and scored here."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernels.study_plans import StudyKernels
from pipeline.runs.folder import RunFolder
from pipeline.study.executor import LocalExecutor
from pipeline.study.reading import load_study
from pipeline.study.upscalers import upscaler_folder
from tests.families.test_upscaler import snapshots
from tests.support import stand_in_painter
from tests.support.helpers import TINY_RUN, fill
from tests.support.kaggle_desk import Desk, output, train_here
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
        ('[grid]\nbatch_size = [8]\n[upscaler]\npreset = "demo"', "which is no upscaler's"),
    ):
        (desk.folder / "other.toml").write_text(f'name = "o"\npreset = "demo"\n{text}\n')
        words = ("study", "other.toml", "--data", "paintings", "--out", "o", "--on", "kaggle")
        assert message in desk.fails(2, *words)
    assert not desk.server.kernels


UPSCALED = """
[upscaler]
preset = "upscaler64to256"
images = 8
minutes = "none"
"""


def study_with_upscaler(desk: Desk, values: str) -> None:
    """Make a study of few points whose images an upscaler enlarges."""
    points(desk, values)
    file = desk.folder / "laws.toml"
    text = file.read_text().replace("image_size = 32", "image_size = 64")
    file.write_text(text + UPSCALED)
    _, upscaler = snapshots(desk.folder)
    made = output() | {"snapshot.safetensors": upscaler.read_bytes()}
    desk.server.runner = Scripted(files=made, polls=0)


def test_the_upscaler_is_trained_by_one_kernel_and_attached_to_those_of_all_points(
    desk: Desk,
) -> None:
    study_with_upscaler(desk, "1000, 2000")
    assert "| `2000` | 1 |" in desk.works(*STUDY_COMMAND)
    trained, *points = sorted(desk.server.kernels.values(), key=lambda k: "-x4-" not in k.name)
    assert len(points) == 2
    (dataset,) = desk.server.datasets
    assert dataset.startswith("alice/painter-upscaler-")
    assert "datasetDataSources" not in trained.versions[0].request
    for point in points:
        assert point.versions[0].request["datasetDataSources"] == [dataset]
    assert desk.server.datasets[dataset].version == 1  # the second point uploads nothing
    assert len([n for n in desk.server.mutating() if n.startswith("blobs/")]) == 1
    pushed = len(desk.server.mutating())
    desk.works(*STUDY_COMMAND)
    assert len(desk.server.mutating()) == pushed


def test_the_points_of_a_translator_take_the_folder_of_photos_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(
        'name = "t"\npreset = "photo2monet"\n[grid]\nbatch_size = [4]\n[evaluation]\ncount = 5\n'
    )
    plan = load_study(str(tmp_path / "t.toml"))
    local = LocalExecutor(plan, tmp_path, tmp_path, None, photo_domain="summer")
    (point,) = plan.grid
    kernel, _ = StudyKernels("alice", local, "competition", None).plan_of(point, None, None)
    assert kernel.settings.photo_domain == "summer"


def test_an_upscaler_that_was_begun_here_is_finished_here(desk: Desk) -> None:
    study_with_upscaler(desk, "1000")
    plan = load_study(str(desk.folder / "laws.toml"))
    run = RunFolder(desk.folder / "laws" / upscaler_folder(plan, 4))
    shutil.copytree(train_here(desk.folder, "runs/other"), run.path)
    shutil.copy(desk.folder / "u.safetensors", run.snapshot)
    desk.works(*STUDY_COMMAND)
    assert all("-x4-" not in name for name in desk.server.kernels)
    calls = (run.path.parent / "calls.txt").read_text()
    assert calls.count('"train"') == 1


def test_a_point_goes_on_from_the_run_of_the_one_that_it_continues(desk: Desk) -> None:
    file = desk.folder / "laws.toml"
    points = '[[points]]\nlabel = "a"\n[[points]]\nlabel = "b"\ncontinues = "a"\nbeta1 = 0.4\n'
    before, after = file.read_text().split("[grid]")
    file.write_text(before + points + after[after.index("[evaluation]") :])
    state = (train_here(desk.folder, "runs/other") / "state.pt").read_bytes()
    desk.server.runner = Scripted(files=output() | {"state.pt": state}, polls=0)
    assert "| `b` | 1 |" in desk.works(*STUDY_COMMAND)
    (dataset,) = desk.server.datasets
    attached = {
        name: kernel.versions[0].request.get("datasetDataSources")
        for name, kernel in desk.server.kernels.items()
    }
    assert attached == {name: [dataset] if "-b-" in name else None for name in attached}


def test_a_search_goes_without_pruning(desk: Desk) -> None:
    file = desk.folder / "laws.toml"
    text = file.read_text().replace("[grid]", "[search]")
    file.write_text("trials = 1\n" + text.replace("[settings]", "[settings]", 1))
    done = desk.painter(*STUDY_COMMAND)
    assert (done.code, "so no point is pruned" in done.err) == (0, True)


@pytest.mark.slow  # a new interpreter; that painter's commands make a point, test_point.py shows
def test_painters_own_command_scores_what_was_pulled(tmp_path: Path) -> None:
    with study_desk(tmp_path, commands=None, polls=0) as desk:
        points(desk, "1000")
        assert "| `1000` | 1 |" in desk.works(*STUDY_COMMAND)
        (score,) = (desk.folder / "laws").glob("*/score.json")
        found = desk.read(str(score.relative_to(desk.folder)))
        assert (found["features"], found["n_generated"]) == ("efficientnet-lite0", 5)
        assert found["n_reference"] == 4
