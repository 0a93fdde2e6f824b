"""What makes a submission that counts anew: other images, since the same file is refused."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.advice import quoted
from pipeline.core.errors import PainterError
from pipeline.runs.choices import recorded_choice
from pipeline.runs.folder import RunFolder


def ways_to_other_images(path: Path) -> str:
    """Return how a run comes to other images than those submitted, in sentences with the commands.

    A run from noise draws others by another seed. A translation depends on its photo alone, so
    that only another generator makes others, and that of a shipped model is not trained further;
    a set chosen of several models' is chosen anew.
    """
    from pipeline.families.registry import takes_photos
    from pipeline.models.snapshots import load_config
    from pipeline.stages.generate import read_generation_record

    run, name = RunFolder(path), quoted(path)
    submit = f"`painter submit --run {name}`"
    try:
        if not run.best_or_last.exists():
            if recorded_choice(run) is None:
                return f"Its snapshot is not in {name}: another run has to take its place."
            return f"Choose anew, by `painter generate` with another --seed, then {submit}."
        if takes_photos(load_config(run.best_or_last)):
            need = "Other translations of the same photos need another generator"
            if run.provenance.exists() and "model" in run.read_provenance():
                return (
                    f"{need}, and a model that comes with painter is not trained further: train "
                    "one, by `painter train --preset photo2monet`, or choose of several models' "
                    "images (docs/choosing.md)."
                )
            return (
                f"{need}: train it further, by `painter train` with more --minutes, then "
                f"`painter generate --run {name}` and {submit}."
            )
    except PainterError as error:
        return f"Its snapshot cannot be read ({error}): another run has to take its place."
    made = read_generation_record(run)
    seed = 1 if made is None else made.seed + 1
    other = f"`painter generate --run {name} --seed {seed}`"
    return f"Other images of it count anew: {other}, then {submit}."
