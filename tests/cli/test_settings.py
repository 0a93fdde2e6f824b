"""Each seed has one meaning, runs go on with their own, and no option is ignored."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import run_command
from pipeline.cli.settings import check_given_once, run_settings
from pipeline.core.errors import ConfigError
from pipeline.runs.folder import RunFolder
from pipeline.scoring import extractors
from tests.support.factories import CPU, finished_run, train_command
from tests.support.scoring_helpers import QuadrantMeans

Refused = Callable[..., str]
Settings = dict[str, int | float]


def train(run: str, *more: str) -> list[str]:
    return train_command(*more, run=run)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with paintings in `data` and a finished run of them in `run`."""
    folder = tmp_path_factory.mktemp("trained")
    return finished_run(folder, ["generate", "--run", "run", "--count", "4"], count=10)


@pytest.fixture
def desk(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with `data` and `run`, and a small extractor of features."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extractors, "make_extractor", lambda *_: QuadrantMeans())
    return tmp_path


@pytest.fixture
def refused(desk: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that runs a command which is refused; it returns the message."""

    def run(*arguments: str) -> str:
        files = sorted(desk.rglob("*"))
        capsys.readouterr()
        assert run_command(list(arguments)) == 2, arguments
        assert sorted(desk.rglob("*")) == files
        return " ".join(capsys.readouterr().err.split())

    return run


def seeds(run: str | Path) -> tuple[int, int]:
    config = RunFolder(Path(run)).read_config()
    return config.training.seed, config.data.holdout_seed


# --- Options without effect

WITHOUT_EFFECT = [
    (train("new", "--seed", "1", "--set", "seed=2"), "--seed and --set seed=..."),
    (train("new", "--minutes", "1", "--set", "budget.minutes=2"), "--minutes and --set minutes"),
    (train("new", "--holdout", "0.2", "--set", "holdout=0.3"), "--holdout and --set holdout"),
    (
        train("new", "--holdout-seed", "1", "--set", "holdout_seed=2", "--set", "holdout=0.3"),
        "--holdout-seed and --set holdout_seed",
    ),
    (train("new", "--holdout-seed", "1"), "none are kept. Add --holdout"),
    (train("new", "--seed", "1", "--holdout", "0.2"), "--holdout-seed says"),
    (train("new", "--seed", "1", "--set", "holdout=0.2"), "--holdout-seed says"),
    (train("new", "--generator", "run"), "--generator is for training an upscaler"),
    (train("new", "--continue-from", "run", "--set", "batch_size=5", "--dry-run"), "batch_size: 4"),
    (["generate", "--snapshot", "run/snapshot.safetensors", "--last", "--out", "a.zip"], "--last"),
    (["generate", "--model", "monet-dcgan", "--last", "--out", "a.zip"], "--last chooses between"),
    (
        ["generate", "--run", "run", "--upscale", "bicubic", "--set", "upscale=lanczos"],
        "--upscale and --set upscale",
    ),
    (
        ["generate", "--run", "run", "--size", "64", "--set", "output_size=32"],
        "--size and --set output_size=... are the same setting",
    ),
    (
        ["generate", "--run=run", "--choose-from=9", "--size=64", "--set", "output_size=32"],
        "--size and --set output_size=... are the same setting. ",
    ),
    (
        ["generate", "--run", "run", "--set", "output_size=32", "--upscale", "bicubic"],
        "nothing is enlarged",
    ),
    (["video", "--model", "monet-dcgan", "--last", "--out", "a.gif"], "--last chooses between"),
    (
        ["arithmetic", "--model", "monet-dcgan", "--last", "--plus", "1", "--out", "a.png"],
        "--last chooses between",
    ),
    (["serve", "--model", "monet-dcgan", "--last"], "--last chooses between"),
    (["score", "--run", "run", "--domain", "monet_jpg"], "--domain goes with --reference"),
    (["study", "noise", "--data", "data", "--source", "competition"], "goes with --on kaggle"),
    (
        ["study", "noise", "--data", "data", "--features", "efficientnet-lite0", "--weights", "w"],
        "--weights goes with inception",
    ),
    (["kernel", "push", "--run", "new", "--preset", "demo", "--dry-run", "--wait"], "--wait for"),
    (["submit", "--run", "run", "--dry-run", "--wait"], "nothing to --wait for"),
]


@pytest.mark.parametrize(
    ("arguments", "expected"), WITHOUT_EFFECT, ids=[e for _, e in WITHOUT_EFFECT]
)
def test_an_option_without_effect_is_refused(
    refused: Refused, arguments: list[str], expected: str
) -> None:
    assert expected in refused(*arguments)


def test_weights_beside_features_that_have_their_own_are_refused() -> None:

    from pipeline.core.errors import ScoringError

    with pytest.raises(ScoringError, match="--weights goes with inception"):
        extractors.make_extractor("efficientnet-lite0", Path("w.pth"), CPU)


def test_a_borrowed_upscaler_that_enlarges_nothing_is_refused(desk: Path) -> None:
    from pipeline.cli.settings import check_upscale_used
    from pipeline.config import change_output
    from pipeline.models.snapshots import load_snapshot

    snapshot = load_snapshot(desk / "run" / "snapshot.safetensors")
    output = change_output(snapshot.config, ["upscale=lanczos"])
    with pytest.raises(ConfigError, match="a model keeps no upscaler"):
        check_upscale_used(snapshot, output, None, into_model=True)
    check_upscale_used(snapshot, output, "lanczos", into_model=False)


def test_settings_of_other_names_are_not_given_twice() -> None:
    check_given_once(["seed", "minutes"], ["images=3", "data.holdout_seed=1", "minutes=none"])


# --- Seeds


def test_other_seeds_make_other_runs(desk: Path) -> None:
    for seed in ("1", "2"):
        assert run_command(train(f"of{seed}", "--seed", seed)) == 0
    first, second = (Path(f"of{s}/snapshot.safetensors").read_bytes() for s in (1, 2))
    assert first != second
    assert seeds("of2") == (2, 0)


def test_the_seed_of_the_held_out_images_is_not_the_runs(desk: Path) -> None:
    command = ["--holdout", "0.3", "--seed", "4", "--holdout-seed", "7"]
    assert run_command(train("new", *command)) == 0
    assert seeds("new") == (4, 7)
    assert run_command(train("other", "--holdout", "0.3", "--holdout-seed", "7")) == 0
    assert seeds("other") == (0, 7)


def begun_before(holdout: float, seed: int) -> list[str]:
    """Make what `--holdout --seed` of version 0.1.0 made; return its command with more images."""
    assert run_command(
        train("old", "--set", f"holdout={holdout}", "--set", f"holdout_seed={seed}")
    ) == 0  # fmt: skip
    longer = [word.replace("images=8", "images=16") for word in train("old")]
    return [*longer, *(("--holdout", str(holdout)) if holdout else ())]


@pytest.mark.parametrize("holdout", [0.0, 0.3])
def test_a_run_that_was_begun_before_goes_on_with_its_seeds(
    desk: Path, capsys: pytest.CaptureFixture[str], holdout: float
) -> None:
    command = begun_before(holdout, 5)
    assert run_command([*command, "--seed", "5"]) == 2
    # The advice is followed: both options are left out.
    message = " ".join(capsys.readouterr().err.split())
    assert re.search(r"leave both options out|Without seeds in the command it goes on", message)
    assert run_command(command) == 0
    assert seeds("old") == (0, 5)
    assert RunFolder(Path("old")).read_config().budget.images == 16


def test_the_advice_for_a_new_run_makes_what_the_seed_made_before(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun_before(0.3, 5)
    assert run_command(train("new", "--holdout", "0.3", "--seed", "5")) == 2
    advice = re.search(r"was then: (--holdout-seed 5)", capsys.readouterr().err)
    assert advice
    assert run_command(train("new", "--holdout", "0.3", *advice[1].split())) == 0
    assert seeds("new") == seeds("old")


def test_a_run_goes_on_without_its_seed_and_refuses_another(desk: Path, refused: Refused) -> None:
    assert run_command(train("new", "--seed", "3")) == 0
    assert run_command(train("new")) == 0
    assert seeds("new") == (3, 0)
    message = refused(*train("new", "--seed", "4"))
    assert "seed: 3 in the run, 4 now" in message
    assert "Without seeds in the command" in message
    assert "seed: 3 in the run, 4 now" in refused(*train("new", "--set", "seed=4"))


def test_a_run_that_continues_another_takes_over_its_seeds_unless_told_others(desk: Path) -> None:
    held = ("--holdout", "0.3")
    assert run_command(train("first", *held, "--holdout-seed", "6", "--seed", "2")) == 0
    assert run_command(train("next", *held, "--continue-from", "first")) == 0
    assert seeds("next") == (2, 6)
    other = (*held, "--continue-from", "first", "--seed", "9", "--holdout-seed", "6")
    assert run_command(train("other", *other)) == 0
    assert seeds("other") == (9, 6)


def test_a_file_of_settings_names_seeds_too(desk: Path) -> None:
    file = desk / "mine.toml"
    file.write_text("[training]\nseed = 8\n[data]\nholdout_seed = 1\nholdout = 0.3\n")
    config = run_settings("demo", file, (), {"minutes": None}, [desk / "run"])
    assert (config.training.seed, config.data.holdout_seed) == (8, 1)
    config = run_settings("demo", file, (), {"seed": 4})
    assert (config.training.seed, config.data.holdout_seed) == (4, 1)
    stored = json.loads((desk / "run" / "config.json").read_text())
    stored["training"]["seed"] = 11
    (desk / "run" / "config.json").write_text(json.dumps(stored))
    assert run_settings("demo", None, (), {}, [None, desk / "run"]).training.seed == 11
    assert run_settings("demo", None, ("seed=3",), {}, [desk / "run"]).training.seed == 3
