"""Settings of a run: frozen dataclasses, strict TOML, named presets.

Reads `pipeline/presets/*.toml` and the user's TOML files. Names of settings are unique over
all sections, so `--set batch_size=32` and a flat `batch_size = 32` in TOML mean the same as
`[training] batch_size = 32`.
"""

from __future__ import annotations

import difflib
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError

IMAGE_SIZES = (32, 64, 128, 256)
DISCRIMINATOR_PASSES = ("auto", "separate", "joined")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
SCORE_FEATURES = ("auto", "inception", "efficientnet-lite0")
UPSCALE_FILTERS = ("lanczos", "bicubic", "bilinear")
UPSCALES = ("learned", *UPSCALE_FILTERS)
FAMILIES = ("dcgan", "dense-start", "fully-connected", "fastgan", "upscaler")
UPSCALE_FACTORS = (2, 4)
DISCRIMINATOR_NORMS = ("batch", "layer", "spectral", "none")
DIFFAUGMENTS = ("colour", "translation", "cutout")
LOSSES = ("non-saturating", "minimax", "lsgan", "hinge", "wgan-gp")
CHROMA_SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {found!r}; expected {expected}.")


def _require_one_of(known: tuple[str, ...], name: str, found: str) -> None:
    _require(found in known, name, found, "one of " + ", ".join(known))


@dataclass(frozen=True)
class DataConfig:
    """How paintings become training tensors."""

    image_size: int = 64
    """Side of the training images in pixels."""
    crop_size: int | None = None
    """Side of the squares cut from the images at random places, to train an upscaler on."""
    channels: int = 3
    """3 for colour, 1 for grey."""
    horizontal_flip: bool = True
    """Mirror each training image with probability one half."""
    vertical_flip: bool = False
    """Turn each training image upside down with probability one half."""
    rotation: float = 0.0
    """Turn each training image by up to so many degrees, either way; edges are mirrored."""
    zoom: float = 1.0
    """Enlarge each training image by a random factor up to this, at a random place."""
    conditional: bool = False
    """Train on classes, the folders that the images lie in (AC-GAN)."""
    class_names: tuple[str, ...] = ()
    """The classes: `train` fills them in from the data."""
    holdout: float = 0.0
    """Share of the paintings that is kept from training, and scored against."""
    holdout_seed: int = 0
    """Which paintings these are."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        sizes = ", ".join(map(str, IMAGE_SIZES))
        _require(self.image_size in IMAGE_SIZES, "image_size", self.image_size, f"one of {sizes}")
        crop = self.crop_size
        _require(
            crop is None or (crop in IMAGE_SIZES and crop <= self.image_size),
            "crop_size",
            crop,
            f"one of {sizes}, at most image_size",
        )
        _require(self.channels in (1, 3), "channels", self.channels, "1 or 3")
        _require(0 <= self.rotation <= 180, "rotation", self.rotation, "from 0 to 180 degrees")
        _require(1 <= self.zoom <= 4, "zoom", self.zoom, "from 1 to 4")
        _require(0 <= self.holdout < 1, "holdout", self.holdout, "from 0 to below 1")
        _require(self.holdout_seed >= 0, "holdout_seed", self.holdout_seed, "0 or more")


@dataclass(frozen=True)
class NetworkConfig:
    """The generator and the discriminator."""

    family: str = "dcgan"
    """Which module of `pipeline.networks` builds them."""
    latent_size: int = 100
    """Length of the noise vector z."""
    generator_channels: int = 64
    """Channels before the generator's last layer; doubled towards its input, at most 8 times. Of
    family fastgan: at 128 pixels, 16 times as many at 4 and half as many at 256."""
    discriminator_channels: int = 64
    """Channels after the discriminator's first layer; doubled layer by layer, at most 8 times. Of
    family fastgan: at 128 pixels, half as many at 256, doubled towards 8, at most 8 times."""
    kernel_size: int = 4
    """Side of the kernels of family dcgan: 4, or 5 as in the paper."""
    generator_dropout: float = 0.0
    """Share of hidden values of the generator that is set to zero in training."""
    discriminator_dropout: float = 0.0
    """The same of the discriminator."""
    discriminator_norm: str = "batch"
    """Normalisation in the discriminator: batch, layer, spectral or none."""
    upscale_factor: int = 4
    """By how much family upscaler enlarges: 2 or 4."""
    residual_blocks: int = 5
    """Blocks of family upscaler at the small size."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require_one_of(FAMILIES, "family", self.family)
        _require_one_of(DISCRIMINATOR_NORMS, "discriminator_norm", self.discriminator_norm)
        _require(self.kernel_size in (4, 5), "kernel_size", self.kernel_size, "4 or 5")
        _require(
            self.upscale_factor in UPSCALE_FACTORS, "upscale_factor", self.upscale_factor, "2 or 4"
        )
        _require(
            0 <= self.residual_blocks <= 64, "residual_blocks", self.residual_blocks, "0 to 64"
        )
        for name in ("generator_dropout", "discriminator_dropout"):
            value = getattr(self, name)
            _require(0 <= value < 1, name, value, "from 0 to below 1")
        for name in ("latent_size", "generator_channels", "discriminator_channels"):
            value = getattr(self, name)
            _require(1 <= value <= 4096, name, value, "a whole number from 1 to 4096")


@dataclass(frozen=True)
class TrainingConfig:
    """The optimisation. A change of any of these makes another run."""

    seed: int = 0
    """Everything random in the run follows from it."""
    batch_size: int = 64
    """Images a step, over all devices."""
    learning_rate: float = 2e-4
    """Adam's step size, for both networks."""
    discriminator_learning_rate: float | None = None
    """Adam's step size for the discriminator, if it has its own."""
    beta1: float = 0.5
    """Adam's decay of the first moment."""
    beta2: float = 0.999
    """Adam's decay of the second moment."""
    loss: str = "non-saturating"
    """non-saturating, minimax, lsgan, hinge or wgan-gp."""
    gradient_penalty: float = 10.0
    """Weight of the penalty of wgan-gp."""
    diffaugment: tuple[str, ...] = ()
    """Changes that paintings and generated images go through on their way to the discriminator:
    colour, translation, cutout (DiffAugment)."""
    diffaugment_translation: float = 0.125
    """Largest shift of `translation`, as a share of the side."""
    diffaugment_strength: float = 1.0
    """Share of the images that each change is made to."""
    diffaugment_target: float | None = None
    """If given, the strength starts at 0 and follows the discriminator's overfitting, so that
    the mean sign of its logits on paintings stays here."""
    diffaugment_ramp: int = 200_000
    """Training images in which the adapting strength can go from 0 to 1; Karras et al. take
    500,000 for thousands of paintings."""
    r1_weight: float = 0.0
    """Weight of the R1 penalty on the discriminator's slope at paintings."""
    r1_every: int = 16
    """Steps between R1 penalties, each so many times as heavy."""
    lecam_weight: float = 0.0
    """Weight of the LeCam penalty, which pulls the discriminator's verdicts on paintings and on
    generated images towards each other."""
    redrawing_weight: float = 1.0
    """Weight of the distance between paintings and what family fastgan's discriminator redraws."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial loss in an upscaler's."""
    pixel_weight: float = 1.0
    """Weight of the mean distance to the painting's pixels in an upscaler's loss."""
    consistency_weight: float = 1.0
    """Weight of the mean distance between its input and its output shrunk again."""
    input_noise: float = 0.0
    """Largest deviation of the noise added to an upscaler's input in training."""
    discriminator_steps: int = 1
    """Steps of the discriminator for each of the generator, each on images of its own."""
    real_label: float = 1.0
    """Target of the discriminator on paintings, and of the generator."""
    fake_label: float = 0.0
    """Target of the discriminator on generated images."""
    discriminator_passes: str = "auto"
    """Paintings and generated images in separate batches, joined in one, or by the network."""
    noise: str = "normal(0, 1)"
    """Law of z: normal(mean, deviation), uniform(low, high) or gamma(shape, scale)."""
    ema_decay: float = 0.999
    """Decay a step of the averaged generator; shorter while the run is young."""
    precision: str = "auto"
    """auto picks bfloat16, float16 or float32 by the hardware."""
    synchronised_batch_norm: bool = True
    """On several devices, take BatchNorm's statistics over all of them."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0 to 2**63 - 1")
        _require(
            2 <= self.batch_size <= 65536, "batch_size", self.batch_size, "a number from 2 to 65536"
        )
        for name in ("learning_rate", "discriminator_learning_rate"):
            value = getattr(self, name)
            _require(value is None or 0 < value <= 1, name, value, "above 0, at most 1")
        _require_one_of(LOSSES, "loss", self.loss)
        for name in self.diffaugment:
            _require_one_of(DIFFAUGMENTS, "diffaugment", name)
        for name in ("diffaugment_strength", "diffaugment_target", "diffaugment_translation"):
            value = getattr(self, name)
            _require(value is None or 0 <= value <= 1, name, value, "from 0 to 1")
        for name in (
            "redrawing_weight",
            "adversarial_weight",
            "pixel_weight",
            "consistency_weight",
            "input_noise",
            "r1_weight",
            "lecam_weight",
        ):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(self.diffaugment_ramp >= 1, "diffaugment_ramp", self.diffaugment_ramp, "1 or more")
        _require(self.r1_every >= 1, "r1_every", self.r1_every, "1 or more")
        penalty = self.gradient_penalty
        _require(penalty >= 0, "gradient_penalty", penalty, "0 or more")
        steps = self.discriminator_steps
        _require(1 <= steps <= 100, "discriminator_steps", steps, "from 1 to 100")
        for name in ("beta1", "beta2", "ema_decay"):
            value = getattr(self, name)
            _require(0 <= value < 1, name, value, "from 0 to below 1")
        for name in ("real_label", "fake_label"):
            value = getattr(self, name)
            _require(0 <= value <= 1, name, value, "from 0 to 1")
        _require_one_of(PRECISIONS, "precision", self.precision)
        _require_one_of(DISCRIMINATOR_PASSES, "discriminator_passes", self.discriminator_passes)
        from pipeline.training.noise import parse_noise

        parse_noise(self.noise)


@dataclass(frozen=True)
class BudgetConfig:
    """When a run ends: whichever limit comes first. May grow when a run is taken up again."""

    images: int | None = None
    """Training images shown to the discriminator."""
    epochs: float | None = None
    """Passes over the training set."""
    minutes: float | None = None
    """Training time over all sittings, including the time that saving takes."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("images", "epochs", "minutes"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "above 0")


@dataclass(frozen=True)
class LoggingConfig:
    """What a run writes down on its way, and how often."""

    log_every: int = 10
    """Steps between lines of stats.jsonl."""
    sample_every: int = 20_000
    """Training images between grids of samples."""
    sample_count: int = 64
    """Images in a grid."""
    checkpoint_minutes: float = 2.0
    """Minutes between checkpoints, or more, so that they cost little: what a power cut can cost."""
    score_every: int | None = 20_000
    """Training images between small scores, or more, so that they cost little; none: no scores."""
    score_images: int = 1000
    """Generated images of a small score."""
    score_features: str = "auto"
    """Whose features: `auto` takes inception if its weights are here, else efficientnet-lite0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("log_every", "sample_every", "checkpoint_minutes", "score_every"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "above 0")
        _require(self.score_images >= 50, "score_images", self.score_images, "at least 50")
        _require_one_of(SCORE_FEATURES, "score_features", self.score_features)
        _require(
            1 <= self.sample_count <= 1024, "sample_count", self.sample_count, "from 1 to 1024"
        )


@dataclass(frozen=True)
class OutputConfig:
    """The images that `generate` writes."""

    output_size: int = 256
    """Side of the written images in pixels; the competition takes 256."""
    upscale: str = "lanczos"
    """What enlarges the generator's images: a filter, or `learned`, the snapshot's upscaler."""
    truncation: float = 1.0
    """How far z is from the mean of its law: less than 1 makes images more alike and surer."""
    jpeg_quality: int = 95
    """Quality of the JPEG files, 1 to 100."""
    chroma_subsampling: str = "4:2:0"
    """How JPEG thins out colour."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require(
            8 <= self.output_size <= 4096, "output_size", self.output_size, "from 8 to 4096 pixels"
        )
        _require_one_of(UPSCALES, "upscale", self.upscale)
        _require(0 <= self.truncation <= 2, "truncation", self.truncation, "from 0 to 2")
        _require(1 <= self.jpeg_quality <= 100, "jpeg_quality", self.jpeg_quality, "from 1 to 100")
        _require_one_of(CHROMA_SUBSAMPLINGS, "chroma_subsampling", self.chroma_subsampling)


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        """Check what settings of several sections mean together."""
        self._refuse_without_effect()
        self._refuse_unfit_for_upscaler()
        self._refuse_penalties_on_patches()
        self._refuse_penalties_over_batches()
        self._refuse_unfit_for_a_target()

    def _refuse_unfit_for_a_target(self) -> None:
        """Refuse what an adapting strength of the differentiable augmentation has no use for."""
        target, strength = self.training.diffaugment_target, self.training.diffaugment_strength
        if target is None:
            return
        if not self.training.diffaugment:
            raise ConfigError(
                "diffaugment_target is given, and diffaugment names no changes. Name some, such as "
                'diffaugment=["translation"].'
            )
        if strength != DEFAULTS["diffaugment_strength"]:
            raise ConfigError(
                f"diffaugment_strength is {strength:g}, and diffaugment_target is {target:g}, with "
                "which the strength starts at 0 and adapts. Leave one out: "
                "diffaugment_target=none makes the strength a fixed one."
            )

    def _refuse_penalties_on_patches(self) -> None:
        """Refuse the gradient penalty where the discriminator judges patches."""
        family = self.network.family
        if self.training.loss == "wgan-gp" and family in _PATCHES:
            raise ConfigError(
                f"loss is 'wgan-gp'; the discriminator of family {family!r} judges patches and has "
                "no gradient penalty. Use loss=hinge."
            )

    def _refuse_penalties_over_batches(self) -> None:
        """Refuse penalties that concern each image by itself where BatchNorm mixes them."""
        family, norm = self.network.family, self.network.discriminator_norm
        if norm != "batch" or family not in FAMILIES_OF[NORM]:
            return
        found = None
        if self.training.loss == "wgan-gp":
            found = "loss is 'wgan-gp'"
        elif self.training.r1_weight:
            found = f"r1_weight is {self.training.r1_weight:g}"
        if found is not None:
            raise ConfigError(
                f"{found}, whose penalty concerns each image by itself, but the discriminator "
                f"normalises over batches ({NORM} is 'batch'). Use {NORM}=layer."
            )

    def _values(self) -> dict[str, Any]:
        """Return all settings under their names."""
        sections = (getattr(self, f.name) for f in fields(self))
        return {f.name: getattr(part, f.name) for part in sections for f in fields(part)}

    def _refuse_without_effect(self) -> None:
        """Refuse settings of one family in another, where they would do nothing."""
        values = self._values()
        family = self.network.family
        for name, families in FAMILIES_OF.items():
            if family not in families and values[name] != DEFAULTS[name]:
                raise ConfigError(
                    f"{name} is {values[name]!r}, and family {family!r} has no such thing. "
                    f"It belongs to {' and '.join(families)}."
                )

    def _refuse_unfit_for_upscaler(self) -> None:
        """Refuse what an upscaler cannot be trained with."""
        if self.network.family != "upscaler":
            return
        maps = self.network.upscale_factor**2
        if self.network.latent_size % maps:
            raise ConfigError(
                f"latent_size is {self.network.latent_size}; an upscaler by "
                f"{self.network.upscale_factor} takes a multiple of {maps}."
            )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return sections of plain values, as `config.json` holds them."""
        return asdict(self)

    @staticmethod
    def from_dict(sections: Mapping[str, Any]) -> Config:
        """Build a config from the sections of a TOML or JSON file.

        Raises:
            ConfigError: for an unknown key, a wrong type or a value out of range.
        """
        return apply_settings(Config(), flatten(sections))


NORM = "discriminator_norm"
_PLAIN = ("dcgan", "dense-start", "fully-connected")
_FROM_NOISE = (*_PLAIN, "fastgan")
_PATCHES = ("fastgan", "upscaler")
FAMILIES_OF: dict[str, tuple[str, ...]] = {
    "kernel_size": ("dcgan",),
    NORM: ("dcgan", "dense-start"),
    **dict.fromkeys(
        (
            "channels", "conditional", "generator_dropout", "discriminator_dropout",
            "gradient_penalty", "discriminator_passes",
        ),
        _PLAIN,
    ),
    "r1_weight": _PLAIN,
    **dict.fromkeys(
        (
            "noise", "diffaugment", "diffaugment_target", "diffaugment_strength",
            "diffaugment_ramp", "diffaugment_translation", "lecam_weight",
        ),
        _FROM_NOISE,
    ),
    "redrawing_weight": ("fastgan",),
    **dict.fromkeys(
        (
            "crop_size", "upscale_factor", "residual_blocks", "adversarial_weight", "pixel_weight",
            "consistency_weight", "input_noise",
        ),
        ("upscaler",),
    ),
}  # fmt: skip
"""Families in which a setting does something; those that are not here do in all."""

SECTIONS: dict[str, type] = {f.name: f.default_factory for f in fields(Config)}  # type: ignore[misc]  # each section is its own default factory
DEFAULTS: dict[str, Any] = {f.name: f.default for cls in SECTIONS.values() for f in fields(cls)}
IDENTITY_SECTIONS = ("data", "network", "training")
"""Sections that make a run what it is; the others may change when it is taken up again."""
SECTION_OF: dict[str, str] = {
    f.name: section for section, cls in SECTIONS.items() for f in fields(cls)
}
_TYPES: dict[str, Any] = {
    name: hint for cls in SECTIONS.values() for name, hint in typing.get_type_hints(cls).items()
}


def _unknown(key: str, known: Iterable[str]) -> ConfigError:
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"Settings: {', '.join(known)}."
    return ConfigError(f"There is no setting {key!r}. {hint}")


def flatten(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Turn TOML sections and flat keys into one mapping from setting to value."""
    flat: dict[str, Any] = {}
    for key, value in sections.items():
        if not isinstance(value, Mapping):
            flat[key] = value
            continue
        if key not in SECTIONS:
            raise _unknown(key, SECTIONS)
        for name, inner in value.items():
            if SECTION_OF.get(name) != key:
                raise _unknown(name, (n for n, s in SECTION_OF.items() if s == key))
            flat[name] = inner
    return flat


def _typed(name: str, value: Any) -> Any:
    """Return `value` as the setting's type, or raise ConfigError."""
    hint = _TYPES[name]
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in options and value in (None, "none"):
        return None
    if float in options and type(value) is int:
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} is {value}; expected a finite number.")
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{name} is {value!r}; expected a list of texts.")
    if type(value) in options:
        return value
    expected = " or ".join("none" if o is type(None) else o.__name__ for o in options)
    raise ConfigError(f"{name} is {value!r} ({type(value).__name__}); expected {expected}.")


def apply_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return `config` with the named settings changed.

    Raises:
        ConfigError: for an unknown name, a wrong type or a value out of range.
    """
    changes: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        if name not in SECTION_OF:
            raise _unknown(name, SECTION_OF)
        changes.setdefault(SECTION_OF[name], {})[name] = _typed(name, value)
    sections = {
        section: replace(getattr(config, section), **values) for section, values in changes.items()
    }
    return replace(config, **sections)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `KEY=VALUE`; the value is a TOML literal, or a plain string.

    The key may carry its section, as in `training.seed=1`.

    Raises:
        ConfigError: if there is no `=`, or no such setting in the section.
    """
    key, equals, literal = text.partition("=")
    if not equals:
        raise ConfigError(f"--set takes KEY=VALUE, found {text!r}. Example: --set batch_size=32")
    try:
        value = tomllib.loads(f"value = {literal}")["value"]
    except tomllib.TOMLDecodeError:
        value = literal.strip()
    section, dot, name = key.strip().rpartition(".")
    if dot:
        flatten({section: {name: value}})
    return name, value


def preset_names() -> list[str]:
    """Return the names of the presets that come with painter."""
    folder = resources.files("pipeline") / "presets"
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )


def load_preset(name: str) -> Config:
    """Return the preset `name`.

    Raises:
        ConfigError: if there is none; the message lists those that exist.
    """
    names = preset_names()
    if name not in names:
        raise ConfigError(f"There is no preset {name!r}. Presets: {', '.join(names)}.")
    text = (resources.files("pipeline") / "presets" / f"{name}.toml").read_text()
    return Config.from_dict(tomllib.loads(text))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file, flat.

    Raises:
        ConfigError: if it is missing or not TOML.
    """
    try:
        return flatten(tomllib.loads(path.read_text()))
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"There is no config file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}.") from None


def resolve(
    preset: str, config_file: Path | None = None, assignments: Iterable[str] = ()
) -> Config:
    """Return preset, then TOML file, then `KEY=VALUE` assignments, each over the one before."""
    config = load_preset(preset)
    if config_file is not None:
        config = apply_settings(config, read_toml(config_file))
    return apply_settings(config, dict(map(parse_assignment, assignments)))


def change_output(config: Config, assignments: Iterable[str]) -> OutputConfig:
    """Return the output settings with `KEY=VALUE` assignments applied.

    Raises:
        ConfigError: for anything that is not a setting of [output].
    """
    settings = dict(map(parse_assignment, assignments))
    for name in settings:
        if SECTION_OF.get(name, "output") != "output":
            outputs = ", ".join(n for n, s in SECTION_OF.items() if s == "output")
            raise ConfigError(f"{name} cannot change after training; --set takes {outputs} here.")
    return apply_settings(config, settings).output


def differences(
    old: Config,
    new: Config,
    sections: Iterable[str] = IDENTITY_SECTIONS,
    places: tuple[str, str] = ("in the run", "now"),
) -> list[str]:
    """Return one line for each setting of `sections` that differs: name, old, new."""
    before, after = old.to_dict(), new.to_dict()
    return [
        f"{name}: {value!r} {places[0]}, {after[section][name]!r} {places[1]}"
        for section in sections
        for name, value in before[section].items()
        if after[section][name] != value
    ]
