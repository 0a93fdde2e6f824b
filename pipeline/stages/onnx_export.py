"""The export of a model as ONNX files, for other programs: `painter export --format onnx`.

Reads a snapshot; writes `FOLDER/NAME/`: `generator.onnx` and, if its images are upscaled by a
network, `upscaler.onnx`, or both joined in `generator-upscaler.onnx`; beside each its examples
(.npz), and `README.md`, the card. A file is kept only if it makes torch's images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import __version__
from pipeline.core.errors import ConfigError
from pipeline.families.registry import is_upscaler, portable_network, portable_upscaler
from pipeline.models.onnx_file import check_packages, write_onnx
from pipeline.models.portable import PortableNetwork, chained, joined
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_hashed_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.scoring.record import score_of_snapshot
from pipeline.stages.card_header import Publication
from pipeline.stages.export import CARD, check_target, reverse_snapshot
from pipeline.stages.onnx_card import OnnxFile, onnx_card
from pipeline.system.storage import atomic_folder, write_text

GENERATOR, UPSCALER = "generator.onnx", "upscaler.onnx"
JOINED = "generator-upscaler.onnx"


@dataclass(frozen=True)
class Exported:
    """What was exported."""

    folder: Path
    files: tuple[OnnxFile, ...]


def run_snapshot(run: RunFolder, last: bool = False, reverse: bool = False) -> Snapshot:
    """Return the snapshot of a run, with the score of its images if that is known.

    The run's score.json counts where its images are those of images.zip, and were made of this
    snapshot; else the training's validation score does, unless an upscaler is added.

    Raises:
        RunError: if there is no snapshot, or it is damaged.
        ConfigError: for `reverse`, if there is no other direction.
    """
    if reverse:
        return reverse_snapshot(run)
    path = run.chosen_snapshot(last)
    snapshot, sha256 = load_hashed_snapshot(path)
    score = score_of_snapshot(run, sha256)
    if score is None and snapshot.upscaler is None:
        return snapshot
    return replace(snapshot, score=None if score is None else dict(score))


def export_onnx(
    snapshot: Snapshot,
    name: str,
    folder: Path,
    publication: Publication,
    join: bool = False,
    reverse: bool = False,
) -> Exported:
    """Write a model's folder.

    Args:
        snapshot: of a generator, with its upscaler if it has one, or of an upscaler.
        name: of the model and its folder.
        folder: parent folder of the models.
        publication: what the card says beside what is known.
        join: write generator and upscaler as one network.
        reverse: whether the generator is that of a run's other direction, for the card.

    Raises:
        ConfigError: if the packages are missing, the name is no plain file name, or taken, the
            family has no form for other programs, or there is nothing to join.
        WorkFailed: if torch cannot write the network, or the file makes other images.
    """
    check_packages()
    target = check_target(name, folder)
    networks = _networks(snapshot, join)
    about = {"name": name, "producer": f"painter {__version__}", "range": "images in [-1, 1]"}
    if publication.license:
        about["license"] = publication.license
    with atomic_folder(target) as unfinished:
        files = []
        for file, network in networks.items():
            difference = write_onnx(unfinished / file, network, about)
            size = (unfinished / file).stat().st_size
            files.append(OnnxFile(file, network, size, difference))
        card = onnx_card(name, snapshot.config, files, publication, snapshot.score, reverse)
        write_text(unfinished / CARD, card)
    return Exported(target, tuple(files))


def _networks(snapshot: Snapshot, join: bool) -> dict[str, PortableNetwork]:
    """Return the networks of a snapshot by the names of their files."""
    own, upscaler = portable_network(snapshot), portable_upscaler(snapshot)
    if join and upscaler is None:
        raise ConfigError(
            "--joined puts a generator and its upscaler into one file, and this model has no "
            "upscaler. Leave it out."
        )
    if upscaler is None:
        return {UPSCALER if is_upscaler(snapshot.config) else GENERATOR: own}
    if join:
        return {JOINED: joined(own, upscaler)}
    return {GENERATOR: own, UPSCALER: chained(own, upscaler)}
