"""How far kernels are: the line that moves, the list, their pages, and faults meanwhile."""

import io
import os
import signal
import sys
from datetime import UTC, datetime, timedelta

import pytest

from kernels.listing import describe_age
from kernels.watch import parse_progress
from pipeline.training.loop import progress_bar
from tests.support.kaggle_desk import NAME, PUSH, RUN, Desk, desk, output, painter_process
from tests.support.kaggle_server import (
    KERNELS,
    Instead,
    LostReply,
    broken,
    refusal,
    too_many,
    web_page,
)
from tests.support.kaggle_state import Held, Scripted

__all__ = ["desk", "painter_process"]  # fixtures

PAGE = f"https://www.kaggle.com/code/{NAME}"
STATUS = f"{KERNELS}/GetKernelSessionStatus"
LIST = f"{KERNELS}/ListKernels"
WATCH = ("kernel", "watch", "--run", RUN)
TRAINING = "train  12%|█▏        | 4,096 images, 210/s, 01:23 left, mifid 71.2"


@pytest.mark.parametrize(
    ("line", "label", "text"),
    [
        (TRAINING, "", "train 4,096 images, 210/s, 01:23 left, mifid 71.2"),
        (f"seed 7: {TRAINING}", "seed 7: ", "train 4,096 images, 210/s, 01:23 left"),
        ("generate:  50%|█████     | 3/6 [00:10<00:10]", "", "generate 3/6 [00:10<00:10]"),
        ("run-1.b: train : 5%|█|", "run-1.b: ", "train"),
        ("trained: 4,096 images seen, 50% of them twice", "", None),
        ("train 50%", "", None),
        ("train 50%| of the images", "", None),
        ("train50%|█| 3/6", "", None),
        ("train %|█| 3/6", "", None),
        ("trained: 50%|█| 3/6", "", "trained 3/6"),
        ("a::  50%|█| 3/6", "", None),
        (": 50%|█| 3/6", "", None),
        ("", "", None),
    ],
)
def test_lines_of_progress_bars_are_told_from_others(line: str, label: str, text: str) -> None:
    found, shown = parse_progress(line)
    assert found == label
    assert shown == text if text is None else (shown or "").startswith(text)


@pytest.mark.parametrize("character", " .:-a1|%")
def test_a_long_line_takes_no_longer_than_it_is_long(character: str) -> None:
    for line in (f"a{character * 30_000}b", f"a{character * 30_000}50%|█| 3/6"):
        parse_progress(line)


def test_the_bar_of_training_is_such_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()  # no terminal, as a kernel's log is none
    monkeypatch.setattr(sys, "stderr", log)
    bar = progress_bar(shown=True)
    for step in range(1000):
        bar.n = step / 10
        bar.set_description_str(f"{step} images", refresh=False)
        bar.update(0)
    bar.close()
    lines = [line for line in log.getvalue().split("\r") if line.strip()]
    # The first and the last: a kernel of hours must not write ten lines a second.
    assert [parse_progress(line) for line in lines] == [("", "train"), ("", "train 999 images")]


def test_progress_moves_on_one_line_and_the_log_stays_readable(desk: Desk) -> None:
    seeds = [f"seed {n}: {TRAINING}" for n in (0, 1)]
    log = ["be\x1b[31mgun", TRAINING, *seeds, "over"]
    desk.server.runner = Scripted(files=output(), log=log, polls=5)
    desk.works(*PUSH)
    done = desk.painter(*WATCH)
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line for line in lines if "images" in line or line in {"begun", "over"}] == [
        "begun",
        "over",
    ]
    moving = [line.strip() for line in done.err.replace("\r", "\n").splitlines()]
    text = "train 4,096 images, 210/s, 01:23 left, mifid 71.2"
    assert f"0 of 290 min; {NAME} QUEUED" in moving
    assert f"0 of 290 min; seed 0: {text}; seed 1: {text}" in moving


def test_the_address_of_the_page_is_printed_without_asking_kaggle(desk: Desk) -> None:
    desk.works(*PUSH)
    before = len(desk.server.requests)
    assert desk.works(*WATCH, "--open") == f"{PAGE}\n"
    assert len(desk.server.requests) == before


def interrupt(desk: Desk, at: str) -> None:
    """Press Ctrl+C in the command's terminal when it sends such a request."""
    desk.server.after[at] = lambda _: os.kill(desk.process.pid, signal.SIGINT)


def test_ctrl_c_says_where_the_kernel_can_be_cancelled(desk: Desk) -> None:
    desk.server.runner = Held()
    desk.works(*PUSH)
    interrupt(desk, STATUS)
    message = desk.fails(130, *WATCH)
    assert f"{NAME} version 1 goes on, and the same command watches it again" in message
    assert message.endswith(f"do that on {PAGE}\n")
    message = desk.fails(130, "kernel", "list")
    assert message.endswith("do that on https://www.kaggle.com/alice/code\n")


def test_the_list_shows_state_age_folder_and_quota(desk: Desk) -> None:
    desk.server.clock = lambda: datetime.now(UTC) - timedelta(hours=5)
    desk.works(*PUSH)
    desk.server.clock = lambda: datetime.now(UTC)
    other = desk.server.kernels[NAME].versions[0].request
    desk.server.runner = Held()
    for title in ("painter second", "something of mine"):
        desk.server.save_kernel(other | {"newTitle": title})
    shown = desk.works("kernel", "list")
    lines = shown.splitlines()
    second, first = ([p.strip() for p in line.split("  ") if p] for line in lines[:2])
    assert first == [NAME, "QUEUED", "5 hours", RUN]
    page = "https://www.kaggle.com/code/alice/painter-second"
    assert second == ["alice/painter-second", "RUNNING", "0 min", page]
    assert lines[2].startswith("GPU quota: 1.0 of 30 hours used; it refreshes 2")
    assert f"alice/painter-second is RUNNING; it can be cancelled on {page}" in lines
    assert "something" not in shown
    assert desk.works("kernel", "list", "--top", "1").count("painter-first") == 0


def test_without_kernels_the_list_says_what_makes_one(desk: Desk) -> None:
    assert "`painter kernel push` makes one" in desk.works("kernel", "list")


def test_the_list_outlasts_what_passes_and_shows_what_is_gone(desk: Desk) -> None:
    desk.works(*PUSH)
    (desk.folder / "runs/other").mkdir()
    (desk.folder / "runs/other/kernel.json").write_text("{")
    desk.server.faults[LIST] += [LostReply(), too_many("0"), broken(), web_page()]
    desk.server.faults[STATUS] += [broken(), Instead(refusal(404))]
    assert f"{NAME}  gone" in desk.works("kernel", "list")
    desk.server.faults[LIST].append(broken(for_ever=True))
    message = desk.fails(1, "kernel", "list")
    assert "Kaggle answered 500 for your kernels. Call again later" in message
    assert desk.server.mutating().count(f"{KERNELS}/SaveKernel") == 1


def test_a_log_that_kaggle_does_not_give_for_a_while_ends_up_whole(desk: Desk) -> None:
    lines = [f"step {n}" for n in range(4)]
    desk.server.runner = Scripted(files=output(), log=lines, polls=4)
    faults = [broken(), too_many("3600"), web_page(), LostReply(), Instead(refusal(404))]
    desk.server.faults["logs/stream"] += faults
    desk.works(*PUSH)
    shown = desk.works(*WATCH).splitlines()
    assert [line for line in shown if line.startswith("step")] == lines
    desk.server.faults["logs/stream"].append(broken(for_ever=True))
    assert "The rest of the log comes with `painter kernel pull`." in desk.works(*WATCH)


def test_a_quota_that_ends_under_a_kernel_is_told_with_what_to_do(desk: Desk) -> None:
    failure = "Your session was stopped"
    desk.server.runner = Scripted("CANCEL_ACKNOWLEDGED", polls=0, failure_message=failure)
    desk.works(*PUSH)
    assert "quota" not in desk.fails(1, *WATCH)
    desk.server.gpu_used_seconds = desk.server.gpu_allowed_seconds
    message = desk.fails(1, *WATCH)
    assert f"ended with CANCEL_ACKNOWLEDGED: {failure}" in message
    assert "painter kernel pull --run runs/first" in message
    assert "The week's GPU quota is used up, which ends kernels. It refreshes 2" in message
    assert "--accelerator cpu" in message
    desk.server.faults[f"{KERNELS}/GetAcceleratorQuotaStatistics"].append(broken(for_ever=True))
    assert f"ended with CANCEL_ACKNOWLEDGED: {failure}" in desk.fails(1, *WATCH)


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(minutes=119), "119 min"),
        (timedelta(minutes=-1), "0 min"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(hours=48), "2 days"),
        (None, "unknown"),
    ],
)
def test_ages_are_told_in_their_largest_unit(age: timedelta | None, text: str) -> None:
    assert describe_age(age) == text
