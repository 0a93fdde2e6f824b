"""Watching a run: what its files say of it, and the page that follows them in a real browser."""

import json
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from pipeline.runs.folder import RunFolder
from pipeline.service.watch_app import create_watch_app
from pipeline.service.watched_run import WatchedRun
from pipeline.system.locks import file_lock, is_held
from pipeline.system.storage import write_json
from tests.support.factories import data_about, tiny_config
from tests.support.helpers import encoded, painting
from tests.support.service_helpers import serving_app

BEGAN = 1_000_000.0
LINE = {"images_per_second": 8.0, "loss_d": 0.5, "loss_g": 1.5, "d_real": 0.6}
SCORE = {"seconds": 9.0, "score_seconds": 2.0, "n_generated": 50, "features": "means"}


def begin(run: RunFolder) -> None:
    """Leave what a training leaves before its first step."""
    run.samples.mkdir(parents=True)
    write_json(run.provenance, {"data": data_about(10).to_dict(), "sittings": []})
    write_json(run.config, tiny_config({"images": 160, "batch_size": 8}).to_dict())
    log(run, "Training in float32.")


def log(run: RunFolder, text: str) -> None:
    with run.log.open("a") as file:
        file.write(f"2026-01-01T00:00:00+00:00 {text}\n")


def add_step(run: RunFolder, step: int) -> None:
    line = {"step": step, "images_seen": 8 * step, "seconds": float(step), **LINE}
    with run.stats.open("a") as file:
        file.write(json.dumps(line) + "\n")


def add_score(run: RunFolder, step: int, mifid: float) -> None:
    with run.scores.open("a") as file:
        file.write(
            json.dumps({"step": step, "images_seen": 8 * step, "mifid": mifid, **SCORE}) + "\n"
        )


def add_grid(run: RunFolder, images: int) -> None:
    (run.samples / f"{images:09d}.png").write_bytes(encoded(painting((40, 40)), "PNG"))


def age(run: RunFolder) -> None:
    """Let all files be of one time, by which the silence is told."""
    for path in [run.path, *run.path.rglob("*")]:
        os.utime(path, (BEGAN, BEGAN))


class Now:
    seconds = BEGAN


def watched(run: RunFolder) -> tuple[WatchedRun, Now]:
    now = Now()
    return WatchedRun(run.path, lambda: now.seconds, lambda: 0.0), now


def watching(run: RunFolder) -> AbstractContextManager[str]:
    return serving_app(create_watch_app(WatchedRun(run.path)))


def test_each_state_of_a_run_is_told_by_its_files(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    seen, now = watched(run)

    def state() -> str:
        age(run)
        return seen.progress().state

    assert seen.progress().state == "waiting"
    assert f"painter train --run {run.path}" in seen.progress().sentence
    run.path.mkdir()
    write_json(run.kernel, {"pulled": None})  # pushed
    assert seen.progress().state == "waiting"
    assert f"painter kernel pull --run {run.path}" in seen.progress().sentence
    write_json(run.kernel, {"pulled": {"kernel.log": 9}})  # of a kernel that failed
    assert "brought no run" in seen.progress().sentence
    assert f"painter kernel push --run {run.path}" in seen.progress().sentence
    run.kernel.unlink()
    begin(run)
    assert state() == "running"
    for step in range(1, 6):
        add_step(run, step)
    now.seconds = BEGAN + 50
    assert state() == "running"
    now.seconds = BEGAN + 3600  # 3,600 pauses of a second
    assert state() == "silent"
    assert "60 minutes" in seen.progress().sentence
    with file_lock(run.lock, wait=False):  # one that trains holds it, and may be at a long score
        assert state() == ("running" if is_held(run.lock) else "silent")
        assert ("at work in its folder" in seen.progress().sentence) == is_held(run.lock)
    for text, expected in (
        ("Stopped after 40 images and 1.0 minutes.", "stopped"),
        ("Resuming at 40 images, in float32.", "silent"),
        (
            "A loss was not finite by step 5 (loss_d nan). The checkpoint before it is kept.",
            "failed",
        ),
        ("Trained after 160 images and 2.0 minutes.", "ended"),
    ):
        log(run, text)
        assert state() == expected
    assert seen.progress().share == 1
    write_json(run.score, {"mifid": 99.94, "n_generated": 7000})
    assert seen.progress().numbers[-1] == ("MiFID of 7,000 images", "99.9")
    shutil.rmtree(run.path)
    assert seen.progress().state == "gone"


@pytest.mark.parametrize("end", ["Stopped after 40 images.", "Trained after 160 images."])
def test_a_folder_in_which_a_command_works_is_not_said_to_rest(tmp_path: Path, end: str) -> None:
    run = RunFolder(tmp_path / "run")
    begin(run)
    log(run, end)
    seen, _ = watched(run)
    resting = seen.progress()
    with file_lock(run.lock, wait=False):  # it resumes, generates or pulls, and has said nothing
        if not is_held(run.lock):
            pytest.skip("this system does not list its locks")
        busy = seen.progress()
    assert busy.state == resting.state
    assert busy.sentence == f"{end} A command of painter is at work in its folder now."
    assert seen.progress() == resting


def test_numbers_share_curves_scores_and_grids_come_as_they_are_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    begin(run)
    seen, _ = watched(run)
    assert seen.progress().numbers == []
    assert seen.charts() == []
    for step in (1, 2):
        add_step(run, step)
    with run.stats.open("a") as file:
        file.write('{"step": 3, "images')  # in the middle of being written
    add_score(run, 2, 140.0)
    add_grid(run, 0)
    add_grid(run, 16)
    (run.samples / ".000000032.png.part").touch()
    age(run)
    progress = seen.progress()
    assert dict(progress.numbers) == {
        "images seen": "16", "training time": "2 s", "images a second": "8",
        "time left, about": "18 s", "best MiFID so far": "140.0",
    }  # fmt: skip
    assert progress.share == pytest.approx(16 / 160)
    assert [grid["seen"] for grid in progress.grids] == [0, 16]
    assert [chart.title.split(" (")[0] for chart in seen.charts()] == [
        "Losses", "Discriminator outputs", "Validation scores"
    ]  # fmt: skip
    drawn = progress.charts
    assert seen.progress().charts == drawn  # nothing is new
    run.stats.write_text("{broken\n{broken too\n")
    assert "is not a line of statistics" in seen.progress().problem


def test_curves_that_have_not_changed_are_not_read_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    begin(run)
    add_step(run, 1)
    age(run)
    seen, _ = watched(run)
    before = seen.progress()
    run.stats.write_bytes(b"\n" * run.stats.stat().st_size)  # no line of statistics
    age(run)
    assert seen.progress() == before
    add_step(run, 2)
    assert "is not a line of statistics" in seen.progress().problem


def test_scores_that_lack_a_number_leave_the_others(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    begin(run)
    for step in (1, 2):
        add_step(run, step)
    add_score(run, 1, 150.0)
    run.scores.write_text(
        run.scores.read_text()
        + '{"images_seen": 16, "fid": 3.0, "score_seconds": null}\n'
        + '{"images_seen": 24, "mifid": null, "best": true}\n'
    )
    found = watched(run)[0].progress()
    assert ("best MiFID so far", "150.0") in found.numbers
    assert [line.get("mifid") for line in found.scores] == [150.0, None, None]
    assert [line["best"] for line in found.scores] == [False, False, True]
    assert found.problem == ""


def test_scores_in_other_features_are_not_shown_beside_the_last(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    begin(run)
    add_step(run, 1)
    with run.scores.open("a") as file:
        line = {"step": 1, "images_seen": 8, "mifid": 80.0, **SCORE, "features": "inception"}
        file.write(json.dumps(line) + "\n")
    add_score(run, 2, 120.0)
    now = watched(run)[0].progress()
    assert ("best MiFID so far", "120.0") in now.numbers
    assert [row["mifid"] for row in now.scores] == [120.0]


def test_a_folder_whose_name_is_not_utf8_is_shown_as_a_shell_shows_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / os.fsdecode(b"caf\xe9"))
    with watching(run) as url:
        assert r"caf\xe9" in httpx.get(f"{url}v1/progress").json()["sentence"]
        begin(run)
        run.stats.write_text("{broken\n{broken too\n")
        found = httpx.get(f"{url}v1/progress").json()
    assert found["name"] == r"caf\xe9"
    assert r"caf\xe9" in found["problem"]


def test_drawing_takes_a_small_share_of_the_time(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    begin(run)
    now, spent = Now(), iter(range(100))
    seen = WatchedRun(run.path, lambda: now.seconds, lambda: float(next(spent)))  # a second each
    drawn = []
    for later in (0, 19, 21):
        add_step(run, 1 + later)
        now.seconds = BEGAN + later
        drawn.append(seen.progress().charts)
    assert drawn == [drawn[0], drawn[0], drawn[0] + 1]


def test_a_page_takes_no_curves_of_an_earlier_start_for_those_of_this_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    begin(run)
    add_step(run, 1)
    seen, now = watched(run)
    before = seen.progress().charts
    now.seconds += 1
    assert WatchedRun(run.path, lambda: now.seconds).progress().charts not in (before, before + 1)


def test_only_sample_grids_are_handed_out_and_nothing_is_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    begin(run)
    add_step(run, 1)
    add_grid(run, 0)
    before = {path: path.stat().st_mtime_ns for path in [run.path, *run.path.rglob("*")]}
    with watching(run) as url, httpx.Client(base_url=url) as client:
        assert client.get("/samples/000000000.png").headers["content-type"] == "image/png"
        for name in ("1.png", "..%2Fconfig.json", "config.json", "inputs.jpg"):
            assert client.get(f"/samples/{name}").status_code == 404
        for route in ("/", "/v1/progress", "/v1/charts", "/page/report.css", "/page/watch.js"):
            assert client.get(route).status_code == 200
    assert before == {path: path.stat().st_mtime_ns for path in [run.path, *run.path.rglob("*")]}


def test_the_page_follows_a_run_from_before_it_begins_to_its_end(
    tmp_path: Path, page: Page
) -> None:
    run = RunFolder(tmp_path / "run")
    page.add_init_script(
        "setTimeout = ((later) => (f, ms) => later(f, Math.min(ms, 50)))(setTimeout)"
    )
    with watching(run) as url:
        page.set_viewport_size({"width": 390, "height": 800})
        page.goto(url)
        state: Any = page.get_by_role("status")
        expect(state).to_contain_text("No run has begun here")
        begin(run)
        add_grid(run, 0)
        expect(state).to_contain_text("It has begun")
        for step in range(1, 4):
            add_step(run, step)
        add_score(run, 3, 123.4)
        expect(page.get_by_text("15% of the budget")).to_be_visible()
        expect(page.get_by_role("img", name="Losses over 24 images seen")).to_be_visible()
        expect(page.get_by_role("cell", name="123.4")).to_be_visible()
        add_grid(run, 24)
        expect(page.get_by_role("img", name="Samples after 24 images")).to_be_visible()
        page.get_by_role("slider", name="Which sample grid").fill("0")
        expect(page.get_by_role("img", name="Samples after 0 images")).to_be_visible()
        page.get_by_role("button", name="Newest").click()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        log(run, "Trained after 160 images and 2.0 minutes.")
        expect(state).to_contain_text("Trained after 160 images")
        shutil.rmtree(run.path)
        expect(state).to_contain_text("is not there any more")
        expect(page.get_by_role("img", name="Samples after 24 images")).to_be_visible()
        page.goto("about:blank")
