"""The card of an exported model: data, recipe, cost, scores, limits.

Mitchell et al. 2019, "Model cards for model reporting".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Config
from pipeline.core.paths import command_on_page
from pipeline.core.toml import toml_value
from pipeline.families.registry import family_of, parameter_count, takes_photos
from pipeline.models.ensemble import members
from pipeline.models.portable import IMAGE_TO_IMAGE, UNCONDITIONAL
from pipeline.models.shipped import option_of_model
from pipeline.models.snapshot import Snapshot
from pipeline.models.weights import WeightPrecision
from pipeline.runs.choices import describe_choice, recorded_choice
from pipeline.runs.curves import seconds_of_training
from pipeline.runs.folder import RunFolder
from pipeline.scoring.metric_table import METRIC, Place, keys_in
from pipeline.scoring.record import Score, metric_interval, metric_value
from pipeline.stages.card_header import UNPUBLISHED, Publication, card_header

GENERATES = (
    "It generates, from noise, what its training images have in common, and knows nothing else."
)
TRANSLATES = (
    "It changes how a photo looks, by what its training images have in common, and keeps what is "
    "in it as far as it has learned to. A translation carries the rights in its photo."
)
RIGHTS = (
    "Scores are computed against the training images named above, which are not those of the "
    "leaderboard. The images' own rights apply to them; Monet's paintings are in the public domain."
)
TRANSLATES_BACK = (
    "It changes how an image like its training images looks, by what the photos of its training "
    "have in common, and keeps what is in it as far as it has learned to. A translation carries "
    "the rights in its image."
)
NO_SCORE = "None: `painter score` has not been run on this run's images."
SCORE_OF_OTHERS = (
    "None: the run's score is of images that this generator is not known to have made. `painter "
    "generate` and `painter score` make one."
)
OF_THE_OTHER_DIRECTION = "None: the scores of the run are those of the other direction."


@dataclass(frozen=True)
class Export:
    """A generator that is exported, and how."""

    name: str
    """Of the model."""
    snapshot: Snapshot
    weights: WeightPrecision
    """Of the file."""
    size: int
    """Bytes of the file."""
    reverse: bool = False
    """Whether it translates from the domain that the run learned to paint like to the photos'."""
    publication: Publication = UNPUBLISHED
    score: Score | None = None
    """Of images that this generator made."""
    folder: Path | None = None
    """Where it is exported to; by default where `--model` finds it."""

    @property
    def option(self) -> Sequence[str]:
        """Return the option, and its value, by which commands take it."""
        return ("--model", self.name) if self.folder is None else option_of_model(self.folder)


def model_card(export: Export, run: RunFolder) -> str:
    """Return the card of a model that was exported from a run, in Markdown."""
    snapshot = export.snapshot
    translates = takes_photos(snapshot.config)
    takes = "--photos FOLDER_OR_ZIP --out FOLDER" if translates else "--count 7000 --out images.zip"
    sections = [
        _header(export, run),
        f"# {export.name}",
        f"`{command_on_page(['painter', 'generate', *export.option])} {takes}`",
        "## What it is",
        _networks(export),
        "## Data and cost",
        _training(export, run),
        "## Scores",
        OF_THE_OTHER_DIRECTION if export.reverse else _scores(export.score, run),
        "## Recipe",
        "```toml\n" + recipe(snapshot.config) + "\n```",
        *(
            ["## Recipe of the upscaler", "```toml\n" + recipe(snapshot.upscaler.config) + "\n```"]
            if snapshot.upscaler and upscales(snapshot)
            else []
        ),
        "## Limits",
        f"{_what_it_does(export)} {RIGHTS}",
    ]
    return "\n\n".join(sections) + "\n"


def _header(export: Export, run: RunFolder) -> str:
    """Return what model hubs read."""
    config = export.snapshot.config
    task = IMAGE_TO_IMAGE if takes_photos(config) else UNCONDITIONAL
    kinds = ["safetensors", config.family]
    return card_header(export.name, export.publication, task, "painter", export.score, kinds)


def _networks(export: Export) -> str:
    snapshot = export.snapshot
    count = len(members(snapshot.generator))
    what = "A generator" if count == 1 else f"{count} generators, of which z picks one an image,"
    text = (
        f"{what} of family `{snapshot.config.family}` ({parameter_count(snapshot.generator):,} "
        f"parameters) {_describe_task(export)}"
    )
    if snapshot.upscaler is not None and upscales(snapshot):
        count = parameter_count(snapshot.upscaler.generator)
        side = snapshot.config.output.output_size
        text += f", enlarged to {side} by an upscaler ({count:,} parameters)"
    return text + f". {export.size / 1e6:.1f} MB, {export.weights} weights."


def upscales(snapshot: Snapshot) -> bool:
    """Tell whether the upscaler of a snapshot, if it has one, is used."""
    return snapshot.config.output.upscale == "learned"


def _describe_task(export: Export) -> str:
    """Return what the generator makes of what, in words."""
    config = export.snapshot.config
    side = config.data.image_size
    if export.reverse:
        return (
            "that translates images like those that the run learned to paint like into the domain "
            f"of its photos, trained at {side} pixels; as it was after the last step, not averaged"
        )
    if takes_photos(config):
        return f"that translates photos of any size, trained at {side} pixels"
    return f"{_describe_latents(config)}to {side} pixels"


def _describe_latents(config: Config) -> str:
    """Return the generator's latent distribution, in words."""
    latents = family_of(config).latents
    if latents is None:
        return ""
    return f"from {latents(config).size} numbers `{config.values()['noise']}` "


def _what_it_does(export: Export) -> str:
    if export.reverse:
        return TRANSLATES_BACK
    return TRANSLATES if takes_photos(export.snapshot.config) else GENERATES


def _training(export: Export, run: RunFolder) -> str:
    snapshot = export.snapshot
    data = run.read_data()
    seconds = seconds_of_training(run, snapshot.images_seen)
    about = run.read_provenance()
    sessions = about.get("sittings", [])
    device = sessions[-1].get("device", "unknown") if sessions else "unknown"
    photos, starts = "", ", from which it starts" if export.reverse else ""
    if data.photos is not None:
        hashed = f"content hash `{data.photos.content_hash[:16]}`"
        role = "into which it translates" if export.reverse else "from which it starts"
        photos = f"- {data.photos.count:,} photos, {role} ({hashed}).\n"
    text = (
        f"- {data.count:,} images{starts} (content hash `{data.content_hash[:16]}`).\n"
        f"{photos}"
        f"- {snapshot.images_seen:,} training images in {seconds / 60:.0f} minutes on {device}."
    )
    if members := about.get("mixed"):
        seen = ", ".join(f"{member['images_seen']:,}" for member in members)
        text += f"\n- Of these, the generators have seen {seen}."
    if snapshot.upscaler is not None and upscales(snapshot):
        text += f"\n- The upscaler has seen {snapshot.upscaler.images_seen:,} crops."
    return text


def _scores(score: Score | None, run: RunFolder) -> str:
    """Return a score as a table."""
    if score is None:
        return SCORE_OF_OTHERS if run.score.exists() else NO_SCORE
    rows = ["| metric | value | 95% interval |", "|---|---|---|"]
    for metric in (METRIC[key] for key in keys_in(Place.CARD)):
        value, ends = metric_value(score, metric), metric_interval(score, metric)
        if value is not None:
            between = " to ".join(metric.text(end) for end in ends or ())
            rows.append(f"| {metric.label} | {metric.text(value)} | {between} |")
    near = score.get("memorized_count")
    copies = "" if near is None else f"; {near:,} of them nearer than 0.1 to a real image"
    chosen = recorded_choice(run)
    how = "" if chosen is None else f" These images are {describe_choice(chosen)}."
    generated, real = (count_in_words(score.get(key)) for key in ("n_generated", "n_reference"))
    return (
        "\n".join(rows)
        + f"\n\nFeatures `{score.get('features', 'unknown')}`, {generated} generated images "
        f"against {real} real images{copies}.{how}"
    )


def count_in_words(number: object) -> str:
    """Return a number of a score in a text; whoever wrote a snapshot wrote its score."""
    return f"{number:,}" if isinstance(number, int) else "an unknown number of"


def recipe(config: Config) -> str:
    """Return the settings of the training as TOML that `painter train --config` takes."""
    lines: list[str] = []
    for section in ("data", "network", "training"):
        lines.append(f"[{section}]")
        values = config.to_dict()[section]
        lines += [f"{k} = {toml_value(v)}" for k, v in values.items() if v is not None]
    return "\n".join(lines)
