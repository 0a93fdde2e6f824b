"""A kernel with two GPUs: torchrun for real, with processes on the CPU in the GPUs' place."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, PainterError, RankLost, RunError
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import write_json
from pipeline.training.checkpoints import load_state
from submission import archive
from submission.archive import check_archive
from submission.kernel import distributed as kernel_ranks
from submission.kernel import entry as kernel_entry
from submission.kernel.distributed import run_rank, train_in_processes, usable_gpus
from submission.kernel.job import Job
from submission.kernel.settings import KernelSettings
from tests.support import factories
from tests.support.factories import CPU
from tests.support.forked_ranks import forked_ranks
from tests.support.helpers import fill

TINY = factories.TINY | {"images": 8, "sample_count": 4, "precision": "float32"}


@pytest.fixture(autouse=True)
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch count two GPUs, and five images make a submission."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(archive, "MINIMUM_IMAGES", 5)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    fill(tmp_path / "input" / "gan-getting-started" / "monet_jpg")
    return tmp_path / "input"


def settings(**changes: Any) -> dict[str, Any]:
    config = apply_settings(Config(), TINY | changes).to_dict()
    return {"task": "train", "config": config, "count": 5, "minutes": 5}


def test_a_kernel_trains_on_both_gpus_and_shows_the_log(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunFolder(tmp_path / "working")
    with forked_ranks(2, monkeypatch):
        kernel_entry.run(settings(), inputs, run.path)
    said = capsys.readouterr().out
    for line in ("training on 2 GPUs", "training images: 4 from", "Training in float32",
                 "train 100%",
                 "trained: 8 images seen", "images.zip: 5 images"):  # fmt: skip
        assert said.count(line) == 1 or line == "train 100%", said
        assert line in said
    (sitting,) = run.read_provenance()["sittings"]
    assert sitting["device"].startswith("2 x CPU")
    assert load_state(run.state)["step"] == 2
    assert check_archive(run.images) == []
    assert not (run.path / "tensorboard").exists()
    assert not (run.path / ".lock").exists()


def test_where_several_processes_do_not_work_one_goes_on(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(kernel_ranks, "torchrun", lambda count, orders: ["sh", "-c", "exit 1"])
    run = RunFolder(tmp_path / "working")
    kernel_entry.run(settings(), inputs, run.path)
    assert "exit code 1; what they printed stands above" in capsys.readouterr().out
    assert run.read_provenance()["sittings"][0]["device"].startswith("CPU")
    assert check_archive(run.images) == []


def test_an_error_of_the_processes_is_the_kernels(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torchrun(count: int, orders: Path) -> list[str]:
        return failing(1, {"failure-1.json": TOO_SHORT}, orders.parent)

    monkeypatch.setattr(kernel_ranks, "torchrun", torchrun)
    with pytest.raises(ConfigError, match="none is left"):
        kernel_entry.run(settings(), inputs, tmp_path / "working")


def test_a_process_leaves_its_failure_for_the_kernel(inputs: Path, tmp_path: Path) -> None:
    run, scratch = RunFolder(tmp_path / "working"), tmp_path / "scratch"
    for folder in (run.path, scratch):
        folder.mkdir()
    (run.path / "thesis.txt").write_text("mine")
    chosen = KernelSettings.from_dict(settings())
    job = Job(chosen, inputs, run, scratch, CPU, time.monotonic() + 300)
    write_json(scratch / "request.json", asdict(kernel_entry.training_request(job)))
    with pytest.raises(SystemExit) as end:
        run_rank(scratch / "request.json")
    assert end.value.code == RunError.exit_code
    left = json.loads((scratch / "failure-0.json").read_text())
    assert left["error"] == "RunError"
    assert "not empty and holds no run" in left["message"]


@pytest.mark.parametrize(("batch_size", "used"), [(64, 2), (6, 2), (5, 1), (2, 2)])
def test_as_many_gpus_are_used_as_can_take_equal_shares(batch_size: int, used: int) -> None:
    assert usable_gpus(batch_size) == used


def test_without_a_gpu_one_process_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert usable_gpus(64) == 1


def failing(code: int, failures: dict[str, dict[str, str]], scratch: Path) -> list[str]:
    """Return a command that leaves failures as the processes do, prints, and ends with a code."""
    script = scratch / "fail.sh"
    lines = [f"echo '{json.dumps(f)}' > {scratch / name}" for name, f in failures.items()]
    script.write_text("\n".join([*lines, "echo on its way", f"exit {code}"]))
    return ["sh", str(script)]


LOST = {"error": "RankLost", "message": "Another process has ended."}
TOO_SHORT = {"error": "ConfigError", "message": "Of 5 minutes none is left."}


@pytest.mark.parametrize(
    ("failures", "kind", "message"),
    [
        ({"failure-0.json": LOST, "failure-1.json": TOO_SHORT}, ConfigError, "none is left"),
        ({"failure-0.json": TOO_SHORT}, ConfigError, "none is left"),
        ({"failure-0.json": LOST}, RankLost, "2 processes ended with exit code 3"),
        ({}, RankLost, "2 processes ended with exit code 3.*stands above"),
    ],
)
def test_the_error_of_the_process_that_failed_first_is_raised(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failures: dict[str, dict[str, str]],
    kind: type[PainterError],
    message: str,
) -> None:
    command = failing(3, failures, tmp_path)
    monkeypatch.setattr(kernel_ranks, "torchrun", lambda count, orders: command)
    (tmp_path / "failure-7.json").write_text("of an earlier sitting")
    with pytest.raises(kind, match=message) as failure:
        train_in_processes({}, 2, tmp_path)
    assert type(failure.value) is kind
    assert capsys.readouterr().out == "on its way\n"
