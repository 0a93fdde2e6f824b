"""The video stage: a walk through latent space as a GIF or MP4, streamed.

Reads a snapshot; writes one file, frame by frame, in memory that does not grow with their number.
GIF through Pillow; MP4 (H.264) through imageio-ffmpeg, the extra `video`, which brings its own
encoder. `painter video --run RUN --out walk.gif`.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from itertools import repeat as repeat_item
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
from PIL import GifImagePlugin, Image
from tqdm import tqdm

from pipeline.core.errors import ConfigError, WorkFailed
from pipeline.families.noise.latents import walk
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.system.storage import atomic_file

DEFAULT_BATCH = 16
DEFAULT_FPS = 25.0
VIDEO_EXTRA = "pip install imageio-ffmpeg"
"""What brings the encoder: the extra `video`."""
PALETTE_PIXELS = 2**14
"""Pixels of a frame from which its palette is made, at most."""
MAX_GIF_FPS = 50
"""Frames a second; browsers slow down a GIF that shows a frame for less than 2 hundredths."""
MAX_GIF_SECONDS = 655
"""For which a GIF can show a frame: 16 bits of hundredths."""
_REPEAT_FOREVER = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


def make_video(
    sampler: NoiseSampler,
    images: Sequence[int],
    out: Path,
    frames_per_step: int,
    fps: float,
    loop: bool,
    batch_size: int = DEFAULT_BATCH,
) -> int:
    """Write a walk with a sampler's images as key frames.

    Args:
        sampler: its noise distribution decides between spherical and linear interpolation.
        images: indices of the key frames, as `generate` counts them from 0; at least 2.
        out: a name ending in .gif or .mp4.
        frames_per_step: frames from one key frame to the next; at least 1.
        fps: frames a second; at most 50 in a GIF.
        loop: return to the first key frame; a GIF then repeats forever.
        batch_size: frames at a time; changes speed and memory, not the frames.

    Returns:
        The number of frames.

    Raises:
        ConfigError: as `check_video`, and if there are fewer than two key frames.
        DataError: if `out` is a folder.
    """
    check_video(out, sampler.output_size, fps)
    latents = walk(
        sampler.distribution, sampler.latents(images), frames_per_step, loop, sampler.classes
    )

    def frames() -> Iterator[np.ndarray]:
        for start in range(0, len(latents), batch_size):
            yield from sampler.images_of(latents[start : start + batch_size])

    with tqdm(frames(), total=len(latents), desc="video", unit="frame") as shown:
        write_video(iter(shown), out, fps, loop)
    return len(latents)


def check_video(out: Path, side: int, fps: float, hold: float = 0) -> None:
    """Raise ConfigError for what cannot be written, before anything is computed.

    Args:
        out: the file to write.
        side: of the frames, in pixels.
        fps: frames a second.
        hold: seconds for which the last frame stays longer than the others.

    Raises:
        ConfigError: for a name that ends neither in .gif nor in .mp4, an MP4 of odd size or without
            an encoder, or more frames a second than a GIF can show, or too few.
    """
    kind = out.suffix.lower()
    if kind not in (".gif", ".mp4"):
        raise ConfigError(f"--out is {out}; expected a name ending in .gif or .mp4.")
    if kind == ".gif" and fps > MAX_GIF_FPS:
        raise ConfigError(
            f"fps is {fps:g}; a GIF shows at most {MAX_GIF_FPS} frames a second. Choose fewer, or "
            "an --out ending in .mp4."
        )
    if kind == ".gif" and 1 / fps + hold > MAX_GIF_SECONDS:
        raise ConfigError(
            f"The last frame would stay for {1 / fps + hold:,.0f} seconds; a GIF shows one for "
            f"{MAX_GIF_SECONDS} at most. Choose a shorter video, or an --out ending in .mp4."
        )
    if kind == ".mp4":
        if side % 2:
            raise ConfigError(f"size is {side}; an MP4 needs an even number of pixels.")
        _encoder()


def write_video(
    frames: Iterator[np.ndarray], out: Path, fps: float, repeat: bool, hold: float = 0
) -> None:
    """Write frames as a GIF or MP4, whichever the name says, atomically.

    Args:
        frames: uint8 (H, W, 3), 0 to 255, at least one; read one at a time.
        out: what `check_video` lets pass.
        fps: frames a second.
        repeat: whether a GIF plays forever, or once; an MP4 leaves that to its player.
        hold: seconds for which the last frame stays longer than the others.

    Raises:
        ConfigError: if the encoder is not installed.
        DataError: if `out` is a folder.
        WorkFailed: if the encoder fails.
    """
    with atomic_file(out) as file:
        if out.suffix.lower() == ".gif":
            _write_gif(frames, file, fps, repeat, hold)
        else:
            _write_mp4(_held(frames, round(hold * fps)), file.name, fps)


def _held(frames: Iterator[np.ndarray], times: int) -> Iterator[np.ndarray]:
    """Yield frames, and the last so many times more."""
    for frame in frames:
        yield frame
    yield from repeat_item(frame, times)


def _write_gif(
    frames: Iterator[np.ndarray], file: BinaryIO, fps: float, repeat: bool, hold: float
) -> None:
    """Write the container here, since Pillow's writer keeps all frames in memory until the end.

    A palette of 256 colours a frame, without dithering, which would flicker.
    """
    first = next(frames)
    height, width, _ = first.shape
    without_palette = 0x70
    file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, without_palette, 0, 0))
    if repeat:
        file.write(_REPEAT_FOREVER)
    for index, (frame, is_last) in enumerate(_with_last(chain([first], frames))):
        delay = frame_delay(index, fps) + (round(100 * hold) if is_last else 0)
        parts = GifImagePlugin.getdata(
            _in_256_colours(frame), duration=10 * delay, include_color_table=True
        )
        file.write(b"".join(parts))
    file.write(b";")


def _with_last(frames: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield frames, each with whether it is the last."""
    frame = next(frames)
    for following in frames:
        yield frame, False
        frame = following
    yield frame, True


def _in_256_colours(frame: np.ndarray) -> Image.Image:
    """Return a frame with a palette of its own, of a large one that of some of its pixels.

    Median cut takes seconds for the 200,000 colours of a frame of 512 x 512. From 16,384 pixels, of
    sample grids of that size, it is ten times as fast, and the colours' error at most 5 % larger.
    """
    picture, pixels = Image.fromarray(frame), frame.reshape(-1, 3)
    if len(pixels) <= PALETTE_PIXELS:
        return picture.quantize(256, Image.Quantize.MEDIANCUT)
    some = pixels[np.linspace(0, len(pixels) - 1, PALETTE_PIXELS).astype(int)]
    palette = Image.fromarray(some[None]).quantize(256, Image.Quantize.MEDIANCUT)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def frame_delay(index: int, fps: float) -> int:
    """Return how long a GIF shows a frame, in hundredths of a second, keeping pace with `fps`."""
    return round(100 * (index + 1) / fps) - round(100 * index / fps)


def _write_mp4(frames: Iterator[np.ndarray], file: str, fps: float) -> None:
    """Pipe frames through the encoder, as H.264 in yuv420p, which every player supports.

    Args:
        frames: uint8 (H, W, 3), H and W even.
        file: name to write, of any ending.
        fps: frames a second.

    Raises:
        WorkFailed: if the encoder fails, with what it says.
    """
    first = next(frames)
    height, width, _ = first.shape
    command = [
        _encoder(), "-y", "-loglevel", "error",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-",
        "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-movflags", "+faststart",
        "-f", "mp4", file,
    ]  # fmt: skip
    with (
        TemporaryFile() as stderr,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr
        ) as encoder,
    ):
        try:
            with suppress(BrokenPipeError):  # it has ended early: its exit code says so below
                for frame in chain([first], frames):
                    encoder.stdin.write(frame.tobytes())  # type: ignore[union-attr]  # it is a pipe
                encoder.stdin.close()  # type: ignore[union-attr]
        except BaseException:
            encoder.kill()
            raise
        if encoder.wait() != 0:
            stderr.seek(0)
            text = stderr.read().decode(errors="replace").strip()
            raise WorkFailed(f"The video encoder failed: {text or encoder.returncode}")


def can_write_mp4() -> bool:
    """Return whether the encoder of MP4 is installed."""
    try:
        _encoder()
    except ConfigError:
        return False
    return True


def _encoder() -> str:
    """Return the path of the ffmpeg that imageio-ffmpeg brings.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ModuleNotFoundError:
        raise ConfigError(
            "An MP4 needs imageio-ffmpeg, which is not installed. Either install it with "
            f"{VIDEO_EXTRA}, or choose an --out ending in .gif."
        ) from None
    return str(get_ffmpeg_exe())
