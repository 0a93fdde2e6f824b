"""What becomes of pixels, and what a request means: files that decode to what was asked for."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from pipeline.config import OutputConfig
from pipeline.core.errors import ConfigError
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.models.snapshots import save_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.service import jobs
from pipeline.service.jobs import Job, grid_job, images_job, interpolation_job
from pipeline.service.model import NoiseModel, load_model
from pipeline.service.pages import NOISE_PAGES, TRANSLATOR_PAGES, read_pages
from pipeline.service.queries import GridQuery, ImagesQuery, InterpolationQuery
from pipeline.service.render import encode, make_grid, most_bytes
from pipeline.service.watch_app import PAGES
from pipeline.system.image_writers import stored_zip
from pipeline.system.storage import file_sha256, write_json
from tests.support.factories import CPU
from tests.support.helpers import painting
from tests.support.service_helpers import tiny_model, tiny_snapshot

OUTPUT = OutputConfig(output_size=32)


@pytest.fixture(scope="module")
def model() -> NoiseModel:
    return tiny_model()


def decoded(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def made(model: NoiseModel, job: Job) -> bytes:
    return job.finish(model.pixels(job.z))


@pytest.mark.parametrize(("kind", "name"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_each_kind_is_that_kind_and_the_same_twice(kind: str, name: str) -> None:
    pixels = np.asarray(painting())
    content = encode(pixels, kind, OUTPUT)
    assert content == encode(pixels, kind, OUTPUT)
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == (name, (32, 32))
    if kind == "png":
        assert np.array_equal(decoded(content), pixels)


def test_a_zip_has_the_files_in_order_and_no_dates() -> None:
    content = stored_zip({"2.png": b"two", "1.png": b"one"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["2.png", "1.png"]
        assert archive.read("1.png") == b"one"
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_images_lie_side_by_side_row_by_row() -> None:
    images = [np.full((2, 2, 3), value, np.uint8) for value in (1, 2, 3)]
    sheet = make_grid(images, 2)
    assert sheet[::2, ::2, 0].tolist() == [[1, 2], [3, 0]]


# --- Requests


def test_image_k_of_seed_s_is_file_k_of_generate(model: NoiseModel) -> None:
    job = images_job(model, ImagesQuery(seed=3, images="5,2"))
    sampler = NoiseSampler(tiny_snapshot(), 3, CPU)
    with zipfile.ZipFile(io.BytesIO(made(model, job))) as archive:
        assert archive.namelist() == ["5.png", "2.png"]
        for number in (5, 2):
            found = decoded(archive.read(f"{number}.png")).astype(int)
            # Another batch size: sums in another order may cross a rounding step of uint8.
            assert np.abs(found - sampler([number - 1])[0]).max() <= 1


def test_the_default_is_one_png_of_the_models_size(model: NoiseModel) -> None:
    job = images_job(model, ImagesQuery())
    assert (job.media_type, job.file_name) == ("image/png", "tiny-seed0-1.png")
    assert decoded(made(model, job)).shape == (32, 32, 3)


def test_size_noise_and_truncation_change_what_is_painted(model: NoiseModel) -> None:
    assert decoded(made(model, images_job(model, ImagesQuery(size=48)))).shape == (48, 48, 3)
    plain = images_job(model, ImagesQuery()).z
    assert torch.equal(images_job(model, ImagesQuery(truncation=1, noise="normal(0, 1)")).z, plain)
    torch.testing.assert_close(images_job(model, ImagesQuery(truncation=0.5)).z, plain / 2)
    boxed = images_job(model, ImagesQuery(noise="uniform(2, 3)")).z
    assert ((boxed >= 2) & (boxed < 3)).all()


def test_the_models_own_truncation_is_the_default_as_of_generate() -> None:
    narrow = tiny_model(truncation=0.5)
    plain = images_job(narrow, ImagesQuery(truncation=1)).z
    torch.testing.assert_close(images_job(narrow, ImagesQuery()).z, plain / 2)


def test_a_wanted_class_is_the_class_of_all() -> None:
    model = tiny_model(conditional=True, class_names=["sea", "sky"])
    query = ImagesQuery.model_validate({"class": "sky", "count": 3})
    assert images_job(model, query).z[:, -2:].tolist() == [[0, 1]] * 3
    with pytest.raises(ConfigError, match="its classes: sea, sky"):
        images_job(model, ImagesQuery.model_validate({"class": "land"}))


def test_a_grid_is_one_picture(model: NoiseModel) -> None:
    content = made(model, grid_job(model, GridQuery(rows=2, columns=3, first=4, size=16)))
    assert decoded(content).shape == (32, 48, 3)
    alone = decoded(made(model, images_job(model, ImagesQuery(images="8", size=16))))
    found = decoded(content)[16:, 16:32].astype(int)
    assert np.abs(found - alone).max() <= 1  # rounding, as above


@pytest.mark.parametrize(("loop", "frames"), [("true", 12), ("false", 9)])
def test_a_walk_has_its_frames_and_begins_with_its_first_key(
    model: NoiseModel, loop: str, frames: int
) -> None:
    asked = {"images": "7,3,9", "frames_per_step": "4", "loop": loop}
    job = interpolation_job(model, InterpolationQuery.model_validate(asked))
    assert torch.equal(job.z[[0, 4, 8]], model.latents(0, [7, 3, 9]))
    with Image.open(io.BytesIO(made(model, job))) as gif:
        assert len(list(ImageSequence.Iterator(gif))) == frames == len(job.z)


def test_a_sheet_has_all_frames_eight_a_row(model: NoiseModel) -> None:
    query = InterpolationQuery(format="sheet", frames_per_step=11, loop=False, size=16)
    whole = decoded(made(model, interpolation_job(model, query)))
    assert whole.shape == (32, 128, 3)
    part = query.model_copy(update={"first_frame": 9, "frames": 3})
    latents = interpolation_job(model, query).z[8:11]
    assert torch.equal(interpolation_job(model, part).z, latents)
    assert decoded(made(model, interpolation_job(model, part))).shape == (16, 48, 3)
    with pytest.raises(ConfigError, match="this walk has 12 frames"):
        interpolation_job(model, query.model_copy(update={"first_frame": 13}))


def test_what_cannot_be_made_is_refused_before_it_is(
    model: NoiseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="at this size it holds 16"):
        images_job(model, ImagesQuery(count=17, size=1024))
    with pytest.raises(ConfigError, match="from -10 to 10"):
        images_job(model, ImagesQuery(noise="normal(0, 1e30)"))
    with pytest.raises(ConfigError, match="even number of pixels"):
        interpolation_job(model, InterpolationQuery(format="mp4", size=33))
    monkeypatch.setattr(jobs, "can_write_mp4", lambda: False)
    with pytest.raises(ConfigError, match="format=gif"):
        interpolation_job(model, InterpolationQuery(format="mp4"))


# --- The model


def test_a_model_tells_what_the_folder_says_of_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "my run")
    run.path.mkdir()
    snapshot = tiny_snapshot()
    save_snapshot(run.snapshot, snapshot.generator, snapshot.config, 77)
    alone = load_model(run.snapshot, CPU).about()
    assert (alone["name"], alone["score"], alone["trained_on"]) == ("my run", None, None)
    (tmp_path / "other.safetensors").write_bytes(run.snapshot.read_bytes())
    assert load_model(tmp_path / "other.safetensors", CPU).name == "other"
    write_json(run.config, snapshot.config.to_dict())
    write_json(run.score, {"mifid": 12.5, "features": "inception", "n_generated": 7000})
    data = {"path": "/home/me/paintings", "count": 300, "domain": None, "content_hash": "ab"}
    write_json(run.provenance, {"data": data})
    model = load_model(run.snapshot, CPU)
    about = model.about()
    assert (model.slug, about["name"], about["images_seen"]) == ("my-run", "my run", 77)
    assert about["score"]["mifid"] == 12.5
    assert about["score"]["comparable_with_leaderboard"] is False  # since nothing says that it is
    assert about["trained_on"] == {"count": 300, "domain": None, "content_hash": "ab"}
    assert "/home/me" not in str(about)
    run.score.write_text("{")  # damaged: it informs, nothing depends on it
    assert load_model(run.snapshot, CPU).about()["score"] is None


def test_a_score_of_other_images_is_not_the_model_s(tmp_path: Path) -> None:
    run, snapshot = RunFolder(tmp_path), tiny_snapshot()
    save_snapshot(run.snapshot, snapshot.generator, snapshot.config, 77)
    write_json(run.config, snapshot.config.to_dict())
    own = {"snapshot_sha256": file_sha256(run.snapshot), "images_sha256": "ab"}
    score = {"mifid": 12.5, "images_sha256": "ab", "comparable_with_leaderboard": True}
    write_json(run.score, score)
    for made, belongs in (
        (own, True),
        (own | {"images_sha256": "cd"}, False),
        (own | {"snapshot_sha256": "cd"}, False),
        ({}, True),  # as earlier versions left it
    ):
        write_json(run.generation_record, made)
        found = load_model(run.snapshot, CPU).about()["score"]
        assert (found is not None) == belongs
        assert found is None or found["comparable_with_leaderboard"] is True


def test_no_file_is_larger_than_its_place(model: NoiseModel) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    for size in (8, 64, 128):
        for job in (
            *(images_job(model, ImagesQuery(count=n, format=kind, size=size))
              for n in (1, 4) for kind in ("png", "jpeg", "webp")),
            grid_job(model, GridQuery(rows=2, columns=2, size=size)),
            *(interpolation_job(model, InterpolationQuery(frames_per_step=2, format=k, size=size))
              for k in ("gif", "sheet")),
        ):  # fmt: skip
            content = job.finish(noise[: len(job.z)])
            assert len(content) <= job.max_bytes, (size, job.file_name)


@pytest.mark.parametrize(
    ("kind", "side", "quality"),
    [("png", 1024, 95), *(("jpeg", 256, quality) for quality in (75, 95, 96, 100))],
)
def test_noise_that_no_format_makes_smaller_has_its_place(
    kind: str, side: int, quality: int
) -> None:
    output = OutputConfig(jpeg_quality=quality, chroma_subsampling="4:4:4")
    noise = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    for image in (noise[0], noise[1] // 128 * 255):
        assert len(encode(image, kind, output)) <= most_bytes(side**2, output)


def test_the_page_loads_nothing_from_elsewhere() -> None:
    pages = read_pages(NOISE_PAGES) | read_pages(TRANSLATOR_PAGES) | read_pages(PAGES)
    for name, (content, _) in pages.items():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, name
        assert "https://" not in text, name
