"""What one kernel is to do: the SETTINGS at the top of its file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pipeline.bench.settings import BenchmarkSettings
from pipeline.config import Config, OutputConfig, apply_settings, flatten
from pipeline.core.errors import ConfigError
from pipeline.core.paths import expand_user
from pipeline.data.sources import COMPETITION
from pipeline.families.registry import check_photos_fit, is_upscaler, makes_images, takes_photos
from pipeline.families.upscaler.generated_inputs import check_generator_fits
from pipeline.kaggle.names import did_you_mean, parse_source
from submission.archive import check_image_count
from submission.rules import IMAGE_SIZE, MAXIMUM_IMAGES

TRAIN = "train"
GENERATE = "generate"
BENCH = "bench"
DATASET = "dataset:"
TASKS = (TRAIN, GENERATE, BENCH)
SEEDS, SHARED = "seeds", "shared"
"""How several GPUs train: a seed each, or all of them share each batch."""
UPSCALER = "upscaler"
"""Folder, in the run folder of a generator, of the upscaler that was trained for it."""
GPU_SECONDS_AN_IMAGE = 0.02
"""Several times what a GPU takes to generate, check and score an image."""
CPU_SECONDS_A_PHOTO = 0.5
"""Several times what two cores take to translate a photo of 256 pixels."""
EXPECTED_OF_PHOTOS = ("domain", "count", "content_hash")
"""What `expected_photos` has."""
_DATASET_NAME = r"\w[\w.-]*/\w[\w.-]*"


@dataclass(frozen=True)
class KernelSettings:
    """What one kernel is to do: the SETTINGS at the top of its file."""

    task: str
    """`train` (and generate, score, package), `generate` from an attached snapshot, or `bench`:
    measure the machine."""
    config: dict[str, Any] | None = None
    """Sections of the run's config, for `train`."""
    output: dict[str, Any] | None = None
    """The section [output] for `generate`; None takes what the snapshot was trained with."""
    source: str = "competition"
    """Of the images: `competition` or `dataset:OWNER/SLUG`."""
    domain: str | None = None
    """Folder of the images, by name or path; None picks monet_jpg among several."""
    photos: str | None = None
    """Where a translator's photos are, as `source` says it; None: with the images."""
    photo_domain: str | None = None
    """Folder of the photos, by name or path; None picks photo_jpg among several."""
    expected_photos: dict[str, Any] | None = None
    """`domain`, `count` and `content_hash` of the photos of which `generate` is to make the same
    images as were made elsewhere; None takes any."""
    count: int | None = 7000
    """Images to generate; None: one of each of a translator's photos, if these can be submitted,
    else 7,000."""
    seed: int = 0
    """Of the generated images, `--image-seed`; the training's seed is in `config`."""
    minutes: float = 300.0
    """Limit of the whole kernel."""
    train_minutes: float | None = None
    """Training minutes of this session; None means all the time there is."""
    gpus: str | None = None
    """`seeds`: each GPU trains a seed of its own, and the best run is kept. `shared`: they share
    each batch. None: `seeds` for a translator that begins anew, else `shared`."""
    attached: str | None = None
    """Dataset OWNER/SLUG with an earlier run to resume, or with the snapshot."""
    generator: str | None = None
    """Dataset OWNER/SLUG with the snapshot whose images an upscaler learns to enlarge too."""
    upscaler: dict[str, Any] | None = None
    """Sections of the config of an upscaler that is trained after the generator, for it."""
    upscaler_minutes: float | None = None
    """Training minutes of that upscaler."""
    attached_upscaler: str | None = None
    """Dataset OWNER/SLUG with the earlier run of that upscaler to resume; without `upscaler`, with
    the snapshot of one that enlarges the images as it is."""
    benchmark: dict[str, Any] | None = None
    """What `bench` measures, as `BenchmarkSettings.from_dict` takes it; None: all. Its minutes are
    half of the kernel's, if it does not say otherwise."""
    choice: str | None = None
    """sha256 of the choice.json in `attached`, beside the snapshots of its sources: `generate`
    makes the images that were chosen there."""
    choose_from: int | None = None
    """`train`: so many images are made, and the `count` best kept, if there is an extractor; None:
    images as they come."""

    def __post_init__(self) -> None:
        """Check all that can be known before hours of training."""
        _check_types(self)
        _require(self.task in TASKS, "task", self.task, " or ".join(map(repr, TASKS)))
        for name, source in (("source", self.source), ("photos", self.photos)):
            expected = f"'competition' or '{DATASET}OWNER/SLUG'"
            fits = source is None or _is_source(source)
            _require(fits, name, source, expected, _hint(source or ""))
        _require(self.gpus in (None, SEEDS, SHARED), "gpus", self.gpus, f"{SEEDS!r} or {SHARED!r}")
        for name in ("attached", "generator", "attached_upscaler"):
            value = getattr(self, name)
            _require(value is None or _is_dataset(value), name, value, "OWNER/SLUG or None")
        for name in ("minutes", "train_minutes", "upscaler_minutes"):
            value = getattr(self, name)
            _require(value is None or 0 < value < math.inf, name, value, "above 0")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0 to 2**63 - 1")
        if self.count is not None:
            check_image_count(self.count)
        self._check_task()

    def _check_task(self) -> None:
        """Check what goes with the task, and that the images will have the right size."""
        if self.task == BENCH:
            self._check_benchmark()
            return
        _require(
            self.benchmark is None, "benchmark", self.benchmark, f"None but with task {BENCH!r}"
        )
        if self.task == TRAIN:
            _require(self.output is None, "output", self.output, "None: it stands in config")
            _require(self.choice is None, "choice", self.choice, "None with task 'train'")
            config = self.training_config()
            _check_tracker(config)
            if makes_images(config):
                check_output_size(config.output)
            self._check_upscaler(config)
            self._check_photos(config)
            self._check_choice(config)
            return
        for name in ("config", "gpus", "choose_from", *_UPSCALER_KEYS):
            value = getattr(self, name)
            _require(value is None, name, value, "None with task 'generate'")
        _require(self.attached is not None, "attached", None, "OWNER/SLUG with task 'generate'")
        self.change_output(Config())
        expected, wanted = self.expected_photos, list(EXPECTED_OF_PHOTOS)
        fits = expected is None or set(expected) == set(wanted)
        _require(fits, "expected_photos", expected, f"None, or {', '.join(wanted)}")

    def _check_benchmark(self) -> None:
        """Check that nothing is given that has no effect, and what is to be measured."""
        for name in _NO_BENCHMARK:
            value = getattr(self, name)
            _require(value is None, name, value, f"None with task {BENCH!r}")
        self.benchmark_settings()

    def benchmark_settings(self) -> BenchmarkSettings:
        """Return what task `bench` measures.

        Raises:
            ConfigError: for an unknown key, a wrong type, or a value out of range.
        """
        return BenchmarkSettings.from_dict({"minutes": self.minutes / 2, **(self.benchmark or {})})

    def _check_upscaler(self, config: Config) -> None:
        """Check what goes with an upscaler, alone or after its generator."""
        fits = self.generator is None or is_upscaler(config)
        _require(fits, "generator", self.generator, "None unless an upscaler is trained")
        if self.upscaler is None:
            minutes, attached = self.upscaler_minutes, self.attached_upscaler
            _require(minutes is None, "upscaler_minutes", minutes, "None without upscaler")
            enlarges = makes_images(config) and config.data.image_size < config.output.output_size
            fits = attached is None or enlarges
            _require(fits, "attached_upscaler", attached, "None unless images are enlarged")
            return
        _require(self.upscaler_minutes is not None, "upscaler_minutes", None, "a number")
        upscaler = Config.from_saved(self.upscaler)
        _check_tracker(upscaler)
        check_generator_fits(upscaler, config, "The generator")
        spent = (self.reserved_seconds + self.upscaler_seconds) / 60
        if spent >= self.minutes:
            raise ConfigError(
                f"The kernel has {self.minutes:g} minutes; {self.upscaler_minutes:g} are the "
                f"upscaler's, and {self.reserved_seconds / 60:.3g} are kept to generate: nothing "
                "is left for the generator. Give the kernel more, or the upscaler less "
                "(--upscaler-minutes)."
            )

    def _check_choice(self, config: Config) -> None:
        """Check that there is something to choose from, and how many are to be kept."""
        if self.choose_from is None:
            return
        _require(makes_images(config), "choose_from", self.choose_from, "None for an upscaler")
        _require(self.count is not None, "count", None, "a number with --choose-from")
        _require(
            self.choose_from >= (self.count or 0),
            "choose_from",
            self.choose_from,
            f"at least the {self.count:,} images that are kept",
        )

    def _check_photos(self, config: Config) -> None:
        """Check what goes with a translator, and with nothing else."""
        _require(self.expected_photos is None, "expected_photos", "a set", "None to train")
        continued = self.attached is not None
        _require(
            not (continued and self.gpus == SEEDS),
            "gpus",
            self.gpus,
            f"{SHARED!r} for a run that is continued, which has one seed",
        )
        if takes_photos(config):
            _require(self.upscaler is None, "upscaler", "a config", "None with a translator")
            return
        _require(self.count is not None, "count", None, "a number unless photos are translated")
        check_photos_fit(config, self.photos is not None or self.photo_domain is not None)

    @property
    def trains_seeds(self) -> bool:
        """Tell whether each GPU is to train a seed of its own."""
        begins = self.config is not None and self.attached is None
        return begins and trains_seeds(self.gpus, self.training_config())

    @property
    def reserved_seconds(self) -> float:
        """Return what is kept free of training for what comes after it, on a GPU."""
        return self.reserved_seconds_on(gpu=True)

    def reserved_seconds_on(self, gpu: bool) -> float:
        """Return what is kept free of training for what comes after it, on a GPU or the CPU."""
        config = None if self.config is None else self.training_config()
        makes = config is None or makes_images(config)
        most = MAXIMUM_IMAGES if self.count is None else self.count
        most += self.choose_from or 0
        return reserve_seconds(most if makes else 0, self.minutes, seconds_an_image(config, gpu))

    @property
    def upscales_by_network(self) -> bool:
        """Tell whether an upscaler enlarges the images: one trained here, or one attached."""
        return self.upscaler is not None or self.attached_upscaler is not None

    @property
    def upscaler_seconds(self) -> float:
        """Return what is kept free for an upscaler that is trained after the generator."""
        return 60 * (self.upscaler_minutes or 0.0)

    def training_config(self) -> Config:
        """Return the config to train with.

        Raises:
            ConfigError: if there is none, or it does not fit this version.
        """
        _require(self.config is not None, "config", None, "the run's settings with task 'train'")
        return Config.from_saved(self.config or {})

    def change_output(self, config: Config) -> OutputConfig:
        """Return the output settings of a snapshot with those of the kernel over them."""
        wanted = apply_settings(config, flatten({"output": self.output or {}})).output
        changed = wanted.coded_as(config.output)
        check_output_size(changed)
        return changed

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as the kernel's file holds them; of later keys only what is set."""
        values = asdict(self)
        if self.task == BENCH:
            return {name: values[name] for name in ("task", "minutes", "benchmark")}
        return {n: v for n, v in values.items() if v is not None or n not in _LATER_KEYS}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> KernelSettings:
        """Build settings from what the kernel's file holds.

        Raises:
            ConfigError: for an unknown key, a wrong type, or a value out of range.
            DataError: if a submission may not have so many images.
        """
        known = [f.name for f in fields(KernelSettings)]
        unknown = [key for key in values if key not in known]
        if unknown:
            raise ConfigError(f"There is no setting {unknown[0]!r}; there are {', '.join(known)}.")
        return KernelSettings(**{"task": None, **values})


_TYPES: dict[str, tuple[type, ...]] = {
    "task": (str,),
    "config": (dict, type(None)),
    "output": (dict, type(None)),
    "source": (str,),
    "domain": (str, type(None)),
    "photos": (str, type(None)),
    "photo_domain": (str, type(None)),
    "expected_photos": (dict, type(None)),
    "count": (int, type(None)),
    "seed": (int,),
    "minutes": (int, float),
    "train_minutes": (int, float, type(None)),
    "gpus": (str, type(None)),
    "attached": (str, type(None)),
    "generator": (str, type(None)),
    "upscaler": (dict, type(None)),
    "upscaler_minutes": (int, float, type(None)),
    "attached_upscaler": (str, type(None)),
    "benchmark": (dict, type(None)),
    "choice": (str, type(None)),
    "choose_from": (int, type(None)),
}
_UPSCALER_KEYS = ("generator", "upscaler", "upscaler_minutes", "attached_upscaler")
_LATER_KEYS = (
    *_UPSCALER_KEYS, "photos", "photo_domain", "expected_photos", "gpus", "benchmark", "choice",
    "choose_from",
)  # fmt: skip
"""Settings that version 0.1.0 did not have."""
_NO_BENCHMARK = (
    "config", "output", "domain", "train_minutes", "attached", *_UPSCALER_KEYS, "photos",
    "photo_domain", "expected_photos", "gpus", "choice", "choose_from",
)  # fmt: skip
"""Settings that mean nothing to task `bench`."""


def _check_types(settings: KernelSettings) -> None:
    for name, types in _TYPES.items():
        expected = " or ".join("None" if t is type(None) else t.__name__ for t in types)
        value = getattr(settings, name)
        _require(type(value) in types, name, value, expected)


def _require(holds: bool, name: str, found: object, expected: str, hint: str = "") -> None:
    if not holds:
        raise ConfigError(f"{name} is {found!r}; expected {expected}.{hint}")


def _check_tracker(config: Config) -> None:
    """Refuse a tracker, which a kernel without internet does not reach."""
    tracker, advice = config.logging.tracker, " `painter kernel watch` shows how far it is."
    expected = "none: a kernel has no internet"
    _require(tracker in ("auto", "none"), "tracker", tracker, expected, advice)


def _hint(source: str) -> str:
    """Return what to do about a source that a kernel does not know."""
    if expand_user(source).exists():
        return " What lies here, a kernel cannot read: make it a dataset on Kaggle first."
    return did_you_mean(parse_source(source, COMPETITION))


def _is_source(source: str) -> bool:
    return source == "competition" or (
        source.startswith(DATASET) and _is_dataset(source.removeprefix(DATASET))
    )


def _is_dataset(name: str) -> bool:
    return re.fullmatch(_DATASET_NAME, name) is not None


def check_output_size(output: OutputConfig) -> None:
    """Raise ConfigError unless the images will have the size that the competition takes."""
    side = IMAGE_SIZE[0]
    _require(output.output_size == side, "output_size", output.output_size, f"{side} here")


def trains_seeds(gpus: str | None, config: Config) -> bool:
    """Tell whether each GPU trains a seed of its own in a kernel that begins a run.

    Args:
        gpus: as `KernelSettings.gpus`.
        config: of the run.
    """
    return takes_photos(config) if gpus is None else gpus == SEEDS


def seconds_an_image(config: Config | None, gpu: bool) -> float:
    """Return the time that is kept for an image of a run, on a GPU or the CPU."""
    slow = not gpu and config is not None and takes_photos(config)
    return CPU_SECONDS_A_PHOTO if slow else GPU_SECONDS_AN_IMAGE


def reserve_seconds(count: int, minutes: float, an_image: float = GPU_SECONDS_AN_IMAGE) -> float:
    """Return what is kept free of training for generating, checking and scoring `count` images.

    One minute for loading, and the time of the images. Never more than a quarter of the kernel's
    minutes.
    """
    return min(60 + an_image * count, minutes * 60 / 4)
