"""A kernel that measures its machine: what is planned, pushed, run and pulled."""

import json
from pathlib import Path

import pytest

from kernels.bundle import build, families_of
from kernels.metadata import CPU, describe
from kernels.planning import KernelRequest, describe_plan, plan_benchmark
from kernels.push import work_digest
from pipeline.bench.scoring import STAND_IN
from pipeline.bench.settings import PARTS, BenchmarkSettings
from pipeline.config import plugins
from pipeline.core.errors import ConfigError, KaggleError
from submission.kernel.settings import KernelSettings
from tests.support.benchmark_helpers import TINY_BENCHMARK
from tests.support.kaggle_desk import Desk, desk, painter_process
from tests.support.kaggle_state import Scripted
from tests.support.kernel_sandbox import run_script

__all__ = ["desk", "painter_process"]  # fixtures

RUN = "runs/bench"
PUSH = ("kernel", "push", "--task", "bench", "--run", RUN)
CALL = "run(SETTINGS, INPUT, WORKING)"
IN_ONE_PROCESS = f"""
import json
from functools import partial
from pipeline.bench import training, worker

class Here:
    def __init__(self, target):
        self.served = worker.resolve(target)
    def call(self, *words, limit=None):
        reply = json.loads(worker.reply_to(self.served, json.dumps(words)))
        assert "error" not in reply, reply
        return reply["result"]
    def close(self):
        pass

import submission.kernel.benchmark
training.Worker = submission.kernel.benchmark.Worker = Here
training.MOST_STEPS = 2
{CALL}"""
"""Put in place of the call: the libraries are imported once and not nine times."""


def tiny(**changes: object) -> KernelSettings:
    return KernelSettings("bench", minutes=5, benchmark=TINY_BENCHMARK | changes)


# --- The kernel


def test_it_measures_and_checks_where_only_kaggles_libraries_are(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    script = build(tiny()).script
    assert script.count(CALL) == 1
    done = run_script(script.replace(CALL, IN_ONE_PROCESS), tmp_path / "input", tmp_path / "out")
    assert done.returncode == 0, done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bench.json", "bench.md"}
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert {name: part["error"] for name, part in found["parts"].items()} == dict.fromkeys(PARTS)
    assert found["bundle"] == build(tiny()).bundle_hash
    (recipe,) = found["parts"]["training"]["result"]
    assert recipe["error"] is None
    assert STAND_IN in found["parts"]["scoring"]["result"]["notes"][0]
    assert all(check["holds"] is not False for check in found["parts"]["checks"]["result"]), found
    for part in PARTS:
        assert f"{part}: " in done.stdout


@pytest.mark.slow  # nine new interpreters
def test_it_does_so_in_processes_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    done = run_script(build(tiny()).script, tmp_path / "input", tmp_path / "out", new=True)
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert {name: part["error"] for name, part in found["parts"].items()} == dict.fromkeys(PARTS)


def test_its_file_says_no_more_than_what_it_measures() -> None:
    settings = tiny()
    assert settings.to_dict() == {"task": "bench", "minutes": 5, "benchmark": TINY_BENCHMARK}
    assert KernelSettings.from_dict(settings.to_dict()) == settings


def test_half_of_its_minutes_are_measured_unless_it_says_otherwise() -> None:
    assert KernelSettings("bench", minutes=8).benchmark_settings() == BenchmarkSettings(4)
    assert tiny(minutes=0.3).benchmark_settings().minutes == 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {}}, "config is {}; expected None with task 'bench'"),
        ({"attached": "a/b"}, "attached is 'a/b'; expected None with task 'bench'"),
        ({"benchmark": {"mintues": 3}}, "no setting 'mintues'"),
        ({"benchmark": 3}, "benchmark is 3; expected dict or None"),
        ({"task": "generate", "attached": "a/b", "benchmark": {}}, "None but with task 'bench'"),
    ],
)
def test_settings_that_mean_nothing_to_it_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        KernelSettings.from_dict({"task": "bench"} | changes)


# --- The plan


def test_it_needs_no_data_and_asks_for_none() -> None:
    request = KernelRequest(minutes=6, accelerator="cpu", attach=("bob/weights",), notebook=True)
    plan = plan_benchmark("alice", Path(RUN), request)
    about = describe(plan, "alice")
    assert (about["competition_sources"], about["dataset_sources"]) == ([], ["bob/weights"])
    assert (plan.slug, plan.accelerator, plan.notebook) == ("painter-bench", CPU, True)
    shown = describe_plan(plan, "alice")
    assert "minutes   6 (Kaggle ends it after 960 s)" in shown
    assert "measures  training 108 s, generating 25 s, scoring 25 s, checks 22 s" in shown
    assert "trains    monet64 at batch 64, each 3 times in turn with a plain loop" in shown
    gpu = describe_plan(plan_benchmark("alice", Path(RUN), KernelRequest()), "alice")
    assert "monet64 at batch 64, paint256 at batch 16, photo2monet at batch 16, each" in gpu
    with pytest.raises(KaggleError, match="cannot be pushed"):
        plan_benchmark("alice", Path(RUN), KernelRequest(minutes=291))
    with pytest.raises(KaggleError, match="OWNER/SLUG"):
        plan_benchmark("alice", Path(RUN), KernelRequest(attach=("weights",)))


def test_other_code_is_other_work() -> None:
    plan = plan_benchmark("alice", Path(RUN), KernelRequest())
    assert work_digest(plan, "alice", "one", ()) != work_digest(plan, "alice", "other", ())


def test_it_carries_no_families_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring, generating = tiny(), KernelSettings("generate", attached="a/b")
    monkeypatch.setattr(plugins, "modules", lambda: ["my_family"])
    assert (families_of(measuring), families_of(generating)) == ([], ["my_family"])


# --- The commands


def test_it_is_pushed_without_a_preset_and_its_numbers_are_pulled(desk: Desk) -> None:
    left: dict[str, bytes | Path] = {"bench.json": b'{"format": 1}', "bench.md": b"# Tesla T4\n"}
    desk.server.runner = Scripted(files=left, polls=0)
    assert "measures  training" in desk.works(*PUSH, "--dry-run")
    desk.works(*PUSH, "--minutes", "6")
    assert "is on Kaggle already" in desk.works(*PUSH, "--minutes", "6")
    request = desk.server.kernels["alice/painter-bench"].versions[0].request
    assert request.get("competitionDataSources", []) == []
    assert "2 files" in desk.works("kernel", "pull", "--run", RUN)
    assert (desk.folder / RUN / "bench.md").read_bytes() == b"# Tesla T4\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "bench", "--preset", "demo"), "--preset is about training, and --task bench"),
        (("--task", "bench", "--count", "7000"), "--count is about training"),
        ((), "Missing option '--preset'"),
    ],
)
def test_options_of_the_other_task_are_refused(
    desk: Desk, words: tuple[str, ...], message: str
) -> None:
    done = desk.painter("kernel", "push", "--run", RUN, *words)
    assert done.code == 2
    assert message in done.err


def test_its_numbers_come_into_no_folder_of_a_run(desk: Desk) -> None:
    (desk.folder / RUN).mkdir(parents=True)
    (desk.folder / RUN / "config.json").write_text("{}")
    assert f"{RUN} holds a run. Choose another --run" in desk.fails(2, *PUSH)
