"""The command presets: what each costs and scores, and which settings it is a name for."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.completion import complete_presets
from pipeline.cli.help import command
from pipeline.cli.options import warn
from pipeline.core.toml import toml_value

if TYPE_CHECKING:
    from pipeline.config.about import PresetAbout
    from pipeline.models.shipped import ModelAbout

HEADS = ("preset", "trains for", "Kaggle", "measured on", "score", "n")
MODEL_HEADS = ("model", "images seen", "size", "score", "n")
LEGEND = (
    "Kaggle: minutes of GPU quota that a kernel takes at most; none has been measured there. "
    "Measured on: what a run took, and where. Scores are in offline features, lower is better, "
    "over n images; * of another run than the preset as it stands. Which, and all settings: "
    "painter presets NAME"
)
MODEL_LEGEND = (
    "Scores are MiFID in offline features, lower is better, over n images. How each was made: its "
    "card in pretrained/NAME/README.md. Images of one: painter generate --model NAME"
)
NOT_MEASURED = "not measured"
MAX_WIDTH = 100


@command(
    example="painter presets\npainter presets monet64\npainter presets --models",
    writes="nothing.",
)
@click.argument("name", required=False, shell_complete=complete_presets)
@click.option("--models", is_flag=True, help="List the models that come with painter instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def presets(name: str | None, models: bool, as_json: bool) -> None:
    """List the presets: what each is, takes and scores.

    A preset is a name for all settings of a run. With NAME: what was measured of it, its settings,
    and where each comes from.
    """
    from pipeline.config.presets import all_about
    from pipeline.models.shipped import about_models

    if name is not None and models:
        raise click.UsageError("NAME is of a preset: leave it out, or leave out --models.")
    found: Any
    if name is not None:
        found, lines = one_preset(name)
    elif models:
        shipped = about_models(warn)
        found, lines = [model.to_dict() for model in shipped], model_lines(shipped, width())
    else:
        known = all_about()
        minutes = {about.name: kernel_minutes(about.name) for about in known}
        found = [about.to_dict() | {"kaggle_minutes": minutes[about.name]} for about in known]
        lines = preset_lines(known, minutes, width())
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines))


def width() -> int:
    """Return how many characters a line may have."""
    from pipeline.core.tables import terminal_width

    return min(terminal_width(), MAX_WIDTH)


def kernel_minutes(name: str) -> float | None:
    """Return the minutes of a kernel that trains a preset as it stands; None if none can."""
    from kernels.planning import KernelRequest, plan_training
    from pipeline.config import load_preset
    from pipeline.core.errors import PainterError
    from submission.kernel.settings import SHARED

    try:
        # A seed is no matter here, and no folder is looked into for an earlier one.
        request = KernelRequest(gpus=SHARED)
        plan = plan_training("you", Path(name), load_preset(name), request)
    except PainterError:
        return None
    return plan.settings.minutes


# --- Tables


def preset_lines(
    known: Sequence[PresetAbout], minutes: dict[str, float | None], width: int
) -> list[str]:
    """Return the table of presets, each with its summary below, and the legend."""
    rows = [(preset_row(about, minutes[about.name]), about.summary) for about in known]
    return table(HEADS, rows, LEGEND, width)


def preset_row(about: PresetAbout, minutes: float | None) -> tuple[str, ...]:
    """Return the cells of a preset, as `HEADS` names them."""
    kaggle = "-" if minutes is None else f"{minutes:g} min"
    first = next(iter(about.measured), None)
    if first is None:
        return (about.name, about.trains_for, kaggle, "-", NOT_MEASURED, "-")
    mark = "" if first.whole else "*"
    score = f"{first.score}{mark}"
    return (about.name, about.trains_for, kaggle, first.cost, score, f"{first.n:,}")


def model_lines(known: Sequence[ModelAbout], width: int) -> list[str]:
    """Return the table of the models that come with painter, and the legend."""
    rows = [(model_row(model), model.what) for model in known]
    return table(MODEL_HEADS, rows, MODEL_LEGEND, width)


def model_row(model: ModelAbout) -> tuple[str, ...]:
    """Return the cells of a model, as `MODEL_HEADS` names them."""
    score = NOT_MEASURED if model.mifid is None else f"MiFID {model.mifid:.1f}"
    n = "-" if model.n is None else f"{model.n:,}"
    return (model.name, f"{model.images_seen:,}", f"{model.megabytes:.1f} MB", score, n)


def table(
    heads: Sequence[str], rows: Sequence[tuple[Sequence[str], str]], legend: str, width: int
) -> list[str]:
    """Return the lines of a table with a sentence below each row, and of what is said of it all.

    Args:
        heads: of the columns.
        rows: cells, and what is said below them.
        legend: what is said below the table.
        width: characters of a line.
    """
    from pipeline.core.tables import terminal_table

    cells, told = [row for row, _ in rows], [said for _, said in rows]
    text, left_out = terminal_table(heads, cells, notes=told, left=heads[:-1], width=width)
    if left_out:
        legend = f"Without room here: {', '.join(left_out)}; --json has all. {legend}"
    return [*text.splitlines(), "", *textwrap.wrap(legend, width)]


# --- One preset


def one_preset(name: str) -> tuple[dict[str, Any], list[str]]:
    """Return a preset's settings, where each comes from, and what was measured: twice.

    For programs, and as lines.

    Raises:
        ConfigError: if there is none.
    """
    from pipeline.config import load_preset
    from pipeline.config.presets import preset_about, preset_settings

    about, sections, named = preset_about(name), load_preset(name).to_dict(), preset_settings(name)
    minutes = kernel_minutes(name)
    settings = {
        key: {"value": value, "section": section, "from": "preset" if key in named else "default"}
        for section, values in sections.items()
        for key, value in values.items()
    }
    kaggle = "no kernel" if minutes is None else f"a kernel of at most {minutes:g} minutes"
    told = [
        f"{about.name}: {about.summary}",
        f"Of family {about.family}, from {about.origin}.",
        f"Trains for {about.trains_for}; on Kaggle {kaggle}, not measured there.",
        *(f"{m.describe()} ({m.page}, {m.section})" for m in about.measured),
        *([] if about.measured else [f"Its score: {NOT_MEASURED}."]),
    ]
    lines = [part for line in told for part in textwrap.wrap(line, width())]
    found = about.to_dict() | {"kaggle_minutes": minutes, "settings": settings}
    return found, [*lines, *setting_lines(sections, named, about.family)]


def setting_lines(
    sections: dict[str, dict[str, Any]], named: Collection[str], family: str
) -> list[str]:
    """Return the settings as a TOML file, with where each comes from as a comment."""
    lines = []
    for section, values in sections.items():
        lines += ["", f"[{section}]"]
        for key, value in values.items():
            origin = "this preset" if key in named else f"default of {family}"
            lines.append(f"{written(key, value):45} # {origin}")
    return lines


def written(name: str, value: Any) -> str:
    """Return a setting as a line of TOML; no value is the word none."""
    return f"{name} = {toml_value('none' if value is None else value)}"
