"""Every mistake that a user can make ends with one message, exit code 2 and nothing written."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.cli import run_command
from pipeline.config import preset_names
from pipeline.runs.files import read_json
from pipeline.scoring import extractors
from pipeline.system.storage import write_json
from tests.support import forks
from tests.support.factories import Hostile, finished_run
from tests.support.helpers import TINY_RUN, encoded, fill, pack, painting
from tests.support.scoring_helpers import QuadrantMeans

Refused = Callable[..., str]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Return a function that runs a command in `tmp_path` and returns its one message."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        before = contents(tmp_path)
        code = run_command(list(arguments))
        printed = capsys.readouterr()
        assert code == 2, printed.err
        assert printed.out == ""
        assert "Traceback" not in printed.err
        assert contents(tmp_path) == before
        # Progress bars come before the message and end with a carriage return.
        _, *messages = printed.err.split("painter: ")
        assert len(messages) == 1, printed.err
        return messages[0].strip()

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with paintings in `data` and a finished run of them in `run`."""
    return finished_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a run folder to damage."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def tiny_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "make_extractor", lambda *_: QuadrantMeans())


def train(data: Path | str, run: Path | str = "run", *more: str, preset: str = "demo") -> list[str]:
    return [
        "train", "--data", str(data), "--run", str(run), "--preset", preset, *TINY_RUN, *more
    ]  # fmt: skip


def command_on(stage: str, source: str, into: str = "data") -> list[str]:
    """Return the command of a stage that reads `source`."""
    commands = {
        "download": ["download", "--source", source, "--data", into],
        "explore": ["explore", "--data", source],
        "train": train(source),
    }
    return commands[stage]


# --- Images


@pytest.mark.parametrize("stage", ["download", "explore", "train"])
def test_an_empty_folder_says_what_was_expected(
    refused: Refused, tmp_path: Path, stage: str
) -> None:
    (tmp_path / "empty").mkdir()
    message = refused(*command_on(stage, "empty"))
    assert "empty holds no images; expected files ending in .jpg, .jpeg" in message


@pytest.mark.parametrize("stage", ["download", "explore", "train"])
def test_missing_data_names_the_command_that_brings_them(refused: Refused, stage: str) -> None:
    message = refused(*command_on(stage, "nowhere"))
    assert "no folder or zip nowhere" in message
    advice = "expected competition, dataset:" if stage == "download" else "painter download"
    assert advice in message


@pytest.mark.parametrize("stage", ["download", "explore", "train"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"this is a text", "cannot be decoded"),
        (encoded(painting((64, 64)))[:1000], "cannot be decoded"),
        (encoded(Image.new("RGB", (1, 1))), "is 1x1; each side needs at least 8 pixels"),
    ],
    ids=["text", "truncated", "1x1"],
)
def test_a_folder_of_unusable_images_names_one_and_the_reason(
    refused: Refused, tmp_path: Path, stage: str, content: bytes, reason: str
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(content)
    message = refused(*command_on(stage, "bad"))
    assert "1 image file" in message
    assert "a.jpg" in message
    assert reason in message


def test_one_unusable_image_among_others_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "mixed", 3)
    (tmp_path / "mixed" / "1.jpg").write_bytes(b"this is a text")
    arguments = ["--source", str(tmp_path / "mixed"), "--data", str(tmp_path / "data")]
    assert run_command(["download", *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("2 images")
    assert "left out: 1.jpg" in printed.err


@pytest.mark.parametrize("stage", ["download", "explore", "train"])
def test_a_zip_that_reaches_outside_is_not_unpacked(
    refused: Refused, tmp_path: Path, stage: str
) -> None:
    pack(tmp_path / "bad.zip", {"a.jpg": encoded(painting()), "../x.jpg": encoded(painting())})
    message = refused(*command_on(stage, "bad.zip", "sub/data"))
    assert "'../x.jpg' is a name that leads outside" in message
    assert "Nothing was unpacked" in message


@pytest.mark.parametrize("command", ["train", "explore", "score"])
def test_a_wrapped_folder_is_said_on_standard_error_by_every_stage(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "data" / "wrapper" / "monet_jpg", 8)
    fill(tmp_path / "data" / "wrapper" / "photo_jpg", 5)
    data = str(tmp_path / "data")
    arguments = {
        "train": [*train(data, tmp_path / "run"), "--dry-run"],
        "explore": ["explore", "--data", data],
        "score": ["score", str(fill(tmp_path / "made", 9)), "--reference", data],
    }
    assert run_command(arguments[command]) == 0
    said = "8 images from wrapper/monet_jpg, 5 left aside (wrapper/photo_jpg 5)"
    assert capsys.readouterr().err.count(said) == 1


def test_a_run_without_a_domain_is_scored_against_all_that_it_was_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As a version that did not look into wrapping folders began it.
    fill(tmp_path / "data" / "wrapper" / "monet_jpg", 8)
    fill(tmp_path / "data" / "wrapper" / "photo_jpg", 5)
    data, run = str(tmp_path / "data"), tmp_path / "run"
    assert run_command(train(data, run, "--domain", "all")) == 0
    provenance = read_json(run / "provenance.json")
    provenance["data"]["domain"] = None
    write_json(run / "provenance.json", provenance)
    assert run_command(train(data, run, "--domain", "all")) == 0
    for command in (["generate", "--count", "20"], ["score"]):
        assert run_command([command[0], "--run", str(run), *command[1:]]) == 0
    assert "20 images against 13" in capsys.readouterr().out


def test_a_run_in_a_folder_whose_name_is_not_utf8_goes_all_the_way(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(trained / "run", run)
    for command in (["generate", "--count", "25"], ["score"], ["report"]):
        assert run_command([command[0], "--run", str(run), *command[1:]]) == 0, command
    (run / "report.html").read_bytes().decode()
    assert "Traceback" not in capsys.readouterr().err


def test_an_unknown_domain_lists_those_that_exist(refused: Refused, tmp_path: Path) -> None:
    fill(tmp_path / "data" / "monet_jpg")
    fill(tmp_path / "data" / "photo_jpg")
    message = refused(*train("data", "run", "--domain", "vangogh"))
    assert "no domain 'vangogh'; found: monet_jpg, photo_jpg" in message


# --- Settings


def test_an_unknown_preset_lists_those_that_exist(refused: Refused) -> None:
    assert ", ".join(preset_names()) in refused(*train("data", preset="monet"))


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("batchsize=8", "Did you mean 'batch_size'?"),
        ("trainig.batch_size=8", "Did you mean 'training'?"),
        ("data.batch_size=8", "no setting 'batch_size'"),
        ("batch_size=many", "batch_size is 'many' (str); expected int"),
        ("horizontal_flip=1", "horizontal_flip is 1 (int); expected bool"),
        ("image_size=48", "image_size is 48; expected one of 32, 64, 128, 256"),
        ("minutes=inf", "minutes is inf; expected"),
        ("noise=pink", "noise is 'pink'; expected normal"),
        ("batch_size", "--set takes KEY=VALUE, found 'batch_size'"),
    ],
)
def test_a_wrong_assignment_says_what_is_expected(
    refused: Refused, assignment: str, expected: str
) -> None:
    assert expected in refused(*train("data", "run", "--set", assignment))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rte = 0.1", "Did you mean 'learning_rate'?"),
        ("[trainin]\nseed = 1", "Did you mean 'training'?"),
        ("[training]\nlearning_rte = 0.1", "Did you mean 'learning_rate'?"),
        ("learning_rate = 'high'", "learning_rate is 'high' (str); expected float"),
        ("learning_rate = = 1", "mine.toml is not a TOML file"),
    ],
)
def test_a_wrong_toml_file_says_what_is_expected(
    refused: Refused, tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    assert expected in refused(*train("data", "run", "--config", "mine.toml"))


def test_a_toml_file_that_is_not_there_is_named(refused: Refused) -> None:
    assert "no config file none.toml" in refused(*train("data", "run", "--config", "none.toml"))


def test_a_run_without_any_limit_is_refused(refused: Refused, tmp_path: Path) -> None:
    fill(tmp_path / "data")
    message = refused(*train("data", "run", "--set", "images=none"))
    assert "minutes" in message


# --- Runs


def test_a_run_of_other_settings_shows_the_difference(refused: Refused, run: Path) -> None:
    message = refused(*train("data", "run", "--set", "generator_channels=8", "--set", "beta1=0.1"))
    assert "generator_channels: 4 in the run, 8 now" in message
    assert "beta1: 0.5 in the run, 0.1 now" in message
    assert "--run" in message


def test_a_run_of_other_paintings_shows_the_difference(
    refused: Refused, tmp_path: Path, run: Path
) -> None:
    fill(tmp_path / "others", 5)
    assert "data: 4 images from" in refused(*train("others"))


def test_a_folder_that_is_no_run_is_left_alone(refused: Refused, tmp_path: Path) -> None:
    fill(tmp_path / "data")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    assert "holds no run" in refused(*train("data"))


@pytest.mark.parametrize("keep", [0, 10, 5000, -100])
def test_a_cut_off_checkpoint_says_how_to_go_on(refused: Refused, run: Path, keep: int) -> None:
    content = (run / "state.pt").read_bytes()
    (run / "state.pt").write_bytes(content[:keep])
    message = refused(*train("data"))
    assert "The checkpoint run/state.pt is damaged" in message
    assert "move run/state.pt to another folder" in message


def test_a_checkpoint_that_is_something_else_says_how_to_go_on(refused: Refused, run: Path) -> None:
    (run / "state.pt").write_bytes(b"this is a text")
    assert "move run/state.pt to another folder" in refused(*train("data"))


@pytest.mark.parametrize("name", ["state.pt", "snapshot.safetensors"])
def test_a_pickle_in_disguise_is_refused_and_never_run(
    refused: Refused, tmp_path: Path, run: Path, name: str
) -> None:
    marker = tmp_path / "marker"
    (run / name).write_bytes(pickle.dumps(Hostile(marker)))
    arguments = train("data") if name == "state.pt" else ["generate", "--run", "run"]
    assert f"run/{name}" in refused(*arguments)
    assert not marker.exists()
    # It is as hostile as it says.
    pickle.loads((run / name).read_bytes())
    assert marker.exists()


@pytest.mark.parametrize("keep", [0, 10, 300, -100])
def test_a_cut_off_snapshot_is_named(refused: Refused, run: Path, keep: int) -> None:
    content = (run / "snapshot.safetensors").read_bytes()
    (run / "snapshot.safetensors").write_bytes(content[:keep])
    message = refused("generate", "--run", "run", "--count", "2")
    assert "run/snapshot.safetensors is not a safetensors snapshot" in message


@pytest.mark.parametrize("name", ["config.json", "provenance.json"])
def test_damaged_records_are_named(refused: Refused, run: Path, name: str) -> None:
    (run / name).write_text("{")
    fill(run / "made")
    pack(run / "images.zip", {p.name: p.read_bytes() for p in (run / "made").iterdir()})
    message = refused(*(["report"] if name == "config.json" else ["score"]), "--run", "run")
    assert f"run/{name} is not JSON" in message
    assert "`painter train --run run …` makes it again" in message


# --- Later stages


@pytest.mark.parametrize("count", ["0", "-3"])
def test_no_images_are_refused(refused: Refused, run: Path, count: str) -> None:
    message = refused("generate", "--run", "run", "--count", count, "--out", "out.zip")
    assert f"count is {count}; expected at least 1" in message


def test_a_folder_of_other_files_is_not_replaced_by_images(
    refused: Refused, tmp_path: Path, run: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    message = refused("generate", "--run", "run", "--count", "2", "--out", "out")
    assert "already holds other files ('thesis.tex'" in message


@pytest.mark.parametrize(
    ("arguments", "stage"),
    [
        (["generate", "--run", "nowhere"], "train"),
        (["generate", "--snapshot", "none.safetensors", "--out", "a.zip"], "train"),
        (["score", "--run", "nowhere"], "generate"),
        (["package", "--run", "nowhere"], "generate"),
        (["report", "--run", "nowhere"], "train"),
        (["check", "none.zip"], "generate"),
        (["runs", "--folder", "nowhere"], "train"),
        (["score", "none.zip", "--reference", "none"], "download"),
    ],
)
def test_a_missing_input_names_the_stage_that_makes_it(
    refused: Refused, arguments: list[str], stage: str
) -> None:
    assert f"`painter {stage}" in refused(*arguments)


def test_a_reference_of_one_image_cannot_be_scored_against(
    refused: Refused, tmp_path: Path
) -> None:
    fill(tmp_path / "one", 1)
    fill(tmp_path / "made", 3)
    message = refused("score", "made", "--reference", "one", "--json", "score.json")
    assert "The reference set one has 1 readable image" in message
    assert "at least 2" in message


def test_one_generated_image_cannot_be_scored(refused: Refused, tmp_path: Path) -> None:
    fill(tmp_path / "paintings", 3)
    fill(tmp_path / "made", 1)
    message = refused("score", "made", "--reference", "paintings", "--json", "score.json")
    assert "The generated set made has 1 readable image" in message


def test_unreadable_images_cannot_be_scored(refused: Refused, tmp_path: Path) -> None:
    fill(tmp_path / "paintings", 3)
    pack(tmp_path / "made.zip", {f"{n}.jpg": b"text" for n in range(3)})
    message = refused("score", "made.zip", "--reference", "paintings", "--json", "score.json")
    assert "None of the 3 image files in made.zip can be used: 0.jpg" in message


def test_paintings_that_moved_away_can_be_given_by_hand(
    refused: Refused, tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    provenance = tmp_path / "run" / "provenance.json"
    provenance.write_text(provenance.read_text().replace(str(trained / "data"), "gone"))
    assert run_command(["generate", "--run", "run", "--count", "3"]) == 0
    capsys.readouterr()
    message = refused("score", "--run", "run")
    assert "neither at gone nor under data/" in message
    assert "--reference" in message
    assert run_command(["score", "--run", "run", "--reference", str(trained / "data")]) == 0


def test_the_same_paintings_are_found_under_data(
    refused: Refused, tmp_path: Path, trained: Path
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    provenance = tmp_path / "run" / "provenance.json"
    provenance.write_text(provenance.read_text().replace(str(trained / "data"), "gone"))
    assert run_command(["generate", "--run", "run", "--count", "3"]) == 0
    fill(tmp_path / "data" / "a", 2)
    (tmp_path / "data" / "empty").mkdir()
    assert run_command(["score", "--run", "run"]) == 2  # other paintings do not count
    shutil.copytree(trained / "data", tmp_path / "data" / "b")
    assert run_command(["score", "--run", "run"]) == 0


def test_fewer_images_than_a_submission_has_are_packaged_and_no_submission(
    refused: Refused, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["generate", "--run", "run", "--count", "2"]) == 0
    capsys.readouterr()
    assert run_command(["package", "--run", "run"]) == 0
    said = capsys.readouterr().out
    assert "2 images" in said
    assert "6,998 more are missing" in said
    assert "painter generate --run run --count 7000" in said
    message = refused("check", "run/images.zip")
    assert "number of files is 2, not 7,000 to 10,000" in message
    assert "painter generate --count 7000" in message


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["paint"], ["train"], ["generate"], ["generate", "--snapshot", "a.safetensors"],
        ["score"], ["score", "a.zip"], ["score", "a.zip", "--run", "run"],
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_code_2_and_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    printed = capsys.readouterr()
    assert "Usage: painter" in printed.out + printed.err


# --- The process itself


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (train("bad"), "painter: None of the 1 image files in bad can be used: a.jpg cannot be"),
        (["generate", "--run", "run"], "painter: There is no snapshot run/snapshot.safetensors."),
    ],
)
def test_the_process_ends_with_code_2_and_the_same_message(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("this is a text")
    before = contents(tmp_path)
    done = forks.run(forks.painter, *arguments, cwd=tmp_path, env=os.environ)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize("which", [["--model", "monet-dcgan"], ["--snapshot", "x.safetensors"]])
def test_where_no_file_is_named_the_option_that_was_given_is(
    which: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["generate", *which]) == 2
    assert f"{which[0]} needs --out FILE.zip" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--seed", "9" * 23], f"{'9' * 23} is too large; expected at most 2**63 - 1."),
        (["--seed", "-1"], "-1 is not in the range 0 or more."),
    ],
)
def test_a_number_that_fits_nowhere_is_refused_by_its_limit(
    capsys: pytest.CaptureFixture[str], option: list[str], message: str
) -> None:
    assert run_command(["generate", "--model", "monet-dcgan", *option]) == 2
    assert message in capsys.readouterr().err
