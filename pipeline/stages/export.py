"""The export stage: a run's generator in half precision with a model card, for others to use.

Reads a run folder; writes `FOLDER/NAME/`: `snapshot.safetensors` (the averaged generator and its
upscaler in float16, statistics of normalisations in float32), `snapshot.json` (all settings) and
`README.md`, the card: data, recipe, cost, scores, limits (Mitchell et al. 2019, "Model cards for
model reporting"). `painter export --run RUN --name NAME`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.core.advice import quoted
from pipeline.core.errors import ConfigError
from pipeline.families.registry import check_makes_images, family_of, parameter_count
from pipeline.models.ensemble import members
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, write_snapshot
from pipeline.runs.curves import seconds_of_training
from pipeline.runs.folder import RunFolder
from pipeline.scoring.metric_table import COMPARABLE, METRIC, SCALE, Place, keys_in
from pipeline.scoring.record import metric_interval, metric_value, read_score
from pipeline.system.storage import atomic_folder, check_writable, write_text

FILE = "snapshot.safetensors"
CARD = "README.md"
SCORE_KEYS = (*keys_in(Place.SNAPSHOT), *SCALE, COMPARABLE)
"""Keys of the score that an exported snapshot carries."""
PRETRAINED_FOLDER = Path(__file__).resolve().parents[2] / "pretrained"
"""The models that come with painter."""
DEMO_MODEL = "monet-dcgan"
"""The model whose images the demo starts with."""


def model_names(folder: Path | None = None) -> list[str]:
    """Return the names of the models in a folder; by default of those that come with painter."""
    return sorted(path.parent.name for path in (folder or PRETRAINED_FOLDER).glob(f"*/{FILE}"))


def model_file(name: str, folder: Path | None = None) -> Path:
    """Return the snapshot of a model.

    Raises:
        ConfigError: if there is none; the message lists those that exist.
    """
    names = model_names(folder)
    if name not in names:
        known = ", ".join(names) or "none come with this version"
        raise ConfigError(f"There is no model {name!r}. Models: {known}.")
    return (folder or PRETRAINED_FOLDER) / name / FILE


def export(run: RunFolder, name: str, folder: Path, last: bool = False) -> Path:
    """Write a model's folder and return it.

    Args:
        run: a trained run; its scores and curves go into the model card.
        name: of the model and its folder.
        folder: parent folder of the models.
        last: export the last snapshot, not the best.

    Raises:
        RunError: if the run has no snapshot.
        ConfigError: if the name is no plain file name, or taken, or the run is an upscaler's.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise ConfigError(f"--name is {name!r}; expected a plain file name.")
    target = folder / name
    if target.exists():
        raise ConfigError(f"{target} exists. Choose another --name, or move it away first.")
    check_writable(target)
    snapshot = load_snapshot(run.snapshot if last else run.best_or_last)
    check_makes_images(snapshot.config)
    snapshot = replace(snapshot, score=_score_to_export(snapshot, run))
    with atomic_folder(target) as unfinished:
        write_snapshot(unfinished / FILE, snapshot, half=True)
        size = (unfinished / FILE).stat().st_size
        write_text(unfinished / CARD, model_card(name, snapshot, run, size))
    return target


def _score_to_export(snapshot: Snapshot, run: RunFolder) -> dict[str, Any] | None:
    """Return the score that a model carries: the run's, else the training's validation score.

    The latter was computed without an upscaler, so it says nothing about upscaled images.
    """
    if score := read_score(run):
        return {name: value for name, value in score.items() if name in SCORE_KEYS}
    return snapshot.score if snapshot.upscaler is None else None


def model_card(name: str, snapshot: Snapshot, run: RunFolder, size: int) -> str:
    """Return the model card in Markdown.

    Args:
        name: of the model.
        snapshot: the exported snapshot.
        run: the run it comes from.
        size: bytes of the exported file.
    """
    sections = [
        f"# {name}",
        f"`painter generate --model {quoted(name)} --count 7000 --out images.zip`",
        "## What it is",
        _networks(snapshot, size),
        "## Data and cost",
        _training(snapshot, run),
        "## Scores",
        _scores(run),
        "## Recipe",
        "```toml\n" + recipe(snapshot.config) + "\n```",
        *(
            ["## Recipe of the upscaler", "```toml\n" + recipe(snapshot.upscaler.config) + "\n```"]
            if snapshot.upscaler
            else []
        ),
        "## Limits",
        "It generates, from noise, what its training images have in common, and knows nothing "
        "else. Scores are computed against the training images named above, which are not those "
        "of the leaderboard. The images' own rights apply to them; Monet's paintings are in the "
        "public domain.",
    ]
    return "\n\n".join(sections) + "\n"


def _networks(snapshot: Snapshot, size: int) -> str:
    config = snapshot.config
    count = len(members(snapshot.generator))
    what = "A generator" if count == 1 else f"{count} generators, of which z picks one an image,"
    text = (
        f"{what} of family `{config.network.family}` ({parameter_count(snapshot.generator):,} "
        f"parameters) {_describe_latents(config)}to "
        f"{config.data.image_size} pixels"
    )
    if snapshot.upscaler is not None:
        count = parameter_count(snapshot.upscaler.generator)
        text += f", enlarged to {config.output.output_size} by an upscaler ({count:,} parameters)"
    return text + f". {size / 1e6:.1f} MB in half precision."


def _describe_latents(config: Config) -> str:
    """Return the generator's latent distribution, in words."""
    latents = family_of(config).latents
    if latents is None:
        return ""
    return f"from {latents(config).size} numbers `{config.values()['noise']}` "


def _training(snapshot: Snapshot, run: RunFolder) -> str:
    data = run.read_data()
    seconds = seconds_of_training(run, snapshot.images_seen)
    about = run.read_provenance()
    sessions = about.get("sittings", [])
    device = sessions[-1].get("device", "unknown") if sessions else "unknown"
    text = (
        f"- {data.count:,} images (content hash `{data.content_hash[:16]}`).\n"
        f"- {snapshot.images_seen:,} training images in {seconds / 60:.0f} minutes on {device}."
    )
    if members := about.get("mixed"):
        seen = ", ".join(f"{member['images_seen']:,}" for member in members)
        text += f"\n- Of these, the generators have seen {seen}."
    if snapshot.upscaler is not None:
        text += f"\n- The upscaler has seen {snapshot.upscaler.images_seen:,} crops."
    return text


def _scores(run: RunFolder) -> str:
    """Return the run's score as a table."""
    score = read_score(run)
    if score is None:
        return "None: `painter score` has not been run on this run's images."
    rows = ["| metric | value | 95 % interval |", "|---|---|---|"]
    for metric in (METRIC[key] for key in keys_in(Place.CARD)):
        value, ends = metric_value(score, metric), metric_interval(score, metric)
        if value is not None:
            between = " to ".join(f"{end:{metric.format_spec}}" for end in ends or ())
            rows.append(f"| {metric.label} | {value:{metric.format_spec}} | {between} |")
    features = f"Features `{score['features']}`, {score['n_generated']:,} generated images"
    about = f"{features} against {score['n_reference']:,} real images; "
    return (
        "\n".join(rows)
        + f"\n\n{about}{score['memorized_count']:,} of them nearer than 0.1 to a real image."
    )


def recipe(config: Config) -> str:
    """Return the settings of the training as TOML that `painter train --config` takes."""
    lines: list[str] = []
    for section in ("data", "network", "training"):
        lines.append(f"[{section}]")
        values = config.to_dict()[section]
        lines += [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
