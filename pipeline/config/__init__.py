"""Settings of a run: sections of frozen dataclasses, strict TOML, named presets.

A family of networks adds settings of its own to the sections (see `schema`); what a family does
not know does not exist for it.
"""

from pipeline.config.config import (
    IDENTITY_SECTIONS,
    Change,
    Config,
    apply_settings,
    changes,
    differences,
)
from pipeline.config.presets import (
    change_output,
    load_preset,
    parse_assignment,
    parse_assignments,
    preset_names,
    read_toml,
    resolve,
)
from pipeline.config.schema import (
    FamilySettings,
    Setting,
    all_settings,
    family_names,
    family_settings,
    flatten,
    register_settings,
    settings_of,
)
from pipeline.config.sections import (
    IMAGE_SIZES,
    BudgetConfig,
    DataConfig,
    LoggingConfig,
    NetworkConfig,
    OutputConfig,
    TrainingConfig,
    require,
    require_one_of,
)

__all__ = [
    "IDENTITY_SECTIONS",
    "IMAGE_SIZES",
    "BudgetConfig",
    "Change",
    "Config",
    "DataConfig",
    "FamilySettings",
    "LoggingConfig",
    "NetworkConfig",
    "OutputConfig",
    "Setting",
    "TrainingConfig",
    "all_settings",
    "apply_settings",
    "change_output",
    "changes",
    "differences",
    "family_names",
    "family_settings",
    "flatten",
    "load_preset",
    "parse_assignment",
    "parse_assignments",
    "preset_names",
    "read_toml",
    "register_settings",
    "require",
    "require_one_of",
    "resolve",
    "settings_of",
]
