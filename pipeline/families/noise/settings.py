"""Settings of families that generate images from noise, and of the plain ones among them."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import (
    Config,
    DataConfig,
    NetworkConfig,
    require,
    require_one_of,
)
from pipeline.core.errors import ConfigError
from pipeline.families.adversarial.settings import (
    AdversarialTraining,
    DiffAugmentTraining,
    check_channels,
)
from pipeline.families.noise.distributions import parse_noise

DISCRIMINATOR_PASSES = ("auto", "separate", "joined")
DISCRIMINATOR_NORMS = ("batch", "layer", "spectral", "none")
NORM = "discriminator_norm"


@dataclass(frozen=True)
class NoiseNetwork(NetworkConfig):
    """A generator that takes noise, and its discriminator."""

    latent_size: int = 100
    """Length of the noise vector z."""
    generator_channels: int = 64
    """Channels before the generator's last layer; doubled towards its input, at most 8 times."""
    discriminator_channels: int = 64
    """Channels after the discriminator's first layer; doubled layer by layer, at most 8 times."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_channels(self, "latent_size", "generator_channels", "discriminator_channels")


@dataclass(frozen=True)
class NoiseTraining(DiffAugmentTraining):
    """The noise, and what keeps a discriminator from memorising few images."""

    diffaugment_target: float | None = None
    """If given, the strength starts at 0 and adapts to the discriminator's overfitting, so that
    the mean sign of its logits on real images stays here."""
    diffaugment_ramp: int = 200_000
    """Training images in which the adapting strength can go from 0 to 1; Karras et al. take
    500,000 for thousands of images."""
    hinge_margin_spread: float = 0.0
    """How far the margin of the hinge loss falls below 1: drawn for each image and step from 1
    less this up to 1, as FastGAN's code does with 0.2; 0: it is 1."""
    lecam_weight: float = 0.0
    """Weight of the LeCam penalty, which pulls the discriminator's logits of real and of generated
    images towards each other."""
    noise: str = "normal(0, 1)"
    """Distribution of z: normal(mean, deviation), uniform(low, high) or gamma(shape, scale)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        target = self.diffaugment_target
        require(target is None or 0 <= target <= 1, "diffaugment_target", target, "from 0 to 1")
        require(self.lecam_weight >= 0, "lecam_weight", self.lecam_weight, "0 or more")
        require(self.diffaugment_ramp >= 1, "diffaugment_ramp", self.diffaugment_ramp, "1 or more")
        parse_noise(self.noise)
        self._check_margin()
        self._check_target()

    def _check_margin(self) -> None:
        """Check the spread of the margin, and that there is a margin."""
        spread = self.hinge_margin_spread
        require(0 <= spread <= 1, "hinge_margin_spread", spread, "from 0 to 1")
        if spread and self.loss != "hinge":
            raise ConfigError(
                f"hinge_margin_spread is {spread:g}, and loss is {self.loss!r}, which has no "
                "margin. Use loss=hinge, or leave it out."
            )

    def _check_target(self) -> None:
        """Check the settings that an adaptive strength of the augmentation excludes."""
        target, strength = self.diffaugment_target, self.diffaugment_strength
        if target is None:
            return
        if not self.diffaugment:
            raise ConfigError(
                "diffaugment_target is given, and diffaugment names no changes. Name some, such as "
                'diffaugment=["translation"].'
            )
        if strength != type(self).diffaugment_strength:
            raise ConfigError(
                f"diffaugment_strength is {strength:g}, and diffaugment_target is {target:g}, with "
                "which the strength starts at 0 and adapts. Leave one out: "
                "diffaugment_target=none makes the strength a fixed one."
            )


@dataclass(frozen=True)
class PlainData(DataConfig):
    """Images of one or three channels, with classes or without."""

    channels: int = 3
    """3 for colour, 1 for grey."""
    conditional: bool = False
    """Train on classes, the folders that the images lie in (AC-GAN)."""
    class_names: tuple[str, ...] = ()
    """The classes: `train` fills them in from the data."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        require(self.channels in (1, 3), "channels", self.channels, "1 or 3")


@dataclass(frozen=True)
class PlainNetwork(NoiseNetwork):
    """Networks with dropout."""

    generator_dropout: float = 0.0
    """Dropout probability of the generator's hidden values."""
    discriminator_dropout: float = 0.0
    """Dropout probability of the discriminator's hidden values."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name in ("generator_dropout", "discriminator_dropout"):
            value = getattr(self, name)
            require(0 <= value < 1, name, value, "from 0 to below 1")


@dataclass(frozen=True)
class NormedNetwork(PlainNetwork):
    """Networks whose discriminator is normalised."""

    discriminator_norm: str = "batch"
    """Normalisation in the discriminator: batch, layer, spectral or none."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        require_one_of(DISCRIMINATOR_NORMS, NORM, self.discriminator_norm)


@dataclass(frozen=True)
class PlainTraining(NoiseTraining):
    """Gradient penalties of a discriminator that gives one logit per image."""

    gradient_penalty: float = 10.0
    """Weight of the gradient penalty of wgan-gp."""
    r1_weight: float = 0.0
    """Weight of the R1 penalty on the discriminator's gradient at real images."""
    r1_every: int = 16
    """Steps between R1 penalties, each so many times as heavy."""
    discriminator_passes: str = "auto"
    """Real and generated images in `separate` batches, `joined` in one, or `auto`: separate
    where the discriminator has BatchNorm."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        require_one_of(DISCRIMINATOR_PASSES, "discriminator_passes", self.discriminator_passes)
        require(self.r1_weight >= 0, "r1_weight", self.r1_weight, "0 or more")
        require(self.r1_every >= 1, "r1_every", self.r1_every, "1 or more")
        penalty = self.gradient_penalty
        require(penalty >= 0, "gradient_penalty", penalty, "0 or more")


def check_penalties(config: Config) -> None:
    """Refuse penalties per image where BatchNorm mixes the images of a batch.

    Raises:
        ConfigError: if the discriminator normalises over batches and has such a penalty.
    """
    if (
        not isinstance(config.network, NormedNetwork)
        or config.network.discriminator_norm != "batch"
    ):
        return
    training, found = config.training, None
    assert isinstance(training, AdversarialTraining)
    if training.loss == "wgan-gp":
        found = "loss is 'wgan-gp'"
    elif isinstance(training, PlainTraining) and training.r1_weight:
        found = f"r1_weight is {training.r1_weight:g}"
    if found is not None:
        raise ConfigError(
            f"{found}, whose penalty concerns each image by itself, but the discriminator "
            f"normalises over batches ({NORM} is 'batch'). Use {NORM}=layer."
        )


def check_patches(config: Config) -> None:
    """Refuse the gradient penalty where the discriminator gives logits of patches.

    Raises:
        ConfigError: if the loss is wgan-gp.
    """
    assert isinstance(config.training, AdversarialTraining)
    if config.training.loss == "wgan-gp":
        raise ConfigError(
            f"loss is 'wgan-gp'; the discriminator of family {config.family!r} judges patches and "
            "has no gradient penalty. Use loss=hinge."
        )
