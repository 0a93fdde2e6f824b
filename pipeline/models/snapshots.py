"""`snapshot.safetensors`, which others load: a generator, its config, its upscaler.

It cannot carry code: safetensors, with the config in the header (`snapshot.json` is a copy to
read).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from pipeline import __version__
from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, RunError
from pipeline.core.records import check_format
from pipeline.core.text import escape_surrogates
from pipeline.models.builders import build_generator, enlarges
from pipeline.models.ensemble import MAX_GENERATORS, GeneratorEnsemble, parts
from pipeline.models.snapshot import Snapshot
from pipeline.system.storage import write_bytes, write_json

SNAPSHOT_KIND, SNAPSHOT_FORMAT = "painter-generator-", 1
HASH = "content_sha256"
"""Names in a snapshot's header the hash of its numbers and of all else that the header says."""
UPSCALER_PREFIX = "upscaler."


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


def write_snapshot(path: Path, snapshot: Snapshot, half: bool = False) -> None:
    """Write a snapshot as `save_snapshot` does.

    Args:
        path: a name ending in .safetensors.
        snapshot: with its upscaler, if it has one.
        half: in float16, but for the statistics of normalisations: half the size.
    """
    tensors = _tensors(snapshot.generator, half)
    about: dict[str, Any] = {"format": f"{SNAPSHOT_KIND}{SNAPSHOT_FORMAT}", "painter": __version__}
    about |= _about(snapshot) | {"score": snapshot.score}
    if snapshot.upscaler is not None:
        about["upscaler"] = _about(snapshot.upscaler)
        own = _tensors(snapshot.upscaler.generator, half)
        tensors |= {UPSCALER_PREFIX + name: tensor for name, tensor in own.items()}
    about[HASH] = content_digest(about, tensors)
    header = {"about": json.dumps(about, sort_keys=True)}
    write_bytes(path, safetensors.torch.save(tensors, header))
    write_json(path.with_suffix(".json"), about)


def content_digest(about: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return a sha256 over what a snapshot's header says, without a hash in it, and its numbers.

    Args:
        about: as it is written to JSON.
        tensors: on the CPU, by name.
    """
    said = {name: value for name, value in about.items() if name != HASH}
    total = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def _about(snapshot: Snapshot) -> dict[str, Any]:
    about = {"images_seen": snapshot.images_seen, "config": snapshot.config.to_dict()}
    if (count := len(parts(snapshot.generator))) > 1:
        about["generators"] = count
    return about


def _tensors(network: nn.Module, half: bool) -> dict[str, torch.Tensor]:
    """Return a network's numbers on the CPU."""
    return {
        name: _stored(name, tensor.detach().cpu().contiguous(), half)
        for name, tensor in network.state_dict().items()
    }


def _stored(name: str, tensor: torch.Tensor, half: bool) -> torch.Tensor:
    statistics = name.rpartition(".")[2].startswith("running_")
    return tensor.half() if half and tensor.is_floating_point() and not statistics else tensor


def attach_upscaler(path: Path, upscaler: Path) -> None:
    """Put an upscaler into a generator's snapshot, which from then on enlarges by it.

    Args:
        path: the snapshot of the generator, written anew.
        upscaler: the snapshot of an upscaler.

    Raises:
        RunError: if one is missing or damaged.
        ConfigError: if the second is no upscaler, or the first is one.
    """
    rewrite_snapshot(path, with_upscaler(load_snapshot(path), load_snapshot(upscaler)))


def rewrite_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot over one that is there, in the precision of that file."""
    write_snapshot(path, snapshot, half=_is_half(path))


def with_upscaler(generator: Snapshot, upscaler: Snapshot) -> Snapshot:
    """Return a generator's snapshot that enlarges by an upscaler.

    Raises:
        ConfigError: if the second is no upscaler, or the first is one.
    """
    if enlarges(generator.config):
        raise ConfigError("An upscaler is given to a generator, and this is an upscaler itself.")
    if not enlarges(upscaler.config):
        raise ConfigError(
            f"--upscaler is a generator of family {upscaler.config.family!r}; expected an "
            "upscaler, as `painter train --preset upscaler64to256` makes one."
        )
    config = apply_settings(generator.config, {"upscale": "learned"})
    return replace(generator, config=config, upscaler=upscaler)


def upscaler_of(*paths: Path) -> Snapshot | None:
    """Return the upscaler in the first of these snapshots that has one; None if none has."""
    for path in paths:
        with suppress(RunError):  # missing or damaged
            if (upscaler := load_snapshot(path).upscaler) is not None:
                return upscaler
    return None


@contextmanager
def _open_tensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file; that library knows only names in UTF-8, so others go by a link."""
    if escape_surrogates(str(path)) == str(path):
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / "link.safetensors"
        link.symlink_to(path.resolve())
        with safetensors.safe_open(link, framework="pt") as file:
            yield file


def _is_half(path: Path) -> bool:
    """Tell whether a snapshot is kept in float16."""
    with _open_tensors(path) as file:
        return any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118 - not a mapping


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot; safetensors cannot execute code.

    Raises:
        RunError: if the file is missing, damaged, or something else (a pickle, say).
        LaterVersion: if a later version wrote it.
    """
    if not path.is_file():
        raise RunError(f"There is no snapshot {path}. `painter train` makes one.")
    try:
        with _open_tensors(path) as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (safetensors.SafetensorError, OSError) as error:
        raise RunError(
            f"{path} is not a safetensors snapshot ({error}). Pickled weights (.pt, .pth, .ckpt) "
            "are not loaded, since they can run code. `painter train` writes snapshots."
        ) from None
    try:
        about = json.loads(header.get("about", "{}"))
        _refuse_foreign(path, about)
        if about.get(HASH) not in (None, content_digest(about, tensors)):
            raise RunError(
                f"{path} is damaged: it is not what was written, by the hash in it. Copy it again "
                "from where it came; where it was trained, `painter train` writes it again."
            )
        own = {n: t for n, t in tensors.items() if not n.startswith(UPSCALER_PREFIX)}
        snapshot = replace(_restored(about, own), score=about.get("score"))
        if "upscaler" not in about:
            return snapshot
        rest = {n.removeprefix(UPSCALER_PREFIX): t for n, t in tensors.items() if n not in own}
        return replace(snapshot, upscaler=_restored(about["upscaler"], rest))
    except (ConfigError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise RunError(
            f"The snapshot {path} does not fit this version of painter: {error}"
        ) from None


def _refuse_foreign(path: Path, about: Any) -> None:
    """Refuse tensors that are no snapshot, or one of a later version."""
    kind = about.get("format") if isinstance(about, dict) else None
    number = str(kind).removeprefix(SNAPSHOT_KIND)
    if number == kind or not number.isdecimal():
        raise RunError(
            f"{path} holds tensors, but no painter snapshot ({SNAPSHOT_KIND}{SNAPSHOT_FORMAT}). "
            "`painter train` writes snapshots."
        )
    check_format(path, int(number), SNAPSHOT_FORMAT)


def _restored(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Snapshot:
    """Build the network that a config describes, in float32, with the given numbers."""
    config = Config.from_saved(about["config"])
    count = int(about.get("generators", 1))
    if not 1 <= count <= MAX_GENERATORS:
        raise ValueError(f"generators is {count}; expected 1 to {MAX_GENERATORS}")
    networks = [build_generator(config) for _ in range(count)]
    network = networks[0] if count == 1 else GeneratorEnsemble(networks)
    network.load_state_dict(tensors)
    return Snapshot(network.eval(), config, int(about["images_seen"]))
