"""The training state: everything that changes during a run and that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pipeline.config import Config
from pipeline.core.errors import RunError, is_out_of_memory
from pipeline.families.family import Metrics, Objective, Phase
from pipeline.families.registry import family_of
from pipeline.models.precision import Precision
from pipeline.system.devices import memory_format
from pipeline.training.ema import GeneratorEma

Optimizers = dict[str, torch.optim.Optimizer]


@dataclass
class TrainingState:
    """Networks, objective, optimisers and counters of a run."""

    networks: dict[str, nn.Module]
    """By their names; `generator` is the one that is averaged."""
    objective: Objective
    ema: GeneratorEma
    optimizers: Optimizers
    """One for each phase of a step."""
    scaler: torch.amp.GradScaler
    step: int = 0
    seconds: float = 0.0
    reserve: float = 0.0
    """Seconds reserved for saving at the end of a time budget: what it took, with a margin."""
    log_sizes: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, Metrics] = field(default_factory=dict)
    """What each phase logged when it last took place: not all do in each step."""
    learning_rate_factor: float = 1.0
    """Factor of all learning rates in a step, as the schedule has it before the step."""
    first_step: int = 0
    """Steps inherited from the run that this one continues."""
    first_seconds: float = 0.0
    """Training seconds inherited."""

    @staticmethod
    def fresh(config: Config, precision: Precision) -> TrainingState:
        """Build the networks from the seed, and their objective and optimisers."""
        family = family_of(config)
        with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU
            torch.default_generator.manual_seed(config.training.seed)
            networks = family.networks(config)
        for network in networks.values():
            network.to(precision.device, memory_format=memory_format(precision.device))  # type: ignore[call-overload]  # torch's stubs lack this form
        objective = family.objective(config, precision.device)
        return TrainingState(
            networks,
            objective,
            GeneratorEma(networks["generator"], config.training.ema_decay),
            {phase.name: _adam(networks, phase, config) for phase in objective.phases},
            precision.scaler(),
        )

    @property
    def generator(self) -> nn.Module:
        """Return the network that makes images."""
        return self.networks["generator"]

    @property
    def device(self) -> torch.device:
        """Return the device that the networks are on."""
        return next(self.generator.parameters()).device

    def all_metrics(self) -> Metrics:
        """Return what the phases have logged, each when it last took place."""
        return {n: value for values in self.metrics.values() for n, value in values.items()}

    def _stateful(self) -> dict[str, Any]:
        """Return everything with a `state_dict`, by its key in `state.pt`."""
        phases = self.objective.phases
        optimizers = {f"optimizer_{p.key}": self.optimizers[p.name] for p in phases}
        averaged = {"average": self.ema.network, "scaler": self.scaler}
        return self.networks | averaged | optimizers | {"objective": self.objective}

    def to_dict(self) -> dict[str, Any]:
        """Return what `state.pt` holds."""
        counters = {
            "step": self.step,
            "seconds": self.seconds,
            "reserve": self.reserve,
            "log_sizes": self.log_sizes,
            "metrics": self.metrics,
            "first_step": self.first_step,
            "first_seconds": self.first_seconds,
        }
        return counters | {name: part.state_dict() for name, part in self._stateful().items()}

    def load(self, saved: dict[str, Any]) -> None:
        """Load a saved state, but for the optimisers' hyperparameters, which are the config's.

        Raises:
            RunError: if it does not fit these networks.
        """
        try:
            hyperparameters = {name: _hyperparameters(o) for name, o in self.optimizers.items()}
            for name, part in self._stateful().items():
                if name == "objective":
                    part.load_state_dict(objective_state(saved))
                elif saved[name] or name != "scaler":  # empty: the run was not in float16 before
                    part.load_state_dict(saved[name])
            for name, own in hyperparameters.items():
                self.optimizers[name].param_groups[0].update(own)
            self.step = int(saved["step"])
            self.seconds, self.reserve = float(saved["seconds"]), float(saved["reserve"])
            self.log_sizes = dict(saved["log_sizes"])
            self.metrics = self._on_device(phase_metrics(saved))
            self.first_step = int(saved.get("first_step", 0))
            self.first_seconds = float(saved.get("first_seconds", 0.0))
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            raise RunError(
                f"The checkpoint does not fit the run's networks ({error}). "
                "Choose another --run, or move its state.pt to another folder to train from the "
                "start: what training replaces is kept beside it."
            ) from None

    def _on_device(self, metrics: Mapping[str, Metrics]) -> dict[str, Metrics]:
        return {
            phase: {name: value.to(self.device) for name, value in values.items()}
            for phase, values in metrics.items()
        }


def objective_state(saved: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the state of the objective in a saved one.

    Up to 0.1.0 it lay beside everything else, a fixed strength of the augmentation too.
    """
    if "objective" in saved:
        return dict(saved["objective"])
    found = {"anchors": saved["anchors"]} if "anchors" in saved else {}
    return found | ({"strength": saved["strength"]} if saved.get("adapts", False) else {})


def phase_metrics(saved: Mapping[str, Any]) -> dict[str, Metrics]:
    """Return what each phase logged last; up to 0.1.0 the generator's alone was kept."""
    if "metrics" in saved:
        return dict(saved["metrics"])
    return {"generator": dict(saved.get("logged_g", {}))}


def _hyperparameters(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return what a run may change when it continues another, or resumes on another device."""
    group = optimizer.param_groups[0]
    return {name: group[name] for name in ("lr", "betas", "fused", "capturable")}


def _adam(networks: Mapping[str, nn.Module], phase: Phase, config: Config) -> torch.optim.Adam:
    settings = config.training
    return torch.optim.Adam(
        [p for name in phase.trains for p in networks[name].parameters()],
        lr=phase.learning_rate,
        betas=(settings.beta1, settings.beta2),
        fused=True,
        # So a step can be recorded (`pipeline.training.cuda_graphs`); a CPU does not have it.
        capturable=next(networks["generator"].parameters()).is_cuda,
    )
