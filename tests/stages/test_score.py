"""What a run is scored against, and whose score it is, whatever is replaced meanwhile."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run_command
from pipeline.config import apply_settings
from pipeline.data.images import combined_hash, image_digests, open_images
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.scoring import extractors
from pipeline.scoring.record import Score, current_score, require_score
from pipeline.scoring.score import score
from pipeline.stages import score as stage
from pipeline.stages.reference import reference_of
from pipeline.stages.score import first_images
from pipeline.system.storage import write_json
from tests.support.factories import finished_run, image_set
from tests.support.helpers import encoded, fill, painting
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
    made = RunFolder(Path("run"))
    change_data(made, path=str(tmp_path / "data"))
    return made


def change_data(run: RunFolder, **changes: str) -> None:
    """Change what a run's provenance says of the images that it was trained on."""
    about = read_json(run.provenance)
    about["data"] |= changes
    write_json(run.provenance, about)


def test_a_score_is_of_the_images_that_it_was_computed_from(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def while_others_are_made(*words: Any) -> Score:
        found = score(*words)
        assert run_command(["generate", "--run", "run", "--count", "4", "--seed", "5"]) == 0
        return found

    with monkeypatch.context() as patch:
        patch.setattr(stage, "score", while_others_are_made)
        assert run_command(["score", "--run", "run"]) == 0
    assert run.score.exists()
    assert current_score(run) is None
    assert run_command(["score", "--run", "run"]) == 0
    assert current_score(run) is not None


def test_the_first_images_are_those_of_the_lowest_numbers() -> None:
    images = image_set(dict.fromkeys(sorted(f"{number}.jpg" for number in range(1, 31)), b""))
    assert set(first_images(images, 12).names) == {f"{number}.jpg" for number in range(1, 13)}
    assert first_images(images, 30).names == first_images(images, None).names == images.names


def parts_scored(run: RunFolder) -> tuple[int, int | None]:
    """Return how many images a score has in its reference, and held out."""
    found = require_score(run)
    held_out = found["holdout"]
    return found["n_reference"], None if held_out is None else held_out["n_reference"]


@pytest.mark.parametrize("place", ["data", "one"], ids=["where they were", "a domain's own folder"])
def test_a_holdout_is_that_of_the_training_while_the_images_are_the_same(
    run: RunFolder, place: str
) -> None:
    if place == "one":  # of a domain beside others, which is then given by itself
        digests = image_digests(open_images(Path("data")))
        content = combined_hash({f"monet_jpg/{name}": of for name, of in digests.items()})
        change_data(run, domain="monet_jpg", path="gone", content_hash=content)
        Path("data").rename("one")
    assert run_command(["score", "--run", "run", "--reference", place]) == 0
    assert parts_scored(run) == (7, 3)


def test_what_the_training_has_not_seen_is_not_guessed_once_images_have_changed(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("data", "elsewhere")
    Path("data/new.jpg").write_bytes(encoded(painting((64, 64), 99)))
    for command in (["score"], ["generate", "--choose-from", "6", "--count", "4"]):
        capsys.readouterr()
        assert run_command([*command, "--run", "run"]) == 2
        said = capsys.readouterr().err
        assert "was made with (10 then, 11 now), and the same are not under data/" in said
        assert "is not known any more" in said
        assert "--reference " in said
    assert not run.score.exists()
    assert run_command(["report", "--run", "run"]) == 0
    assert "10 then, 11 now" in capsys.readouterr().err
    # The same ones are found, though others have taken their place.
    shutil.move("elsewhere", "data/elsewhere")
    assert run_command(["score", "--run", "run"]) == 0
    assert parts_scored(run) == (7, 3)


def test_changed_images_are_said_to_be_where_none_was_held_out(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config = apply_settings(run.read_config(), {"holdout": 0.0})
    write_json(run.config, config.to_dict())
    Path("data/new.jpg").write_bytes(encoded(painting((64, 64), 99)))
    assert run_command(["score", "--run", "run"]) == 0
    assert "(10 then, 11 now)" in capsys.readouterr().err
    assert parts_scored(run) == (11, None)


def test_a_score_against_other_images_is_not_the_runs_own(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["score", "--run", "run"]) == 0
    before = run.score.read_bytes()
    capsys.readouterr()
    other = ["score", "--run", "run", "--reference", str(fill(Path("other"), 12))]
    assert run_command(other) == 0
    said = capsys.readouterr()
    assert "4 images against 12" in said.out
    assert "held out" not in said.out
    assert "score.json is not written" in said.err
    assert "--json FILE keeps this score" in said.err
    assert run.score.read_bytes() == before
    assert run_command([*other, "--json", "kept.json"]) == 0
    assert "--json FILE" not in capsys.readouterr().err
    assert read_json(Path("kept.json"))["n_reference"] == 12


def test_a_score_of_fewer_of_the_images_leaves_that_of_more(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    def counted(*more: str) -> object:
        assert run_command(["score", "--run", "run", *more]) == 0
        return read_json(run.score)["n_generated"]

    assert counted("--max-images", "3") == 3
    assert counted() == 4
    capsys.readouterr()
    assert counted("--max-images", "3") == 4
    said = capsys.readouterr()
    assert "3 images against" in said.out
    assert "score.json is not written: it is of 4 of these images, and this one of 3." in said.err
    assert "--json FILE keeps this score" in said.err
    assert counted("--max-images", "3", "--json", "run/score.json") == 3  # asked for by name
    run.score.write_text("{")
    assert counted("--max-images", "3") == 3


def test_a_set_comes_near_to_all_of_other_images(run: RunFolder) -> None:
    other = open_images(fill(Path("other"), 12))
    assert reference_of(run, other).parts == (other, None)


def test_a_run_without_images_of_its_own_keeps_the_score_against_others(run: RunFolder) -> None:
    write_json(run.provenance, {"model": "monet-dcgan"})
    assert run_command(["score", "--run", "run"]) == 2
    assert run_command(["score", "--run", "run", "--reference", "data"]) == 0
    assert parts_scored(run) == (10, None)
