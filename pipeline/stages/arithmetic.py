"""The arithmetic stage: averages of latents, added and subtracted, as one image.

Reads a snapshot, writes a PNG: a row a term with its images and the image of their average, and
below the averages the image of the result. After Radford et al. 2016, section 6.3.2, where single
images were unstable and averages of three were not.
`painter arithmetic --run RUN --plus 1,2,3 --minus 4,5,6 --plus 7,8,9 --out sum.png`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from pipeline.core.errors import ConfigError
from pipeline.families.noise.latents import average, signed_sum
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.system.storage import atomic_file

_TEXT_COLOUR = "#333333"


@dataclass(frozen=True)
class Term:
    """Images whose average is added or subtracted."""

    sign: int
    """+1 or -1."""
    images: tuple[int, ...]
    """Indices, as `generate` counts them from 0; at least one."""

    @property
    def symbol(self) -> str:
        """Return + or -."""
        return "+" if self.sign > 0 else "-"


def write_arithmetic(sampler: NoiseSampler, terms: Sequence[Term], out: Path) -> None:
    """Write the picture of a sum as a PNG, atomically.

    Raises:
        ConfigError: if the name does not end in .png.
        DataError: if `out` is a folder.
    """
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out is {out}; expected a name ending in .png.")
    picture = draw(*compute(sampler, terms))
    with atomic_file(out) as file:
        picture.save(file, "png")


@dataclass(frozen=True)
class Row:
    """A term with its pictures, uint8 (S, S, 3) each."""

    term: Term
    operands: list[np.ndarray]
    average: np.ndarray


def compute(sampler: NoiseSampler, terms: Sequence[Term]) -> tuple[list[Row], np.ndarray]:
    """Return a row a term, and the image of the sum, uint8 (S, S, 3).

    The sum of averages keeps the noise's mean if one more term is added than subtracted, and its
    variance if there are as many terms as images in each; the generator knows no other noise.
    """
    latents = [sampler.latents(term.images) for term in terms]
    averages = [average(z) for z in latents]
    result = signed_sum([term.sign for term in terms], averages)
    *means, total = sampler.images_of(torch.stack([*averages, result]))
    rows = [
        Row(term, sampler.images_of(z), mean)
        for term, z, mean in zip(terms, latents, means, strict=True)
    ]
    return rows, total


def draw(rows: Sequence[Row], result: np.ndarray) -> Image.Image:
    """Lay the rows out on white, operands on the left, averages and below them the result."""
    side = len(result)
    sheet = _Sheet(side, max(len(row.operands) for row in rows), len(rows) + 1)
    for line, row in enumerate(rows):
        for column, (index, image) in enumerate(zip(row.term.images, row.operands, strict=True)):
            sheet.place(image, column, line, str(index + 1))
        count = len(row.operands)
        sheet.total(row.average, line, row.term.symbol, f"average of {count}")
    sheet.total(result, len(rows), "=", "result")
    return sheet.picture


class _Sheet:
    """A grid of captioned images; the last column, set apart, holds the averages and the result."""

    def __init__(self, side: int, operands: int, lines: int) -> None:
        self._side = side
        self._gap = max(4, side // 16)
        self._text = max(10, side // 12)
        self._step = side + self._gap
        self._height = side + self._gap + 2 * self._text
        self._last = self._gap + operands * self._step + side // 2
        size = (self._last + self._step, self._gap + lines * self._height)
        self.picture = Image.new("RGB", size, "white")
        self._draw = ImageDraw.Draw(self.picture)

    def place(self, image: np.ndarray, column: int, line: int, caption: str) -> None:
        """Put an image among the operands, its caption below."""
        self._put(image, self._gap + column * self._step, line, caption)

    def total(self, image: np.ndarray, line: int, symbol: str, caption: str) -> None:
        """Put an image into the last column, its sign before it."""
        self._put(image, self._last, line, caption)
        middle = self._gap + line * self._height + self._side // 2
        font = ImageFont.load_default(3 * self._text)
        place = (self._last - self._side // 4, middle)
        self._draw.text(place, symbol, _TEXT_COLOUR, font, anchor="mm")

    def _put(self, image: np.ndarray, left: int, line: int, caption: str) -> None:
        top = self._gap + line * self._height
        self.picture.paste(Image.fromarray(image), (left, top))
        centre = (left + self._side // 2, top + self._side + self._text)
        self._draw.text(
            centre, caption, _TEXT_COLOUR, ImageFont.load_default(self._text), anchor="mm"
        )


def formula(terms: Sequence[Term]) -> str:
    """Return the terms as text, with images as `generate` names its files: (1 2 3) - (4 5 6)."""
    parts = [f"{t.symbol} ({' '.join(str(i + 1) for i in t.images)})" for t in terms]
    return " ".join(parts).removeprefix("+ ")
