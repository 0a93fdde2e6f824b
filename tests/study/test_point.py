"""One point: the commands of painter in processes of their own, taken up again, stopped, failed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from pipeline.cli import run_command
from pipeline.core.errors import ConfigError, Interrupted, WorkFailed
from pipeline.core.polling import Clock
from pipeline.data.images import content_hash, open_images
from pipeline.runs.folder import RunFolder
from pipeline.scoring import extractors
from pipeline.scoring.record import Score, require_score
from pipeline.study import executor as module
from pipeline.study.executor import LocalExecutor, PointPruned
from pipeline.study.plan import Point
from pipeline.study.reading import read_plan
from pipeline.study.upscalers import upscaler_folder
from pipeline.system.storage import write_json
from tests.support import forks, stand_in_painter
from tests.support.clock import WAIT, until
from tests.support.factories import finished_run
from tests.support.helpers import fill
from tests.support.scoring_helpers import QuadrantMeans

PLAN = read_plan(
    {
        "name": "a",
        "preset": "demo",
        "grid": {"noise": ["normal(0, 1)"]},
        "evaluation": {"count": 6, "features": "efficientnet-lite0"},
    }
)
POINT = PLAN.grid[0]
SIZES = {
    "name": "a",
    "preset": "demo",
    "settings": {"holdout": 0.2},
    "grid": {"image_size": [64, 128, 256]},
    "evaluation": {"count": 6, "features": "efficientnet-lite0"},
    "upscaler": {"preset": "upscaler64to256", "images": 8},
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalExecutor:
    """Return a workshop with a painter that does nothing, but behaves."""
    monkeypatch.setattr(module, "PAINTER", (sys.executable, stand_in_painter.__file__))
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "mode.txt").write_text("works")
    quick = Clock(sleep=lambda seconds: time.sleep(0.02))
    return LocalExecutor(PLAN, folder, Path("data"), None, "abc", threads=1, clock=quick)


def calls(shop: LocalExecutor) -> list[list[str]]:
    return [json.loads(line) for line in (shop.folder / "calls.txt").read_text().splitlines()]


def mode(shop: LocalExecutor, text: str) -> None:
    (shop.folder / "mode.txt").write_text(text)


def test_a_point_is_trained_generated_and_scored_and_never_again(shop: LocalExecutor) -> None:
    assert shop.run_point(POINT)["mifid"] == 80
    train, generate, score = calls(shop)
    assert train[:7] == [
        "train", "--data", "data", "--run", str(shop.run_folder(POINT).path), "--preset", "demo",
    ]  # fmt: skip
    assert 'noise="normal(0, 1)"' in train
    assert "seed=0" in train
    assert generate[-2:] == ["--count", "6"]
    assert score[3:] == [
        "--features", "efficientnet-lite0", "--reference", "data", "--max-images", "6",
        "--json", str(shop.run_folder(POINT).score),
    ]  # fmt: skip
    assert shop.run_point(POINT)["mifid"] == 80
    assert len(calls(shop)) == 3


def test_other_images_are_generated_again(shop: LocalExecutor) -> None:
    shop.run_point(POINT)
    shop.run_folder(POINT).images.write_text("others")
    shop.run_point(POINT)
    assert [words[0] for words in calls(shop)[3:]] == ["train", "generate"]


def test_a_point_is_done_while_its_score_is_there_and_fits(shop: LocalExecutor) -> None:
    assert not shop.is_done(POINT)
    shop.run_point(POINT)
    run = shop.run_folder(POINT)
    assert shop.is_done(POINT)
    kept = {path: path.read_bytes() for path in (run.images, run.score, run.provenance)}
    run.images.unlink()  # to save space
    assert shop.is_done(POINT)
    for path, content in (
        (run.images, b"others"),
        (run.score, b"{"),
        (run.score, b'{"mifid": 80.0, "features": "inception", "n_generated": 6}'),
        (run.provenance, b"{"),
    ):
        path.write_bytes(content)
        assert not shop.is_done(POINT), path
        for file, whole in kept.items():
            file.write_bytes(whole)
    assert shop.is_done(POINT)
    assert not replace(shop, content_hash="def").is_done(POINT)
    run.score.write_text("{")
    assert shop.run_point(POINT)["mifid"] == 80  # scored again, not refused


def test_fewer_images_do_not_take_the_place_of_more(shop: LocalExecutor) -> None:
    shop.run_point(POINT)
    before = shop.run_folder(POINT).score.read_bytes()
    fewer = replace(PLAN, evaluation=replace(PLAN.evaluation, count=5))
    with pytest.raises(ConfigError, match=r"has a score of 6 images.*as many.*another --out"):
        replace(shop, plan=fewer).run_point(POINT)
    with pytest.raises(ConfigError, match="has a score of 6 images"):
        replace(shop, plan=replace(fewer, grid=(POINT,))).check_not_fewer()
    shop.check_not_fewer()
    assert shop.run_folder(POINT).score.read_bytes() == before
    more = replace(PLAN, evaluation=replace(PLAN.evaluation, count=7))
    replace(shop, plan=more).run_point(POINT)
    assert calls(shop)[-1][0] == "score"


def test_a_run_on_other_images_is_none_of_the_study_s(shop: LocalExecutor) -> None:
    shop.run_point(POINT)
    other = replace(shop, content_hash="def")
    other.run_point(POINT)
    assert calls(shop)[3][0] == "train"  # which refuses other images, with what to do


@pytest.mark.parametrize("command", ["train", "generate", "score"])
def test_a_command_that_fails_is_named_with_its_last_line(
    shop: LocalExecutor, command: str
) -> None:
    mode(shop, command)
    with pytest.raises(WorkFailed, match=f"`painter {command}`.*code 2: the reason The whole"):
        shop.run_point(POINT)
    mode(shop, "works")
    assert shop.run_point(POINT)["mifid"] == 80


def test_scores_on_the_way_are_handed_over_and_a_point_can_be_given_up(shop: LocalExecutor) -> None:
    mode(shop, "slow")
    seen: list[tuple[int, float]] = []

    def enough(number: int, value: float) -> bool:
        seen.append((number, value))
        return number == 4

    with pytest.raises(PointPruned):
        shop.run_point(POINT, enough)
    assert seen == [(1, 100.0), (2, 101.0), (3, 102.0), (4, 103.0)]
    assert (shop.run_folder(POINT).path / "stopped").exists()  # it could save


def test_a_score_on_the_way_without_the_criterion_is_not_handed_over(
    shop: LocalExecutor, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path)
    lines = ('{"images_seen": 8, "fid": 3.0}', '{"images_seen": 16, "mifid": 2.0}')
    run.scores.write_text("\n".join(lines) + "\n")
    heard: list[tuple[int, float]] = []

    def hear(number: int, value: float) -> bool:
        heard.append((number, value))
        return False

    assert shop._report_scores(run, 0, hear) == 2
    assert heard == [(2, 2.0)]


def test_stopping_lets_the_training_save(shop: LocalExecutor) -> None:
    mode(shop, "slow")
    timer = threading.Timer(0.5, shop.stopping.set)
    timer.start()
    with pytest.raises(Interrupted):
        shop.run_point(POINT)
    assert (shop.run_folder(POINT).path / "stopped").exists()


def test_a_training_stopped_from_outside_stops_the_study(shop: LocalExecutor) -> None:
    def run_point(found: list[BaseException]) -> None:
        try:
            shop.run_point(POINT)
        except Interrupted as error:
            found.append(error)

    mode(shop, "slow")
    found: list[BaseException] = []
    thread = threading.Thread(target=run_point, args=(found,))
    thread.start()
    deadline = time.monotonic() + WAIT
    children: list[str] = []
    while not children and time.monotonic() < deadline:
        if (shop.run_folder(POINT).path / "scores.jsonl").exists():
            tasks = Path(f"/proc/{os.getpid()}/task")
            children = [
                pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()
            ]
            own = [p for p in children if "stand_in" in Path(f"/proc/{p}/cmdline").read_text()]
            for pid in own:
                os.kill(int(pid), signal.SIGTERM)
    thread.join(WAIT)
    assert len(found) == 1


def test_a_training_whose_study_was_killed_is_waited_for(shop: LocalExecutor) -> None:
    run = shop.run_folder(POINT)
    release = threading.Event()

    def orphan() -> None:
        with run.locked():
            release.wait(WAIT)

    thread = threading.Thread(target=orphan)
    thread.start()
    until((run.path / ".lock").exists)
    done: list[Score] = []
    worker = threading.Thread(target=lambda: done.append(shop.run_point(POINT)))
    worker.start()
    time.sleep(0.3)
    assert not (shop.folder / "calls.txt").exists()
    release.set()
    worker.join(WAIT)
    thread.join(WAIT)
    assert done[0]["mifid"] == 80


def test_a_point_that_continues_another_says_so(shop: LocalExecutor, tmp_path: Path) -> None:
    entries = [{"label": "first"}, {"label": "more", "continues": "first"}]
    said = {"name": "a", "preset": "demo", "points": entries, "evaluation": {"count": 6}}
    plan = read_plan(said | {"evaluation": {"count": 6, "features": "efficientnet-lite0"}})
    later = LocalExecutor(
        plan, shop.folder, Path("data"), "monet_jpg", "abc", weights=Path("w.pth"), clock=shop.clock
    )
    later.run_point(plan.grid[1])
    first = str(later.run_folder(plan.grid[0]).path)
    *earlier, train, _, score = calls(shop)
    assert [words[0] for words in earlier] == ["train", "generate", "score"]
    assert first in earlier[0]  # the earlier point comes first, whoever asks
    assert train[-2:] == ["--continue-from", first]
    assert train[7:9] == ["--domain", "monet_jpg"]
    assert score[-4:] == ["--weights", "w.pth", "--domain", "monet_jpg"]


def test_points_are_enlarged_by_an_upscaler_of_their_size_that_comes_first(
    shop: LocalExecutor,
) -> None:
    plan = read_plan(SIZES)
    own = replace(shop, plan=plan)
    for point in plan.grid:
        own.run_point(point)
    by_factor = {factor: shop.folder / upscaler_folder(plan, factor) for factor in (4, 2)}
    trained = (shop.folder / "upscalers" / "calls.txt").read_text().splitlines()
    for line, factor in zip(trained, (4, 2), strict=True):
        words = json.loads(line)
        assert words[3:7] == ["--run", str(by_factor[factor]), "--preset", "upscaler64to256"]
        assert {f"upscale_factor={factor}", "holdout=0.2", "images=8"} <= set(words)
    done = calls(shop)
    assert [words[0] for words in done] == ["train", "generate", "score"] * 3
    for start, factor in ((0, 4), (3, 2)):
        train, generate = done[start : start + 2]
        assert train[-2:] == generate[-2:] == ["--upscaler", str(by_factor[factor])]
    assert not any("--upscaler" in words for words in done[6:])


def test_upscalers_of_two_sizes_are_trained_at_the_same_time(shop: LocalExecutor) -> None:
    both = threading.Barrier(2, timeout=WAIT)

    class Meeting(LocalExecutor):
        def _call(
            self, point: Point, words: Sequence[object], on_poll: Callable[[], None] = lambda: None
        ) -> None:
            both.wait()  # comes back when the other is here

    plan = read_plan(SIZES)
    own = Meeting(plan, shop.folder, Path("data"), None)
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(own.train_upscaler, plan.grid[:2], (4, 2)))


class Forked(forks.Process):
    """A command as the executor starts it, without the seconds that a new interpreter takes."""

    def __init__(self, command: list[str], *, env: dict[str, str], stdout: IO[bytes], **_: object):
        assert tuple(command[:3]) == module.PAINTER
        super().__init__(
            forks.painter, *command[3:], cwd=Path.cwd(), env=env, log=Path(stdout.name)
        )


@pytest.mark.parametrize(
    "process", [Forked, pytest.param(subprocess.Popen, marks=pytest.mark.slow)]
)
def test_the_real_commands_make_a_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: type
) -> None:
    monkeypatch.setattr(subprocess, "Popen", process)
    settings = {
        "image_size": 32, "generator_channels": 4, "discriminator_channels": 4, "latent_size": 4,
        "batch_size": 4, "images": 8, "sample_count": 4, "minutes": "none", "score_every": "none",
    }  # fmt: skip
    plan = read_plan(
        {
            "name": "a",
            "preset": "demo",
            "settings": settings,
            "grid": {"noise": ["uniform(-1, 1)"]},
            "evaluation": {"count": 6, "features": "efficientnet-lite0"},
        }
    )
    data = fill(tmp_path / "data", 4, (64, 64))
    content = content_hash(open_images(data))
    shop = LocalExecutor(plan, tmp_path / "study", data, None, content, threads=1)
    score = shop.run_point(plan.grid[0])
    assert score["n_generated"] == 6
    run = shop.run_folder(plan.grid[0])
    config = run.read_config()
    wanted = plan.config(plan.grid[0])
    assert config == replace(wanted, output=wanted.output.coded_as(config.output))
    before = run.score.read_bytes()
    assert shop.run_point(plan.grid[0]) == score
    assert run.score.read_bytes() == before


@pytest.mark.parametrize("pulled", [None, {"mifid": 1.0, "features": "inception"}])
def test_a_point_is_scored_against_the_studys_images_whatever_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pulled: dict[str, Any] | None
) -> None:
    """As by a kernel, of the images of its source; its own score may be in other features."""
    made = finished_run(tmp_path, ("generate", "--run", "run", "--count", "6"), count=10)
    monkeypatch.chdir(made)
    monkeypatch.setattr(QuadrantMeans, "name", "efficientnet-lite0")
    monkeypatch.setattr(extractors, "make_extractor", lambda *_: QuadrantMeans())
    shop = LocalExecutor(PLAN, Path("study"), fill(Path("others"), 12), None)
    codes = []

    def call(_: LocalExecutor, point: Point, words: Sequence[object]) -> None:
        codes.append(run_command([str(word) for word in words]))

    monkeypatch.setattr(LocalExecutor, "_call", call)
    run = shop.run_folder(POINT)
    shutil.copytree("run", run.path)
    if pulled is not None:
        write_json(run.score, pulled | {"n_generated": 7000})
    score = shop.score(POINT)
    assert (codes, score["n_reference"], score["features"]) == ([0], 12, "efficientnet-lite0")
    assert require_score(run) == score
    run.score.unlink()
    monkeypatch.setattr(LocalExecutor, "_call", lambda *_: None)
    with pytest.raises(WorkFailed, match="is not what the study asks for"):
        shop.score(POINT)
