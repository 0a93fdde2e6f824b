"""A translator in a kernel: its photos, how many images, and a seed on each of two GPUs."""

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, DataError, DivergedError, PainterError, RankLost
from pipeline.data.images import content_hash
from pipeline.data.photos import open_photos
from pipeline.models.snapshots import load_snapshot, write_snapshot
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.system.processes import CODE
from pipeline.training.checkpoints import load_state
from submission import archive
from submission.archive import check_archive
from submission.kernel import distributed as kernel_ranks
from submission.kernel import entry as kernel_entry
from submission.kernel import seeds as kernel_seeds
from submission.kernel.inputs import RUN_FILES
from submission.kernel.photos import default_count, hash_in_domain
from submission.kernel.seeds import SeedResult, choose, read_seeds
from submission.kernel.settings import KernelSettings
from submission.kernel.training import TrainingRequest, train_rank
from tests.support import forks
from tests.support.helpers import fill

TINY: dict[str, Any] = {
    "family": "cyclegan", "image_size": 64, "generator_channels": 4, "discriminator_channels": 4,
    "batch_size": 2, "images": 4, "sample_count": 2, "precision": "float32", "score_every": None,
    "minutes": None, "jpeg_quality": 30,
}  # fmt: skip
COMPETITION = "competitions/gan-getting-started"


@pytest.fixture(autouse=True)
def _five_images_make_a_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MINIMUM_IMAGES", 5)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Return a folder of inputs with four paintings and five photos."""
    fill(tmp_path / "input" / COMPETITION / "monet_jpg", 4, (64, 64))
    photos(tmp_path / "input" / COMPETITION / "photo_jpg", 5)
    return tmp_path / "input"


@pytest.fixture
def working(tmp_path: Path) -> Path:
    return tmp_path / "working"


def photos(folder: Path, count: int) -> Path:
    """Fill a folder with photos, none of which is a painting."""
    return fill(folder, count, (64, 72))


def settings(changes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    config = apply_settings(Config(), TINY | (changes or {})).to_dict()
    return {"task": "train", "config": config, "count": None, "minutes": 5} | more


def train(inputs: Path, working: Path, **changes: Any) -> RunFolder:
    kernel_entry.run(settings(**changes), inputs, working)
    return RunFolder(working)


def attach(run: RunFolder, folder: Path, names: tuple[str, ...] = RUN_FILES) -> None:
    """Lay a run's files out as a dataset."""
    folder.mkdir(parents=True)
    for name in names:
        if (run.path / name).exists():
            shutil.copy(run.path / name, folder)


# --- Photos, and how many images


def test_a_kernel_trains_a_translator_and_makes_an_image_of_each_photo(
    inputs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(inputs, working)
    said = capsys.readouterr().out
    assert said.index("photos: 5 from") < said.index("training images: 4 from")
    assert "5 images are made of them, 0 of these of mirror images" in said
    assert "images.zip: 5 images" in said
    assert check_archive(run.images) == []
    recorded = read_json(run.generation_record)["photos"]
    assert (recorded["domain"], recorded["count"]) == ("photo_jpg", 5)
    trained_on = run.read_data().photos
    assert trained_on is not None
    assert trained_on.content_hash == recorded["content_hash"]


def test_photos_may_come_from_a_dataset_and_their_mirror_images_follow(
    inputs: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(inputs / "datasets" / "alice" / "holiday" / "sea", 6)
    photos(inputs / "datasets" / "alice" / "holiday" / "hills", 3)
    run = train(inputs, working, photos="dataset:alice/holiday", photo_domain="hills", count=6)
    assert "6 images are made of them, 3 of these of mirror images" in capsys.readouterr().out
    assert read_json(run.generation_record)["photos"]["domain"] == "hills"


def test_too_few_photos_are_told_before_training(inputs: Path, working: Path) -> None:
    with pytest.raises(ConfigError, match=r"11 images are to be made, and 5 photos .* 10 at most"):
        train(inputs, working, count=11)
    assert not working.exists()


def test_without_photos_nothing_is_trained(inputs: Path, working: Path) -> None:
    shutil.rmtree(inputs / COMPETITION / "photo_jpg")
    with pytest.raises(DataError, match="translates photos"):
        train(inputs, working)
    assert not working.exists()


def test_by_default_each_photo_gives_an_image_where_that_can_be_submitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "MINIMUM_IMAGES", 7000)
    assert [default_count(n) for n in (3500, 6999, 7000, 7038, 10_000, 10_001)] == [
        7000, 7000, 7000, 7038, 10_000, 7000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photos": "holiday"}, "photos is 'holiday'; expected 'competition' or 'dataset:"),
        ({"gpus": "both"}, "gpus is 'both'; expected 'seeds' or 'shared'"),
        ({"gpus": "seeds", "attached": "a/b"}, "a run that is continued, which has one seed"),
        ({"upscaler": {}, "upscaler_minutes": 1}, "upscaler"),
        ({"expected_photos": {"count": 1}}, "None to train"),
        ({"config": apply_settings(Config(), {}).to_dict()}, "count is None"),
        (
            {"config": apply_settings(Config(), {}).to_dict(), "count": 5, "photo_domain": "a"},
            "is no translator",
        ),
        (
            {"task": "generate", "config": None, "attached": "a/b", "expected_photos": {}},
            "expected None, or domain, count, content_hash",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PainterError, match=message):
        KernelSettings.from_dict(settings() | changes)


# --- The same images again


def expected(folder: Path, domain: str | None = "photo_jpg") -> dict[str, Any]:
    """Return what a record says of photos that lie in a folder by themselves, or in a domain."""
    found = open_photos(folder)
    return {"domain": domain, "count": len(found), "content_hash": hash_in_domain(found, domain)}


def generate(inputs: Path, working: Path, **changes: Any) -> RunFolder:
    chosen = {"task": "generate", "attached": "alice/run", "count": None} | changes
    kernel_entry.run(chosen, inputs, working)
    return RunFolder(working)


@pytest.mark.parametrize("domain", ["photo_jpg", "mine", None])
def test_the_same_photos_make_the_same_images_whatever_their_folder_is_called(
    inputs: Path, tmp_path: Path, working: Path, domain: str | None
) -> None:
    trained = train(inputs, tmp_path / "trained")
    attach(trained, inputs / "run", (trained.snapshot.name,))
    same = expected(inputs / COMPETITION / "photo_jpg", domain)
    run = generate(inputs, working, expected_photos=same)
    assert run.images.read_bytes() == trained.images.read_bytes()


def test_a_hash_is_that_of_photos_in_a_folder_of_that_name(inputs: Path) -> None:
    there = open_photos(inputs / COMPETITION, "photo_jpg")
    assert hash_in_domain(there, "photo_jpg") == content_hash(there)
    alone = open_photos(inputs / COMPETITION / "photo_jpg")
    assert hash_in_domain(there, None) == content_hash(alone)


def test_other_photos_are_refused_with_what_differs(
    inputs: Path, tmp_path: Path, working: Path
) -> None:
    trained = train(inputs, tmp_path / "trained")
    attach(trained, inputs / "run", (trained.snapshot.name,))
    fewer = expected(photos(tmp_path / "fewer", 4))
    with pytest.raises(DataError, match=r"5 here, 4 there.*painter download.*images\.zip out"):
        generate(inputs, working, expected_photos=fewer)
    others = expected(fill(tmp_path / "others", 5, (64, 80)))
    with pytest.raises(DataError, match=r"\(5, but others\)"):
        generate(inputs, working, expected_photos=others)
    assert not RunFolder(working).images.exists()


# --- A seed on each GPU


class Processes:
    """The processes of seeds: each trains in this one, or ends in a way of its own."""

    def __init__(self) -> None:
        self.ends: dict[int, PainterError] = {}
        """What a process ends with, by its GPU."""
        self.scores: dict[int, float] = {}
        """The validation score of the best snapshot that it leaves."""
        self._one_at_a_time = threading.Lock()

    def __call__(
        self, request: dict[str, Any], gpu: int, count: int, scratch: Path, label: str
    ) -> None:
        if gpu in self.ends:
            raise self.ends[gpu]
        with self._one_at_a_time:
            train_rank(TrainingRequest(**request))
        if gpu in self.scores:
            run = RunFolder(Path(request["run"]))
            best = replace(
                load_snapshot(run.snapshot), images_seen=2, score={"holdout_kid": self.scores[gpu]}
            )
            write_snapshot(run.best, best)


def in_this_process(request: dict[str, Any], count: int, scratch: Path) -> None:
    """Do what the processes that share each batch would do, as one."""
    train_rank(TrainingRequest(**request))


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let torch count two GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return monkeypatch


@pytest.fixture
def processes(two_gpus: pytest.MonkeyPatch) -> Processes:
    """Return what stands in the place of the processes that the kernel would start."""
    made = Processes()
    two_gpus.setattr(kernel_seeds, "train_on_gpu", made)
    return made


def test_each_gpu_trains_a_seed_and_whole_runs_are_left(
    inputs: Path,
    working: Path,
    two_gpus: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stream_output(command: list[str], count: int, more: dict[str, str], prefix: str) -> int:
        done = forks.run(
            kernel_ranks.run_rank,
            Path(command[-1]),
            cwd=CODE,
            env=os.environ | more,
        )
        for line in done.stdout.splitlines():
            print(f"{prefix}{line}")
        return done.returncode

    two_gpus.setattr(kernel_ranks, "_stream_output", stream_output)
    run = train(inputs, working)
    said = capsys.readouterr().out
    for line in (
        "training seeds 0, 1, one on each of 2 GPUs",
        "seed 0: training images: 4 from",
        "seed 1: training images: 4 from",
        "seed 1: 4 images seen, no validation score",
        "kept: seed 0, the first: without validation scores of all, nothing tells which is better",
        "trained: 4 images seen",
        "images.zip: 5 images",
    ):
        assert line in said
    other = RunFolder(working / "seed-1")
    assert [r.read_config().training.seed for r in (run, other)] == [0, 1]
    assert [load_state(r.state)["step"] for r in (run, other)] == [2, 2]
    assert run.snapshot.read_bytes() != other.snapshot.read_bytes()
    assert not (working / "seed-0").exists()
    assert not list(working.rglob(".lock"))
    assert check_archive(run.images) == []
    assert read_json(working / "seeds.json")["kept"] == 0


def test_the_seed_with_the_lower_score_is_kept_and_the_state_of_the_other_goes(
    inputs: Path,
    working: Path,
    processes: Processes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    processes.scores = {0: 0.2, 1: 0.1}
    run = train(inputs, working)
    said = capsys.readouterr().out
    assert "seed 0: 4 images seen, holdout_kid 0.2" in said
    assert "kept: seed 1, whose holdout_kid is lowest" in said
    assert "snapshot: best, at 2 images" in said
    assert run.read_config().training.seed == 1
    assert load_state(run.state)["step"] == 2
    left = {path.name for path in (working / "seed-0").iterdir()}
    assert {"snapshot.safetensors", "best.safetensors", "stats.jsonl", "log.txt"} < left
    assert "state.pt" not in left
    compared = read_json(working / "seeds.json")
    assert [one["score"] for one in compared["seeds"]] == [0.2, 0.1]
    processes.ends = {0: RankLost("Nothing is trained again."), 1: RankLost("Nor is this.")}
    monkeypatch.setattr(kernel_entry, "train_in_processes", in_this_process)
    made = run.images.read_bytes()
    assert train(inputs, working).images.read_bytes() == made  # the run has ended: it is left


def test_a_seed_that_fails_does_not_lose_the_other(
    inputs: Path, working: Path, processes: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    processes.ends[0] = RankLost("It ended.")
    first = train(inputs, working)
    said = capsys.readouterr().out
    assert "seed 0: failed, and the others go on. It ended." in said
    assert "kept: seed 1, the only one that was trained to its end" in said
    assert first.read_config().training.seed == 1
    assert check_archive(first.images) == []
    seeds = read_seeds(first)
    assert seeds is not None
    assert (seeds.first, seeds.kept) == (0, 1)


def test_a_continued_run_has_one_seed(
    inputs: Path, tmp_path: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attach(train(inputs, tmp_path / "first"), inputs / "state")
    chosen = settings({"images": 8}, attached="alice/state")
    assert not KernelSettings.from_dict(chosen).trains_seeds
    kernel_entry.run(chosen, inputs, working)
    assert load_state(RunFolder(working).state)["step"] == 4
    assert "resuming: 4 images seen so far" in capsys.readouterr().out


def test_where_no_process_works_the_kernel_trains_one_seed_itself(
    inputs: Path,
    working: Path,
    two_gpus: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    two_gpus.setattr(kernel_ranks, "one_process", lambda request: ["sh", "-c", "exit 1"])
    run = train(inputs, working)
    said = capsys.readouterr().out
    assert "seed 1: failed, and the others go on. The training ended with exit code 1" in said
    assert "Seed 0 goes on alone" in said
    assert run.read_config().training.seed == 0
    assert check_archive(run.images) == []


def test_what_no_seed_survives_is_the_kernels_error(
    inputs: Path, working: Path, processes: Processes
) -> None:
    processes.ends = {0: RankLost("It ended."), 1: DivergedError("Not finite.")}
    with pytest.raises(DivergedError, match="Not finite"):
        train(inputs, working)


def test_shared_batches_are_a_setting(
    inputs: Path, working: Path, two_gpus: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two_gpus.setattr(kernel_ranks, "torchrun", lambda count, orders: ["sh", "-c", "exit 1"])
    run = train(inputs, working, gpus="shared")
    said = capsys.readouterr().out
    assert "training on 2 GPUs" in said
    assert "seeds" not in said
    assert check_archive(run.images) == []


@pytest.mark.parametrize(
    ("results", "kept", "reason"),
    [
        ([SeedResult(3, 4, "mifid", 50.0), SeedResult(4, 4, "mifid", 49.0)], 4, "mifid is lowest"),
        ([SeedResult(3, 4, "mifid", 50.0), SeedResult(4, 4)], 3, "the first"),
        ([SeedResult(3, failure="lost"), SeedResult(4, 4)], 4, "the only one"),
        ([SeedResult(3, 4), SeedResult(4, 4)], 3, "The others are kept whole, in seed-4"),
    ],
)
def test_the_better_seed_is_chosen_by_its_score(
    results: list[SeedResult], kept: int, reason: str
) -> None:
    chosen, why = choose(results)
    assert chosen.seed == kept
    assert reason in why


def test_each_process_sees_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    command = f"echo $CUDA_VISIBLE_DEVICES >> {told}"
    monkeypatch.setattr(kernel_ranks, "one_process", lambda request: ["sh", "-c", command])
    for visible in (None, "5,7"):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        kernel_ranks.train_on_gpu({}, 1, 2, tmp_path / "scratch", "seed 1")
    assert told.read_text().split() == ["1", "7"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"
    assert json.loads((tmp_path / "scratch" / "request.json").read_text()) == {}
