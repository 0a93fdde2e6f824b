"""Submitting: once, whatever happens to the connection, and wherever the run was trained."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels.record import read_record
from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.core.errors import KaggleUnreachable
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import LeaderboardRow, Submission
from pipeline.models.shipped import model_file
from pipeline.models.snapshots import load_config
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import file_sha256, write_json
from submission.ledger import Ledger, Row
from submission.submit import local_score, place, reconcile
from tests.support.helpers import TINY_RUN, fill, pack
from tests.support.kaggle_desk import (
    MINIMUM,
    NAME,
    PUSH,
    RUN,
    Desk,
    desk,
    generated,
    images,
    output,
    painter_process,
    train_here,
)
from tests.support.kaggle_server import (
    COMPETITIONS,
    KERNELS,
    Fine,
    Instead,
    LostReply,
    Unheard,
    as_json,
    broken,
    refusal,
    too_many,
    web_page,
)
from tests.support.kaggle_state import Held, Scripted

__all__ = ["desk", "painter_process"]  # fixtures

CREATE = f"{COMPETITIONS}/CreateCodeSubmission"
SAVE = f"{KERNELS}/SaveKernel"
SUBMIT = ("submit", "--run", RUN)
GENERATES = "alice/painter-first-images"


class Site(KaggleClient):
    """A site with one submission of the team Me, and a leaderboard."""

    def __init__(self, board: dict[str, float], away: bool = False) -> None:
        self.board = board
        self.away = away

    def submission(self, slug: str, ref: int) -> Submission:
        return Submission(ref, "COMPLETE", 78.1, "", "", None, "images.zip", "Me")

    def leaderboard(self, slug: str) -> list[LeaderboardRow]:
        if self.away:
            raise KaggleUnreachable("away")
        return [LeaderboardRow(team, score, None) for team, score in self.board.items()]


@pytest.mark.parametrize(
    ("board", "words"),
    [
        ({"A": 40.0, "B": 80.0}, "It takes place 2 of 3 on the public leaderboard; the site's own"),
        ({"A": 40.0, "Me": 78.1, "B": 80.0}, "It takes place 2 of 3"),
        ({"A": 40.0, "Me": 90.0, "B": 80.0}, "It takes place 2 of 3"),
        (
            {"Me": 30.0, "A": 40.0},
            "It takes place 2 of 2 on the public leaderboard, where the team's best, 30.00, keeps "
            "place 1.",
        ),
        ({}, "It takes place 1 of 1"),
    ],
)
def test_the_place_of_a_score_comes_from_the_leaderboard(
    board: dict[str, float], words: str
) -> None:
    row = Row("alice/x", 1, "x", "x", "", ref=7, public_score=78.1)
    assert (place(Site(board), row) or "").startswith(words)
    assert place(Site(board, away=True), row) is None
    row.public_score = None
    assert place(Site(board), row) is None


class Listing(KaggleClient):
    """A site that has taken one submission."""

    def __init__(self) -> None: ...

    def submissions(self, slug: str) -> Iterator[Submission]:
        yield Submission(7, "PENDING", None, "", "[alice/x v1] first", None, "images.zip", "Me")


@pytest.mark.parametrize(("seed", "arrives"), [(0, True), (1, False)])
def test_what_another_run_of_the_same_name_has_submitted_is_not_taken_for_this_ones(
    tmp_path: Path, seed: int, arrives: bool
) -> None:
    """Two folders have a run called first, and one ledger."""
    ledger = Ledger(tmp_path / "ledger.json")
    settings = apply_settings(Config(), {"seed": 0}).to_dict()
    with ledger.transaction() as transaction:
        transaction.rows.append(Row("alice/x", 1, "first", "first", "sha", settings=settings))
        transaction.save()
    run = RunFolder(tmp_path / "other" / "first")
    write_json(run.config, apply_settings(Config(), {"seed": seed}).to_dict())
    assert [row.ref for row in reconcile(Listing(), ledger, run)] == ([7] if arrives else [])


@pytest.fixture
def trained(desk: Desk) -> Desk:
    """A desk with a run that was trained on Kaggle and pulled."""
    desk.server.runner = Scripted(files=output(), polls=0)
    desk.works(*PUSH)
    desk.works("kernel", "pull", "--run", RUN)
    desk.server.requests.clear()
    return desk


@pytest.fixture
def trained_here(desk: Desk) -> Desk:
    """A desk with a run that was trained on it; Kaggle's kernels generate images."""
    run = train_here(desk.folder)
    desk.server.runner = Scripted(files=generated(run), polls=1)
    return desk


def submissions(desk: Desk) -> int:
    return len(desk.server.submissions)


# --- A run that was trained on Kaggle


def test_submit_sends_the_version_that_was_pulled(trained: Desk) -> None:
    shown = trained.works(*SUBMIT, "--message", "first try")
    (request,) = [r.json() for r in trained.server.requests if r.name == CREATE]
    assert request == {
        "competitionName": "gan-getting-started",
        "kernelOwner": "alice",
        "kernelSlug": "painter-first",
        "kernelVersion": 1,
        "fileName": "images.zip",
        "submissionDescription": f"[{NAME} v1] first try",
    }
    assert "local MiFID 91.25 (inception); 5 submissions left today" in shown
    assert "Submission 50000001, not scored yet." in shown
    (row,) = Ledger(trained.folder / "ledger.json").rows()
    assert (row.ref, row.status, row.mifid, row.run) == (50000001, "PENDING", 91.25, "first")


def test_wait_shows_the_public_score(trained: Desk) -> None:
    shown = trained.works(*SUBMIT, "--wait")
    assert "public score 78.10" in shown
    place = "It takes place 3 of 3 on the public leaderboard; the site's own rank follows."
    assert shown.splitlines()[-1] == place
    (row,) = Ledger(trained.folder / "ledger.json").rows()
    assert (row.status, row.public_score) == ("COMPLETE", 78.1)


def test_a_submission_that_cannot_be_scored_is_a_failure_with_kaggles_reason(trained: Desk) -> None:
    trained.server.minimum_images = 9
    message = trained.fails(1, *SUBMIT, "--wait")
    assert "could not score submission 50000001: Your submission must hold at least 9" in message
    (row,) = Ledger(trained.folder / "ledger.json").rows()
    assert row.status == "ERROR"


def test_the_same_version_is_not_submitted_twice(trained: Desk) -> None:
    trained.works(*SUBMIT, "--wait")
    message = trained.fails(2, *SUBMIT)
    assert f"{NAME} version 1 was submitted already: Submission 50000001" in message
    assert submissions(trained) == 1


def test_nor_when_the_ledger_is_gone(trained: Desk) -> None:
    trained.works(*SUBMIT)
    (trained.folder / "ledger.json").unlink()
    assert "Submission 50000001" in trained.works(*SUBMIT)
    assert submissions(trained) == 1


@pytest.mark.parametrize("lag", [0, 2])
def test_a_lost_reply_is_looked_up(trained: Desk, lag: int) -> None:
    trained.server.faults[CREATE].append(LostReply())
    trained.server.faults[f"{COMPETITIONS}/ListSubmissions"] += [broken() for _ in range(lag)]
    assert "Submission 50000001" in trained.works(*SUBMIT)
    assert submissions(trained) == 1


@pytest.mark.parametrize("fault", [Unheard(), broken(), web_page()])
def test_a_request_that_did_not_arrive_is_sent_by_the_second_call(
    trained: Desk, fault: Instead
) -> None:
    trained.server.faults[CREATE].append(fault)
    assert "Give the same command again" in trained.fails(1, *SUBMIT)
    assert submissions(trained) == 0
    trained.works(*SUBMIT)
    assert submissions(trained) == 1


def test_after_kill_9_the_second_call_finds_the_submission(trained: Desk) -> None:
    trained.server.after[CREATE] = lambda _: os.kill(trained.process.pid, signal.SIGKILL)
    assert trained.painter(*SUBMIT).code == -signal.SIGKILL
    (row,) = Ledger(trained.folder / "ledger.json").rows()
    assert (row.ref, row.status) == (None, "INTENDED")
    trained.server.after.clear()
    assert "Submission 50000001" in trained.works(*SUBMIT)
    assert submissions(trained) == 1
    (row,) = Ledger(trained.folder / "ledger.json").rows()
    assert row.ref == 50000001


def test_a_submission_of_images_before_is_told_and_not_taken_for_these(trained: Desk) -> None:
    listing = f"{COMPETITIONS}/ListSubmissions"
    trained.server.faults[CREATE].append(LostReply())
    trained.server.faults[listing] += [Fine(), *[broken() for _ in range(25)]]
    trained.fails(1, *SUBMIT)
    trained.server.faults[listing].clear()
    other = output() | {"images.zip": images(MINIMUM + 1)}
    trained.server.runner = Scripted(files=other, polls=0)
    trained.works(*PUSH, "--image-seed", "2")
    trained.works("kernel", "pull", "--run", RUN)
    trained.server.submissions[0].fields |= {"status": "COMPLETE", "publicScore": "200.0"}
    shown = trained.works(*SUBMIT, "--wait")
    earlier = "An earlier submission had arrived: Submission 50000001, public score 200.00."
    assert earlier in shown.splitlines()
    assert "Submission 50000002, public score 78.10." in shown.splitlines()
    assert trained.server.submissions[1].content == images(MINIMUM + 1)


def test_of_a_run_without_images_the_submission_that_arrived_is_of_its_snapshot(
    trained_here: Desk,
) -> None:
    (trained_here.run / "images.zip").unlink()
    files = generated(trained_here.run, count=7000)
    trained_here.server.runner = Scripted(files=files, polls=0)
    trained_here.server.after[CREATE] = lambda _: os.kill(trained_here.process.pid, signal.SIGKILL)
    (trained_here.run / "images.json").unlink()
    assert trained_here.painter(*SUBMIT).code == -signal.SIGKILL
    trained_here.server.after.clear()
    assert "Submission 50000001, not scored yet." in trained_here.works(*SUBMIT).splitlines()
    assert submissions(trained_here) == 1


def test_too_many_requests_are_waited_out(trained: Desk) -> None:
    trained.server.faults[CREATE].append(too_many("0"))
    trained.works(*SUBMIT)
    assert submissions(trained) == 1


def test_a_refusal_leaves_no_trace_in_the_ledger(trained: Desk) -> None:
    trained.server.rules_accepted = False
    message = trained.fails(2, *SUBMIT)
    assert "https://www.kaggle.com/competitions/gan-getting-started/rules" in message
    assert Ledger(trained.folder / "ledger.json").rows() == []
    trained.server.rules_accepted = True
    trained.works(*SUBMIT)


def test_nothing_is_sent_when_no_submission_is_left(trained: Desk) -> None:
    trained.server.submitted_today = 5
    assert "No submission is left today (5 were made)" in trained.fails(2, *SUBMIT)
    assert trained.server.mutating() == []


def test_a_dry_run_before_the_output_is_pulled_pulls_nothing(desk: Desk) -> None:
    desk.works(*PUSH)
    asked = len(desk.server.called())
    done = desk.painter(*SUBMIT, "--dry-run", credentials=False)
    assert f"Would pull the output of {NAME} version 1" in done.out
    assert "not asked" in done.out
    assert len(desk.server.called()) == asked
    assert [path.name for path in desk.run.iterdir() if path.name[0] != "."] == ["kernel.json"]


def test_a_dry_run_sends_nothing(trained: Desk) -> None:
    shown = trained.works(*SUBMIT, "--dry-run")
    assert f"Would submit images.zip of {NAME} version 1: [{NAME} v1] first" in shown
    assert trained.server.mutating() == []
    assert not (trained.folder / "ledger.json").exists()


def test_images_that_break_a_rule_are_not_submitted(desk: Desk) -> None:
    desk.server.runner = Scripted(files=output() | {"images.zip": images(MINIMUM - 1)}, polls=0)
    desk.works(*PUSH)
    assert "number of files is 4" in desk.fails(2, *SUBMIT)  # and pulls by itself
    assert submissions(desk) == 0


def test_a_kernel_that_still_runs_cannot_be_submitted(desk: Desk) -> None:
    desk.server.runner = Held()
    desk.works(*PUSH)
    assert "is RUNNING" in desk.fails(2, *SUBMIT)


def test_a_kernel_that_has_failed_cannot_be_submitted(desk: Desk) -> None:
    desk.server.runner = Scripted("ERROR", files=output(), polls=0, failure_message="boom")
    desk.works(*PUSH)
    for _ in range(2):
        assert "ended with ERROR: boom" in desk.fails(1, *SUBMIT)
    assert submissions(desk) == 0


# --- A run that was trained here


def test_a_local_run_is_made_again_on_kaggle_and_submitted(trained_here: Desk) -> None:
    shown = trained_here.works(*SUBMIT, "--wait")
    dataset = trained_here.server.datasets["alice/painter-first-snapshot"]
    assert dataset.is_private
    assert dataset.files == {
        "snapshot.safetensors": (trained_here.run / "snapshot.safetensors").read_bytes()
    }
    request = trained_here.server.kernels[GENERATES].versions[0].request
    assert request["datasetDataSources"] == ["alice/painter-first-snapshot"]
    assert (request["machineShape"], request["enableGpu"]) == ("None", False)
    assert "'task': 'generate'" in request["text"]
    assert f"'count': {MINIMUM}," in request["text"]
    assert "local MiFID 88.50 (efficientnet-lite0)" in shown
    assert "public score 78.10" in shown
    assert (trained_here.run / "kaggle" / "images.zip").read_bytes() == images()


def test_a_model_that_comes_with_painter_is_submitted_without_training(desk: Desk) -> None:
    folder = "runs/paint256-as-shipped"
    words = ("submit", "--model", "paint256")
    said = desk.painter(*words, "--dry-run", credentials=False)
    assert f"{folder}: local MiFID not scored here; how many submissions are left" in said.out
    assert "push YOUR-USER-NAME/painter-paint256-as-shipped-images to generate 7,000" in said.out
    assert not list(desk.folder.iterdir())
    model = model_file("paint256")
    made = {"count": 7000, "seed": 0, "snapshot_sha256": file_sha256(model)}
    made["output"] = load_config(model).to_dict()["output"]
    files = {"images.zip": images(), "images.json": json.dumps(made).encode()}
    desk.server.runner = Scripted(files=files, polls=0)
    assert "public score 78.10" in desk.works(*words, "--wait")
    dataset = desk.server.datasets["alice/painter-paint256-as-shipped-snapshot"]
    assert dataset.files == {"snapshot.safetensors": model.read_bytes()}
    assert (desk.folder / folder / "kaggle" / "images.zip").exists()
    assert "was submitted already" in desk.fails(2, *words)


def test_what_is_submitted_has_to_be_said(desk: Desk) -> None:
    assert "Give either --run DIR or --model NAME." in desk.painter("submit").err


def test_a_local_run_is_neither_pushed_nor_submitted_twice(trained_here: Desk) -> None:
    trained_here.works(*SUBMIT)
    assert "was submitted already" in trained_here.fails(2, *SUBMIT)
    assert trained_here.server.called().count(SAVE) == 1
    assert submissions(trained_here) == 1


def test_an_interrupted_submission_of_a_local_run_goes_on(trained_here: Desk) -> None:
    trained_here.server.faults["files/images.zip"].append(web_page())
    trained_here.fails(2, *SUBMIT)
    trained_here.works(*SUBMIT)
    assert trained_here.server.called().count(SAVE) == 1
    assert trained_here.server.datasets["alice/painter-first-snapshot"].version == 1


def test_other_images_of_a_local_run_are_another_submission(trained_here: Desk) -> None:
    trained_here.works(*SUBMIT)
    generate = ["generate", "--run", str(trained_here.run), "--count", str(MINIMUM), "--seed", "7"]
    assert run_command(generate) == 0
    others = generated(trained_here.run) | {"images.zip": images(MINIMUM + 1)}
    trained_here.server.runner = Scripted(files=others, polls=0)
    trained_here.works(*SUBMIT)
    text = trained_here.server.kernels[GENERATES].versions[1].request["text"]
    assert "'seed': 7" in text
    assert submissions(trained_here) == 2


def test_images_that_an_earlier_version_made_are_made_again(trained_here: Desk) -> None:
    there = generated(trained_here.run)  # by this version, which records more settings
    made = trained_here.run / "images.json"
    content = json.loads(made.read_text())
    del content["output"]["candidates_per_image"], content["output"]["upscaler"]
    made.write_text(json.dumps(content))
    trained_here.server.runner = Scripted(files=there, polls=0)
    trained_here.works(*SUBMIT)
    assert submissions(trained_here) == 1


def test_images_of_an_earlier_snapshot_are_not_submitted(trained_here: Desk) -> None:
    made = trained_here.run / "images.json"
    content = json.loads(made.read_text())
    made.write_text(json.dumps(content | {"snapshot_sha256": "0" * 64}))
    assert "was generated from an earlier snapshot" in trained_here.fails(2, *SUBMIT)
    assert trained_here.server.mutating() == []


def test_after_an_error_a_new_version_is_made(trained_here: Desk) -> None:
    trained_here.server.minimum_images = 9
    trained_here.fails(1, *SUBMIT, "--wait")
    trained_here.server.minimum_images = MINIMUM
    trained_here.server.faults[SAVE].append(Unheard())
    trained_here.fails(1, *SUBMIT, "--wait")  # the push never arrived
    assert "public score" in trained_here.works(*SUBMIT, "--wait")
    assert len(trained_here.server.kernels[GENERATES].versions) == 2


def test_a_run_of_a_kernel_with_new_local_images_is_made_again(trained: Desk) -> None:
    local = train_here(trained.folder, "runs/other")
    for name in ("snapshot.safetensors", "snapshot.json"):
        (trained.run / name).write_bytes((local / name).read_bytes())
    generate = ["generate", "--run", str(trained.run), "--count", str(MINIMUM), "--seed", "3"]
    assert run_command(generate) == 0
    trained.server.runner = Scripted(files=generated(trained.run), polls=0)
    trained.works(*SUBMIT)
    (request,) = [r.json() for r in trained.server.requests if r.name == CREATE]
    assert request["kernelSlug"] == "painter-first-images"


def test_a_dry_run_of_a_local_run_sends_nothing(trained_here: Desk) -> None:
    shown = trained_here.works(*SUBMIT, "--dry-run")
    assert "Would upload snapshot.safetensors" in shown
    assert f"generate {MINIMUM} images (seed 0)" in shown
    assert trained_here.server.mutating() == []


def test_a_dry_run_says_that_images_would_be_chosen(desk: Desk) -> None:
    data = fill(desk.folder / "paintings", 3)
    train = ["train", "--data", str(data), "--preset", "demo", "--run", str(desk.run), *TINY_RUN]
    assert run_command([*train, "--set", "candidates_per_image=2.5"]) == 0
    shown = desk.works(*SUBMIT, "--dry-run")
    assert "to generate the best 7,000 of 17,500 images (seed 0) on Kaggle's CPU" in shown


def test_a_generating_kernel_that_fails_is_told(trained_here: Desk) -> None:
    trained_here.server.runner = Scripted("ERROR", ["no snapshot"], failure_message="exit code 1")
    assert "ended with ERROR: exit code 1" in trained_here.fails(1, *SUBMIT)
    assert submissions(trained_here) == 0
    trained_here.server.runner = Scripted(files=generated(trained_here.run), polls=0)
    trained_here.works(*SUBMIT)


def test_a_folder_without_a_run_is_told(desk: Desk) -> None:
    assert "painter train --run" in desk.fails(2, *SUBMIT)


def test_a_refused_push_is_told(trained_here: Desk) -> None:
    trained_here.server.faults[SAVE].append(Instead(refusal(403)))
    assert "refuses the kernel" in trained_here.fails(2, *SUBMIT)
    assert read_record(trained_here.run / "kaggle") is None


def test_another_kernels_failed_submission_does_not_matter(trained_here: Desk) -> None:
    trained_here.works(*SUBMIT)
    ledger = Ledger(trained_here.folder / "ledger.json")
    with ledger.transaction() as transaction:
        transaction.rows.append(Row("alice/other", 1, "other", "", "", ref=9, status="ERROR"))
        transaction.save()
    assert "was submitted already" in trained_here.fails(2, *SUBMIT)
    assert trained_here.server.called().count(SAVE) == 1


def test_the_same_images_are_not_submitted_from_another_version(trained_here: Desk) -> None:
    trained_here.works(*SUBMIT)
    record = trained_here.run / "kaggle" / "kernel.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"work_sha256": "another version of painter"}))
    assert f"{GENERATES} version 1 was submitted already" in trained_here.fails(2, *SUBMIT)
    assert submissions(trained_here) == 1


def test_images_that_kaggle_made_from_an_older_snapshot_are_refused(trained_here: Desk) -> None:
    stale = generated(trained_here.run, snapshot_sha256="0" * 64)
    trained_here.server.runner = Scripted(files=stale, polls=0)
    assert "snapshot_sha256 differ" in trained_here.fails(2, *SUBMIT)
    trained_here.server.runner = Scripted(files=generated(trained_here.run), polls=0)
    trained_here.works(*SUBMIT)
    assert submissions(trained_here) == 1


def test_images_of_unknown_making_are_submitted_without_their_score(trained_here: Desk) -> None:
    (trained_here.run / "images.json").unlink()
    done = trained_here.painter(*SUBMIT, "--dry-run")
    assert "generate 7,000 images" in done.out


def test_a_lost_reply_to_the_last_submission_of_the_day_is_looked_up(trained: Desk) -> None:
    trained.server.submitted_today = 4
    trained.server.faults[CREATE].append(LostReply())
    listing = f"{COMPETITIONS}/ListSubmissions"
    trained.server.faults[listing] += [Fine(), *[broken() for _ in range(25)]]
    trained.fails(1, *SUBMIT)
    trained.server.faults[listing].clear()
    assert "Submission 50000001" in trained.works(*SUBMIT)
    assert submissions(trained) == 1


def test_a_submission_that_is_counted_but_not_listed_is_not_repeated(trained: Desk) -> None:
    nothing = Instead(as_json({"submissions": [], "nextPageToken": ""}), for_ever=True)
    listing = f"{COMPETITIONS}/ListSubmissions"
    trained.server.faults[listing].append(nothing)
    trained.server.faults[CREATE].append(LostReply())
    trained.fails(1, *SUBMIT)
    assert "has counted a submission" in trained.fails(1, *SUBMIT)
    trained.server.faults[listing].clear()
    trained.works(*SUBMIT)
    assert submissions(trained) == 1


def test_waiting_goes_on_where_it_was_left(trained: Desk) -> None:
    trained.works(*SUBMIT)
    assert "public score 78.10" in trained.works(*SUBMIT, "--wait")
    assert submissions(trained) == 1


def test_waiting_for_a_local_run_goes_on_too(trained_here: Desk) -> None:
    trained_here.works(*SUBMIT)
    assert "public score 78.10" in trained_here.works(*SUBMIT, "--wait")
    assert submissions(trained_here) == 1


def test_waiting_outlasts_a_site_that_is_away(trained: Desk) -> None:
    trained.server.faults[f"{COMPETITIONS}/GetSubmission"] += [broken() for _ in range(12)]
    assert "public score 78.10" in trained.works(*SUBMIT, "--wait")


def test_images_that_were_lost_are_pulled_again(trained_here: Desk) -> None:
    trained_here.server.faults[CREATE].append(Unheard())
    trained_here.fails(1, *SUBMIT)
    (trained_here.run / "kaggle" / "images.zip").unlink()
    trained_here.works(*SUBMIT)
    assert trained_here.server.called().count(SAVE) == 1


def test_long_messages_keep_the_tag(trained: Desk) -> None:
    trained.works(*SUBMIT, "--message", "very " * 200)
    description = trained.server.submissions[0].fields["description"]
    assert description.startswith(f"[{NAME} v1] very")
    assert len(description) < 255


def test_an_answer_that_is_not_understood_is_looked_up(trained: Desk) -> None:
    trained.server.faults[CREATE].append(Instead(as_json({"ref": "soon"})))
    assert "Give the same command again" in trained.fails(1, *SUBMIT)
    trained.works(*SUBMIT)


# --- The local score


def test_a_score_of_other_images_does_not_count(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert local_score(run) == {}
    pack(run.images, {"1.jpg": b"1"})
    run.score.write_text('{"mifid": 1.5}')
    assert local_score(run).get("mifid") == 1.5
    run.score.write_text('{"mifid": 1.5, "images_sha256": "0"}')
    assert local_score(run) == {}
    for text in ("{", "[1]", '{"mifid": NaN}', '{"mifid": "low"}', "{}"):
        run.score.write_text(text)
        assert local_score(run) == {}
