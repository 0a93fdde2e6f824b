"""Trackers: what a run sends to TensorBoard, wandb and trackio, and that none ever stops it."""

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.config import Config, apply_settings
from pipeline.core import user_warnings
from pipeline.core.errors import ConfigError
from pipeline.runs.folder import RunFolder
from pipeline.training import loop
from pipeline.training.run_logger import RunLogger
from pipeline.training.tracker_clients import check_tracker
from pipeline.training.tracking import RunTracker
from submission.kernel.settings import KernelSettings
from tests.support import factories
from tests.support.factories import CPU, data_about, noise_paintings, tiny_config

TINY = factories.TINY | {
    "log_every": 1, "sample_every": 16, "sample_count": 4, "precision": "float32",
}  # fmt: skip
LINE = {"step": 3, "images_seen": 24, "loss_d": 0.5}
SCORE = {"step": 3, "images_seen": 24, "n_generated": 50, "mifid": 7.0, "features": "x", "best": 1}


class Keeper:
    """Keeps runs as wandb and trackio do: by id or name, a step once, and none before the last.

    From step `down` on nobody is reached; if that is below 0, not even to begin.
    """

    def __init__(self, answers: bool = True) -> None:
        self.runs: dict[str, dict[int, dict[str, Any]]] = {}
        self.begun: list[dict[str, Any]] = []
        self.finished = 0
        self.answers = answers
        """Whether it can be asked for what it has, as wandb cannot be offline."""
        self.down: int | None = None

    def lose(self, held: int) -> None:
        """Lose the last steps of the only run, as where they had not left the process."""
        (rows,) = self.runs.values()
        for step in sorted(rows)[-held:]:
            del rows[step]

    def module(self, name: str) -> types.ModuleType:
        """Return a module that is called so and keeps its runs here."""
        keeper = self

        class Run:
            def __init__(self, known_as: str) -> None:
                self.resumed, self.offline = known_as in keeper.runs, not keeper.answers
                self.rows = keeper.runs.setdefault(known_as, {})
                self.starting_step = max(self.rows, default=-1) + 1
                if keeper.answers:
                    self._next_step = self.starting_step

            def log(self, values: dict[str, Any], step: int, **whole: bool) -> None:
                assert whole == ({"commit": True} if name == "wandb" else {})
                if keeper.down is not None and step >= keeper.down:
                    raise ConnectionError("nobody there")
                assert step > max(self.rows, default=-1), "a step twice, or before the last"
                self.rows[step] = dict(values)

            def finish(self) -> None:
                keeper.finished += 1

        def init(**given: Any) -> Run:
            if keeper.down is not None and keeper.down < 0:
                raise ConnectionError("nobody there")
            assert given["resume"] == "allow"
            keeper.begun.append(given)
            return Run(given["id" if name == "wandb" else "name"])

        made: Any = types.ModuleType(name)
        made.init, made.Image, made.Settings = init, lambda path: Path(path).stem, dict
        made.__spec__ = types.SimpleNamespace()  # as of a module that is installed
        return made  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_warnings, "_shown", set())


@pytest.fixture(params=["wandb", "trackio"])
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Keeper]:
    keeper = Keeper()
    monkeypatch.setitem(sys.modules, request.param, keeper.module(request.param))
    return request.param, keeper


def config(**settings: Any) -> Config:
    return tiny_config(TINY, **settings)


def test_a_resumed_run_goes_on_as_the_same_one_and_sends_no_step_twice(
    tmp_path: Path, tracker: tuple[str, Keeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, keeper = tracker
    path = tmp_path / "first"
    original = RunLogger.after_step

    def killed(self: RunLogger, *others: Any) -> None:
        original(self, *others)
        if self.images_seen == 24:
            raise MemoryError  # after the checkpoint of 16 images

    with monkeypatch.context() as patch:
        patch.setattr(RunLogger, "after_step", killed)
        with pytest.raises(MemoryError):
            loop.train(
                config(images=40, tracker=name), noise_paintings(), data_about(10), path, CPU
            )
    loop.train(config(images=40, tracker=name), noise_paintings(), data_about(10), path, CPU)
    ((known_as, rows),) = keeper.runs.items()
    stats = [json.loads(line) for line in (path / "stats.jsonl").read_text().splitlines()]
    assert [step for step in rows if step] == [line["step"] for line in stats]
    for line in stats:
        for key in ("loss_d", "loss_g", "images_seen"):
            assert rows[line["step"]][key] == line[key]
    grids = {values["samples"] for values in rows.values() if "samples" in values}
    assert grids == {file.stem for file in (path / "samples").iterdir()}
    assert keeper.begun[0]["config"] == keeper.begun[1]["config"] == config(
        images=40, tracker=name).to_dict()  # fmt: skip
    assert json.loads((path / "tracker.json").read_text())[name] in known_as
    assert keeper.finished == 2


def line_of(step: int) -> dict[str, float]:
    counters = {"images_seen": 8 * step, "seconds": 0.5 * step, "images_per_second": 16.0}
    return {"step": step, **counters, "loss_d": 1 / step}


def leave_logs(run: RunFolder) -> dict[int, dict[str, Any]]:
    """Leave the files of steps 1 to 6, with a score and a grid of 4; return the rows of it all."""
    (run.samples / "000000032.png").touch()
    run.stats.write_text("".join(json.dumps(line_of(step)) + "\n" for step in range(1, 7)))
    run.scores.write_text(json.dumps(SCORE | {"step": 4}) + "\n")
    rows = {step: dict(line_of(step)) for step in range(1, 7)}
    whole = {step: {k: v for k, v in row.items() if k != "step"} for step, row in rows.items()}
    return whole | {4: whole[4] | {"score/mifid": 7.0, "samples": "000000032"}}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "first")
    run.samples.mkdir(parents=True)
    return run


def take_steps(run: RunFolder, tracker: str, after: int, killed: bool = False) -> None:
    """Tell a tracker of the steps after a checkpoint up to the sixth, as a training does."""
    tracked = RunTracker(run, config(tracker=tracker, batch_size=8), after)
    for step in range(after + 1, 7):
        tracked.statistics(line_of(step))
        if step == 4:
            (run.samples / "000000032.png").touch()
            tracked.grid(run.samples / "000000032.png", 4)
            tracked.score(SCORE | {"step": 4})
    if not killed:
        tracked.flush()
        tracked.close()


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("down", [-1, 1, 4, 5, 6])
def test_what_did_not_arrive_is_sent_when_the_run_is_resumed(
    run: RunFolder, tracker: tuple[str, Keeper], down: int, answers: bool
) -> None:
    name, keeper = tracker
    keeper.answers, keeper.down = answers, down
    take_steps(run, name, 0)
    whole = leave_logs(run)
    take_steps(run, name, 5)  # resumed, and nobody is reached yet
    keeper.down = None
    take_steps(run, name, 5)
    assert list(keeper.runs.values()) == [whole]


@pytest.mark.parametrize("answers", [True, False])
def test_a_killed_session_lacks_nothing_once_the_run_is_resumed(
    run: RunFolder, tracker: tuple[str, Keeper], answers: bool
) -> None:
    name, keeper = tracker
    keeper.answers = answers
    take_steps(run, name, 0, killed=True)
    whole = leave_logs(run)
    if answers:  # what the client had in its hands is lost with it
        keeper.lose(2)
    take_steps(run, name, 5)
    assert list(keeper.runs.values()) == [whole]


def test_a_tracker_that_is_chosen_later_gets_the_curves_from_the_beginning(
    run: RunFolder, tracker: tuple[str, Keeper]
) -> None:
    name, keeper = tracker
    whole = leave_logs(run)
    take_steps(run, name, 5)
    assert list(keeper.runs.values()) == [whole]


def test_of_a_run_of_an_earlier_version_nothing_is_sent_again(
    run: RunFolder, tracker: tuple[str, Keeper]
) -> None:
    """It noted its id alone, and sent what it logged."""
    name, keeper = tracker
    keeper.answers = False
    leave_logs(run)
    run.tracker.write_text(json.dumps({name: "12345678"}))
    take_steps(run, name, 5)
    assert list(keeper.runs.values()) == [{}]


def test_scores_go_under_names_of_their_own_and_grids_can_be_left_out(
    tmp_path: Path, tracker: tuple[str, Keeper]
) -> None:
    name, keeper = tracker
    (tmp_path / "grid.png").touch()
    tracked = RunTracker(RunFolder(tmp_path), config(tracker=name, tracker_grids=False), 0)
    tracked.statistics(LINE)
    tracked.score(SCORE)
    tracked.grid(tmp_path / "grid.png", 3)
    tracked.flush()
    tracked.close()
    (rows,) = keeper.runs.values()
    assert rows == {3: {"images_seen": 24, "loss_d": 0.5, "score/mifid": 7.0}}


@pytest.mark.parametrize("place", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_said_once_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    module: Any = Keeper().module("trackio")

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("nobody there")

    if place == "init":
        module.init = refuse
    else:
        run = module.init
        module.init = lambda **given: _with(run(**given), place, refuse)
    monkeypatch.setitem(sys.modules, "trackio", module)
    tracked = RunTracker(RunFolder(tmp_path), config(tracker="trackio"), 0)
    for step in (1, 2):
        tracked.statistics(LINE | {"step": step})
    tracked.close()
    assert capsys.readouterr().err.count("No curves in trackio: ConnectionError: nobody there") == 1


def _with(run: Any, name: str, method: Any) -> Any:
    setattr(run, name, method)
    return run


def test_a_tracker_that_is_not_installed_is_refused_before_anything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        check_tracker("wandb")
    for name in ("auto", "none"):
        check_tracker(name)
    with pytest.raises(ConfigError, match="one of auto, none, tensorboard, wandb, trackio"):
        apply_settings(Config(), {"tracker": "mlflow"})


def test_a_kernel_has_no_internet_to_reach_one() -> None:
    given = apply_settings(Config(), {"tracker": "wandb", "images": 8}).to_dict()
    with pytest.raises(ConfigError, match="painter kernel watch"):
        KernelSettings(task="train", config=given)


def test_tensorboard_gets_scores_and_with_its_name_grids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, Any]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert purge_step == 6

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value))

        def add_image(self, name: str, pixels: Any, step: int, dataformats: str) -> None:
            written.append((name, pixels.shape))

        def close(self) -> None: ...

    fake: Any = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    grid = tmp_path / "000000024.png"
    noise = noise_paintings(1)[0].permute(1, 2, 0).numpy()
    Image.fromarray(noise).save(grid)
    for name in ("auto", "tensorboard"):
        tracked = RunTracker(RunFolder(tmp_path), config(tracker=name), 5)
        tracked.score(SCORE)
        tracked.grid(grid, 3)
        tracked.close()
    assert written == [("score/mifid", 7.0)] * 2 + [("samples", noise.shape)]
