"""Image sets to feature matrices, with a cache for reference sets."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from pipeline.core.errors import DataError
from pipeline.data.images import ImageSet, check_any_readable, content_hash
from pipeline.scoring.extractors import Extractor, Outputs
from pipeline.system.caches import cache_folder, write_cache
from pipeline.system.parallel import IO_PREFETCH, map_in_order, prefetch

BATCH_BYTES = 64 * 512 * 512 * 3
"""Pixels of a batch that is larger than the smallest that is worth while."""
SMALL_BATCH = 16
"""Images that go through a network together however large they are."""
_NO_LOGITS = np.empty((0, 0), np.float32)
"""Stands for None in a cache file."""


@dataclass(frozen=True)
class Features:
    """Features of the readable images of a set."""

    values: npt.NDArray[np.float32]
    """(N, d)."""
    names: tuple[str, ...]
    """The file of each row."""
    unreadable: tuple[str, ...]
    """`name reason` of each file that was skipped."""
    logits: npt.NDArray[np.float32] | None = None
    """(N, classes), from the same pass; None if the extractor has none."""


def extract(
    images: ImageSet, extractor: Extractor, description: str, quiet: bool = False
) -> Features:
    """Run the extractor over all images, decoding ahead in threads, on all its devices at once.

    Beside features and logits, memory does not grow with the number of images.

    Raises:
        DataError: if no image can be decoded.
    """
    names: list[str] = []
    unreadable: list[str] = []

    def decoded() -> Iterator[list[np.ndarray]]:
        """Yield batches, and note the names of what is in them."""
        for chunk in _prepared_chunks(images, extractor):
            good = [(n, a) for n, a in chunk if isinstance(a, np.ndarray)]
            names.extend(n for n, _ in good)
            unreadable.extend(a for _, a in chunk if isinstance(a, str))
            yield from _batches([a for _, a in good], extractor.batch_size)
            bar.update(len(chunk))

    def run(batch: list[np.ndarray]) -> Outputs:
        return extractor.outputs(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2))

    with tqdm(total=len(images), desc=description, unit="img", disable=quiet) as bar:
        if extractor.replicas == 1:
            rows = [run(batch) for batch in decoded()]
        else:
            with closing(map_in_order(run, decoded(), extractor.replicas)) as results:
                rows = list(results)
    check_any_readable(images, len(names), tuple(unreadable))
    logits = [row.logits for row in rows if row.logits is not None]
    return Features(
        torch.cat([row.features for row in rows]).numpy(),
        tuple(names),
        tuple(unreadable),
        torch.cat(logits).numpy() if logits else None,
    )


def _prepared_chunks(
    images: ImageSet, extractor: Extractor
) -> Iterator[list[tuple[str, np.ndarray | str]]]:
    """Yield chunks of (name, array or reason), decoding the next ones meanwhile."""

    def prepare(name: str) -> tuple[str, np.ndarray | str]:
        try:
            return name, extractor.prepare(images.read_rgb(name))
        except DataError as error:
            return name, f"{name} {error}"

    with closing(prefetch(prepare, images.names)) as prepared:
        while chunk := list(islice(prepared, IO_PREFETCH)):
            yield chunk


def _batches(arrays: list[np.ndarray], batch_size: int) -> Iterator[list[np.ndarray]]:
    """Yield runs of neighbouring arrays of one shape, as long as memory bears, at most so long."""
    group: list[np.ndarray] = []
    for array in arrays:
        most = min(batch_size, max(SMALL_BATCH, BATCH_BYTES // array.nbytes))
        if group and (group[0].shape != array.shape or len(group) >= most):
            yield group
            group = []
        group.append(array)
    if group:
        yield group


def cached_extract(images: ImageSet, extractor: Extractor, description: str) -> Features:
    """Return `extract`'s result, cached by content hash: a renamed folder still hits the cache."""
    key = hashlib.sha256(f"{extractor.identity}\n{content_hash(images)}".encode()).hexdigest()
    path = cache_folder() / "features" / f"{key}.npz"
    if kept := _read_cached(path):
        return kept
    features = extract(images, extractor, description)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        values=features.values,
        names=np.array(features.names),
        unreadable=np.array(features.unreadable, dtype=str),
        logits=_NO_LOGITS if features.logits is None else features.logits,
    )
    write_cache(path, buffer.getvalue())
    return features


def _read_cached(path: Path) -> Features | None:
    """Return the features in a cache file, or None if it is missing or damaged."""
    try:
        if not path.exists():  # may be denied, as all below
            return None
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as saved:
            logits = saved["logits"]
            return Features(
                saved["values"],
                tuple(saved["names"].tolist()),
                tuple(saved["unreadable"].tolist()),
                logits if logits.size else None,
            )
    except Exception:
        # A damaged file raises many kinds (BadZipFile, EOFError, ValueError, KeyError,
        # NotImplementedError, zlib.error): whichever it is, the features are computed again.
        return None
