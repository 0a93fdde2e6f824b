"""Query parameters of each route, their ranges and defaults.

The same classes check requests and describe the API in its OpenAPI page. What is not listed
here is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

MAX_IMAGES = 64
MAX_FRAMES = 240
MAX_PIXELS = 2**24
"""Of one response: 64 images of 512 x 512."""
MAX_SIDE = 1024
MAX_NUMBER = 10**9 - 1
SHEET_COLUMNS = 8
MAX_PARAMETER = 10.0
"""Of a law of noise: far beyond what any generator was trained on."""
MAX_KEYS = 8
_Optional = SkipJsonSchema[None]
"""A parameter that may be left out, not given as null."""


def _numbers(least: int, most: int) -> str:
    """Return the pattern of a list of image numbers such as 3,14,15."""
    number = "[1-9][0-9]{0,8}"
    return f"^{number}(,{number}){{{least - 1},{most - 1}}}$"


class ImageQuery(BaseModel):
    """Parameters that all routes from noise share."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Which set of images, as of painter generate."
    )
    truncation: Annotated[float, Field(ge=0, le=2)] | _Optional = Field(
        default=None,
        description="z drawn towards the mean of its law; 1 is as trained [default: the model's].",
    )
    noise: Annotated[str, Field(max_length=60)] | _Optional = Field(
        default=None,
        description="Law of z: normal(mean, deviation), uniform(low, high) or gamma(shape, scale) "
        f"with parameters of at most {MAX_PARAMETER:g} [default: as trained].",
        examples=["normal(0, 1)", "uniform(-1, 1)", "gamma(2, 1)"],
    )
    wanted_class: Annotated[str, Field(max_length=200)] | _Optional = Field(
        default=None,
        alias="class",
        description="Class of all images, if the generator knows classes [default: any].",
    )
    size: Annotated[int, Field(ge=8, le=MAX_SIDE)] | _Optional = Field(
        default=None, description="Side of an image in pixels [default: the model's]."
    )


class TranslationQuery(BaseModel):
    """Parameters of /v1/translations."""

    model_config = ConfigDict(extra="forbid")

    size: Annotated[int, Field(ge=8, le=MAX_SIDE)] | _Optional = Field(
        default=None,
        description="Side in pixels: the photo is cropped to a square of it first, as of painter "
        "generate [default: the size of the photo].",
    )
    format: Literal["png", "jpeg", "webp"] = "png"


class ImagesQuery(ImageQuery):
    """Parameters of /v1/images."""

    count: int = Field(
        default=1, ge=1, le=MAX_IMAGES, description="How many; several come as a zip."
    )
    first: int = Field(
        default=1,
        ge=1,
        le=MAX_NUMBER,
        description="Number of the first; painter generate names its files so.",
    )
    images: Annotated[str, Field(pattern=_numbers(1, MAX_IMAGES))] | _Optional = Field(
        default=None,
        description="Numbers of the images, instead of first and count.",
        examples=["3,14,15"],
    )
    format: Literal["png", "jpeg", "webp"] = Field(default="png", description="Of each image.")

    @model_validator(mode="before")
    @classmethod
    def _check_exclusive(cls, values: Any) -> Any:
        if isinstance(values, dict) and "images" in values and {"first", "count"} & values.keys():
            raise ValueError("give either images, or first and count")
        return values

    @field_validator("images")
    @classmethod
    def _check_unique(cls, images: str | None) -> str | None:
        if images is not None and len(set(_parse_numbers(images))) < len(_parse_numbers(images)):
            raise ValueError("names an image twice")
        return images

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of the images, in order."""
        if self.images is not None:
            return _parse_numbers(self.images)
        return list(range(self.first, self.first + self.count))


class GridQuery(ImageQuery):
    """Parameters of /v1/grid."""

    rows: int = Field(default=4, ge=1, le=8)
    columns: int = Field(default=4, ge=1, le=8)
    first: int = Field(default=1, ge=1, le=MAX_NUMBER, description="Number of the first image.")
    size: Annotated[int, Field(ge=8, le=512)] | _Optional = Field(
        default=None, description="Side of one image in pixels [default: at most 128]."
    )
    format: Literal["png", "jpeg", "webp"] = "png"

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of the images, row by row."""
        return list(range(self.first, self.first + self.rows * self.columns))


class InterpolationQuery(ImageQuery):
    """Parameters of /v1/interpolation."""

    images: str = Field(
        default="1,2",
        pattern=_numbers(2, MAX_KEYS),
        description="Numbers of the key frames: 2 to 8.",
    )
    frames_per_step: int = Field(
        default=24, ge=1, le=60, description="Frames from one key frame to the next."
    )
    fps: float = Field(default=24.0, ge=1, le=50, description="Frames a second.")
    loop: bool = Field(default=True, description="Walk back to the first, and repeat.")
    size: Annotated[int, Field(ge=8, le=512)] | _Optional = Field(
        default=None, description="Side of a frame in pixels [default: the model's]."
    )
    first_frame: int = Field(
        default=1, ge=1, le=MAX_FRAMES, description="Of the walk's frames, the first one wanted."
    )
    frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)] | _Optional = Field(
        default=None, description="How many from there on, at most [default: all]."
    )
    format: Literal["gif", "mp4", "sheet"] = Field(
        default="gif",
        description=f"sheet is one JPEG with all frames, {SHEET_COLUMNS} a row. mp4 needs an even "
        "size, and the extra video on the server.",
    )

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of the key frames, in order."""
        return _parse_numbers(self.images)

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        steps = len(self.numbers) - (0 if self.loop else 1)
        if steps * self.frames_per_step >= MAX_FRAMES:
            raise ValueError(
                f"{steps} steps of {self.frames_per_step} frames are too long a walk; expected "
                f"fewer than {MAX_FRAMES} frames"
            )
        return self


def _parse_numbers(numbers: str) -> list[int]:
    return [int(number) for number in numbers.split(",")]
