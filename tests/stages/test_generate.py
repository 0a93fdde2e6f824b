"""Generated images depend on (seed, index) alone and stream into place."""

import io
import json
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from pipeline.cli import run_command
from pipeline.config import Config, OutputConfig, apply_settings
from pipeline.core.errors import ConfigError, DataError, RunError
from pipeline.families.noise.distributions import LatentDistribution, parse_noise
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import build_generator
from pipeline.models import snapshots
from pipeline.models.jpeg import encode_jpeg
from pipeline.models.samplers import resize_images
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import (
    READS,
    load_hashed_snapshot,
    rewrite_snapshot,
    save_snapshot,
)
from pipeline.reports.report import is_outdated
from pipeline.runs.folder import RunFolder
from pipeline.stages import encoding
from pipeline.stages import generate as stage
from pipeline.stages.encoding import thread_count
from pipeline.stages.generate import generate, generate_for_run, read_generation_record
from pipeline.system import helper_processes
from pipeline.system.helper_processes import Helper
from pipeline.system.parallel import PREFETCH, usable_cores
from pipeline.system.storage import file_sha256
from tests.support.factories import CPU, tiny_generator_config, untrained_sampler

TINY = tiny_generator_config(output_size=64)


def sampler(
    seed: int = 0, config: Config = TINY, devices: Sequence[torch.device] = (CPU,)
) -> NoiseSampler:
    return untrained_sampler(config, seed, devices)


def read_zip(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def in_float32() -> Config:
    return apply_settings(TINY, {"precision": "float32"})


def test_images_are_numbered_without_a_progress_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "tqdm", partial(tqdm, disable=True))  # as TQDM_DISABLE=1 does
    generate(sampler(), 3, tmp_path / "images.zip", TINY.output, batch_size=2)
    assert list(read_zip(tmp_path / "images.zip")) == ["1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize("config", [TINY, in_float32()], ids=["auto", "float32"])
def test_an_image_does_not_depend_on_its_batch(config: Config) -> None:
    together = sampler(config=config)(range(13))
    alone = [sampler(config=config)([i])[0] for i in range(13)]
    for first, second in zip(together, alone, strict=True):
        # Sums in another order may move a value across rounding steps of uint8: one in float32,
        # and in bfloat16, whose numbers lie 1/256 apart, a few.
        assert np.abs(first.astype(int) - second.astype(int)).max() <= (
            1 if config.training.precision == "float32" else 4
        )


def test_several_devices_give_the_same_images_in_order() -> None:
    two = sampler(devices=[CPU, CPU])
    assert len({id(replica) for replica in two._replicas}) == 2
    for start in (0, 4, 8, 12):
        for a, b in zip(
            two(range(start, start + 4)), sampler()(range(start, start + 4)), strict=True
        ):
            assert np.array_equal(a, b)


def test_batches_are_dealt_to_the_devices_in_turn() -> None:
    two = sampler(devices=[CPU, CPU])
    asked: list[int] = []
    for number, replica in enumerate(two._replicas):
        replica.register_forward_hook(lambda *_, n=number: asked.append(n))
    for start in (0, 4, 8, 12):
        two(range(start, start + 4))
    assert asked == [0, 1, 0, 1]


def test_a_run_trained_in_float32_is_generated_in_float32() -> None:
    """And the copy is exact: float32 sums in another order change no more than rounding."""
    torch.manual_seed(0)
    generator = build_generator(TINY).eval()
    made = NoiseSampler(Snapshot(generator, in_float32(), 0), 3, CPU, OutputConfig(output_size=32))
    z = LatentDistribution(parse_noise("normal(0, 1)"), 8).images(3, range(4))
    with torch.inference_mode():
        expected = ((generator(z) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(np.stack(made(range(4))).astype(int) - expected).max() <= 1


def test_no_indices_give_no_images() -> None:
    assert sampler()([]) == []


def test_another_seed_gives_other_images_and_the_same_seed_the_same() -> None:
    first, again, other = sampler(1)([0])[0], sampler(1)([0])[0], sampler(2)([0])[0]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_images_have_the_configured_size_and_type() -> None:
    (image,) = sampler()([5])
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8


def steps(size: int = 16) -> np.ndarray:
    """Return uint8 (1, size, size, 3): squares with sharp edges and all greys between."""
    picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    picture[:, :, size // 2 :] = 255
    return picture


def by_pillow(images: np.ndarray, side: int, upscale: str) -> np.ndarray:
    method = Image.Resampling[upscale.upper()]
    return np.stack([np.asarray(Image.fromarray(i).resize((side, side), method)) for i in images])


@pytest.mark.parametrize("upscale", ["lanczos", "bicubic", "bilinear"])
@pytest.mark.parametrize("side", [64, 9])
def test_enlarging_is_what_pillow_does(upscale: str, side: int) -> None:
    found = resize_images(steps(), OutputConfig(output_size=side, upscale=upscale))
    assert found.shape == (1, side, side, 3)
    assert found.dtype == np.uint8
    # Pillow keeps weights in 22 bits, torch in 16: after two passes up to 2 of 255 apart.
    assert np.abs(found.astype(int) - by_pillow(steps(), side, upscale)).max() <= 2


def test_a_torch_without_lanczos_leaves_it_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> torch.Tensor:
        raise NotImplementedError("lanczos is not implemented")

    monkeypatch.setattr("torch.nn.functional.interpolate", refuse)
    found = resize_images(steps(), OutputConfig(output_size=32))
    assert np.array_equal(found, by_pillow(steps(), 32, "lanczos"))


def test_enlarging_is_lanczos_by_default_and_keeps_flat_colour() -> None:
    lanczos, bicubic = (OutputConfig(output_size=32, upscale=u) for u in ("lanczos", "bicubic"))
    default = OutputConfig(output_size=32)
    assert np.array_equal(resize_images(steps(), default), resize_images(steps(), lanczos))
    assert not np.array_equal(resize_images(steps(), bicubic), resize_images(steps(), lanczos))
    assert (resize_images(np.full((1, 8, 8, 3), 77, np.uint8), default) == 77).all()
    assert np.array_equal(resize_images(steps(), OutputConfig(output_size=16)), steps())


def test_zip_holds_numbered_jpegs_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        generate(sampler(), 10, tmp_path / name, TINY.output, batch_size=4)
    files = read_zip(tmp_path / "a.zip")
    assert list(files) == [f"{n}.jpg" for n in range(1, 11)]
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    image = Image.open(io.BytesIO(files["3.jpg"]))
    assert (image.format, image.size, image.mode) == ("JPEG", (64, 64), "RGB")


def test_folder_and_zip_hold_the_same_files(tmp_path: Path) -> None:
    generate(sampler(), 5, tmp_path / "a.zip", TINY.output)
    generate(sampler(), 5, tmp_path / "folder", TINY.output)
    generate(sampler(), 5, tmp_path / "folder", TINY.output)  # replaces its own earlier output
    folder = {p.name: p.read_bytes() for p in (tmp_path / "folder").glob("*.jpg")}
    assert len(list((tmp_path / "folder").iterdir())) == 5 + 1  # painter's mark
    assert folder == read_zip(tmp_path / "a.zip")


@pytest.mark.parametrize("count", [0, -3])
def test_a_count_below_one_is_refused_and_leaves_nothing(tmp_path: Path, count: int) -> None:
    with pytest.raises(ConfigError, match=f"count is {count}"):
        generate(sampler(), count, tmp_path / "a.zip", TINY.output)
    assert not list(tmp_path.iterdir())


def test_a_failure_half_way_leaves_the_earlier_zip(tmp_path: Path) -> None:
    class Failing:
        def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
            if 8 in indices:
                raise RuntimeError("out of paint")
            return [np.zeros((64, 64, 3), np.uint8) for _ in indices]

    target = tmp_path / "images.zip"
    target.write_bytes(b"earlier")
    with pytest.raises(RuntimeError, match="out of paint"):
        generate(Failing(), 16, target, TINY.output, batch_size=4)
    assert [p.name for p in tmp_path.iterdir()] == ["images.zip"]
    assert target.read_bytes() == b"earlier"


def test_quality_and_chroma_subsampling_come_from_the_config() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    fine = encode_jpeg(noise, OutputConfig(jpeg_quality=95, chroma_subsampling="4:4:4"))
    thin = encode_jpeg(noise, OutputConfig(jpeg_quality=95, chroma_subsampling="4:2:0"))
    coarse = encode_jpeg(noise, OutputConfig(jpeg_quality=50, chroma_subsampling="4:2:0"))
    assert len(fine) > len(thin) > len(coarse)
    layers = [Image.open(io.BytesIO(content)).layer for content in (fine, thin)]  # type: ignore[attr-defined]  # Pillow's stubs lack JpegImageFile.layer
    assert [layer[0][1:3] for layer in layers] == [(1, 1), (2, 2)]


class CountingWriter:
    """Stands for a zip; knows how many images it was given."""

    sha256 = None

    def __init__(self) -> None:
        self.names: list[str] = []

    def __enter__(self) -> "CountingWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def add(self, name: str, content: bytes) -> None:
        self.names.append(name)


def test_images_in_flight_are_bounded_whatever_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = CountingWriter()
    flights: list[int] = []

    class Counting:
        def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
            flights.append(indices[-1] + 1 - len(writer.names))
            return [np.zeros((8, 8, 3), np.uint8) for _ in indices]

    monkeypatch.setattr(stage, "open_image_writer", lambda *_: writer)
    generate(Counting(), 1000, tmp_path / "a.zip", TINY.output, batch_size=8)
    assert writer.names == [f"{n}.jpg" for n in range(1, 1001)]
    # One batch is with the writer while the others are made or wait.
    assert max(flights) <= (thread_count() + PREFETCH + 1) * 8


def test_more_images_than_the_disk_has_room_for_are_refused_at_once(tmp_path: Path) -> None:
    made: list[int] = []

    class Counting:
        def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
            made.extend(indices)
            return [np.zeros((8, 8, 3), np.uint8) for _ in indices]

    for name in ("a.zip", "deep/folder"):
        with pytest.raises(DataError, match=r"1,000,000,000,000 images need about [1-9].* MB left"):
            generate(Counting(), 10**12, tmp_path / name, TINY.output)
    assert made == 2 * list(range(stage.SIZE_SAMPLES))
    assert not list(tmp_path.iterdir())


def test_images_are_measured_where_room_for_them_uncompressed_would_be_scarce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sampler()
    whole = sum(len(encode_jpeg(image, TINY.output)) for image in images(range(20)))
    monkeypatch.setattr(stage, "free_disk_space", lambda path: 2 * whole)
    generate(images, 20, tmp_path / "a.zip", TINY.output)
    monkeypatch.setattr(stage, "free_disk_space", lambda path: whole // 2)
    with pytest.raises(DataError, match="Take a smaller --count"):
        generate(images, 20, tmp_path / "b.zip", TINY.output)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_images_are_in_order_when_a_later_batch_is_ready_first(tmp_path: Path) -> None:
    class SlowFirst:
        """Gives image i the colour i; the first batch waits until the second is made."""

        def __init__(self) -> None:
            self.second_is_made = threading.Event()

        def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
            if 0 in indices and usable_cores() > 1:
                assert self.second_is_made.wait(30)
            self.second_is_made.set()
            return [np.full((8, 8, 3), 10 * i, np.uint8) for i in indices]

    generate(SlowFirst(), 12, tmp_path / "a.zip", TINY.output, batch_size=3)
    files = read_zip(tmp_path / "a.zip")
    greys = [np.asarray(Image.open(io.BytesIO(content))).mean() for content in files.values()]
    # A flat colour passes JPEG unharmed but for the rounding of its colour conversion.
    np.testing.assert_allclose(greys, [10 * i for i in range(12)], atol=1)


@pytest.fixture
def listening() -> Iterator[None]:
    """Listen to Ctrl+C: a shell starts what it puts into the background without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("helpers", [0, 2])
def test_ctrl_c_leaves_nothing_no_thread_and_no_process(
    tmp_path: Path, helpers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "helper_count", lambda *_: helpers)
    started: list[Helper[object, object]] = []

    class Recorded(Helper[object, object]):
        def __init__(self, function: Callable[[object], object]) -> None:
            super().__init__(function)
            started.append(self)

    monkeypatch.setattr(helper_processes, "Helper", Recorded)

    class Interrupted:
        def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
            if 4 in indices:
                signal.raise_signal(signal.SIGINT)
            return [np.zeros((8, 8, 3), np.uint8) for _ in indices]

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        generate(Interrupted(), 100_000, tmp_path / "a.zip", TINY.output, batch_size=4)
    assert not list(tmp_path.iterdir())
    left = set(threading.enumerate()) - before
    assert {type(thread).__name__ for thread in left} <= {"TMonitor"}  # tqdm's own, for all bars
    assert [helper._process.returncode for helper in started] == [0] * helpers


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_batch_size_changes_files_by_rounding_at_most(tmp_path: Path, batch_size: int) -> None:
    for name, size in (("a.zip", batch_size), ("b.zip", 4)):
        generate(sampler(config=in_float32()), 10, tmp_path / name, TINY.output, size)
    found, expected = (read_zip(tmp_path / name) for name in ("a.zip", "b.zip"))
    for a, b in zip(found.values(), expected.values(), strict=True):
        pixels = [np.asarray(Image.open(io.BytesIO(c))).astype(int) for c in (a, b)]
        # One step of uint8 before the JPEG may become a few steps behind its quantisation.
        assert np.abs(pixels[0] - pixels[1]).max() <= 8


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    save_snapshot(folder.snapshot, build_generator(TINY), TINY, 8)
    return folder


def generate_three(run: RunFolder) -> None:
    generate_for_run(run, *load_hashed_snapshot(run.snapshot), 3, 7, TINY.output, CPU)


def test_a_run_knows_how_its_images_were_made(run: RunFolder) -> None:
    assert read_generation_record(run) is None
    run.score.write_text("{}")
    generate_three(run)
    made = read_generation_record(run)
    assert made is not None
    assert (made.count, made.seed, made.output["output_size"]) == (3, 7, 64)
    assert made.snapshot_sha256 == file_sha256(run.snapshot)
    assert not run.score.exists()  # it belonged to other images


def test_images_are_recorded_as_what_made_them_though_files_are_replaced_meanwhile(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by = file_sha256(run.snapshot)

    def then_replaced(*words: Any, **more: Any) -> str | None:
        found = generate(*words, **more)
        save_snapshot(run.snapshot, build_generator(TINY), TINY, 16)  # by its training
        return found

    monkeypatch.setattr(stage, "generate", then_replaced)
    generate_three(run)
    made = read_generation_record(run)
    assert made is not None
    assert made.snapshot_sha256 == made_by != file_sha256(run.snapshot)
    assert is_outdated(run)

    def then_others(*words: Any, **more: Any) -> str | None:
        found = generate(*words, **more)
        run.images.write_bytes(b"another command's")
        return found

    monkeypatch.setattr(stage, "generate", then_others)
    generate_three(run)
    assert read_generation_record(run) is None


def test_the_hash_of_a_snapshot_is_known_once_it_is_written(run: RunFolder) -> None:
    snapshot, before = load_hashed_snapshot(run.snapshot)
    again = rewrite_snapshot(run.snapshot, replace(snapshot, images_seen=16))
    assert again == file_sha256(run.snapshot) != before


def test_the_hash_of_a_snapshot_is_that_of_what_was_loaded(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, left = snapshots.load_snapshot, [24, 16]

    def then_replaced(path: Path) -> Snapshot:
        found = load(path)
        if left:
            save_snapshot(path, found.generator, TINY, left.pop())
        return found

    monkeypatch.setattr(snapshots, "load_snapshot", then_replaced)
    found, sha256 = load_hashed_snapshot(run.snapshot)
    assert (found.images_seen, sha256) == (24, file_sha256(run.snapshot))
    left.extend(range(READS))
    with pytest.raises(RunError, match="was replaced 5 times while it was read"):
        load_hashed_snapshot(run.snapshot)


def test_images_of_an_untrained_generator_are_said_to_be_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_snapshot(tmp_path / "new.safetensors", build_generator(TINY), TINY, 0)
    words = ["--snapshot", str(tmp_path / "new.safetensors"), "--out", str(tmp_path / "images")]
    assert run_command(["generate", *words, "--count", "1"]) == 0
    assert "No step has trained" in capsys.readouterr().err


def test_images_that_came_from_elsewhere_are_told_apart(run: RunFolder) -> None:
    generate_three(run)
    run.images.write_bytes(run.images.read_bytes() + b"0")
    assert read_generation_record(run) is None
    generate_three(run)
    run.generation_record.write_text("{")
    assert read_generation_record(run) is None


@pytest.mark.parametrize(
    "changed",
    [{"count": "3"}, {"seed": None}, {"output": []}, {"photos": {"path": 3}}, {"later": 1}],
    ids=str,
)
def test_a_record_of_images_with_what_no_version_writes_counts_as_none(
    run: RunFolder, changed: dict[str, Any]
) -> None:
    generate_three(run)
    saved = json.loads(run.generation_record.read_text())
    run.generation_record.write_text(json.dumps(saved | changed))
    assert read_generation_record(run) is None


def test_truncation_draws_z_towards_the_mean_of_its_law() -> None:
    config = apply_settings(TINY, {"noise": "normal(1, 2)"})
    halved, nothing = (apply_settings(config, {"truncation": t}) for t in (0.5, 0.0))
    plain, made = sampler(3, config), sampler(3, halved)
    z, distribution = plain.latents([0, 5]), plain.distribution
    # Rounding of one float32 multiplication.
    assert torch.allclose(
        made.latents([0, 5]) - distribution.mean, (z - distribution.mean) / 2, atol=1e-6
    )
    first, second = sampler(3, nothing)([0, 5])
    assert np.abs(first.astype(int) - second).max() <= 1  # both are the image of the mean
