"""The timelapse of a training: every grid, in order and labelled; whole, or the earlier file."""

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from pipeline.cli import run_command
from pipeline.core.errors import RunError
from pipeline.runs.folder import RunFolder
from pipeline.stages.timelapse import BACKGROUND, LABEL_LINE, make_timelapse

MakeRun = Callable[..., RunFolder]
RED, GREEN, BLUE, WHITE = (200, 0, 0), (0, 200, 0), (0, 0, 200), (255, 255, 255)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that writes a run's grids, each of one colour, by images seen."""

    def make(grids: dict[int, tuple[int, int, int]], side: int = 200) -> RunFolder:
        run = RunFolder(tmp_path / "run")
        run.samples.mkdir(parents=True)
        run.config.write_text("{}")
        for seen, colour in grids.items():
            Image.new("RGB", (side, side), colour).save(run.samples / f"{seen:09d}.png")
        return run

    return make


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as gif:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]


def times_of(path: Path) -> list[int]:
    with Image.open(path) as gif:
        return [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]


def middle(frame: np.ndarray) -> tuple[int, ...]:
    """Return the colour in the middle of what is above the label."""
    height, width, _ = frame.shape
    return tuple(frame[(height - LABEL_LINE) // 2, width // 2].tolist())


def test_each_grid_is_a_frame_in_the_order_of_training_and_the_last_stays(
    make_run: MakeRun, tmp_path: Path
) -> None:
    # Gaps and names of other lengths: a run of more than 999,999,999 images has one digit more.
    run = make_run({0: RED, 1_000_000_000: BLUE, 128: GREEN})
    made = make_timelapse(run, tmp_path / "a.gif", fps=10)
    frames = frames_of(tmp_path / "a.gif")
    assert [middle(frame) for frame in frames] == [RED, GREEN, BLUE]
    assert times_of(tmp_path / "a.gif") == [100, 100, 1600]
    assert made.summary() == "3 sample grids, from 0 to 1,000,000,000 images seen, 1.8 seconds"


def test_the_line_below_says_how_far_the_training_is(make_run: MakeRun, tmp_path: Path) -> None:
    make_timelapse(make_run({0: RED, 500: RED, 1000: RED}), tmp_path / "a.gif")
    lines = [frame[-LABEL_LINE:] for frame in frames_of(tmp_path / "a.gif")]
    assert [int((line[1, :, 2] > 150).sum()) for line in lines] == [1, 101, 200]
    texts = [line[4:] for line in lines]  # below the bar
    assert all((text > 150).any() for text in texts)
    assert not np.array_equal(texts[0], texts[1])


def test_a_frame_too_narrow_for_text_has_none(make_run: MakeRun, tmp_path: Path) -> None:
    make_timelapse(make_run({0: RED, 64: WHITE}, 90), tmp_path / "a.gif")
    assert [frame.shape for frame in frames_of(tmp_path / "a.gif")] == [(90, 90, 3)] * 2


def test_grids_of_other_sizes_are_fitted_into_the_frame_of_the_last(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run({0: RED, 100: RED})
    Image.new("RGB", (50, 100), GREEN).save(run.samples / "000000050.png")
    make_timelapse(run, tmp_path / "a.gif")
    first, other, _ = frames_of(tmp_path / "a.gif")
    assert first.shape == other.shape == (200 + LABEL_LINE, 200, 3)
    assert middle(other) == GREEN
    background = Image.new("RGB", (1, 1), BACKGROUND).getpixel((0, 0))
    assert tuple(other[100, 20].tolist()) == background  # as high as the frame, half as wide


def test_photos_of_a_translator_stand_beside_what_became_of_them(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run({0: RED, 64: GREEN})
    Image.new("RGB", (200, 200), BLUE).save(run.samples / "inputs.jpg", quality=100)
    make_timelapse(run, tmp_path / "a.gif", width=300)
    frame = frames_of(tmp_path / "a.gif")[-1]
    assert frame.shape == (150 + LABEL_LINE, 300, 3)
    assert tuple(frame[75, 225].tolist()) == GREEN
    assert abs(frame[75, 75].astype(int) - BLUE).max() <= 3  # JPEG rounds


def test_a_length_in_seconds_is_kept_by_showing_as_many_grids_as_fit(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(dict.fromkeys(range(60), RED), 8)
    made = make_timelapse(run, tmp_path / "a.gif", seconds=1)
    assert made.summary() == "25 sample grids of 60, from 0 to 59 images seen, 1.0 seconds"
    assert sum(times_of(tmp_path / "a.gif")) == 1000
    make_timelapse(run, tmp_path / "a.gif", seconds=9)
    assert len(times_of(tmp_path / "a.gif")) == 60
    assert sum(times_of(tmp_path / "a.gif")) == 9000


def test_seconds_that_give_just_as_many_grids_as_a_gif_shows_are_kept(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(dict.fromkeys(range(74), RED), 8)
    made = make_timelapse(run, tmp_path / "a.gif", seconds=2.76)
    assert made.grids == 69
    assert sum(times_of(tmp_path / "a.gif")) == 2760


def test_a_damaged_grid_is_left_out_with_a_warning(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run({0: RED, 64: GREEN, 128: BLUE})
    (run.samples / "000000064.png").write_bytes(b"cut short")
    made = make_timelapse(run, tmp_path / "a.gif")
    assert (made.grids, made.found) == (2, 3)
    assert "The timelapse comes without" in capsys.readouterr().err


def test_a_damaged_last_grid_does_not_decide_the_size(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({0: RED, 64: GREEN, 128: BLUE})
    (run.samples / "000000128.png").write_bytes(b"cut short")
    assert make_timelapse(run, tmp_path / "a.gif").last_seen == 64
    assert frames_of(tmp_path / "a.gif")[0].shape == (200 + LABEL_LINE, 200, 3)


@pytest.mark.parametrize("damaged", [(0, 64), (64,)])
def test_too_few_readable_grids_leave_the_earlier_file(
    make_run: MakeRun, tmp_path: Path, damaged: Sequence[int]
) -> None:
    run = make_run({0: RED, 64: GREEN})
    for seen in damaged:
        (run.samples / f"{seen:09d}.png").write_bytes(b"")
    (tmp_path / "a.gif").write_bytes(b"earlier")
    with pytest.raises(RunError, match="needs at least 2"):
        make_timelapse(run, tmp_path / "a.gif")
    assert (tmp_path / "a.gif").read_bytes() == b"earlier"


def test_the_command_makes_an_mp4_and_says_of_what(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    run, out = make_run({0: RED, 64: GREEN}, 33), tmp_path / "a.mp4"
    arguments = ["--training", str(run.path), "--out", str(out), "--size", "34", "--seconds", "2"]
    assert run_command(["video", *arguments]) == 0
    said = f"2 sample grids, from 0 to 64 images seen, 2.0 seconds in {out}"
    assert said in capsys.readouterr().out
    command = [ffmpeg, "-i", str(out), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run(command, capture_output=True, check=True)
    frames = np.frombuffer(decoded.stdout, np.uint8).reshape(-1, 34, 34, 3)
    # Two in the first second, and the last for another: two frames a second. Lossy.
    assert np.allclose(frames[:, 16, 16], [RED, GREEN, GREEN, GREEN], atol=16)


@pytest.mark.parametrize(
    ("grids", "more", "message"),
    [
        ({}, [], r"samples has 0 sample grids that can be read; a timelapse needs at least 2"),
        ({0: RED}, [], r"samples has 1 sample grid that can be read.*sample_every"),
        ({0: RED, 1: RED}, ["--images", "1,2"], "--images cannot go with --training"),
        ({0: RED, 1: RED}, ["--device", "cpu"], "--device cannot go with --training"),
        ({0: RED, 1: RED}, ["--fps", "2", "--seconds", "3"], "either --fps or --seconds"),
        ({0: RED, 1: RED}, ["--size", "3"], "size is 3; expected from 8 to 4096 pixels"),
        ({0: RED, 1: RED}, ["--fps", "60"], "a GIF shows at most 50 frames a second"),
        ({0: RED, 1: RED}, ["--seconds", "3600"], r"1,801 seconds; a GIF shows one for 655 at"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_nothing_is_written(
    make_run: MakeRun, tmp_path: Path, grids: dict[int, tuple[int, int, int]], more: list[str],
    message: str, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "a.gif"
    arguments = ["--training", str(make_run(grids).path), "--out", str(out)]
    assert run_command(["video", *arguments, *more]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert not out.exists()


def test_a_folder_without_a_run_and_seconds_of_a_walk_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "a.gif")]
    assert run_command(["video", "--training", str(tmp_path / "none"), *out]) == 2
    assert "There is no" in capsys.readouterr().err
    assert run_command(["video", "--run", str(tmp_path), "--seconds", "3", *out]) == 2
    assert "--seconds goes with --training RUN" in capsys.readouterr().err
