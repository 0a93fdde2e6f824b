"""Generated images depend on (seed, index) alone and stream into place."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import generate as stage
from pipeline.config import Config, OutputConfig, apply_settings
from pipeline.errors import ConfigError
from pipeline.generate import encode_jpeg, generate, generate_for_run, read_made
from pipeline.networks import build_generator
from pipeline.runs import RunFolder
from pipeline.samplers import NoiseSampler, enlarge
from pipeline.storage import file_sha256
from pipeline.training.checkpoints import Snapshot, save_snapshot

CPU = torch.device("cpu")
TINY = apply_settings(
    Config(), {"image_size": 32, "generator_channels": 8, "latent_size": 8, "output_size": 64}
)


def sampler(seed: int = 0) -> NoiseSampler:
    torch.manual_seed(0)
    generator = build_generator(TINY.network, TINY.data).eval()
    return NoiseSampler(Snapshot(generator, TINY, 0), seed, CPU)


def read_zip(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_image_does_not_depend_on_its_batch() -> None:
    together = sampler()(range(13))
    alone = [sampler()([i])[0] for i in range(13)]
    for first, second in zip(together, alone, strict=True):
        # float32 sums in another order may move a value across one rounding step of uint8.
        assert np.abs(first.astype(int) - second.astype(int)).max() <= 1


def test_another_seed_gives_other_images_and_the_same_seed_the_same() -> None:
    first, again, other = sampler(1)([0])[0], sampler(1)([0])[0], sampler(2)([0])[0]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_images_have_the_configured_size_and_type() -> None:
    (image,) = sampler()([5])
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8


def test_enlarging_is_lanczos_by_default_and_keeps_flat_colour() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, 4:] = 255
    output = OutputConfig(output_size=32)
    reference = Image.fromarray(picture).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(enlarge(picture, output), np.asarray(reference))
    assert (enlarge(np.full((8, 8, 3), 77, np.uint8), output) == 77).all()
    bicubic = OutputConfig(output_size=32, upscale="bicubic")
    assert not np.array_equal(enlarge(picture, bicubic), enlarge(picture, output))


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
    folder = {p.name: p.read_bytes() for p in (tmp_path / "folder").iterdir()}
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


def test_images_in_flight_are_bounded_whatever_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = written = 0
    most = 0

    class Counting:
        def __call__(self, indices: Sequence[int]) -> list[np.ndarray]:
            nonlocal made, most
            made += len(indices)
            most = max(most, made - written)
            return [np.zeros((8, 8, 3), np.uint8) for _ in indices]

    class Writer:
        def __enter__(self) -> "Writer":
            return self

        def __exit__(self, *exception: object) -> None:
            return None

        def add(self, name: str, content: bytes) -> None:
            nonlocal written
            written += 1

    monkeypatch.setattr(stage, "open_image_writer", lambda path: Writer())
    generate(Counting(), 1000, tmp_path / "a.zip", TINY.output, batch_size=8)
    assert written == 1000
    assert most <= (stage.PENDING_BATCHES + 1) * 8


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    save_snapshot(folder.snapshot, build_generator(TINY.network, TINY.data), TINY, 8)
    return folder


def test_a_run_knows_how_its_images_were_made(run: RunFolder) -> None:
    assert read_made(run) is None
    run.score.write_text("{}")
    generate_for_run(run, run.snapshot, 3, 7, TINY.output, CPU)
    made = read_made(run)
    assert made is not None
    assert (made.count, made.seed, made.output["output_size"]) == (3, 7, 64)
    assert made.snapshot_sha256 == file_sha256(run.snapshot)
    assert not run.score.exists()  # it belonged to other images


def test_images_that_came_from_elsewhere_are_told_apart(run: RunFolder) -> None:
    generate_for_run(run, run.snapshot, 3, 7, TINY.output, CPU)
    run.images.write_bytes(run.images.read_bytes() + b"0")
    assert read_made(run) is None
    generate_for_run(run, run.snapshot, 3, 7, TINY.output, CPU)
    run.made.write_text("{")
    assert read_made(run) is None
