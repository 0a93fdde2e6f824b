"""A translator to Kaggle and back: what is planned, pushed, pulled and submitted."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernels.bundle import build
from kernels.planning import KernelRequest, describe_plan, plan_training
from pipeline.cli import run_command
from pipeline.config import Config, apply_settings, resolve
from pipeline.core.errors import ConfigError
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from submission.kernel.settings import KernelSettings
from tests.support import forks
from tests.support.helpers import encoded, fill, pack, painting
from tests.support.kaggle_desk import MINIMUM, RUN, Desk, painter_process
from tests.support.kaggle_server import KaggleServer
from tests.support.kaggle_state import Really, Scripted
from tests.support.kernel_sandbox import run_script, start_script
from tests.support.painter_process import PainterProcess

__all__ = ["painter_process"]  # a fixture

TINY = {
    "image_size": 64, "generator_channels": 4, "discriminator_channels": 4, "batch_size": 2,
    "images": 4, "sample_count": 2, "precision": "float32", "jpeg_quality": 30,
}  # fmt: skip
WORDS = [
    word
    for setting in (
        *(f"{name}={value}" for name, value in TINY.items()), "minutes=none", "score_every=none",
        "shift=0",
    )
    for word in ("--set", setting)
]  # fmt: skip
"""Options that make a run of preset `photo2monet` take well under a second."""
CALL = "run(SETTINGS, INPUT, WORKING)"
RUN_PATH = Path("runs/first")


def with_few_images(text: str) -> str:
    """Return a kernel's source for which five images make a submission."""
    assert text.count(CALL) == 1
    few = f"import submission.archive\nsubmission.archive.MINIMUM_IMAGES = {MINIMUM}\n{CALL}"
    return text.replace(CALL, few)


def photo2monet(**changes: Any) -> Config:
    return apply_settings(resolve("photo2monet"), changes)


# --- What is planned


def test_a_kernel_of_a_translator_says_what_it_trains_on_how_long_and_which_seeds() -> None:
    plan = plan_training("alice", RUN_PATH, photo2monet(), KernelRequest())
    shown = describe_plan(plan, "alice")
    assert "photos    competition, folder photo_jpg: one image of each if these can be" in shown
    assert "training  270 minutes at most for each seed; 4.33 kept to translate" in shown
    assert "seeds     0 and 1 to train, one on each GPU, 0 for the images; kept is" in shown
    assert '"gan-getting-started"' in shown
    assert plan.settings.minutes < 290
    assert plan.settings.count is None


def test_a_kernel_that_is_given_its_minutes_trains_for_what_translating_leaves() -> None:
    request = KernelRequest(8000, minutes=100, gpus="shared")
    shown = describe_plan(plan_training("alice", RUN_PATH, photo2monet(), request), "alice")
    # 60 seconds, and 0.02 for each image.
    assert "training  96.33 minutes at most; 3.67 kept" in shown
    assert "8,000 images, of mirror images where there are fewer" in shown
    assert "seeds     0 to train, 0 for the images" in shown


@pytest.mark.parametrize(
    ("accelerator", "seeds"),
    [("cpu", "0 to train"), ("l4x1", "0 to train"), ("a100", "from 0 on to train, one on each")],
)
def test_how_many_seeds_there_are_depends_on_the_machine(accelerator: str, seeds: str) -> None:
    request = KernelRequest(accelerator=accelerator)
    plan = plan_training("alice", RUN_PATH, photo2monet(), request)
    shown = describe_plan(plan, "alice")
    assert f"seeds     {seeds}" in shown
    # On the CPU a photo takes half a second at most: a quarter of the kernel's minutes is kept.
    assert ("; 72.5 kept" in shown) == (accelerator == "cpu")


def test_photos_of_a_dataset_are_attached_once() -> None:
    request = KernelRequest(
        source="dataset:bob/both", photos="dataset:bob/both", photo_domain="horses"
    )
    plan = plan_training("alice", RUN_PATH, photo2monet(), request)
    assert plan.datasets == ["bob/both"]
    other = KernelRequest(photos="dataset:bob/holiday")
    assert plan_training("alice", RUN_PATH, photo2monet(), other).datasets == ["bob/holiday"]


def test_options_of_photos_are_refused_where_none_are_translated() -> None:
    with pytest.raises(ConfigError, match="is no translator"):
        plan_training("alice", RUN_PATH, resolve("demo"), KernelRequest(photo_domain="a"))


def test_a_generator_from_noise_makes_seven_thousand_images_and_trains_one_seed() -> None:
    plan = plan_training("alice", RUN_PATH, resolve("demo"), KernelRequest())
    assert plan.settings.count == 7000
    assert not plan.settings.trains_seeds
    assert "gpus" not in plan.settings.to_dict()


# --- What runs there


def test_the_one_file_of_a_kernel_trains_a_translator_with_kaggles_libraries_alone(
    tmp_path: Path,
) -> None:
    competition = tmp_path / "input" / "competitions" / "gan-getting-started"
    fill(competition / "monet_jpg", 4, (64, 64))
    fill(competition / "photo_jpg", 3, (64, 72))
    changes = TINY | {"minutes": None, "score_every": None, "shift": 0}
    settings = {
        "task": "train", "config": photo2monet(**changes).to_dict(), "count": None, "minutes": 5,
    }  # fmt: skip
    text = build(KernelSettings.from_dict(settings)).script
    text = with_few_images(text).replace("'count': None", "'count': 5")
    done = run_script(text, tmp_path / "input", tmp_path / "working")
    assert done.returncode == 0, done.stdout
    assert "photos: 3 from" in done.stdout
    assert "5 images are made of them, 2 of these of mirror images" in done.stdout
    assert "images.zip: 5 images" in done.stdout
    run = RunFolder(tmp_path / "working")
    assert read_json(run.config)["network"]["family"] == "cyclegan"
    photos = run.read_data().photos
    assert photos is not None
    assert photos.count == read_json(run.generation_record)["photos"]["count"] == 3


# --- To Kaggle and back


@pytest.fixture
def desk(tmp_path: Path, painter_process: PainterProcess) -> Iterator[Desk]:
    """Return a desk whose Kaggle holds three paintings and five photos."""
    with KaggleServer() as server:
        desk = Desk(server, painter_process, tmp_path / "desk")
        files = {f"monet_jpg/{n}.jpg": encoded(painting((64, 64), n)) for n in range(3)}
        files |= {f"photo_jpg/{n}.jpg": encoded(painting((64, 72), n)) for n in range(MINIMUM)}
        server.files["gan-getting-started.zip"] = pack(tmp_path / "z", files).read_bytes()
        server.runner = Really(240, start_with_few_images)
        server.minimum_images = desk.minimum = MINIMUM
        yield desk
        desk.refuse_secrets()


def start_with_few_images(text: str, inputs: Path, working: Path) -> forks.Process:
    return start_script(with_few_images(text), inputs, working)


def train_here(desk: Desk, photos: int = MINIMUM) -> Path:
    """Train a translator in a desk's folder, on as many of Kaggle's photos."""
    fill(desk.folder / "monet", 3, (64, 64))
    fill(desk.folder / "photos", photos, (64, 72))
    words = ["--data", desk.folder / "monet", "--photos", desk.folder / "photos"]
    words += ["--run", desk.run, "--preset", "photo2monet", *WORDS]
    assert run_command(["train", *map(str, words)]) == 0
    return desk.run


def test_a_kernel_is_pushed_pulled_and_submitted_and_pushed_once(desk: Desk) -> None:
    push = ("kernel", "push", "--no-scorer", "--preset", "photo2monet", "--run", RUN, *WORDS)
    push += ("--minutes", "5")
    assert "images.zip: 5 images" in desk.works(*push, "--count", str(MINIMUM), "--wait")
    desk.works("kernel", "pull", "--run", RUN)
    assert (desk.run / "images.zip").exists()
    assert "is on Kaggle already" in desk.works(*push, "--count", str(MINIMUM))
    assert "public score 78.10" in desk.works("submit", "--run", RUN, "--wait")


def test_a_local_translator_s_images_are_made_again_of_kaggles_photos(desk: Desk) -> None:
    run = train_here(desk)
    assert run_command(["generate", "--run", str(run)]) == 0
    assert "public score 78.10" in desk.works("submit", "--run", RUN, "--wait")
    version = desk.server.kernels["alice/painter-first-images"].versions[0]
    assert str(desk.folder) not in version.request["text"]
    with (
        zipfile.ZipFile(desk.run / "kaggle" / "images.zip") as there,
        zipfile.ZipFile(desk.run / "images.zip") as here,
    ):
        assert there.namelist() == here.namelist()
        # The same machine: the same arithmetic.
        assert all(there.read(name) == here.read(name) for name in here.namelist())


def test_images_of_fewer_photos_than_kaggle_has_are_not_made_again(desk: Desk) -> None:
    run = train_here(desk, MINIMUM - 1)
    generate = ["generate", "--run", str(run), "--count"]
    assert run_command([*generate, str(MINIMUM)]) == 0
    refused = desk.fails(1, "submit", "--run", RUN)
    assert "painter failed: The photos in " in refused
    assert "(5 here, 4 there), so the same images cannot be made" in refused
    assert run_command([*generate, str(MINIMUM - 1)]) == 0
    refused = desk.fails(2, "submit", "--run", RUN)
    assert "holds 4 images of 4 photos; a submission has" in refused
    assert f"painter generate --run {RUN} --photos" in desk.works("package", "--run", RUN)
    RunFolder(run).images.unlink()
    shown = desk.works("submit", "--run", RUN, "--dry-run")
    assert "to generate an image of each of the competition's photos" in shown
    assert "public score 78.10" in desk.works("submit", "--run", RUN, "--wait")


def test_a_push_of_several_seeds_is_known_again_by_the_first_of_them(desk: Desk) -> None:
    push = ("kernel", "push", "--no-scorer", "--preset", "photo2monet", "--run", RUN, *WORDS)
    seeds = {"kept": 1, "seeds": [{"seed": 0}, {"seed": 1}]}
    config = photo2monet(**TINY, minutes=None, score_every=None, shift=0, seed=1)
    desk.server.runner = Scripted(
        files={
            "config.json": json.dumps(config.to_dict()).encode(),
            "provenance.json": b'{"data": {}, "sittings": []}',
            "seeds.json": json.dumps(seeds).encode(),
            "seed-0/log.txt": b"trained\n",
            "state.pt": pack(desk.folder / "state", {"a": b"a"}).read_bytes(),
        },
        polls=0,
    )
    desk.works(*push)
    desk.works("kernel", "pull", "--run", RUN)
    assert (desk.run / "seed-0" / "log.txt").exists()
    assert "is on Kaggle already" in desk.works(*push)
    further = ("--preset", "photo2monet", "--run", "runs/next", *WORDS, "--continue-from", RUN)
    desk.works("kernel", "push", "--no-scorer", *further)
    text = desk.server.kernels["alice/painter-next"].versions[0].request["text"]
    assert "'seed': 1," in text
    assert "'attached': 'alice/painter-next-state'" in text
