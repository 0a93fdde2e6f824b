"""Sums of latents: the right images in the right places of the picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.cli import run_command
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import build_generator
from pipeline.models.snapshots import save_snapshot
from pipeline.stages.arithmetic import Row, Term, compute, draw, formula
from tests.support.factories import tiny_generator_config, untrained_sampler

TINY = tiny_generator_config(output_size=32, precision="float32")
TERMS = [Term(1, (0, 1, 2)), Term(-1, (3, 4, 5)), Term(1, (6, 7))]


def sampler() -> NoiseSampler:
    return untrained_sampler(TINY)


def apart(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


def test_operands_averages_and_result_are_the_images_of_their_latents() -> None:
    made = sampler()
    rows, result = compute(made, TERMS)
    z = made.latents(range(8))
    means = [z[:3].mean(0), z[3:6].mean(0), z[6:].mean(0)]
    (expected,) = made.images_of((means[0] - means[1] + means[2])[None])
    assert apart(result, expected) <= 1  # float32 and batches round in other places
    for row, term, mean in zip(rows, TERMS, means, strict=True):
        assert row.term == term
        assert apart(row.average, made.images_of(mean[None])[0]) <= 1
        for image, index in zip(row.operands, term.images, strict=True):
            assert apart(image, made([index])[0]) <= 1


def test_an_image_plus_itself_minus_itself_is_that_image() -> None:
    made = sampler()
    _, result = compute(made, [Term(1, (4,)), Term(-1, (4,)), Term(1, (4,))])
    assert apart(result, made([4])[0]) <= 1


def flat(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((32, 32, 3), (red, green, blue), np.uint8)


def test_the_picture_holds_every_image_whole_and_apart() -> None:
    colours = [(10 * n, 255 - 10 * n, 77) for n in range(1, 9)]
    images = [flat(*colour) for colour in colours]
    rows = [
        Row(Term(1, (0, 1, 2)), images[:3], images[3]),
        Row(Term(-1, (3, 4)), images[4:6], images[6]),
    ]
    pixels = np.asarray(draw(rows, images[7]))
    corners = []
    for colour in colours:
        found = np.argwhere((pixels == colour).all(2))
        assert len(found) == 32 * 32
        assert (found.max(0) - found.min(0) == 31).all()
        corners.append(tuple(found.min(0)))
    (top, left), (_, second), (_, third), (_, last), (lower, _), _, below, result = corners
    assert left < second < third < last
    assert top < lower
    assert below == (lower, last)
    assert result[1] == last
    assert result[0] > lower


def test_captions_and_signs_are_drawn() -> None:
    white = np.full((32, 32, 3), 255, np.uint8)
    rows = [Row(Term(1, (0,)), [white], white)]
    labelled = np.asarray(draw(rows, white))
    other = np.asarray(draw([Row(Term(-1, (41,)), [white], white)], white))
    assert (labelled < 128).any()
    assert not np.array_equal(labelled, other)


def test_the_formula_names_images_as_generate_does() -> None:
    assert formula(TERMS) == "(1 2 3) - (4 5 6) + (7 8)"


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    save_snapshot(tmp_path / "s.safetensors", build_generator(TINY), TINY, 8)
    return tmp_path / "s.safetensors"


def test_the_command_writes_one_picture(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sum.png"
    terms = ["--plus", "1,2,3", "--plus", "7,8,9", "--minus", "4,5,6"]
    arguments = ["arithmetic", "--snapshot", str(snapshot), *terms, "--out", str(out)]
    assert run_command(arguments) == 0
    assert f"(1 2 3) - (4 5 6) + (7 8 9) in {out}" in capsys.readouterr().out
    with Image.open(out) as narrow:
        assert narrow.width >= 4 * 32
    assert run_command([*arguments, "--size", "64"]) == 0
    with Image.open(out) as wide:
        assert wide.width >= 4 * 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.png"], "Missing option '--plus'"),
        (["--plus", "1,2", "--out", "a.jpg"], "--out is a.jpg; expected a name ending in .png"),
        (["--plus", "1,2"], "Missing option '--out'"),
        (["--plus", "0", "--out", "a.png"], "is not a list of image numbers from 1 up"),
        (["--plus", "1", "--minus", "x", "--out", "a.png"], "'x' is not a list of image numbers"),
        (["--plus", "9" * 5000, "--out", "a.png"], "is not a list of image numbers from 1 up"),
    ],
)
def test_wrong_usage_is_refused_and_nothing_is_written(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert run_command(["arithmetic", "--snapshot", str(snapshot), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
