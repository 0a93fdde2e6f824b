"""Saving and loading `snapshot.safetensors`: a generator, its config, its upscaler.

A safetensors file cannot contain code; the config is in its header, of which `snapshot.json` is a
readable copy. Weights may be kept in 16 or 8 bits (`models/weights.py`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from pipeline import __version__
from pipeline.config import Config, apply_settings
from pipeline.config.schema import BUILT_IN
from pipeline.core.errors import ConfigError, RunError, is_out_of_memory
from pipeline.core.records import check_format
from pipeline.core.text import escape_surrogates
from pipeline.models.builders import build_generator, is_upscaler
from pipeline.models.dry_build import check_fits
from pipeline.models.ensemble import MAX_GENERATORS, GeneratorEnsemble, members
from pipeline.models.snapshot import Snapshot
from pipeline.models.weights import (
    WeightPrecision,
    all_finite,
    is_statistic,
    precision_of,
    restored_tensors,
    stored_tensors,
)
from pipeline.system.storage import file_sha256, write_bytes, write_json

SNAPSHOT_KIND, SNAPSHOT_FORMAT = "painter-generator-", 2
FORMATS = {WeightPrecision.FLOAT32: 1, WeightPrecision.FLOAT16: 1, WeightPrecision.INT8: 2}
"""The format of a snapshot by its weights: versions that know only the first read what is in it."""
HASH = "content_sha256"
"""Key in a snapshot's header of the hash of its tensors and of the rest of the header."""
UPSCALER_PREFIX = "upscaler."
READS = 5
"""How often a file is read that a training replaces meanwhile."""


def save_snapshot(
    path: Path,
    generator: nn.Module,
    config: Config,
    images_seen: int,
    score: dict[str, Any] | None = None,
    upscaler: Snapshot | None = None,
) -> None:
    """Write `path` (safetensors, config in its header) and a readable .json beside it."""
    snapshot = Snapshot(generator, config, images_seen, score)
    write_snapshot(path, snapshot if upscaler is None else with_upscaler(snapshot, upscaler))


def write_snapshot(
    path: Path, snapshot: Snapshot, weights: WeightPrecision = WeightPrecision.FLOAT32
) -> str:
    """Write a snapshot as `save_snapshot` does, and return the sha256 of its file.

    Args:
        path: a name ending in .safetensors.
        snapshot: with its upscaler, if it has one.
        weights: their precision in the file.

    Raises:
        RunError: if the precision cannot express the weights, as `stored_tensors` says.
    """
    tensors = stored_tensors(snapshot.generator, weights)
    metadata: dict[str, Any] = {
        "format": f"{SNAPSHOT_KIND}{FORMATS[weights]}",
        "painter": __version__,
    }
    metadata |= _metadata(snapshot) | {"score": snapshot.score}
    if snapshot.upscaler is not None:
        metadata["upscaler"] = _metadata(snapshot.upscaler)
        own = stored_tensors(snapshot.upscaler.generator, weights)
        tensors |= {UPSCALER_PREFIX + name: tensor for name, tensor in own.items()}
    metadata[HASH] = content_digest(metadata, tensors)
    header = {"about": json.dumps(metadata, sort_keys=True)}
    content = safetensors.torch.save(tensors, header)
    write_bytes(path, content)
    write_json(path.with_suffix(".json"), metadata)
    return hashlib.sha256(content).hexdigest()


def content_digest(metadata: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return a sha256 over a snapshot's header, without the hash in it, and its tensors.

    Args:
        metadata: as it is written to JSON.
        tensors: on the CPU, by name.
    """
    hashed = {name: value for name, value in metadata.items() if name != HASH}
    digest = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _metadata(snapshot: Snapshot) -> dict[str, Any]:
    metadata = {"images_seen": snapshot.images_seen, "config": snapshot.config.to_dict()}
    if (count := len(members(snapshot.generator))) > 1:
        metadata["generators"] = count
    return metadata


def attach_upscaler(path: Path, upscaler: Path) -> None:
    """Add an upscaler to a generator's snapshot, which from then on upscales with it.

    Args:
        path: the snapshot of the generator, written anew.
        upscaler: the snapshot of an upscaler.

    Raises:
        RunError: if one is missing or damaged.
        ConfigError: if the second is no upscaler, or the first is one.
    """
    rewrite_snapshot(path, with_upscaler(load_snapshot(path), load_snapshot(upscaler)))


def rewrite_snapshot(path: Path, snapshot: Snapshot) -> str:
    """Overwrite a snapshot, in the precision of the existing file; return its sha256."""
    return write_snapshot(path, snapshot, _weights_in(path))


def with_upscaler(generator: Snapshot, upscaler: Snapshot) -> Snapshot:
    """Return a generator's snapshot with an upscaler.

    Raises:
        ConfigError: if the second is no upscaler, or the first is one.
    """
    check_upscales(upscaler.config, generator.config)
    config = apply_settings(generator.config, {"upscale": "learned"})
    return replace(generator, config=config, upscaler=upscaler)


def check_upscales(upscaler: Config, generator: Config) -> None:
    """Check that an upscaler's settings and a generator's are that.

    Raises:
        ConfigError: if the first is no upscaler, or the second is one.
    """
    if is_upscaler(generator):
        raise ConfigError("An upscaler is given to a generator, and this is an upscaler itself.")
    if not is_upscaler(upscaler):
        raise ConfigError(
            f"--upscaler is a generator of family {upscaler.family!r}; expected an "
            "upscaler, as `painter train --preset upscaler64to256` makes one."
        )


def upscaler_of(*paths: Path) -> Snapshot | None:
    """Return the upscaler in the first of these snapshots that has one; None if none has."""
    for path in paths:
        with suppress(RunError):  # missing or damaged
            if (upscaler := load_snapshot(path).upscaler) is not None:
                return upscaler
    return None


@contextmanager
def _open_tensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file; the library takes only UTF-8 paths, so others go by a symlink."""
    if escape_surrogates(str(path)) == str(path):
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / "link.safetensors"
        try:
            link.symlink_to(path.resolve())
        except OSError:  # Windows asks for a right that few have
            shutil.copyfile(path, link)
        with safetensors.safe_open(link, framework="pt") as file:
            yield file


def _weights_in(path: Path) -> WeightPrecision:
    """Return the precision of the weights in a snapshot's file."""
    with _open_tensors(path) as file:
        return precision_of({file.get_slice(name).get_dtype() for name in file.keys()})  # noqa: SIM118 - not a mapping


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot; safetensors cannot execute code.

    Raises:
        RunError: if the file is missing, damaged, or something else (a pickle, say), or if weights
            in it are infinite or not a number.
        LaterVersion: if a later version wrote it.
    """
    with _opened(path) as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    with _fitting(path):
        metadata = _checked_metadata(path, header)
        tensors = _checked(path, metadata, tensors)
        own = {n: t for n, t in tensors.items() if not n.startswith(UPSCALER_PREFIX)}
        snapshot = replace(_build_snapshot(metadata, own), score=_checked_score(metadata))
        _check_finite(path, snapshot.generator)
        if "upscaler" not in metadata:
            return snapshot
        _check_upscaler(metadata["upscaler"])
        rest = {n.removeprefix(UPSCALER_PREFIX): t for n, t in tensors.items() if n not in own}
        upscaler = _build_snapshot(metadata["upscaler"], rest)
        _check_finite(path, upscaler.generator)
        return replace(snapshot, upscaler=upscaler)


def load_hashed_snapshot(path: Path) -> tuple[Snapshot, str]:
    """Read a snapshot; return it, and the sha256 of the very file that it was read from.

    The file of a run that is still training may be another one a moment later.

    Raises:
        RunError, LaterVersion: as `load_snapshot`; also if the file is replaced all the time.
    """
    for _ in range(READS):
        before = file_sha256(path) if path.is_file() else None
        snapshot = load_snapshot(path)
        if before is not None and before == file_sha256(path):
            return snapshot, before
    raise RunError(
        f"{path} was replaced {READS} times while it was read. Wait until its training writes it "
        "less often, or take a copy of it: --snapshot FILE"
    )


def load_config(path: Path) -> Config:
    """Read the settings of a snapshot, and not its weights.

    Raises:
        RunError, LaterVersion: as `load_snapshot`, but for damage to the weights.
    """
    with _opened(path) as file:
        header = file.metadata() or {}
    with _fitting(path):
        return Config.from_saved(_checked_metadata(path, header)["config"])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a snapshot's file; raise RunError if it is missing or is something else."""
    if not path.is_file():
        raise RunError(f"There is no snapshot {path}. `painter train` makes one.")
    try:
        with _open_tensors(path) as file:
            yield file
    except (safetensors.SafetensorError, OSError) as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        raise RunError(
            f"{path} is not a safetensors snapshot ({error}). Pickled weights (.pt, .pth, .ckpt) "
            "are not loaded, since they can run code. `painter train` writes snapshots."
        ) from None


@contextmanager
def _fitting(path: Path) -> Iterator[None]:
    """Raise RunError where the content of a snapshot is not what this version expects."""
    try:
        yield
    except (
        ConfigError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError
    ) as error:  # fmt: skip
        if is_out_of_memory(error):
            raise
        raise RunError(
            f"The snapshot {path} does not fit this version of painter: {error}"
        ) from None


def _checked_metadata(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    """Return what a snapshot's header says of it, of a format that this version knows."""
    metadata: dict[str, Any] = json.loads(header.get("about", "{}"))
    _check_format(path, metadata)
    return metadata


def _checked_score(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """Return the score in a snapshot's header; None if there is none."""
    score = metadata.get("score")
    if not isinstance(score, dict | None):
        raise ValueError(f"score is {score!r}; expected metrics by their names")
    return score


def _check_upscaler(metadata: dict[str, Any]) -> None:
    """Check that what a snapshot's header calls its upscaler is one."""
    config = Config.from_saved(metadata["config"])
    if not is_upscaler(config):
        raise ValueError(f"its upscaler is of family {config.family!r}, which enlarges no images")


def _checked(
    path: Path, metadata: dict[str, Any], stored: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the tensors of a file, multiplied out where they are kept in 8 bits."""
    try:
        if metadata.get(HASH) not in (None, content_digest(metadata, stored)):
            raise ValueError("it is not what was written, by the hash in it")
        return restored_tensors(stored)
    except ValueError as error:
        raise RunError(
            f"{path} is damaged: {error}. Copy it again from where it came; where it was trained, "
            "`painter train` writes it again."
        ) from None


def _check_finite(path: Path, network: nn.Module) -> None:
    """Check what a training learns, and the statistics of normalisations; a mask may be infinite.

    Raises:
        RunError: naming one that is not.
    """
    statistics = {n: b for n, b in network.named_buffers() if is_statistic(n)}
    for name, tensor in {**dict(network.named_parameters()), **statistics}.items():
        if not all_finite(tensor):
            raise RunError(
                f"Some weights in {path} are infinite or not a number ({name}): the training "
                "diverged, and it has no images to make. Take an earlier snapshot: --snapshot FILE"
            )


def _check_format(path: Path, metadata: Any) -> None:
    """Check that tensors are a snapshot, and of no later version."""
    kind = metadata.get("format") if isinstance(metadata, dict) else None
    number = str(kind).removeprefix(SNAPSHOT_KIND)
    if number == kind or not number.isdecimal():
        raise RunError(
            f"{path} holds tensors, but no painter snapshot ({SNAPSHOT_KIND}1). "
            "`painter train` writes snapshots."
        )
    check_format(path, int(number), SNAPSHOT_FORMAT)


def _build_snapshot(metadata: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Snapshot:
    """Build the network that a config describes, in float32, and load the given tensors."""
    config = Config.from_saved(metadata["config"])
    count = int(metadata.get("generators", 1))
    if not 1 <= count <= MAX_GENERATORS:
        raise ValueError(f"generators is {count}; expected 1 to {MAX_GENERATORS}")
    if config.family in BUILT_IN:  # what a family from outside keeps would stay without memory
        check_fits(partial(_build_network, config, count), tensors)
    network = _build_network(config, count)
    network.load_state_dict(tensors)
    return Snapshot(network.eval(), config, int(metadata["images_seen"]))


def _build_network(config: Config, count: int) -> nn.Module:
    networks = [build_generator(config) for _ in range(count)]
    return networks[0] if count == 1 else GeneratorEnsemble(networks)
