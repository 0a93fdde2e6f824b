"""Videos: key frames that generate would make, the right frames and times, whole or absent."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import GifImagePlugin, Image, ImageSequence

from pipeline.cli import run_command
from pipeline.core.errors import ConfigError, DataError, WorkFailed
from pipeline.families.noise.latents import walk
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import build_generator
from pipeline.models.snapshots import save_snapshot
from pipeline.stages import video as stage
from pipeline.stages.video import check_video, frame_delay, make_video, write_video
from pipeline.training.ema import recalibrate_batch_norm
from tests.support.factories import tiny_generator_config, untrained_sampler

TINY = tiny_generator_config(output_size=32, precision="float32")


def sampler(seed: int = 0) -> NoiseSampler:
    return untrained_sampler(TINY, seed)


def greys(values: Sequence[int], side: int = 16) -> Iterator[np.ndarray]:
    """Yield a flat frame a value."""
    return (np.full((side, side, 3), value, np.uint8) for value in values)


def read_gif(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """Return the frames, and for how many milliseconds each is shown."""
    with Image.open(path) as gif:
        assert gif.format == "GIF"
        shown = [
            (np.asarray(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(gif)
        ]
    return [frame for frame, _ in shown], [time for _, time in shown]


# --- Key frames


def test_key_frames_are_the_images_that_generate_makes() -> None:
    made = sampler(seed=3)
    numbers = [5, 0, 12]
    path = walk(made.distribution, made.latents(numbers), 4, loop=True)
    frames = made.images_of(path)
    for key, expected in zip(frames[::4], made(numbers), strict=True):
        # Sums in another order, by batch, may move a value across a rounding step of uint8.
        assert np.abs(key.astype(int) - expected.astype(int)).max() <= 1
    assert np.array_equal(made.images_of(path[::4])[0], made(numbers)[0])


def test_an_image_of_given_latents_does_not_depend_on_its_batch() -> None:
    z = torch.randn(7, 8, generator=torch.Generator().manual_seed(1))
    together = sampler().images_of(z)
    alone = [sampler().images_of(row[None])[0] for row in z]
    for first, second in zip(together, alone, strict=True):
        assert np.abs(first.astype(int) - second.astype(int)).max() <= 1  # rounding, as above


def test_a_video_shows_the_walk_frame_by_frame(tmp_path: Path) -> None:
    made = sampler()
    count = make_video(made, [0, 1, 2], tmp_path / "a.gif", 3, 25, loop=False, batch_size=2)
    frames, times = read_gif(tmp_path / "a.gif")
    expected = made.images_of(walk(made.distribution, made.latents([0, 1, 2]), 3, loop=False))
    assert count == len(frames) == len(expected) == 7
    assert times == [40] * 7
    for frame, image in zip(frames, expected, strict=True):
        # 1,024 pixels in 256 colours: a colour stands for four pixels that are near each other.
        assert np.abs(frame.astype(int) - image.astype(int)).mean() < 8


# --- GIF


def test_a_gif_has_every_frame_in_order_even_equal_ones(tmp_path: Path) -> None:
    values = [0, 10, 10, 200, 255, 10]
    write_video(greys(values), tmp_path / "a.gif", 20, repeat=True)
    frames, times = read_gif(tmp_path / "a.gif")
    assert [int(frame[0, 0, 0]) for frame in frames] == values  # one colour needs no rounding
    assert times == [50] * 6
    assert {frame.shape for frame in frames} == {(16, 16, 3)}


@pytest.mark.parametrize("fps", [7, 24, 25, 30, 50, 0.5])
def test_a_gif_keeps_pace_with_its_frames_a_second(tmp_path: Path, fps: float) -> None:
    write_video(greys(range(60)), tmp_path / "a.gif", fps, repeat=False)
    _, times = read_gif(tmp_path / "a.gif")
    # The unit of a GIF is 10 milliseconds: the sum is rounded once.
    assert sum(times) == pytest.approx(60_000 / fps, abs=5.001)
    assert max(times) - min(times) <= 10


def test_no_frame_is_shown_for_less_than_browsers_allow() -> None:
    for fps in (50, 49.9, 48, 33.3):
        assert min(frame_delay(index, fps) for index in range(1000)) >= 2


@pytest.mark.parametrize("repeat", [True, False])
def test_a_gif_repeats_for_ever_or_plays_once(tmp_path: Path, repeat: bool) -> None:
    write_video(greys([1, 2]), tmp_path / "a.gif", 25, repeat=repeat)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.info.get("loop") == (0 if repeat else None)


def test_each_frame_has_its_own_colours(tmp_path: Path) -> None:
    ramp = np.zeros((16, 16, 3), np.uint8)
    ramp[..., 0] = np.arange(256).reshape(16, 16)
    frames = [ramp, ramp[..., ::-1].copy()]
    write_video(iter(frames), tmp_path / "a.gif", 25, repeat=True)
    for found, given in zip(read_gif(tmp_path / "a.gif")[0], frames, strict=True):
        assert np.array_equal(found, given)  # 256 colours fit, if the palette is the frame's own


def test_frames_are_taken_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    written = 0
    encode = GifImagePlugin.getdata

    def counting(*arguments: Any, **options: Any) -> list[bytes]:
        nonlocal written
        written += 1
        return encode(*arguments, **options)

    def frames() -> Iterator[np.ndarray]:
        for index in range(50):
            alive.append(index - written)
            yield np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(GifImagePlugin, "getdata", counting)
    write_video(frames(), tmp_path / "a.gif", 25, repeat=True)
    assert max(alive) <= 1


# --- MP4


def test_an_mp4_has_the_frames_and_their_colours(tmp_path: Path) -> None:
    encoder = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    values = [20, 60, 120, 180, 230] * 4
    write_video(greys(values, 34), tmp_path / "a.mp4", 10, repeat=True)
    command = [encoder, "-i", str(tmp_path / "a.mp4"), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run(command, capture_output=True, check=True)
    about = decoded.stderr.decode()
    for text in ("h264", "34x34", "10 fps", "yuv420p"):
        assert text in about
    frames = np.frombuffer(decoded.stdout, np.uint8).reshape(-1, 34, 34, 3)
    found = frames.mean(axis=(1, 2, 3))
    # Lossy, and 220 steps of brightness for 256.
    np.testing.assert_allclose(found, values, atol=4)


def test_an_encoder_that_fails_says_why_and_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "encoder"
    broken.write_text("#!/bin/sh\necho no such codec >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(stage, "_encoder", lambda: str(broken))
    target = tmp_path / "a.mp4"
    target.write_bytes(b"earlier")
    with pytest.raises(WorkFailed, match="no such codec"):
        write_video(greys([1] * 100, 256), target, 25, repeat=True)
    assert target.read_bytes() == b"earlier"
    assert {p.name for p in tmp_path.iterdir()} == {"a.mp4", "encoder"}


def test_a_missing_encoder_names_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ConfigError, match=r"pip install imageio-ffmpeg, or .*\.gif"):
        check_video(Path("a.mp4"), 64, 25)


# --- Failures


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_a_failure_half_way_leaves_the_earlier_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield from greys([1, 2, 3])
        raise RuntimeError("out of paint")

    patient = tmp_path / "encoder"
    patient.write_text("#!/bin/sh\ncat > /dev/null\n")
    patient.chmod(0o755)
    monkeypatch.setattr(stage, "_encoder", lambda: str(patient))
    (tmp_path / name).write_bytes(b"earlier")
    with pytest.raises(RuntimeError, match="out of paint"):
        write_video(failing(), tmp_path / name, 25, repeat=True)
    assert (tmp_path / name).read_bytes() == b"earlier"
    assert {p.name for p in tmp_path.iterdir()} == {name, "encoder"}


@pytest.mark.parametrize(
    ("name", "side", "fps", "message"),
    [
        ("a.avi", 64, 25, r"--out is a.avi; expected a name ending in .gif or .mp4"),
        ("video", 64, 25, r"--out is video"),
        ("a.gif", 64, 60, r"fps is 60; a GIF shows at most 50"),
        ("a.gif", 64, 0.001, r"stay for 1,000 seconds; a GIF shows one for 655 at most"),
        ("a.mp4", 65, 25, r"size is 65; an MP4 needs an even number"),
    ],
)
def test_what_cannot_be_written_is_refused(name: str, side: int, fps: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_video(Path(name), side, fps)


def test_a_folder_is_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "a.gif").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        write_video(greys([1]), tmp_path / "a.gif", 25, repeat=True)


# --- The command


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    generator = recalibrate_batch_norm(build_generator(TINY), torch.randn(64, 8))
    *_, last = generator.parameters()
    last.data.mul_(10)  # an untrained generator makes grey images alone
    save_snapshot(tmp_path / "s.safetensors", generator, TINY, 8)
    return tmp_path / "s.safetensors"


def test_the_command_takes_numbers_as_generate_names_its_files(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "walk.gif"
    arguments = ["video", "--snapshot", str(snapshot), "--out", str(out), "--frames-per-step", "2"]
    assert run_command([*arguments, "--images", "7, 2", "--fps", "20", "--size", "16"]) == 0
    assert f"4 frames, 0.2 seconds in {out}" in capsys.readouterr().out
    frames, _ = read_gif(out)
    assert (len(frames), frames[0].shape) == (4, (16, 16, 3))

    assert run_command([*arguments, "--images", "7,2", "--no-loop"]) == 0
    frames, _ = read_gif(out)
    folder = ["--count", "7", "--set", "jpeg_quality=100", "--set", "chroma_subsampling=4:4:4"]
    jpegs = tmp_path / "jpegs"
    assert run_command(["generate", "--snapshot", str(snapshot), "--out", str(jpegs), *folder]) == 0
    images = np.stack([np.asarray(Image.open(jpegs / f"{i}.jpg")).astype(int) for i in range(1, 8)])
    for frame, number in ((frames[0], 7), (frames[2], 2)):
        differences = np.abs(images - frame).mean((1, 2, 3))
        # Both lose a little: 256 colours here, JPEG there. The other six images differ by far more.
        own, *others = np.roll(differences, 1 - number)
        assert own < 0.5 * min(others)


@pytest.mark.parametrize("numbers", ["0,1", "1,,2", "a", "1;2", "-1,2", "", f"1,{2**64}"])
def test_wrong_numbers_are_refused(
    snapshot: Path, numbers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--snapshot", str(snapshot), "--out", "a.gif", "--images", numbers]
    assert run_command(["video", *arguments]) == 2
    assert "is not a list of image numbers from 1 up" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--images", "3"], "at least 2 images as key frames; found 1"),
        (["--fps", "0"], "--fps"),
        (["--frames-per-step", "0"], "--frames-per-step"),
        (["--size", "3"], "output_size is 3"),
        (["--run", "run"], "either --run DIR or --snapshot FILE"),
    ],
)
def test_wrong_options_are_refused_and_nothing_is_written(
    snapshot: Path, tmp_path: Path, more: list[str], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "made" / "a.gif"
    assert run_command(["video", "--snapshot", str(snapshot), "--out", str(out), *more]) == 2
    assert message in capsys.readouterr().err
    assert not out.parent.exists()
