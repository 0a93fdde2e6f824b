"""Upscalers on Kaggle: alone, with the images of a generator, or for a generator.

For a generator one is trained after it, or a trained one is attached.

Turns the options of `painter kernel push` into settings of the kernel and into what is uploaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernels.attachments import Attachment, state_attachment
from kernels.metadata import KernelPlan, slug_of
from pipeline.config import Config, apply_settings, resolve
from pipeline.core.errors import ConfigError
from pipeline.families.upscaler.generated_inputs import check_generator_fits
from pipeline.models.snapshots import check_upscales, load_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import file_sha256
from submission.kernel.settings import UPSCALER

SUFFIX = ".safetensors"
DEFAULT_PRESET = "upscaler64to256"


@dataclass(frozen=True)
class UpscalerOptions:
    """The options about upscalers."""

    generator: Path | None = None
    """Snapshot whose images the upscaler that is trained learns to enlarge too."""
    preset: str | None = None
    """Of the upscaler that is trained after the generator."""
    minutes: float | None = None
    """Training minutes of that; None for those of its preset."""
    trained: Path | None = None
    """Snapshot of an upscaler that enlarges the generator's images as it is."""

    def instead_of_shipped(self, config: Config) -> tuple[UpscalerOptions, Config]:
        """Return options and settings of a kernel for a run that takes a shipped upscaler here.

        A kernel has no shipped models, and its GPU trains an upscaler in minutes.
        """
        if config.output.upscaler is None:
            return self, config
        own = apply_settings(config, {"upscaler": None})
        other = self.preset is not None or self.trained is not None
        return self if other else replace(self, preset=DEFAULT_PRESET), own

    def config_for(self, generator: Config) -> Config | None:
        """Return the settings of the upscaler that is trained after a generator, if there is one.

        It has the seed of the generator, and the same images are held out.

        Raises:
            ConfigError: if minutes are given without a preset, are not above 0, or nothing gives
                any.
        """
        if self.preset is None:
            if self.minutes is not None:
                raise ConfigError(
                    "--upscaler-minutes goes with --upscaler-preset: the upscaler that is trained "
                    "after the generator."
                )
            return None
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ConfigError(
                f"--upscaler-minutes is {self.minutes:g}; expected a number above 0. Leave it out "
                "for the preset's."
            )
        same = {
            "seed": generator.training.seed,
            "holdout": generator.data.holdout,
            "holdout_seed": generator.data.holdout_seed,
        }
        config = apply_settings(resolve(self.preset, None, ()), same)
        if self.minutes_of(config) is None:
            raise ConfigError(f"The preset {self.preset} sets no minutes. Give --upscaler-minutes.")
        return config

    def minutes_of(self, upscaler: Config | None) -> float | None:
        """Return the training minutes of an upscaler that is trained after a generator."""
        if self.minutes is not None or upscaler is None:
            return self.minutes
        return upscaler.budget.minutes

    def settings(
        self, config: Config, owner: str, run: Path, continue_from: Path | None
    ) -> dict[str, Any]:
        """Return the fields of `KernelSettings` that are about upscalers.

        Args:
            config: of what is trained first, or alone.
            owner: of the datasets.
            run: what is uploaded is named after this folder.
            continue_from: the run that is continued, with the upscaler in it, if there is one.

        Raises:
            ConfigError: if upscaler and generator do not fit.
            RunError: if a snapshot is missing or damaged.
        """
        if self.generator is not None:
            check_generator_fits(config, load_snapshot(self.generator).config)
        if self.trained is not None:
            return self._settings_of_trained(self.trained, config, owner)
        upscaler = self.config_for(config)
        resumes = upscaler is not None and _earlier(continue_from) is not None
        return {
            "generator": f"{owner}/{slug_of(run, 'generator')}" if self.generator else None,
            "upscaler": None if upscaler is None else upscaler.to_dict(),
            "upscaler_minutes": self.minutes_of(upscaler),
            "attached_upscaler": f"{owner}/{slug_of(run, UPSCALER)}" if resumes else None,
        }

    def _settings_of_trained(self, path: Path, config: Config, owner: str) -> dict[str, Any]:
        """Return what `settings` does where a trained upscaler enlarges the images."""
        if self.preset is not None or self.minutes is not None:
            raise ConfigError(
                "--upscaler names an upscaler that is trained; leave out --upscaler-preset and "
                "--upscaler-minutes, which train one."
            )
        check_upscales(load_snapshot(path).config, config)
        return {
            "generator": None,
            "upscaler": None,
            "upscaler_minutes": None,
            "attached_upscaler": f"{owner}/{_slug_of_trained(path)}",
        }

    def attachments(self, plan: KernelPlan, continue_from: Path | None) -> tuple[Attachment, ...]:
        """Return what the kernel of a plan needs of earlier runs and of the generator.

        Raises:
            RunError: if there is no state to resume from.
        """
        settings, found = plan.settings, []
        if continue_from is not None and settings.attached is not None:
            found.append(state_attachment(RunFolder(continue_from), settings.attached))
        earlier = _earlier(continue_from)
        if settings.attached_upscaler is not None:
            if self.trained is not None:
                trained = snapshot_attachment(self.trained, settings.attached_upscaler)
                found.append(replace(trained, immutable=True))
            elif earlier is not None:
                found.append(state_attachment(earlier, settings.attached_upscaler))
        if self.generator is not None and settings.generator is not None:
            found.append(snapshot_attachment(self.generator, settings.generator))
        return tuple(found)


def _earlier(run: Path | None) -> RunFolder | None:
    """Return the upscaler that was trained for a run, if one was."""
    upscaler = None if run is None else RunFolder(run / UPSCALER)
    return upscaler if upscaler is not None and upscaler.state.exists() else None


def _slug_of_trained(path: Path) -> str:
    """Return the name of the dataset of a trained upscaler: that of its content, uploaded once."""
    return f"painter-upscaler-{file_sha256(path)[:12]}"


def snapshot_attachment(path: Path, name: str) -> Attachment:
    """Return a snapshot as a dataset of its own.

    Raises:
        ConfigError: if its file has another ending, by which the kernel finds it.
    """
    if path.suffix != SUFFIX:
        raise ConfigError(f"{path} is no snapshot: expected a name that ends in {SUFFIX}.")
    sha256 = file_sha256(path)
    return Attachment(name, (path,), f"snapshot {sha256[:12]}", sha256)


def describe_minutes(plan: KernelPlan) -> list[str]:
    """Return lines on how a kernel's minutes are shared out, if an upscaler is trained."""
    settings = plan.settings
    if settings.upscaler is None:
        return []
    reserved = settings.reserved_seconds / 60
    rest = settings.minutes - reserved - settings.upscaler_seconds / 60
    first = rest if settings.train_minutes is None else min(rest, settings.train_minutes)
    return [
        f"shared    {first:.4g} for the generator at most, then {settings.upscaler_minutes:g} for "
        f"the upscaler at most; {reserved:.3g} kept to generate, check and score"
    ]
