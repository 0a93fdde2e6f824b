"""How the JPEG files among images are coded: their quality, and the resolution of their colours.

What a network makes is judged beside such files, and coding alone moves a score: so generated
images are coded as the training images are, unless settings say otherwise.

A file does not hold its quality, but the tables that its encoder quantised with. libjpeg, and with
it Pillow and most programs, takes those of ITU-T T.81, Annex K, scaled by the quality: for each
of the 100 qualities the tables are others, so that of these files the quality is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin

from pipeline.config import Config, OutputConfig
from pipeline.config.sections import AS_DATA, CHROMA_SUBSAMPLING
from pipeline.core.advice import counted
from pipeline.core.user_warnings import warn_once
from pipeline.data import formats
from pipeline.data.images import ImageSet, spread_evenly
from pipeline.data.read_errors import raise_unless_of_the_file

MAX_FILES = 1000
"""Files that are looked at, evenly spread over all."""
QUALITIES = range(1, 101)
_SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
"""By what Pillow's `get_sampling` returns."""

_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""ITU-T T.81, Table K.1, row by row."""
_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
)  # fmt: skip
"""Table K.2, likewise."""


@dataclass(frozen=True)
class JpegCoding:
    """How a JPEG file is coded."""

    quality: int
    """As libjpeg scales it, 1 to 100; of tables that are none of libjpeg's, the nearest."""
    subsampling: str | None
    """4:4:4, 4:2:2 or 4:2:0; None for another, and for grey."""


@dataclass(frozen=True)
class FoundCoding:
    """How the files of a set of images are coded."""

    files: int
    """How many were looked at."""
    jpegs: int
    """How many of them are JPEGs."""
    coding: JpegCoding | None
    """None unless more than half of them are."""
    alike: bool = True
    """Whether all these JPEGs have this coding."""

    def __str__(self) -> str:
        """Return what was found, in words."""
        if self.coding is None:
            return f"{self.jpegs:,} of {counted(self.files, 'file')} are JPEGs"
        about = f"{self.jpegs:,} of {counted(self.files, 'file')} are JPEGs, "
        chroma = self.coding.subsampling or "grey"
        return f"{about}{'' if self.alike else 'mostly '}of quality {self.coding.quality}, {chroma}"

    def output(self) -> OutputConfig:
        """Return settings with this coding, and none where there is none."""
        if self.coding is None:
            return OutputConfig()
        return OutputConfig(
            jpeg_quality=self.coding.quality,
            chroma_subsampling=self.coding.subsampling or CHROMA_SUBSAMPLING,
        )


def with_coding(config: Config, images: ImageSet, begun: OutputConfig | None = None) -> Config:
    """Return the config with the coding of the training images, where it asks for that.

    What was found is said in a line on standard error.

    Args:
        config: of the training; what it says in numbers stays.
        images: those that generated images are to be like.
        begun: settings of the run that is resumed, which goes on as it began.
    """
    wanted = config.output if begun is None else config.output.coded_as(begun)
    if AS_DATA not in (wanted.jpeg_quality, wanted.chroma_subsampling):
        return replace(config, output=wanted)
    found = coding_of_images(images)
    quality, chroma = wanted.coded_as(found.output()).coding
    warn_once(f"{images.label}: {found}; generated images are JPEGs of quality {quality}, {chroma}")
    return replace(config, output=replace(wanted, jpeg_quality=quality, chroma_subsampling=chroma))


def coding_of_images(images: ImageSet) -> FoundCoding:
    """Return how most of a set's files are coded.

    The quality is the median of the JPEGs', of two the higher: that of the majority where there is
    one. The subsampling is the most frequent one, of equally frequent ones the finer.
    """
    if images.read_pixels is not None:
        return FoundCoding(len(images), 0, None)
    names = spread_evenly(images.names, MAX_FILES)
    codings = []
    for name in names:
        try:
            codings.append(coding_of(formats.open_header(images.read_bytes(name))))
        except Exception as error:  # of many kinds, Pillow's: the training leaves the file out
            raise_unless_of_the_file(error)
    jpegs = [coding for coding in codings if coding is not None]
    common = _most_common(jpegs) if 2 * len(jpegs) > len(codings) else None
    return FoundCoding(len(codings), len(jpegs), common, alike=len(set(jpegs)) <= 1)


def _most_common(codings: Sequence[JpegCoding]) -> JpegCoding:
    qualities = sorted(coding.quality for coding in codings)
    counts = Counter(c.subsampling for c in codings if c.subsampling is not None)
    finest_first = [s for s in _SUBSAMPLINGS.values() if s in counts]
    return JpegCoding(
        qualities[len(qualities) // 2], max(finest_first, key=counts.__getitem__, default=None)
    )


def coding_of(image: Image.Image) -> JpegCoding | None:
    """Return how an opened file is coded, by its header alone; None unless it is a JPEG."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    subsampling = _SUBSAMPLINGS.get(JpegImagePlugin.get_sampling(image))
    return JpegCoding(quality_of_tables(image.quantization), subsampling)


def quality_of_tables(tables: Mapping[int, Sequence[int]]) -> int:
    """Return the quality at which libjpeg quantises by tables, or by those nearest to them in L1.

    Args:
        tables: 64 numbers each, row by row: by convention 0 of the luminance, 1 of the colours.
    """
    given = np.array([tables[i] for i in sorted(tables)[:2]])
    distances = np.abs(_libjpeg_tables()[:, : len(given)] - given).sum(axis=(1, 2))
    return QUALITIES[int(distances.argmin())]


@cache
def _libjpeg_tables() -> npt.NDArray[np.int64]:
    """Return libjpeg's tables of each quality, (100, 2, 64); see `jpeg_quality_scaling` there."""
    percent = [5000 // q if q < 50 else 200 - 2 * q for q in QUALITIES]
    base = np.array([_LUMINANCE, _CHROMINANCE])
    scaled: npt.NDArray[np.int64] = (base * np.array(percent)[:, None, None] + 50) // 100
    return scaled.clip(1, 255)
