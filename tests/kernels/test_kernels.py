"""Pushing, watching and pulling kernels: the real client, and a Kaggle on this machine."""

import hashlib
import io
import json
import os
import platform
import select
import shutil
import signal
import zipfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest

from kernels import attachments
from kernels.attachments import Attachment, upload
from kernels.bundle import build
from kernels.datasets import POLL_SECONDS
from kernels.metadata import (
    CPU,
    GPU,
    MACHINES,
    MAX_SLUG_LENGTH,
    KernelPlan,
    accelerator_of,
    describe,
    slug_of,
    title_of,
)
from kernels.notebook import as_notebook
from kernels.planning import KernelRequest, plan_training
from kernels.pull import damage, pull
from kernels.push import check_same_run, pushed_from_here
from kernels.record import (
    KernelRecord,
    latest_record,
    read_record,
    settle_record,
    slug_in,
    write_record,
)
from kernels.source import digest, origin_in, origin_of
from kernels.watch import LogLines
from pipeline.cli.kaggle import left_alone
from pipeline.cli.options import replace_confirmation
from pipeline.config import apply_settings, load_preset
from pipeline.core.errors import KaggleError, KaggleUnreachable, RunError
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import KernelSource
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import write_json
from submission.kernel.settings import KernelSettings
from tests.support.clock import StandingTime
from tests.support.helpers import TINY_RUN, pack
from tests.support.kaggle_desk import (
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
    BLOBS,
    DATASETS,
    EXPIRED_TOKEN,
    KERNELS,
    PAGE,
    TOKEN,
    ArrivesInPart,
    BreaksAfter,
    Instead,
    LostReply,
    Reply,
    Truncated,
    Unheard,
    as_json,
    broken,
    refusal,
    too_many,
    web_page,
)
from tests.support.kaggle_state import Held, Scripted

__all__ = ["desk", "painter_process"]  # fixtures

SAVE = f"{KERNELS}/SaveKernel"
STATUS = f"{KERNELS}/GetKernelSessionStatus"
PULL = ("kernel", "pull", "--run", RUN)
WATCH = ("kernel", "watch", "--run", RUN)


def pushes(desk: Desk) -> int:
    return desk.server.called().count(SAVE)


def pushed_and_complete(desk: Desk) -> None:
    desk.server.runner = Scripted(files=output(), polls=0)
    desk.works(*PUSH)


def zipped(content: bytes) -> bytes:
    """Return a zip, which torch's checkpoints are too."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("data.pkl"), content)
    return buffer.getvalue()


# --- push


def test_a_push_sends_every_field_and_remembers_the_version(desk: Desk) -> None:
    shown = desk.works(*PUSH, "--minutes", "50")
    request = desk.server.kernels[NAME].versions[0].request
    expected = {
        "slug": NAME,
        "newTitle": "painter first",
        "language": "python",
        "kernelType": "script",
        "competitionDataSources": ["gan-getting-started"],
        "isPrivate": True,
        "enableGpu": True,
        "enableInternet": False,
        "enableTpu": False,
        "dockerImagePinningType": "original",
        "machineShape": "NvidiaTeslaT4",
        "sessionTimeoutSeconds": 60 * 60,
    }
    assert {key: request[key] for key in expected} == expected
    record = read_record(desk.run)
    assert record is not None
    assert (record.name, record.version, record.minutes) == (NAME, 1, 50)
    assert record.source_sha256 == digest(request["text"])
    assert f"{NAME} version 1 was pushed: https://www.kaggle.com/code/{NAME}" in shown
    compile(request["text"], "kernel", "exec")


def test_the_same_push_again_starts_nothing(desk: Desk) -> None:
    desk.server.runner = Held()
    desk.works(*PUSH)
    assert "is on Kaggle already" in desk.works(*PUSH)
    assert pushes(desk) == 1


def test_a_push_that_has_run_is_not_run_again(desk: Desk) -> None:
    pushed_and_complete(desk)
    desk.works(*PULL)
    assert "is on Kaggle already" in desk.works(*PUSH, "--wait")
    assert pushes(desk) == 1


def test_other_settings_wait_for_the_kernel_that_runs(desk: Desk) -> None:
    desk.server.runner = Held()
    desk.works(*PUSH)
    message = desk.fails(2, *PUSH, "--image-seed", "5")
    assert f"{NAME} version 1 is RUNNING with other settings" in message
    assert pushes(desk) == 1


def test_output_that_was_not_pulled_is_not_hidden_by_a_new_version(desk: Desk) -> None:
    pushed_and_complete(desk)
    assert "Fetch it first" in desk.fails(2, *PUSH, "--image-seed", "5")
    desk.works(*PULL)
    desk.works(*PUSH, "--image-seed", "5")
    record = read_record(desk.run)
    assert record is not None
    assert record.version == 2


def test_after_a_failure_the_same_push_is_made_again(desk: Desk) -> None:
    desk.server.runner = Scripted("ERROR", polls=0)
    desk.works(*PUSH)
    desk.works(*PUSH)
    assert pushes(desk) == 2


def test_an_error_in_a_reply_with_status_200_is_a_failure(desk: Desk) -> None:
    error = as_json(
        {"ref": "", "url": "", "error": "Maximum batch GPU session count of 2 reached."}
    )
    desk.server.faults[SAVE].append(Instead(error))
    message = desk.fails(2, *PUSH)
    assert "Maximum batch GPU session count of 2 reached" in message
    assert read_record(desk.run) is None
    desk.works(*PUSH)


def test_sources_that_kaggle_could_not_attach_are_a_failure(desk: Desk) -> None:
    reply = {"ref": f"/code/{NAME}", "url": "", "versionNumber": 1, "error": ""}
    wrong = as_json(reply | {"invalidCompetitionSources": ["gan-getting-started"]})
    desk.server.faults[SAVE].append(Instead(wrong))
    message = desk.fails(2, *PUSH)
    assert "could not attach" in message
    assert "competitions gan-getting-started (accept the rules on its page)" in message
    assert "Version 1 was made without them" in message
    assert "replaced" not in message


@pytest.mark.parametrize("options", [(), ("--notebook",)])
def test_a_push_without_a_reply_is_found_again(desk: Desk, options: tuple[str, ...]) -> None:
    desk.server.faults[SAVE].append(LostReply())
    assert f"{NAME} version 1 was pushed" in desk.works(*PUSH, *options)
    assert "is on Kaggle already" in desk.works(*PUSH, *options)
    assert pushes(desk) == 1
    assert len(desk.server.kernels[NAME].versions) == 1


@pytest.mark.parametrize("fault", [Unheard(), broken(503), web_page()])
def test_a_push_that_did_not_arrive_is_made_by_the_second_call(desk: Desk, fault: Instead) -> None:
    desk.server.faults[SAVE].append(fault)
    message = desk.fails(1, *PUSH)
    assert "again" in message
    assert "was interrupted" in desk.fails(2, *WATCH)
    desk.works(*PUSH)
    assert len(desk.server.kernels[NAME].versions) == 1
    record = read_record(desk.run)
    assert record is not None
    assert record.version == 1


def test_a_push_that_did_not_arrive_leaves_the_version_before_it_to_be_submitted(
    desk: Desk,
) -> None:
    pushed_and_complete(desk)
    desk.works(*PULL)
    desk.server.faults[SAVE].append(Unheard())
    desk.fails(1, *PUSH, "--image-seed", "2")
    pending = read_record(desk.run)
    assert pending is not None
    assert pending.version is None
    (desk.run / "log.txt").unlink()
    for command in (PULL, WATCH, ("submit", "--run", RUN, "--dry-run"), ("submit", "--run", RUN)):
        done = desk.painter(*command)
        assert done.code == 0
        assert "this is version 1, the one before" in done.err
    assert (desk.run / "log.txt").exists()
    assert desk.server.submissions[0].fields["description"].startswith(f"[{NAME} v1]")
    left, desk.server.gpu_used_seconds = desk.server.gpu_used_seconds, 10**9
    assert "minutes of GPU time are left" in desk.fails(2, *PUSH, "--image-seed", "2")
    desk.server.gpu_used_seconds = left
    desk.server.faults[SAVE].append(Instead(as_json({"error": "Maximum session count"})))
    assert "Maximum session count" in desk.fails(2, *PUSH, "--image-seed", "2")
    assert read_record(desk.run) == pending  # which may arrive yet
    desk.server.faults[SAVE].append(LostReply())
    desk.works(*PUSH, "--image-seed", "2")
    after = read_record(desk.run)
    assert after is not None
    assert (after.version, after.before) == (2, None)


def test_a_push_that_arrives_late_is_found_by_a_later_look(tmp_path: Path) -> None:
    before = record().with_changes(pulled={"x": 1}, pulled_sha256={"x": "0"})
    pending = before.with_changes(
        version=None, version_before=1, source_sha256=digest("new"), before=asdict(before)
    )
    write_record(tmp_path, pending)
    assert settle_record(tmp_path, KernelSource(1, "old")) == before
    found = settle_record(tmp_path, KernelSource(2, "new"))
    assert found is not None
    assert (found.version, found.before, found.earlier_sha256) == (2, None, {"x": "0"})


def test_a_push_is_found_again_after_kill_9(desk: Desk) -> None:
    desk.server.runner = Held()
    desk.server.after[SAVE] = lambda _: os.kill(desk.process.pid, signal.SIGKILL)
    assert desk.painter(*PUSH).code == -signal.SIGKILL
    interrupted = read_record(desk.run)
    assert interrupted is not None
    assert interrupted.version is None
    desk.server.after.clear()
    assert f"{NAME} version 1 is RUNNING" in desk.fails(2, *PULL)
    write_record(desk.run, interrupted)
    assert "is on Kaggle already" in desk.works(*PUSH)
    assert pushes(desk) == 1


def test_too_many_requests_are_waited_out(desk: Desk) -> None:
    desk.server.faults[SAVE].append(too_many("0"))
    desk.server.faults[f"{KERNELS}/GetKernel"] += [too_many("0"), broken(), Unheard()]
    desk.works(*PUSH)
    assert len(desk.server.kernels[NAME].versions) == 1


def test_a_site_that_stays_broken_ends_the_call_with_a_message(desk: Desk) -> None:
    desk.server.faults[f"{KERNELS}/GetKernel"].append(broken(502, for_ever=True))
    assert "Kaggle answered 502" in desk.fails(1, *PUSH)
    assert pushes(desk) == 0
    assert read_record(desk.run) is None


def test_a_pause_that_is_too_long_is_left_to_the_user(desk: Desk) -> None:
    desk.server.faults[f"{KERNELS}/GetKernel"].append(too_many("3600"))
    assert "too many requests" in desk.fails(1, *PUSH)


def test_a_quota_that_does_not_suffice_stops_the_push(desk: Desk) -> None:
    desk.server.gpu_used_seconds = desk.server.gpu_allowed_seconds - 600
    message = desk.fails(2, *PUSH, "--minutes", "30")
    assert "10 of 1800 minutes of GPU time are left" in message
    assert "The quota refreshes 2" in message
    assert pushes(desk) == 0
    desk.works(*PUSH, "--minutes", "30", "--accelerator", "cpu")
    request = desk.server.kernels[NAME].versions[0].request
    assert (request["machineShape"], request["enableGpu"]) == ("None", False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--minutes", "291"), "at most 290"),
        (("--minutes", "0"), "more than 0"),
        (("--accelerator", "NvidiaTeslaP100"), "has retired the P100"),
        (("--accelerator", "t5"), "No accelerator on Kaggle"),
        (("--count", "3"), "7,000 to 10,000"),
        (("--source", "dataset:monet"), "OWNER/SLUG"),
        (("--source", "alice/monet"), "SLUG'. Did you mean dataset:alice/monet?\n"),
        (("--source", "."), "make it a dataset on Kaggle first.\n"),
        (("--source", "https://www.kaggle.com/c/gan-getting-started"), "Did you mean competition?"),
        (("--attach", "https://www.kaggle.com/datasets/bob/weights"), "Did you mean bob/weights?"),
        (("--set", "image_siz=64"), "image_size"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_sent(
    desk: Desk, options: tuple[str, str], words: str
) -> None:
    assert words.replace("7,000", str(5)) in desk.fails(2, *PUSH, *options)
    assert desk.server.mutating() == []


def test_a_dry_run_sends_nothing(desk: Desk) -> None:
    done = desk.painter(*PUSH, "--dry-run", "--notebook", credentials=False)
    assert done.code == 0, done.err
    assert '"id": "YOUR-USER-NAME/painter-first"' in done.out
    assert '"machine_shape": "NvidiaTeslaT4"' in done.out
    assert '"kernel_type": "notebook"' in done.out
    assert desk.server.called() == []
    assert not desk.run.exists()


def test_an_account_whose_token_has_expired_is_told_to_make_a_new_one(desk: Desk) -> None:
    desk.extra = {"KAGGLE_API_TOKEN": EXPIRED_TOKEN}
    message = desk.fails(2, *PUSH, credentials=False)
    assert "https://www.kaggle.com/settings" in message


def test_a_token_works_as_well_as_a_key(desk: Desk) -> None:
    desk.extra = {"KAGGLE_API_TOKEN": TOKEN}
    done = desk.painter(*PUSH, credentials=False)
    assert done.code == 0, done.err


def test_a_gpu_that_needs_a_phone_number_is_explained(desk: Desk) -> None:
    desk.server.faults[SAVE].append(Instead(refusal(403, "Phone verification is required")))
    message = desk.fails(2, *PUSH)
    assert "verified phone number: https://www.kaggle.com/settings" in message
    assert 'Kaggle says: "Phone verification is required"' in message


def test_a_run_that_was_trained_here_is_not_replaced(desk: Desk) -> None:
    train_here(desk.folder)
    assert "was trained here" in desk.fails(2, *PUSH)
    assert "holds a run with other settings" in desk.fails(2, *PUSH, "--set", "beta1=0.4")
    assert desk.server.mutating() == []


def test_a_kernel_goes_on_from_an_earlier_run(desk: Desk) -> None:
    run = train_here(desk.folder, "runs/earlier")
    desk.server.ready_after = 2
    desk.works(*PUSH, "--continue-from", "runs/earlier")
    dataset = desk.server.datasets["alice/painter-first-state"]
    assert dataset.is_private
    assert dataset.files["state.pt"] == (run / "state.pt").read_bytes()
    assert {"config.json", "provenance.json", "stats.jsonl", "log.txt"} <= set(dataset.files)
    request = desk.server.kernels[NAME].versions[0].request
    assert request["datasetDataSources"] == ["alice/painter-first-state"]
    assert "'attached': 'alice/painter-first-state'" in request["text"]


def test_a_state_that_a_waiting_kernel_will_read_is_not_replaced_by_another_push(
    desk: Desk,
) -> None:
    first = train_here(desk.folder, "runs/earlier")
    options = ("--continue-from", "runs/earlier")
    desk.server.runner = Held()
    desk.works(*PUSH, *options)
    state = (first / "state.pt").read_bytes()
    pack(first / "state.pt", {"other": b"trained on"})
    desk.works(*instead_of_first(PUSH, "runs/second"), *options)
    assert desk.server.datasets["alice/painter-first-state"].files["state.pt"] == state
    assert desk.server.datasets["alice/painter-second-state"].files["state.pt"] != state


def test_training_goes_on_again_and_again(desk: Desk) -> None:
    train_here(desk.folder, RUN)
    options = ("--continue-from", RUN)
    desk.server.runner = Scripted(files=output() | {"state.pt": zipped(b"second")}, polls=0)
    desk.works(*PUSH, *options)
    desk.works(*PULL)
    later = {k: v for k, v in output().items() if not k.startswith("samples/")}
    later["samples/000000016.png"] = output()["samples/000008.png"]
    later["snapshot.safetensors"] = (desk.run / "snapshot.safetensors").read_bytes()
    desk.server.runner = Scripted(files=later, polls=0)
    desk.works(*PUSH, *options)
    assert len(desk.server.kernels[NAME].versions) == 2
    assert desk.server.datasets["alice/painter-first-state"].files["state.pt"] == zipped(b"second")
    desk.works(*PULL)
    for name in ("samples/000008.png", "samples/000000016.png"):
        assert (desk.run / name).exists()  # the earlier part's grid is of this training, too


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--minutes", "50", "--set", "minutes=20"), "--minutes and --set minutes=..."),
        (("--seed", "1", "--set", "seed=2"), "--seed and --set seed=..."),
        (("--holdout-seed", "1"), "none are kept"),
        (("--holdout", "0.2", "--seed", "1"), "--holdout-seed says"),
    ],
)
def test_options_without_effect_are_refused_before_anything_is_sent(
    desk: Desk, options: tuple[str, ...], expected: str
) -> None:
    assert expected in " ".join(desk.fails(2, *PUSH, *options).split())
    assert desk.server.mutating() == []


def test_a_kernel_is_told_the_runs_seed_and_which_images_to_make(desk: Desk) -> None:
    seeds = ("--seed", "3", "--image-seed", "5", "--holdout", "0.2", "--holdout-seed", "7")
    assert "seeds     3 to train, 5 for the images" in desk.works(*PUSH, *seeds, "--dry-run")
    desk.works(*PUSH, *seeds)
    source = desk.server.kernels[NAME].versions[-1].source
    for line in ("'seed': 3", "'seed': 5", "'holdout': 0.2", "'holdout_seed': 7"):
        assert line in source.replace('"', "'"), line


def test_a_state_is_not_replaced_under_a_kernel_that_runs(desk: Desk) -> None:
    train_here(desk.folder, "runs/earlier")
    options = ("--continue-from", "runs/earlier")
    desk.server.runner = Held()
    desk.works(*PUSH, *options)
    desk.works(*PUSH, *options)
    desk.fails(2, *PUSH, *options, "--image-seed", "4")
    assert desk.server.datasets["alice/painter-first-state"].version == 1


def test_without_quota_nothing_is_uploaded(desk: Desk) -> None:
    train_here(desk.folder, "runs/earlier")
    desk.server.gpu_used_seconds = desk.server.gpu_allowed_seconds
    assert "0 of 1800 minutes" in desk.fails(2, *PUSH, "--continue-from", "runs/earlier")
    assert desk.server.mutating() == []


def test_a_kernel_continues_a_run_with_other_settings_but_not_with_other_networks(
    desk: Desk,
) -> None:
    train_here(desk.folder, "runs/earlier")
    options = ("--continue-from", "runs/earlier", "--set")
    assert "Different: latent_size: 4 in the run, 5 now" in desk.fails(
        2, *PUSH, *options, "latent_size=5"
    )
    assert desk.server.mutating() == []
    desk.works(*PUSH, *options, "beta1=0.4")
    assert desk.server.datasets["alice/painter-first-state"].version == 1


def test_a_run_with_classes_is_continued_and_pushed_again(tmp_path: Path) -> None:
    """Which classes there are, the data says, and that is on Kaggle."""
    config, run = load_preset("acgan"), RunFolder(tmp_path / "run")
    write_json(run.config, apply_settings(config, {"class_names": ["a", "b"]}).to_dict())
    request = KernelRequest(continue_from=run.path)
    plan = plan_training("alice", tmp_path / "new", config, request)
    assert not plan.settings.training_config().data.class_names
    check_same_run(run, plan, run.path)


@pytest.mark.parametrize(
    ("options", "fits"),
    [({}, True), ({"gpus": "shared"}, False), ({"accelerator": "l4x1"}, False)],
)
def test_the_seed_that_was_kept_of_several_stands_for_the_first_where_several_are_trained(
    tmp_path: Path, options: dict[str, str], fits: bool
) -> None:
    run, config = RunFolder(tmp_path / "run"), load_preset("photo2monet")
    write_json(run.config, apply_settings(config, {"seed": 1}).to_dict())
    write_json(run.path / "seeds.json", {"kept": 1, "seeds": [{"seed": 0}, {"seed": 1}]})
    write_record(run.path, record())
    request = KernelRequest(**options)  # type: ignore[arg-type]  # those of strings
    plans = [
        plan_training("alice", run.path, apply_settings(config, {"seed": seed}), request)
        for seed in (0, 1)
    ]
    seeds = [plan.settings.training_config().training.seed for plan in plans]
    assert seeds == ([0, 0] if fits else [0, 1])
    check_same_run(run, plans[1], None)
    with nullcontext() if fits else pytest.raises(RunError, match="seed: 1 in the run, 0 now"):
        check_same_run(run, plans[0], None)


def test_an_upload_that_breaks_off_is_made_again(desk: Desk) -> None:
    train_here(desk.folder, "runs/earlier")
    desk.server.faults["blobs/state.pt"] += [Unheard(), too_many("0")]
    desk.server.faults[f"{BLOBS}/StartBlobUpload"].append(broken())
    desk.server.faults[f"{DATASETS}/CreateDataset"].append(LostReply())
    desk.works(*PUSH, "--continue-from", "runs/earlier")
    assert desk.server.datasets["alice/painter-first-state"].version == 1


def test_an_upload_goes_on_where_an_earlier_command_stopped(desk: Desk) -> None:
    run = train_here(desk.folder, "runs/earlier")
    content = (run / "state.pt").read_bytes()
    part = len(content) // 2
    command = (*PUSH, "--continue-from", "runs/earlier")
    faults = desk.server.faults["blobs/state.pt"]
    faults += [ArrivesInPart(size=part), broken(for_ever=True)]
    assert "Kaggle answered 500 for the upload of state.pt. Call again" in desk.fails(1, *command)
    assert pushes(desk) == 0
    faults.clear()
    sent_before = len(desk.server.requests)
    desk.works(*command)
    sent = [r for r in desk.server.requests[sent_before:] if r.name == "blobs/state.pt"]
    ends = (f"*/{len(content)}", f"{part}-{len(content) - 1}/{len(content)}")
    assert [r.headers["Content-Range"] for r in sent] == [f"bytes {end}" for end in ends]
    assert desk.server.datasets["alice/painter-first-state"].files["state.pt"] == content


def test_an_upload_of_changed_content_or_an_expired_one_begins_anew(desk: Desk) -> None:
    run = train_here(desk.folder, "runs/earlier")
    command = (*PUSH, "--continue-from", "runs/earlier")
    faults = desk.server.faults["blobs/state.pt"]
    faults += [ArrivesInPart(size=10), Instead(refusal(404)), Instead(refusal(403))]
    assert "refuses the upload of state.pt (403)" in desk.fails(2, *command)
    written = (run / "state.pt").stat().st_mtime
    faults += [ArrivesInPart(size=10), broken(for_ever=True)]
    for code, content in ((1, zipped(b"x" * 1000)), (0, zipped(b"y" * 1000))):
        (run / "state.pt").write_bytes(content)
        os.utime(run / "state.pt", (written, written))  # as within a second
        assert desk.painter(*command).code == code
        faults.clear()
    assert desk.server.datasets["alice/painter-first-state"].files["state.pt"] == content


def test_a_dataset_that_kaggle_cannot_process_stops_the_push(desk: Desk) -> None:
    train_here(desk.folder, "runs/earlier")
    desk.works(*PUSH, "--continue-from", "runs/earlier")
    dataset = desk.server.add_dataset("alice/painter-second-state", {})
    dataset.outcome = "FAILED"
    desk.server.faults[f"{DATASETS}/CreateDatasetVersion"].append(
        Instead(as_json({"ref": "", "url": "", "status": "Ok", "error": ""}))
    )
    options = ("--continue-from", "runs/earlier", "--run", "runs/second")
    assert "could not process the dataset" in desk.fails(2, *PUSH, *options)
    assert pushes(desk) == 1
    dataset.outcome = "READY"
    desk.works(*PUSH, *options)


# --- build


def test_build_writes_what_would_be_pushed(desk: Desk) -> None:
    build = ("kernel", "build", "--preset", "demo", "--out", "made", *TINY_RUN)
    desk.works(*build)
    metadata = desk.read("made/kernel-metadata.json")
    assert (metadata["id"], metadata["title"]) == ("alice/painter-demo", "painter demo")
    source = (desk.folder / "made" / str(metadata["code_file"])).read_text()
    compile(source, "kernel", "exec")
    assert len(source) < 1_000_000
    desk.works(*build, "--notebook")
    assert desk.read("made/painter-demo.ipynb")["nbformat"] == 4
    assert desk.server.mutating() == []


def test_build_needs_no_account(desk: Desk) -> None:
    done = desk.painter("kernel", "build", "--preset", "demo", "--out", "made", credentials=False)
    assert done.code == 0
    assert desk.read("made/kernel-metadata.json")["id"] == "YOUR-USER-NAME/painter-demo"


def test_names_that_differ_have_slugs_that_differ() -> None:
    names = ["v2.0", "v2-0", "v2--0", "v2_0", "V2-0", "v2-0-", "first", "First", "first-images"]
    names += ["first-state", "first-snapshot", "é", "è", "run", "a" * 60 + "1", "a" * 60 + "2"]
    slugs = {slug_of(Path(n), p) for n in names for p in ("", "images", "state", "snapshot")}
    assert len(slugs) == 4 * len(names)
    hashed = slug_of(Path("v2.0")).removeprefix("painter-")
    assert slug_of(Path(hashed)) != slug_of(Path("v2.0"))
    assert slug_of(Path("runs/monet64")) == "painter-monet64"


def test_a_record_gives_its_owner_the_slug(tmp_path: Path) -> None:
    assert slug_in(tmp_path, "alice") is None
    write_record(tmp_path, record())
    assert (slug_in(tmp_path, "alice"), slug_in(tmp_path, "bob")) == ("painter-first", None)


@pytest.mark.parametrize(
    ("given", "machine"),
    [
     ("t4", GPU), ("GPU", GPU), ("GPU T4 x2", GPU), ("T4x2", GPU), ("T4 x2", GPU),
     ("nvidiateslat4", GPU), ("CPU", CPU), ("none", CPU), ("l4", "NvidiaL4"),
     ("NvidiaL4X1", "NvidiaL4X1"), ("A100", "NvidiaTeslaA100"),
     ("rtx-pro-6000", "NvidiaRtxPro6000"),
    ],
)  # fmt: skip
def test_accelerators_have_short_names(given: str, machine: str) -> None:
    assert accelerator_of(given) == machine


def test_every_accelerator_is_known_by_both_its_names() -> None:
    for short, full in MACHINES.items():
        assert accelerator_of(short) == accelerator_of(full) == full


@pytest.mark.parametrize(
    ("given", "words"),
    [("NvidiaTelsaT4", "Did you mean NvidiaTeslaT4"), ("t5", r"as 't5'\. Known are: cpu"),
     ("", "Known are"), ("p100", r"retired the P100.* NvidiaTeslaT4 \(two T4s\), or cpu"),
     ("TpuV5E8", r"no way to use a TPU\. Use --accelerator NvidiaTeslaT4"),
     ("NvidiaTeslaT4Highmem", "Known are")],
)  # fmt: skip
def test_an_accelerator_that_is_not_known_is_refused(given: str, words: str) -> None:
    with pytest.raises(KaggleError, match=words):
        accelerator_of(given)


@pytest.mark.parametrize(
    "name", ["monet64", "My_Run.2", "ünïcode", "x", "a" * 80, "under_score-and--dashes", "é"]
)
@pytest.mark.parametrize("purpose", ["", "state", "snapshot"])
def test_title_and_slug_agree_for_any_name(name: str, purpose: str) -> None:
    from slugify import slugify

    slug = slug_of(Path("runs") / name, purpose)
    assert slugify(title_of(slug)) == slug
    assert 6 <= len(slug) <= MAX_SLUG_LENGTH
    metadata = describe(KernelPlan(slug, KernelSettings("train", config={})), "alice")
    assert metadata["id"] == f"alice/{slug}"
    assert metadata["title"] == title_of(slug)


def test_long_names_that_begin_alike_have_different_slugs() -> None:
    assert slug_of(Path("a" * 60 + "1")) != slug_of(Path("a" * 60 + "2"))


# --- A dataset that travels along


class Datasets:
    """A client that has taken a dataset, and is done with it after some questions."""

    def __init__(self, questions: int) -> None:
        self.time = StandingTime()
        self.clock = self.time.clock
        self.questions = questions
        self.uploaded: list[str] = []

    def upload_dataset(
        self, name: str, files: list[Path], notes: str, immutable: bool = False
    ) -> None:
        self.uploaded.append(name)

    def dataset_state(self, name: str) -> str:
        self.questions -= 1
        return "READY" if self.questions <= 0 else "PENDING"


STATE = Attachment("alice/state", (Path("training_state.pt"),), "state", "0" * 64)


def test_an_uploaded_dataset_is_waited_for() -> None:
    client = Datasets(questions=4)
    upload(client, STATE)  # type: ignore[arg-type]  # all it needs
    assert client.uploaded == ["alice/state"]
    assert client.time.slept == [POLL_SECONDS] * 3


def test_a_dataset_that_does_not_get_ready_is_told() -> None:
    client = Datasets(questions=10**6)
    with pytest.raises(KaggleUnreachable, match=r"alice/state ready within 20 minutes"):
        upload(client, STATE)  # type: ignore[arg-type]
    assert sum(client.time.slept) == attachments.DATASET_SECONDS


# --- watch


def test_watch_shows_states_and_each_log_line_once(desk: Desk) -> None:
    lines = [f"step {n}" for n in range(6)]
    desk.server.runner = Scripted(files=output(), log=lines, polls=4)
    desk.server.faults["logs/stream"] += [BreaksAfter(size=150), Unheard()]
    desk.works(*PUSH)
    shown = desk.works(*WATCH).splitlines()
    assert [line for line in shown if line.startswith("step")] == lines
    states = [line.rsplit(" ", 1)[1] for line in shown if line.startswith(f"{NAME} version 1: ")]
    assert states[0] == "QUEUED"
    assert states[-1] == "COMPLETE"
    assert "painter kernel pull --run runs/first" in shown[-1]


def test_watch_without_a_run_takes_the_one_pushed_last(desk: Desk) -> None:
    desk.works(*PUSH)
    assert NAME in desk.works("kernel", "watch")


def test_watch_survives_a_site_that_is_away_for_a_while(desk: Desk) -> None:
    desk.works(*PUSH)
    desk.server.faults[STATUS] += [broken() for _ in range(6)]
    desk.works(*WATCH)
    desk.server.faults[STATUS].append(broken(for_ever=True))
    assert "Kaggle answered 500" in desk.fails(1, *WATCH)


def test_a_kernel_that_fails_is_a_failure_of_watch(desk: Desk) -> None:
    desk.server.runner = Scripted("ERROR", ["Traceback: no GPU"], failure_message="exit code 1")
    desk.works(*PUSH)
    done = desk.painter(*WATCH)
    assert done.code == 1
    assert "Traceback: no GPU" in done.out
    assert "ended with ERROR: exit code 1" in done.message
    assert desk.painter(*PUSH, "--wait").code == 1


# --- Kernels of the same name


def instead_of_first(command: tuple[str, ...], run: str) -> list[str]:
    """Return a command with another run folder."""
    return [word if word != RUN else run for word in command]


ELSEWHERE = instead_of_first(PUSH, "elsewhere/first")


def pushed_over(desk: Desk) -> None:
    """Push from two folders of the same name; the first one's output was not pulled."""
    pushed_and_complete(desk)
    other = output() | {"images.zip": pack(desk.folder / "o.zip", {"1.jpg": b"other"}).read_bytes()}
    desk.server.runner = Scripted(files=other, log=["from elsewhere"], polls=0)
    desk.works(*ELSEWHERE, "--replace", "--image-seed", "2")


def test_a_kernel_from_elsewhere_is_not_pushed_over_without_asking(desk: Desk) -> None:
    pushed_and_complete(desk)
    message = desk.fails(2, *ELSEWHERE)
    assert f"{NAME} version 1 was not pushed from elsewhere/first" in message
    assert "--replace" in message
    assert "run folder another name" in message
    assert pushes(desk) == 1
    assert read_record(desk.folder / "elsewhere/first") is None
    desk.works(*PULL)


def test_a_copy_of_a_run_folder_is_another_folder(desk: Desk) -> None:
    pushed_and_complete(desk)
    desk.works(*PULL)
    shutil.copytree(desk.run, desk.folder / "runs/second")
    again = (*instead_of_first(PUSH, "runs/second"), "--image-seed", "2")
    assert f"{NAME} version 1 was not pushed from runs/second" in desk.fails(2, *again)
    assert pushes(desk) == 1
    desk.works(*again, "--replace")
    desk.works(*again)
    assert pushes(desk) == 2


def test_a_container_of_another_name_is_the_same_folder(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed_and_complete(desk)
    record = read_record(desk.run)
    assert record is not None
    latest = KernelSource(1, desk.server.kernels[NAME].versions[0].request["text"])
    assert pushed_from_here(desk.run, NAME, latest)
    monkeypatch.setattr(platform, "node", lambda: "0f3a9c")
    assert pushed_from_here(desk.run, NAME, latest)
    shutil.copytree(desk.run, desk.folder / "runs/second")
    assert not pushed_from_here(desk.folder / "runs/second", NAME, latest)
    (desk.run / "kernel.json").unlink()
    assert not pushed_from_here(desk.run, NAME, latest)


def test_output_that_another_push_has_replaced_is_pulled_by_its_version(desk: Desk) -> None:
    pushed_over(desk)
    desk.works(*PULL)
    assert (desk.run / "images.zip").read_bytes() == images()
    desk.works(*instead_of_first(PULL, "elsewhere/first"))
    assert (desk.folder / "elsewhere/first/images.zip").read_bytes() != images()
    record = read_record(desk.run)
    assert record is not None
    assert record.version == 1


def test_a_version_that_was_replaced_is_watched_with_its_own_log(desk: Desk) -> None:
    desk.server.runner = Scripted(files=output(), log=["from here"], polls=3)
    desk.works(*PUSH)
    desk.server.push_elsewhere(NAME, Scripted(log=["from elsewhere"], polls=0))
    shown = desk.works(*WATCH)
    assert f"{NAME} version 1: COMPLETE" in shown
    assert "from elsewhere" not in shown
    assert "from here" in shown
    desk.works(*PULL)
    assert (desk.run / "kernel.log").read_text() == "from here\n"


def test_a_version_that_was_replaced_is_submitted_by_its_number(desk: Desk) -> None:
    pushed_over(desk)
    desk.works("submit", "--run", RUN)
    (submission,) = desk.server.submissions
    assert submission.fields["description"].startswith(f"[{NAME} v1]")
    assert submission.content == images()


def test_work_whose_version_was_replaced_is_not_done_again(desk: Desk) -> None:
    pushed_over(desk)
    assert "is on Kaggle already" in desk.works(*PUSH)
    assert "Fetch it first" in desk.fails(2, *PUSH, "--image-seed", "5")
    desk.works(*PULL)
    assert "version 2 was not pushed from runs/first" in desk.fails(2, *PUSH, "--image-seed", "5")
    assert pushes(desk) == 2
    desk.works(*PUSH, "--image-seed", "5", "--replace")
    record = read_record(desk.run)
    assert record is not None
    assert record.version == 3


def test_a_version_that_still_runs_is_not_forgotten_for_a_later_one(desk: Desk) -> None:
    desk.server.runner = Held()
    desk.works(*PUSH)
    desk.server.push_elsewhere(NAME, Scripted(polls=0))
    message = desk.fails(2, *PUSH, "--image-seed", "5", "--replace")
    assert "version 1 is RUNNING with other settings" in message
    assert "is on Kaggle already" in desk.works(*PUSH)


@pytest.mark.parametrize("command", [WATCH, PULL])
def test_where_kaggle_gives_the_latest_alone_a_replaced_version_is_told(
    desk: Desk, command: tuple[str, ...]
) -> None:
    pushed_over(desk)
    desk.server.latest_alone = True
    message = desk.fails(2, *command)
    assert f"Version 2 of {NAME} has replaced version 1" in message
    assert "Kaggle gives the latest alone" in message
    assert not (desk.run / "images.zip").exists()
    assert "was not pushed from runs/first" in desk.fails(2, *PUSH)


def test_a_run_folder_that_lost_its_record_knows_its_own_kernel(desk: Desk) -> None:
    pushed_and_complete(desk)
    (desk.run / "kernel.json").unlink()
    desk.works(*PUSH)
    assert pushes(desk) == 2


def test_a_kernel_of_an_earlier_version_is_found_by_its_record(desk: Desk) -> None:
    """Version 0.1.0 left no mark in the source and gave v2.0 and v2-0 the same name."""
    name = "alice/painter-v2-0"
    run = desk.folder / "runs" / "v2.0"
    desk.server.runner = Scripted(files=output(), polls=0)
    desk.works(*instead_of_first(PUSH, "runs/v2-0"))
    (version,) = desk.server.kernels[name].versions
    version.request["text"] = version.request["text"].replace("ORIGIN", "REVISION")
    (desk.folder / "runs" / "v2-0").rename(run)
    earlier = read_record(run)
    assert earlier is not None
    write_record(run, earlier.with_changes(source_sha256=digest(version.request["text"])))
    assert "is on Kaggle already" in desk.works(*instead_of_first(PUSH, "runs/v2.0"))
    desk.works(*instead_of_first(PULL, "runs/v2.0"))
    assert (run / "images.zip").read_bytes() == images()
    desk.works(*instead_of_first(PUSH, "runs/v2.0"), "--image-seed", "2")
    assert set(desk.server.kernels) == {name}
    assert "was not pushed from" in desk.fails(2, *instead_of_first(PUSH, "runs/v2-0"))


def test_the_images_of_a_run_are_not_made_over_another_ones(desk: Desk) -> None:
    for name in (RUN, "elsewhere/first"):
        train_here(desk.folder, name)
    desk.server.runner = Scripted(files=generated(desk.run), polls=0)
    desk.works("submit", "--run", RUN)
    snapshot = desk.server.datasets["alice/painter-first-snapshot"]
    assert "--replace" in desk.fails(2, "submit", "--run", "elsewhere/first")
    assert snapshot.version == 1
    assert len(desk.server.kernels[f"{NAME}-images"].versions) == 1
    desk.painter("submit", "--run", "elsewhere/first", "--replace")
    assert len(desk.server.kernels[f"{NAME}-images"].versions) == 2


@pytest.mark.parametrize(("answer", "expected"), [("y", True), ("n", False), ("", False)])
def test_at_a_terminal_the_question_is_asked(
    answer: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyboard, terminal = os.openpty()
    with os.fdopen(terminal, "r") as stdin, os.fdopen(os.dup(terminal), "w") as stderr:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("sys.stderr", stderr)
        os.write(keyboard, f"{answer}\n".encode())
        assert replace_confirmation(False)("It is from elsewhere.") is expected
        shown = ""
        while "Push it?" not in shown and select.select([keyboard], [], [], 5)[0]:
            shown += os.read(keyboard, 1000).decode()
        assert "It is from elsewhere. Push it?" in shown
        assert replace_confirmation(True)("It is from elsewhere.")
    os.close(keyboard)


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for stdin in (None, io.StringIO("y\n")):
        monkeypatch.setattr("sys.stdin", stdin)
        assert not replace_confirmation(False)("It is from elsewhere.")


def test_the_mark_in_a_source_is_of_its_folder(tmp_path: Path) -> None:
    settings = KernelSettings("train", config={})
    for folder in (tmp_path / "a" / "first", tmp_path / "b" / "first"):
        kernel = build(settings, origin_of(folder))
        for source in (kernel.script, as_notebook(kernel, settings)):
            assert origin_in(source) == origin_of(folder)
            assert "first" not in source.partition("ARCHIVE")[0]
    assert origin_of(tmp_path / "a" / "first") != origin_of(tmp_path / "b" / "first")
    for other in (build(settings).script, "print(1)", "{'a': 1}", '{"cells": 3}', "{"):
        assert origin_in(other) is None
        assert len(digest(other)) == 64


def test_another_run_of_the_same_name_does_not_replace_a_kernel_that_runs(desk: Desk) -> None:
    desk.server.runner = Held()
    desk.works(*PUSH)
    assert "was not pushed from this folder" in desk.fails(2, *ELSEWHERE)
    assert pushes(desk) == 1


def test_a_kernel_that_is_gone_is_told(desk: Desk) -> None:
    pushed_and_complete(desk)
    del desk.server.kernels[NAME]
    assert "is no longer on Kaggle" in desk.fails(2, *PULL)
    desk.works(*PUSH)


@pytest.mark.parametrize("options", [("--accelerator", "cpu"), ("--attach", "bob/weights")])
def test_another_machine_or_dataset_is_other_work(desk: Desk, options: tuple[str, str]) -> None:
    desk.server.add_dataset("bob/weights", {"x": b"1"})
    desk.server.runner = Held()
    desk.works(*PUSH)
    assert "with other settings" in desk.fails(2, *PUSH, *options)


def test_a_dataset_that_could_not_be_attached_is_told_again(desk: Desk) -> None:
    desk.server.runner = Held()
    options = ("--attach", "bob/nothing")
    for words in ("could not attach", "without datasets bob/nothing"):
        assert words in desk.fails(2, *PUSH, *options)
    assert pushes(desk) == 1
    desk.server.kernels[NAME].versions[-1].finish("CANCEL_ACKNOWLEDGED")
    desk.works(*PUSH)


def test_fields_that_are_zero_are_left_out_of_a_quota(desk: Desk) -> None:
    quota = f"{KERNELS}/GetAcceleratorQuotaStatistics"
    for gpu in ({}, {"totalTimeAllowed": "108000s"}):
        desk.server.faults[quota].append(Instead(as_json({"gpuQuota": gpu})))
        desk.works("doctor") if gpu else desk.fails(2, "doctor")


def test_time_that_running_kernels_reserve_is_not_left(desk: Desk) -> None:
    gpu = {"totalTimeAllowed": "36000s", "timeUsed": "600s", "timeReserved": "34800s"}
    desk.server.faults[f"{KERNELS}/GetAcceleratorQuotaStatistics"].append(
        Instead(as_json({"gpuQuota": gpu}))
    )
    assert "10 of 600 minutes" in desk.fails(2, *PUSH, "--minutes", "11")


def test_a_status_of_a_later_time_is_no_crash(desk: Desk) -> None:
    desk.works(*PUSH)
    desk.server.faults[STATUS].append(Instead(as_json({"status": "PAUSED"}), for_ever=True))
    assert "was not understood" in desk.fails(1, *PULL)


def test_watch_says_when_nothing_was_pushed(desk: Desk) -> None:
    assert "painter kernel push" in desk.fails(2, *WATCH)
    assert "No run in runs was pushed" in desk.fails(2, "kernel", "pull")


def test_log_pieces_become_lines_and_a_replay_is_skipped() -> None:
    class Client:
        def __init__(self, *pieces: str) -> None:
            self.pieces = pieces

        def stream_log(self, name: str, version: int) -> tuple[str, ...]:
            return self.pieces

    shown: list[str] = []
    log = LogLines(shown.append)
    log.follow(Client("one\ntw", "o\rthree"), "x", 1)  # type: ignore[arg-type]  # all it needs
    log.follow(Client("one\ntw", "o\rthree", " and more"), "x", 1)  # type: ignore[arg-type]
    log.finish()
    assert shown == ["one", "two", "three and more"]


# --- pull


def test_pull_brings_the_run_folder_and_nothing_else(desk: Desk) -> None:
    pushed_and_complete(desk)
    shown = desk.works(*PULL)
    left = {p.relative_to(desk.run).as_posix() for p in desk.run.rglob("*") if p.is_file()}
    expected = {n for n in output() if not n.startswith((".", "__"))}
    assert left == expected | {"kernel.json", "kernel.log", ".lock"}
    assert (desk.run / "images.zip").read_bytes() == images()
    assert "6 files" in shown


def test_pull_again_fetches_only_what_is_missing(desk: Desk) -> None:
    pushed_and_complete(desk)
    desk.works(*PULL)
    (desk.run / "log.txt").unlink()
    desk.server.requests.clear()
    desk.works(*PULL)
    assert [n for n in desk.server.called() if n.startswith("files/")] == ["files/log.txt"]
    assert (desk.run / "log.txt").read_text() == "trained\n"


def test_pull_again_leaves_what_was_done_here_since(desk: Desk) -> None:
    desk.server.runner = Scripted(files=output() | {"images.json": b'{"seed": 0}'}, polls=0)
    desk.works(*PUSH)
    desk.works(*PULL)
    path, made = desk.run / "images.zip", desk.run / "images.json"
    other = images()[:-1] + b"x"  # as many bytes
    path.write_bytes(other)
    made.write_text('{"seed": 1}')
    (desk.run / "log.txt").write_text("trained\ntrained here\n")
    (desk.run / "score.json").unlink()  # as `painter generate` does
    said = (
        "3 files were changed here since, and are left so (images.json, images.zip, log.txt). "
        "Delete images.zip, log.txt and pull again to get Kaggle's, with images.json."
    )
    desk.server.requests.clear()
    assert said in desk.works(*PULL)
    assert not [n for n in desk.server.called() if n.startswith("files/")]
    record = read_record(desk.run)
    assert record is not None
    assert record.images_sha256 == hashlib.sha256(images()).hexdigest()
    assert (record.pulled or {})["log.txt"] == len("trained\n")
    write_record(desk.run, record.with_changes(pulled_sha256=None))  # of an earlier version
    assert "2 files were changed here since" in desk.works(*PULL)
    assert path.read_bytes() == other
    path.unlink()
    assert "1 file was changed here since, and is left so (log.txt)" in desk.works(*PULL)
    assert path.read_bytes() == images()
    assert desk.read(f"{RUN}/images.json") == {"seed": 0}  # what tells of them comes with them
    assert desk.read(f"{RUN}/score.json")["mifid"] == 91.25


def test_nothing_is_pulled_into_a_folder_where_another_process_works(desk: Desk) -> None:
    pushed_and_complete(desk)
    with RunFolder(desk.run).locked():
        assert "Another process is at work in runs/first" in desk.fails(2, *PULL)
    assert not (desk.run / "kernel.log").exists()
    desk.works(*PULL)


def test_a_record_that_another_process_has_replaced_is_not_written_over(tmp_path: Path) -> None:
    write_record(tmp_path, record().with_changes(version=2))
    with pytest.raises(RunError, match="belongs to another push than alice/painter-first"):
        pull(KaggleClient.__new__(KaggleClient), record(), tmp_path)


def test_pull_waits_for_nothing(desk: Desk) -> None:
    desk.server.runner = Held()
    desk.works(*PUSH)
    assert f"{NAME} version 1 is RUNNING" in desk.fails(2, *PULL)


def test_pull_of_a_failed_kernel_brings_its_log_and_fails(desk: Desk) -> None:
    files = {"state.pt": pack(desk.folder / "s", {"x": b"1"}).read_bytes()}
    desk.server.runner = Scripted("ERROR", ["out of time"], files, 0, "ran too long")
    desk.works(*PUSH)
    message = desk.fails(1, *PULL)
    assert "ended with ERROR: ran too long" in message
    assert (desk.run / "kernel.log").read_text() == "out of time\n"
    assert (desk.run / "state.pt").exists()


def test_a_web_page_is_never_kept_as_a_file(desk: Desk) -> None:
    pushed_and_complete(desk)
    desk.server.faults["files/images.zip"].append(web_page())
    assert "sent a web page instead of images.zip" in desk.fails(2, *PULL)
    assert not (desk.run / "images.zip").exists()
    assert not any(PAGE in p.read_bytes() for p in desk.run.rglob("*") if p.is_file())
    desk.works(*PULL)
    assert (desk.run / "images.zip").read_bytes() == images()


def test_a_zip_that_arrives_cut_off_is_not_kept(desk: Desk) -> None:
    pushed_and_complete(desk)
    desk.server.faults["files/images.zip"].append(Truncated(size=500))
    assert "images.zip arrived damaged" in desk.fails(2, *PULL)
    assert not (desk.run / "images.zip").exists()
    desk.works(*PULL)
    with zipfile.ZipFile(desk.run / "images.zip") as archive:
        assert archive.testzip() is None


def test_a_transfer_that_breaks_goes_on_where_it_stopped(desk: Desk) -> None:
    large = 3 * 2**20
    content = pack(desk.folder / "large", {"1.bin": os.urandom(large)}).read_bytes()
    desk.server.runner = Scripted(files={"images.zip": content}, polls=0)
    desk.works(*PUSH)
    desk.server.faults["files/images.zip"].append(BreaksAfter(size=2 * 2**20 + 1000))
    desk.works(*PULL)
    assert (desk.run / "images.zip").read_bytes() == content
    ranges = [r.headers.get("Range") for r in desk.server.requests if r.name == "files/images.zip"]
    assert ranges[1] == f"bytes={2 * 2**20}-"


def test_a_refusal_on_the_way_is_not_written_into_the_file(desk: Desk) -> None:
    content = os.urandom(3 * 2**20)
    desk.server.runner = Scripted(files={"log.txt": content}, polls=0)
    desk.works(*PUSH)
    expired = Instead(Reply(b"<?xml version='1.0'?><Error>ExpiredToken</Error>", 403))
    desk.server.faults["files/log.txt"] += [BreaksAfter(size=2 * 2**20 + 1000), expired]
    assert "links to output files expire" in desk.fails(2, *PULL)
    desk.works(*PULL)
    assert (desk.run / "log.txt").read_bytes() == content


def test_a_file_that_changed_on_the_way_is_fetched_from_its_beginning(desk: Desk) -> None:
    first, second = os.urandom(3 * 2**20), os.urandom(3 * 2**20)
    desk.server.runner = Scripted(files={"log.txt": first}, polls=0)
    desk.works(*PUSH)
    desk.server.faults["files/log.txt"] += [BreaksAfter(size=2**21), *[Unheard()] * 4]
    desk.fails(1, *PULL)
    desk.server.kernels[NAME].versions[0].files["log.txt"] = second
    desk.works(*PULL)
    assert (desk.run / "log.txt").read_bytes() == second


def test_a_score_of_earlier_images_goes_with_them(desk: Desk) -> None:
    train_here(desk.folder, RUN)
    files = {k: v for k, v in output().items() if k != "score.json"}
    desk.server.runner = Scripted(files=files, polls=0)
    desk.works(*PUSH, "--continue-from", RUN)
    desk.works(*PULL)
    assert not (desk.run / "score.json").exists()


RUN_OF_SEEDS = ("best.safetensors", "best.json", "scores.jsonl", "seeds.json", "choice.json")


def test_what_an_earlier_version_left_goes_where_another_run_takes_its_place(desk: Desk) -> None:
    snapshot = train_here(desk.folder, "runs/other") / "snapshot.safetensors"
    whole = output() | {"snapshot.safetensors": snapshot.read_bytes()}
    weights = {"best.safetensors": snapshot.read_bytes()}
    grid = {"samples/000400000.png": output()["samples/000008.png"]}
    changed = {"samples/000300000.png": grid["samples/000400000.png"]}
    left = dict.fromkeys((*RUN_OF_SEEDS, "seed-1/config.json"), b"{}") | weights | grid
    desk.server.runner = Scripted(files=whole | left | changed, polls=0)
    desk.works(*PUSH)
    desk.works(*PULL)
    assert all((desk.run / name).exists() for name in left)
    for step in (200_000, 300_000):  # made here, and changed here
        (desk.run / "samples" / f"{step:09}.png").write_bytes(b"here")
    failed = Scripted("ERROR", files={"snapshot.safetensors": snapshot.read_bytes()}, polls=0)
    for runner, code, kept in ((failed, 1, True), (Scripted(files=whole, polls=0), 0, False)):
        desk.server.runner = runner
        desk.works(*PUSH, "--image-seed", str(code))
        assert desk.painter(*PULL).code == code
        assert [(desk.run / name).exists() for name in left] == [kept] * len(left)
    assert [step for step, _ in RunFolder(desk.run).sample_grids()] == [8, 200_000, 300_000]
    assert not (desk.run / "seed-1").exists()
    assert RunFolder(desk.run).best_or_last.read_bytes() == snapshot.read_bytes()
    for name in ("best.safetensors", "snapshot.safetensors"):  # made here, and one is gone
        (desk.run / name).write_bytes(snapshot.read_bytes())
    (desk.run / "snapshot.safetensors").unlink()
    desk.works(*PULL)
    assert (desk.run / "best.safetensors").exists()


def test_a_pull_that_was_killed_is_finished_by_the_next(desk: Desk) -> None:
    pushed_and_complete(desk)
    desk.server.after["files/samples/000008.png"] = lambda _: os.kill(
        desk.process.pid, signal.SIGKILL
    )
    assert desk.painter(*PULL).code == -signal.SIGKILL
    assert not (desk.run / "config.json").exists()  # nothing moves before all is there
    desk.server.after.clear()
    desk.works(*PULL)
    assert (desk.run / "images.zip").read_bytes() == images()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "C:\\evil", "a\x1b[2J"])
def test_output_cannot_leave_its_folder(desk: Desk, name: str) -> None:
    desk.server.runner = Scripted(files={name: b"x", "log.txt": b"y"}, polls=0)
    desk.works(*PUSH)
    assert "unsafe name" in desk.fails(2, *PULL)
    assert not list(desk.folder.parent.rglob("evil"))


def test_damage_is_told_from_whole_files(tmp_path: Path) -> None:
    whole = pack(tmp_path / "a.zip", {"x": b"1" * 100})
    assert damage(whole) is None
    (tmp_path / "b.zip").write_bytes(whole.read_bytes()[:-30])
    (tmp_path / "c.zip").write_bytes(whole.read_bytes().replace(b"1" * 100, b"1" * 99 + b"2"))
    (tmp_path / "d.json").write_text("{")
    (tmp_path / "e.txt").write_text("{")
    assert [damage(p) is None for p in sorted(tmp_path.glob("[b-e].*"))] == [False] * 3 + [True]


def test_all_files_that_a_pull_leaves_are_named() -> None:
    names = [f"samples/{step}.png" for step in range(9)]
    said = f"left so ({', '.join(names)}). Delete them and pull again to get Kaggle's."
    assert said in left_alone(names)
    assert "Delete it and pull again to get Kaggle's." in left_alone(["images.json"])


# --- the record


def record(pushed_at: str = "2026-01-01T00:00:00+00:00") -> KernelRecord:
    return KernelRecord(NAME, 1, 0, "train", 1.0, "a", "b", "c", pushed_at)


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    write_record(tmp_path, record())
    assert read_record(tmp_path) == record()
    content = json.loads((tmp_path / "kernel.json").read_text())
    (tmp_path / "kernel.json").write_text(json.dumps(content | {"later": 1}))
    assert read_record(tmp_path) == record()
    wrong = [{"version": "1"}, {"pushed_at": "x"}, {"pulled": 3}, {"minutes": None}, {"name": 1}]
    wrong += [{"before": 1}, {"before": {}}, {"name": "no-owner"}]
    wrong += [{"pushed_at": "2026-01-01T00:00:00"}]  # of which zone?
    for broken_content in ["{}", *[json.dumps(content | change) for change in wrong]]:
        (tmp_path / "kernel.json").write_text(broken_content)
        with pytest.raises(RunError, match="damaged"):
            read_record(tmp_path)


def test_the_run_pushed_last_is_found(tmp_path: Path) -> None:
    for day, name in ((2, "b"), (1, "a")):
        write_record(tmp_path / name, record(f"2026-01-0{day}T00:00:00+00:00"))
    assert latest_record(tmp_path) == tmp_path / "b"
