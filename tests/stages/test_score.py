"""What a run is scored against, and whose score it is, whatever is replaced meanwhile."""

import shutil
from pathlib import Path

import pytest

from pipeline.cli import run_command
from pipeline.runs.folder import RunFolder
from pipeline.scoring import extractors
from pipeline.scoring.record import Score, current_score
from pipeline.stages import score as stage
from tests.support.factories import finished_run
from tests.support.scoring_helpers import QuadrantMeans


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 10 paintings in `data`, and a run in `run` that held out 3 of them."""
    folder = tmp_path_factory.mktemp("trained")
    generate = ("generate", "--run", "run", "--count", "4")
    return finished_run(folder, generate, count=10, options=("--holdout", "0.3"))


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return the run to change, in the folder that commands are run in."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extractors, "make_extractor", lambda *_: QuadrantMeans())
    return RunFolder(Path("run"))


def test_a_score_is_of_the_images_that_it_was_computed_from(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = stage.score

    def while_others_are_made(*words: object) -> Score:
        found: Score = compute(*words)  # type: ignore[arg-type]
        assert run_command(["generate", "--run", "run", "--count", "4", "--seed", "5"]) == 0
        return found

    with monkeypatch.context() as patch:
        patch.setattr(stage, "score", while_others_are_made)
        assert run_command(["score", "--run", "run"]) == 0
    assert run.score.exists()
    assert current_score(run) is None
    assert run_command(["score", "--run", "run"]) == 0
    assert current_score(run) is not None
