"""The shipped translator: photos of any size, and the numbers that it must reproduce."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.cli import run_command
from pipeline.data.synthetic_landscapes import draw_landscape
from pipeline.models.shipped import model_file
from pipeline.models.snapshots import load_snapshot

MODEL = "photo2monet"
NOISE_OF_8_BITS = 0.54 * 2 / 255
"""Root mean square, in [-1, 1], of what 8-bit weights change in its images: 0.54 levels of 255."""


def test_it_paints_photos_of_any_size_and_keeps_what_is_in_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name, size in (("a", (256, 256)), ("b", (200, 150))):
        draw_landscape(3, size=256).resize(size).save(photos / f"{name}.png")
    words = ["generate", "--model", MODEL, "--out", str(out)]
    assert run_command([*words, "--photos", str(photos)]) == 0
    for number, name in ((1, "a"), (2, "b")):
        photo, made = Image.open(photos / f"{name}.png"), Image.open(out / f"{number}.jpg")
        assert made.size == photo.size
        light, dark = (np.asarray(i.convert("L")).ravel() for i in (photo, made))
        assert np.corrcoef(light, dark)[0, 1] > 0.5  # another picture has about 0
    capsys.readouterr()
    assert run_command(["generate", "--model", MODEL, "--out", str(tmp_path / "none")]) == 2
    assert (
        "Say where they are: `painter generate --photos FOLDER_OR_ZIP`" in capsys.readouterr().err
    )
    assert not (tmp_path / "none").exists()


@pytest.mark.real_data
def test_a_photo_of_the_competition_becomes_what_it_became_when_it_was_trained(
    real_data: Path,
) -> None:
    name = "photo_jpg/00068bc07f.jpg"
    if real_data.is_dir():
        content = (real_data / name).read_bytes()
    else:
        content = zipfile.ZipFile(real_data).read(name)
    pixels = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    photo = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        made = load_snapshot(model_file(MODEL)).generator(photo)[0]
    # Of the weights in float16, in which they were trained; no mean is off by more than the root
    # mean square of the differences, no deviation either, and a pixel by four times that.
    means, deviations = made.mean((1, 2)), made.std((1, 2), correction=0)
    for found, expected, factor in (
        (means, (0.2369, 0.2026, -0.1114), 1),
        (deviations, (0.3492, 0.336, 0.3357), 1),
        (made[:, 128, 128], (0.7005, 0.5626, 0.0762), 4),
    ):
        tolerance = factor * NOISE_OF_8_BITS
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=tolerance)
