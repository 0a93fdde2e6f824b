"""The export stage: a run's generator in 16 or 8 bits with a model card, for others to use.

Reads a run folder; writes `FOLDER/NAME/`: `snapshot.safetensors` (the averaged generator and its
upscaler), `snapshot.json` (all settings) and `README.md`, the card. Of a translator that learned
both directions, the generator of the other one can be exported too: it is in `state.pt`, and not
averaged. `painter export --run RUN --name NAME`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.core.errors import ConfigError, RunError, is_out_of_memory
from pipeline.families.registry import build_reverse, check_makes_images
from pipeline.models.shipped import FILE
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_hashed_snapshot, write_snapshot
from pipeline.models.weights import WeightPrecision
from pipeline.runs.folder import RunFolder
from pipeline.scoring.metric_table import COMPARABLE, SCALE, Place, keys_in
from pipeline.scoring.record import Score, score_of_snapshot
from pipeline.stages.card_header import UNPUBLISHED, Publication
from pipeline.stages.model_card import Export, model_card
from pipeline.system.storage import atomic_folder, check_writable, write_text
from pipeline.training.checkpoints import load_state

CARD = "README.md"
SCORE_KEYS = (*keys_in(Place.SNAPSHOT), *SCALE, COMPARABLE)
"""Keys of the score that an exported snapshot carries."""


def export(
    run: RunFolder,
    name: str,
    folder: Path,
    last: bool = False,
    weights: WeightPrecision = WeightPrecision.FLOAT16,
    reverse: bool = False,
    publication: Publication = UNPUBLISHED,
) -> Path:
    """Write a model's folder and return it.

    Args:
        run: a trained run; its scores and curves go into the model card.
        name: of the model and its folder.
        folder: parent folder of the models.
        last: export the last snapshot, not the best.
        weights: their precision in the file.
        reverse: export the generator of the other direction, as it was after the last step.
        publication: what the card says beside what the run knows.

    Raises:
        RunError: if the run has no snapshot, or for `reverse` no state.
        ConfigError: if the name is no plain file name, or taken, or the run is an upscaler's, or
            has no generator of the other direction.
    """
    target = check_target(name, folder)
    path = run.chosen_snapshot(last)
    snapshot, score = (reverse_snapshot(run), None) if reverse else _averaged_snapshot(run, path)
    with atomic_folder(target) as unfinished:
        write_snapshot(unfinished / FILE, snapshot, weights)
        size = (unfinished / FILE).stat().st_size
        about = Export(name, snapshot, weights, size, reverse, publication, score, target)
        write_text(unfinished / CARD, model_card(about, run))
    return target


def check_target(name: str, folder: Path) -> Path:
    """Return the folder of a model that is to be written.

    Raises:
        ConfigError: if the name is no plain file name, or taken.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise ConfigError(f"--name is {name!r}; expected a plain file name.")
    target = folder / name
    if target.exists():
        raise ConfigError(f"{target} exists. Choose another --name, or move it away first.")
    check_writable(target)
    return target


def reverse_snapshot(run: RunFolder) -> Snapshot:
    """Return the generator of a run's other direction, from its state after the last step.

    Raises:
        RunError: if there is no state, or it is damaged, or does not fit the settings.
        ConfigError: if the family trains none.
    """
    config = run.read_config()
    found = build_reverse(config)
    if found is None:
        raise ConfigError(
            f"Family {config.family!r} trains no generator of another direction. Leave --reverse "
            "out."
        )
    name, network = found
    if not run.state.exists():
        raise RunError(
            f"There is no {run.state}, which alone has the generator of the other direction. "
            "The same `painter train` writes it again."
        )
    state = load_state(run.state)
    try:
        network.load_state_dict(state[name])
        images_seen = int(state["step"]) * config.training.batch_size
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise RunError(f"{run.state} does not fit {run.config}: {error}") from None
    return Snapshot(network.eval(), config, images_seen)


def _averaged_snapshot(run: RunFolder, path: Path) -> tuple[Snapshot, Score | None]:
    """Return a snapshot with the score that its model carries, and the score of its images.

    A model carries the score of its images, else the training's validation score: which was
    computed without an upscaler, so it says nothing about upscaled images.
    """
    snapshot, sha256 = load_hashed_snapshot(path)
    check_makes_images(snapshot.config)
    score = score_of_snapshot(run, sha256)
    if score is not None:
        kept = {name: value for name, value in score.items() if name in SCORE_KEYS}
        return replace(snapshot, score=kept), score
    return snapshot if snapshot.upscaler is None else replace(snapshot, score=None), None
