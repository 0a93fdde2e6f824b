"""The sections of every run's settings, and how their ranges are checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pipeline.core.errors import ConfigError
from pipeline.core.toml import LARGEST

IMAGE_SIZES = (32, 64, 128, 256)
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
SCORE_FEATURES = ("auto", "inception", "efficientnet-lite0")
TRACKERS = ("auto", "none", "tensorboard", "wandb", "trackio")
UPSCALE_FILTERS = ("lanczos", "bicubic", "bilinear")
UPSCALES = ("learned", *UPSCALE_FILTERS)
LEARNING_RATE_SCHEDULES = ("constant", "linear", "cosine")
AS_DATA = "data"
"""In place of a value: that of the training images' files, which training puts in its place."""
CHROMA_SUBSAMPLINGS = (AS_DATA, "4:4:4", "4:2:2", "4:2:0")
JPEG_QUALITY = 95
CHROMA_SUBSAMPLING = "4:2:0"
"""How images are coded where the training images' files do not say."""


def require(holds: bool, name: str, found: object, expected: str) -> None:
    """Raise ConfigError unless a setting's value is as expected."""
    if not holds:
        raise ConfigError(f"{name} is {found!r}; expected {expected}.")


def require_one_of(known: tuple[str, ...], name: str, found: str) -> None:
    """Raise ConfigError unless a setting is one of some words."""
    require(found in known, name, found, "one of " + ", ".join(known))


def require_seed(name: str, found: int) -> None:
    """Raise ConfigError unless a setting is a seed."""
    require(0 <= found <= LARGEST, name, found, "a whole number from 0 to 2**63 - 1")


@dataclass(frozen=True)
class DataConfig:
    """How images become training tensors."""

    image_size: int = 64
    """Side of the training images in pixels."""
    horizontal_flip: bool = True
    """Mirror each training image with probability one half."""
    vertical_flip: bool = False
    """Turn each training image upside down with probability one half."""
    rotation: float = 0.0
    """Turn each training image by up to so many degrees, either way; edges are mirrored."""
    zoom: float = 1.0
    """Enlarge each training image by a random factor up to this, at a random place."""
    shift: int = 0
    """Shift each training image by up to so many pixels, either way; edges are mirrored."""
    holdout: float = 0.0
    """Share of the images that is held out of training, and scored against."""
    holdout_seed: int = 0
    """Seed that picks the held-out images."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        sizes = ", ".join(map(str, IMAGE_SIZES))
        require(self.image_size in IMAGE_SIZES, "image_size", self.image_size, f"one of {sizes}")
        require(0 <= self.rotation <= 180, "rotation", self.rotation, "from 0 to 180 degrees")
        require(1 <= self.zoom <= 4, "zoom", self.zoom, "from 1 to 4")
        shift = self.shift
        require(0 <= shift < self.image_size, "shift", shift, "from 0 to below image_size")
        require(0 <= self.holdout < 1, "holdout", self.holdout, "from 0 to below 1")
        require_seed("holdout_seed", self.holdout_seed)

    # What every training may ask for, and what some families make a setting of.

    @property
    def channels(self) -> int:
        """Return the channels of an image: 3 for colour."""
        return 3

    @property
    def conditional(self) -> bool:
        """Return whether the training has classes."""
        return False

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return ()


@dataclass(frozen=True)
class NetworkConfig:
    """The networks of a run. Each family extends this by its own settings."""

    family: str
    """The kind of networks."""


@dataclass(frozen=True)
class TrainingConfig:
    """The optimisation. A change of any of these makes another run."""

    seed: int = 0
    """Seed of everything random in the run."""
    batch_size: int = 64
    """Images per step, over all devices."""
    learning_rate: float = 2e-4
    """Adam's learning rate."""
    learning_rate_schedule: str = "constant"
    """constant, linear (to zero over the last share of the budget) or cosine (over the same)."""
    learning_rate_decay_share: float = 0.5
    """The last share of the budget, over which the learning rate decays; 1 is all of it."""
    beta1: float = 0.5
    """Adam's decay rate of the first moment."""
    beta2: float = 0.999
    """Adam's decay rate of the second moment."""
    ema_decay: float = 0.999
    """Decay per step of the generator's moving average (EMA); lower at the start of a run."""
    precision: str = "auto"
    """Compute type: auto picks bfloat16, float16 or float32 by the hardware."""
    synchronised_batch_norm: bool = True
    """On several devices, compute BatchNorm's statistics over the global batch."""
    cuda_graphs: bool = True
    """On an NVIDIA GPU, record a step once and launch it as one CUDA graph from then on. Changes
    results by rounding alone, and may change when a run is resumed."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_seed("seed", self.seed)
        require(
            2 <= self.batch_size <= 65536, "batch_size", self.batch_size, "a number from 2 to 65536"
        )
        rate = self.learning_rate
        require(0 < rate <= 1, "learning_rate", rate, "above 0, at most 1")
        require_one_of(
            LEARNING_RATE_SCHEDULES, "learning_rate_schedule", self.learning_rate_schedule
        )
        share = self.learning_rate_decay_share
        require(0 <= share <= 1, "learning_rate_decay_share", share, "from 0 to 1")
        for name in ("beta1", "beta2", "ema_decay"):
            value = getattr(self, name)
            require(0 <= value < 1, name, value, "from 0 to below 1")
        require_one_of(PRECISIONS, "precision", self.precision)


@dataclass(frozen=True)
class BudgetConfig:
    """When a run ends: whichever limit comes first. May grow when a run is resumed."""

    images: int | None = None
    """Training images shown to the discriminator."""
    epochs: float | None = None
    """Passes over the training set."""
    minutes: float | None = None
    """Training time over all sessions, including the time that saving takes."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("images", "epochs", "minutes"):
            value = getattr(self, name)
            fits = value is None or 0 < value <= 1e18
            require(fits, name, value, "above 0, at most 1e18")


@dataclass(frozen=True)
class LoggingConfig:
    """What a run logs and saves while it trains, and how often."""

    log_every: int = 10
    """Steps between lines of stats.jsonl."""
    sample_every: int = 20_000
    """Training images between grids of samples."""
    sample_count: int = 64
    """Images in a grid."""
    checkpoint_minutes: float = 2.0
    """Minutes between checkpoints, or more where saving is slow: at most so much work is lost."""
    score_every: int | None = 20_000
    """Training images between validation scores, or more, so that they stay cheap; none: none."""
    score_images: int = 1000
    """Generated images of a validation score."""
    score_time_share: float = 0.05
    """Share of the training time that validation scores may take; more are put off (1: none)."""
    score_features: str = "auto"
    """Feature extractor; `auto`: inception if its weights are here, else efficientnet-lite0."""
    tracker: str = "auto"
    """Where settings, curves, scores and sample grids go too: `tensorboard`, `wandb` or `trackio`;
    `auto`: the curves and scores to TensorBoard where it is installed; `none`: nowhere."""
    tracker_grids: bool = True
    """Send sample grids to the tracker; with `auto` none are."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("log_every", "sample_every", "checkpoint_minutes", "score_every"):
            value = getattr(self, name)
            require(value is None or value > 0, name, value, "above 0")
        require(self.score_images >= 50, "score_images", self.score_images, "at least 50")
        share = self.score_time_share
        require(share > 0, "score_time_share", share, "above 0")
        require_one_of(SCORE_FEATURES, "score_features", self.score_features)
        require(1 <= self.sample_count <= 1024, "sample_count", self.sample_count, "from 1 to 1024")
        require_one_of(TRACKERS, "tracker", self.tracker)


@dataclass(frozen=True)
class OutputConfig:
    """The images that `generate` writes."""

    output_size: int = 256
    """Side of the written images in pixels; the competition takes 256."""
    upscale: str = "lanczos"
    """How generated images are upscaled: by a filter, or `learned`, by the snapshot's upscaler."""
    upscaler: str | None = None
    """Model that comes with painter whose upscaler the run's snapshots get as they are written,
    unless they have one; none: `upscale` says how images are enlarged."""
    candidates_per_image: float = 1.0
    """Images that `painter generate --run` makes for each that it keeps, chosen by features."""
    truncation: float = 1.0
    """Scales z's distance from the mean of its distribution: below 1, images vary less."""
    jpeg_quality: int | str = AS_DATA
    """Quality of the JPEG files, 1 to 100; `data`: that of the training images' files, 95 where
    these are no JPEGs."""
    chroma_subsampling: str = AS_DATA
    """Chroma subsampling of the JPEG files; `data`: that of the training images' files, 4:2:0
    where these are no JPEGs."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(
            8 <= self.output_size <= 4096, "output_size", self.output_size, "from 8 to 4096 pixels"
        )
        require_one_of(UPSCALES, "upscale", self.upscale)
        candidates = self.candidates_per_image
        require(1 <= candidates <= 100, "candidates_per_image", candidates, "from 1 to 100")
        require(0 <= self.truncation <= 2, "truncation", self.truncation, "from 0 to 2")
        quality = self.jpeg_quality
        fits = quality == AS_DATA if isinstance(quality, str) else 1 <= quality <= 100
        require(fits, "jpeg_quality", quality, f"from 1 to 100, or {AS_DATA}")
        require_one_of(CHROMA_SUBSAMPLINGS, "chroma_subsampling", self.chroma_subsampling)

    def candidates(self, count: int) -> int | None:
        """Return how many images are made to choose so many of; None if they are as they come."""
        share = self.candidates_per_image
        return None if share == 1 else math.ceil(share * count)

    def coded_as(self, known: OutputConfig) -> OutputConfig:
        """Return these settings with the coding of others where this is to be that of the data."""
        quality, chroma = self.jpeg_quality, self.chroma_subsampling
        return replace(
            self,
            jpeg_quality=known.jpeg_quality if quality == AS_DATA else quality,
            chroma_subsampling=known.chroma_subsampling if chroma == AS_DATA else chroma,
        )

    @property
    def resampling(self) -> str:
        """Return the filter for what is not of `output_size`: bicubic for an upscaler's images."""
        return "bicubic" if self.upscale == "learned" else self.upscale

    @property
    def coding(self) -> tuple[int, str]:
        """Return quality and chroma subsampling of JPEG files: 95 and 4:2:0 where nothing says."""
        quality, chroma = self.jpeg_quality, self.chroma_subsampling
        return (
            JPEG_QUALITY if isinstance(quality, str) else quality,
            CHROMA_SUBSAMPLING if chroma == AS_DATA else chroma,
        )
