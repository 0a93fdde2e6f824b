"""The timelapse of a training: its sample grids, all made from the same noise, as a GIF or MP4.

Reads the grids that training leaves in a run's `samples`, of a translator also the photos that they
are made from; writes one file, in memory that does not grow with their number.
`painter video --training RUN --out training.gif`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from pipeline.core.advice import counted, quoted
from pipeline.core.errors import ConfigError, DataError, RunError
from pipeline.core.user_warnings import warn_once
from pipeline.data.decoding import decode_rgb
from pipeline.data.images import spread_evenly
from pipeline.runs.folder import INPUTS_GRID, RunFolder
from pipeline.stages.video import MAX_GIF_FPS, check_video, write_video

DEFAULT_FPS = 8.0
HOLD_SECONDS = 1.5
"""For which the last grid stays longer, or half of what the timelapse takes."""
MAX_WIDTH = 1024
"""Pixels; largest width of a frame unless another is asked for."""
MAX_SIZE = 4096
"""Pixels; largest width that may be asked for."""
LABEL_LINE, MIN_LABEL_WIDTH = 20, 160
"""Pixels: height of the line below the grid, and the width from which its text is readable."""
BACKGROUND, INK, DONE = "#16181c", "#d7dade", "#5b87c5"


@dataclass(frozen=True)
class Timelapse:
    """What was made."""

    grids: int
    """Shown, a frame each."""
    found: int
    """In the run's folder."""
    first_seen: int
    """Training images seen at the first grid shown."""
    last_seen: int
    seconds: float

    def summary(self) -> str:
        """Return it as a line for the user."""
        shown = counted(self.grids, "sample grid")
        of = "" if self.grids == self.found else f" of {self.found:,}"
        return (
            f"{shown}{of}, from {self.first_seen:,} to {self.last_seen:,} images seen, "
            f"{self.seconds:.1f} seconds"
        )


def make_timelapse(
    run: RunFolder,
    out: Path,
    fps: float | None = None,
    seconds: float | None = None,
    width: int | None = None,
    loop: bool = True,
) -> Timelapse:
    """Write a run's sample grids as a video, a frame each, labelled with the images seen.

    Grids of other sizes than the last are fitted into its frame, damaged ones left out.

    Args:
        run: its `samples` are read.
        out: a name ending in .gif or .mp4.
        fps: grids a second [8]; at most 50 in a GIF.
        seconds: what the whole takes, in place of `fps`; too short for all grids, it has some.
        width: of a frame in pixels [as wide as the last grid, at most 1,024].
        loop: whether a GIF plays forever, or once.

    Raises:
        ConfigError: as `check_video`, and for a width below 8 or above 4,096.
        RunError: if there are fewer than two grids that can be read.
    """
    run.require(run.config, "train")
    found = run.sample_grids()
    _require_grids(run, len(found))
    grids, fps, hold = _paced(found, fps, seconds)
    layout = _Layout.of([path for _, path in grids], run.samples / INPUTS_GRID, width)
    check_video(out, layout.width, fps, hold)
    shown: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for seen, grid in _readable(tqdm(grids, desc="timelapse", unit="grid")):
            shown.append(seen)
            yield layout.frame(grid, seen, seen / max(1, grids[-1][0]))
        _require_grids(run, len(shown))  # before the file takes the place of an earlier one

    write_video(frames(), out, fps, loop, hold)
    return Timelapse(len(shown), len(found), shown[0], shown[-1], len(shown) / fps + hold)


def _paced(
    found: Sequence[tuple[int, Path]], fps: float | None, seconds: float | None
) -> tuple[Sequence[tuple[int, Path]], float, float]:
    """Return which grids are shown, how many a second, and for how long the last stays longer."""
    if seconds is None:
        return found, DEFAULT_FPS if fps is None else fps, HOLD_SECONDS
    hold = min(HOLD_SECONDS, seconds / 2)
    grids = spread_evenly(found, max(2, int((seconds - hold) * MAX_GIF_FPS)))
    return grids, min(MAX_GIF_FPS, len(grids) / (seconds - hold)), hold


def _require_grids(run: RunFolder, readable: int) -> None:
    if readable < 2:
        raise RunError(
            f"{run.samples} has {counted(readable, 'sample grid')} that can be read; a timelapse "
            "needs at least 2. `painter train` writes one as it starts, one every sample_every "
            f"images and one at the end: train {quoted(run.path)} on, with --set "
            "sample_every=N for more of them."
        )


def _readable(grids: Sequence[tuple[int, Path]] | tqdm) -> Iterator[tuple[int, Image.Image]]:
    for seen, path in grids:
        grid = _decoded(path)
        if grid is not None:
            yield seen, grid


def _decoded(path: Path) -> Image.Image | None:
    try:
        return decode_rgb(path.read_bytes())
    except (DataError, OSError) as error:
        warn_once(f"The timelapse comes without {path}, which {error}.")
        return None


@dataclass(frozen=True)
class _Layout:
    """Where things stand in a frame: the photos, if any, the grid, and a line below."""

    width: int
    height: int
    inputs: Image.Image | None

    @staticmethod
    def of(paths: Sequence[Path], inputs: Path, width: int | None) -> _Layout:
        """Return the layout for the last grid that can be read, and for its inputs if they can."""
        if width is not None and not 8 <= width <= MAX_SIZE:
            raise ConfigError(f"size is {width}; expected from 8 to {MAX_SIZE} pixels.")
        grid = next(filter(None, map(_decoded, reversed(paths))), None)
        photos = _decoded(inputs) if inputs.exists() else None
        columns, rows = grid.size if grid else (1, 1)
        columns *= 1 if photos is None else 2
        width = width or min(MAX_WIDTH, columns + columns % 2)
        line = LABEL_LINE if width >= MIN_LABEL_WIDTH else 0
        height = max(1, round(rows * width / columns)) + line
        return _Layout(width, height + height % 2, photos)  # H.264 takes even sides alone

    def frame(self, grid: Image.Image, seen: int, share: float) -> np.ndarray:
        """Return a frame, uint8 (H, W, 3), with a bar as long as the share of the training."""
        picture = Image.new("RGB", (self.width, self.height), BACKGROUND)
        line = LABEL_LINE if self.width >= MIN_LABEL_WIDTH else 0
        parts = [grid] if self.inputs is None else [self.inputs, grid]
        side = self.width // len(parts), self.height - line
        for index, part in enumerate(parts):
            fitted = _fitted(part, *side)
            left = index * side[0] + (side[0] - fitted.width) // 2
            picture.paste(fitted, (left, (side[1] - fitted.height) // 2))
        if line:
            self._label(ImageDraw.Draw(picture), f"{seen:,} images seen", share)
        return np.asarray(picture)

    def _label(self, draw: ImageDraw.ImageDraw, text: str, share: float) -> None:
        top = self.height - LABEL_LINE
        draw.rectangle((0, top, round(share * (self.width - 1)), top + 2), fill=DONE)
        font = ImageFont.load_default(13)
        middle = top + LABEL_LINE // 2 + 1
        draw.text((self.width // 2, middle), text, fill=INK, font=font, anchor="mm")


def _fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Return a picture as large as fits, its proportions kept."""
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
