"""The upscalers of a study: one a size of its points, trained before the first that needs it.

Points of different sizes can be compared once each is enlarged to the size of the output by a
learned upscaler, and all upscalers were trained alike: by the same settings, on the same images,
without those that the points hold out.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pipeline.config import Config, apply_settings, load_preset
from pipeline.core.errors import ConfigError
from pipeline.families.registry import makes_images
from pipeline.study.plan import Point, StudyPlan

FOLDER = "upscalers"
"""Where their run folders are, in the folder of the study."""
SHARED = ("holdout", "holdout_seed", "horizontal_flip")
"""Settings that an upscaler has from the points."""


def factor_of(plan: StudyPlan, point: Point) -> int | None:
    """Return by how much the images of a point are upscaled; None if by no upscaler."""
    config = plan.config(point)
    factor = config.output.output_size // config.data.image_size
    return factor if plan.upscaler and factor > 1 else None


def upscaler_settings(plan: StudyPlan, factor: int) -> tuple[str, dict[str, Any]]:
    """Return preset and settings of the training of an upscaler."""
    own = dict(plan.upscaler)
    preset = own.pop("preset", "")
    shared = {name: plan.settings[name] for name in SHARED if name in plan.settings}
    return preset, {**shared, "seed": plan.seeds[0], **own, "upscale_factor": factor}


def upscaler_folder(plan: StudyPlan, factor: int) -> str:
    """Return a run folder's name, relative to the study's: that of no other settings."""
    content = json.dumps(upscaler_settings(plan, factor), sort_keys=True)
    return f"{FOLDER}/x{factor}-{hashlib.sha256(content.encode()).hexdigest()[:6]}"


def upscaler_config(plan: StudyPlan, factor: int) -> Config:
    """Return the settings of an upscaler's run.

    Raises:
        ConfigError: if a setting is unknown or out of range, or the preset's is no upscaler.
    """
    preset, settings = upscaler_settings(plan, factor)
    if not isinstance(preset, str) or not preset:
        raise ConfigError('[upscaler] needs a preset, such as preset = "upscaler64to256".')
    if makes_images(load_preset(preset)):
        raise ConfigError(f"[upscaler] has the preset {preset!r}, which is no upscaler's.")
    return apply_settings(load_preset(preset), settings)
