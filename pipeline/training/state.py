"""Everything that changes during a run and that a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pipeline.config import Config
from pipeline.errors import RunError
from pipeline.networks import build_discriminator, build_generator
from pipeline.training.diffaugment import adapted
from pipeline.training.ema import AveragedGenerator
from pipeline.training.lecam import moved
from pipeline.training.objective import Logged
from pipeline.training.precision import Precision


@dataclass
class TrainingState:
    """Networks, optimisers and counters of a run."""

    generator: nn.Module
    discriminator: nn.Module
    average: AveragedGenerator
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    seconds: float = 0.0
    reserve: float = 0.0
    """Seconds that saving has taken at most, with a margin: kept free at the end of a budget."""
    log_sizes: dict[str, int] = field(default_factory=dict)
    logged_g: Logged = field(default_factory=dict)
    """What the generator's last step logged: it does not take one with each of the other's."""
    strength: torch.Tensor = field(default_factory=lambda: torch.ones(()))
    """Of the differentiable augmentation, 0 to 1."""
    target: float | None = None
    """Mean sign of the logits on paintings that the strength follows; none: it is fixed."""
    ramp: int = 200_000
    """Training images in which it can go from 0 to 1."""
    anchors: torch.Tensor = field(default_factory=lambda: torch.zeros(2))
    """Of the LeCam penalty: recent mean logits of paintings and of generated images."""
    first_step: int = 0
    """Steps inherited from the run that this one continues."""
    first_seconds: float = 0.0
    """Training seconds inherited."""

    @staticmethod
    def fresh(config: Config, precision: Precision) -> TrainingState:
        """Build both networks from the seed, and their optimisers."""
        with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU
            torch.default_generator.manual_seed(config.training.seed)
            generator = build_generator(config.network, config.data)
            discriminator = build_discriminator(config)
        for network in (generator, discriminator):
            network.to(precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
        return TrainingState(
            generator,
            discriminator,
            AveragedGenerator(generator, config.training.ema_decay),
            _adam(generator, config, config.training.learning_rate),
            _adam(discriminator, config, discriminator_rate(config)),
            precision.scaler(),
            strength=torch.tensor(first_strength(config), device=precision.device),
            target=config.training.diffaugment_target,
            ramp=config.training.diffaugment_ramp,
            anchors=torch.zeros(2, device=precision.device),
        )

    @property
    def device(self) -> torch.device:
        """Return the device that the networks are on."""
        return next(self.generator.parameters()).device

    def follow(self, logged: Logged, images: int) -> None:
        """Adapt what depends on the discriminator's verdicts in a step.

        Args:
            logged: what the step logged, over all ranks, on the device.
            images: of the step.
        """
        self.follow_overfitting(logged["d_real_sign"], images)
        if "d_real_logit" in logged:
            means = torch.stack([logged["d_real_logit"], logged["d_fake_logit"]])
            self.anchors = moved(self.anchors, means)

    def follow_overfitting(self, real_signs: torch.Tensor, images: int) -> None:
        """Adapt the strength of the augmentation to what the discriminator says of paintings.

        Args:
            real_signs: mean sign of its logits in a step, on the device.
            images: of the step.
        """
        if self.target is not None:
            change = images / self.ramp
            self.strength = adapted(self.strength, real_signs, self.target, change)

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average.network,
            "optimizer_g": self.optimizer_g,
            "optimizer_d": self.optimizer_d,
            "scaler": self.scaler,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what `state.pt` holds."""
        counters = {
            "step": self.step,
            "seconds": self.seconds,
            "reserve": self.reserve,
            "log_sizes": self.log_sizes,
            "logged_g": self.logged_g,
            "strength": self.strength,
            "adapts": self.target is not None,
            "anchors": self.anchors,
            "first_step": self.first_step,
            "first_seconds": self.first_seconds,
        }
        return counters | {name: part.state_dict() for name, part in self._parts().items()}

    def load(self, saved: dict[str, Any]) -> None:
        """Take over a saved state, but for the optimisers' settings, which are the config's.

        Raises:
            RunError: if it does not fit these networks.
        """
        try:
            settings = [_settings(o) for o in (self.optimizer_g, self.optimizer_d)]
            for name, part in self._parts().items():
                if saved[name] or name != "scaler":  # empty: the run was not in float16 before
                    part.load_state_dict(saved[name])
            for optimizer, own in zip((self.optimizer_g, self.optimizer_d), settings, strict=True):
                optimizer.param_groups[0].update(own)
            self.step = int(saved["step"])
            self.seconds, self.reserve = float(saved["seconds"]), float(saved["reserve"])
            self.log_sizes = dict(saved["log_sizes"])
            logged = dict(saved.get("logged_g", {}))  # older states lack these
            self.logged_g = {name: value.to(self.device) for name, value in logged.items()}
            if self.target is not None and saved.get("adapts", False):
                self.strength = saved["strength"].to(self.device)
            if "anchors" in saved:
                self.anchors = saved["anchors"].to(self.device)
            self.first_step = int(saved.get("first_step", 0))
            self.first_seconds = float(saved.get("first_seconds", 0.0))
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise RunError(
                f"The checkpoint does not fit the run's networks ({error}). "
                "Choose another --run, or move its state.pt to another folder to train from the "
                "start: what training replaces is kept beside it."
            ) from None


def first_strength(config: Config) -> float:
    """Return the strength of the differentiable augmentation at the start of a run."""
    training = config.training
    return training.diffaugment_strength if training.diffaugment_target is None else 0.0


def discriminator_rate(config: Config) -> float:
    """Return the step size of the discriminator."""
    own = config.training.discriminator_learning_rate
    return config.training.learning_rate if own is None else own


def _settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return what a run may change when it continues another."""
    group = optimizer.param_groups[0]
    return {name: group[name] for name in ("lr", "betas")}


def _adam(network: nn.Module, config: Config, learning_rate: float) -> torch.optim.Adam:
    settings = config.training
    return torch.optim.Adam(
        network.parameters(),
        lr=learning_rate,
        betas=(settings.beta1, settings.beta2),
        fused=True,
    )
