"""Candidates: the images of one or several models, and their features, a block at a time.

Image i of a model depends on the seed and i alone, so candidates are not kept: each is generated,
coded as it would be written, decoded, and turned into features; what is chosen is generated again.
20,000 files would take 400 MB, while generating the third of them again takes a tenth of the time
that their features do. Features are kept in the cache, by what they are features of: an
interrupted choice goes on where it was, and another one of the same candidates begins at once.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from pipeline.config import OutputConfig
from pipeline.core.errors import ConfigError
from pipeline.data.decoding import decode_rgb
from pipeline.families.registry import make_sampler, takes_photos
from pipeline.models.jpeg import encode_jpeg
from pipeline.models.samplers import Sampler
from pipeline.models.snapshot import Snapshot
from pipeline.models.unions import Union
from pipeline.runs.choices import SourceRecord
from pipeline.scoring.extractors import Extractor
from pipeline.stages.photos import Photos
from pipeline.system.caches import cache_folder, write_cache
from pipeline.system.parallel import map_in_order, usable_cores

BLOCK = 256
"""Candidates whose features are in one file of the cache: a minute's work."""
BATCH_SIZE = 16
"""Candidates that are generated at a time."""
SHARED_OUTPUT = ("output_size", "jpeg_quality", "chroma_subsampling")
"""Settings of [output] in which the images of one set are alike: those of the first model."""
PHOTO_KEYS = ("domain", "count", "content_hash")

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """A model whose images are candidates."""

    name: str
    snapshot: Snapshot
    path: Path
    """Of its file."""
    sha256: str
    output: OutputConfig
    photos: Photos | None = None
    """What a translator starts from."""

    file: str = "snapshot.safetensors"
    """Where its file lies beside choice.json."""

    @property
    def most(self) -> int | None:
        """Return how many images it can make; None for any number."""
        return None if self.photos is None else 2 * len(self.photos.images)

    def sampler(self, seed: int, devices: Sequence[torch.device]) -> Sampler:
        """Return the sampler of its images."""
        photos = None if self.photos is None else self.photos.images
        return make_sampler(self.snapshot, seed, devices, self.output, None, photos)

    def record(self, candidates: int, chosen: int) -> SourceRecord:
        """Return its record for choice.json."""
        photos = None
        if self.photos is not None:
            about = asdict(self.photos.record)
            photos = {key: about[key] for key in PHOTO_KEYS}
        return SourceRecord(
            self.name, self.file, self.sha256, candidates, chosen, asdict(self.output), photos
        )


def with_common_output(sources: Sequence[Source]) -> list[Source]:
    """Return the sources with images of one size and coding, those of the first."""
    shared = {name: getattr(sources[0].output, name) for name in SHARED_OUTPUT}
    return [replace(source, output=replace(source.output, **shared)) for source in sources]


def union_of(
    sources: Sequence[Source], counts: Sequence[int], seed: int, devices: Sequence[torch.device]
) -> Union:
    """Return the sampler of all candidates, numbered one source after the other."""
    return Union([source.sampler(seed, devices) for source in sources], counts)


def divide(
    total: int,
    shares: Sequence[float],
    most: Sequence[int | None],
    least: Sequence[int] | None = None,
) -> list[int]:
    """Return whole parts of a total, in proportion to shares; of equal remainders the first is up.

    What is more than a part can be goes to the others.

    Args:
        total: what is to be divided.
        shares: finite numbers above 0.
        most: how large each part can be; None for any size.
        least: how large each part is before the rest is divided, at most `most`; None: 0.

    Raises:
        ConfigError: if all parts together cannot be so large.
    """
    limits = [total if limit is None else min(limit, total) for limit in most]
    if sum(limits) < total:
        raise ConfigError(
            f"{total:,} images are wanted, and photos and their mirror images make "
            f"{sum(limits):,} at most. Ask for fewer, or give more --photos."
        )
    exactly = [Fraction(share) for share in shares]  # of any size, without overflow
    parts, open_parts = list(least or [0] * len(shares)), list(range(len(shares)))
    while (left := total - sum(parts)) > 0:
        whole = sum(exactly[i] for i in open_parts)
        exact = {i: parts[i] + left * exactly[i] / whole for i in open_parts}
        full = [i for i in open_parts if exact[i] >= limits[i]]
        for i in full:
            parts[i] = limits[i]
        open_parts = [i for i in open_parts if i not in full]
        if not full:
            parts = [int(exact.get(i, part)) for i, part in enumerate(parts)]
            left = total - sum(parts)
            for i in sorted(open_parts, key=lambda i: (parts[i] - exact[i], i))[:left]:
                parts[i] += 1
    return parts


def interleaved(counts: Sequence[int]) -> list[int]:
    """Return the numbers of all candidates so that each first part has the same shares of all."""
    starts = np.concatenate([[0], np.cumsum(counts)])
    places = [
        ((i + 0.5) / count, part, starts[part] + i)
        for part, count in enumerate(counts)
        for i in range(count)
    ]
    return [int(index) for _, _, index in sorted(places)]


NOT_OF_PIXELS = ("upscaler", "candidates_per_image")
"""Settings of the output that change no image of a given snapshot."""


class CandidateFeatures:
    """Features of one source's candidates, from the cache as far as they are there."""

    def __init__(self, source: Source, seed: int, count: int, extractor: Extractor) -> None:
        """Look which blocks are in the cache; nothing is computed."""
        self.source, self.count, self._seed = source, count, seed
        self._extractor = extractor
        about: dict[str, Any] = {
            "snapshot": source.sha256,
            "seed": seed,
            "photos": None if source.photos is None else source.photos.record.content_hash,
            "output": {k: v for k, v in asdict(source.output).items() if k not in NOT_OF_PIXELS},
            "features": extractor.identity,
        }
        if takes_photos(source.snapshot.config):
            del about["seed"]  # a translation does not depend on it
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        self._folder = cache_folder() / "candidates" / key
        self._blocks = {block.start: self._read(block) for block in self._ranges()}

    @property
    def missing(self) -> int:
        """Return how many candidates' features are not in the cache."""
        return sum(len(b) for b in self._ranges() if self._blocks[b.start] is None)

    def measure(self, sampler: Sampler) -> tuple[float, float]:
        """Return the seconds that an image takes, and its features, by a batch of them.

        The first batch, which chooses algorithms and allocates memory, is not counted.
        """
        times: list[tuple[float, float]] = []
        for _ in range(2):
            began = time.perf_counter()
            pixels = self._coded(sampler, range(min(BATCH_SIZE, self.count)))
            between = time.perf_counter()
            self._extractor.outputs(pixels)
            times.append((between - began, time.perf_counter() - between))
        return times[-1][0] / len(pixels), times[-1][1] / len(pixels)

    def compute(self, sampler: Sampler, bar: tqdm) -> Matrix:
        """Return the features (count, d), computing and keeping what is not in the cache."""
        missing = [b for b in self._ranges() if self._blocks[b.start] is None]
        bar.update(self.count - self.missing)
        batches = [batch for block in missing for batch in _batches(block)]
        with closing(
            map_in_order(lambda batch: self._coded(sampler, batch), batches, usable_cores())
        ) as coded:
            for block in missing:
                rows = []
                for _ in _batches(block):
                    rows.append(self._extractor.outputs(next(coded)).features)
                    bar.update(len(rows[-1]))
                self._keep(block, torch.cat(rows).numpy())
        known = [self._blocks[block.start] for block in self._ranges()]
        return np.concatenate([rows for rows in known if rows is not None])

    def _coded(self, sampler: Sampler, indices: Sequence[int]) -> torch.Tensor:
        """Return images as the extractor takes them once written and read: uint8 (N, 3, H, W)."""
        files = [encode_jpeg(image, self.source.output) for image in sampler(indices)]
        arrays = [self._extractor.prepare(decode_rgb(file)) for file in files]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)

    def _ranges(self) -> Iterator[range]:
        for start in range(0, self.count, BLOCK):
            yield range(start, min(self.count, start + BLOCK))

    def _file(self, block: range) -> Path:
        return self._folder / f"{block.start:08d}.npy"

    def _read(self, block: range) -> Matrix | None:
        """Return a block from the cache; None if it is missing, damaged or shorter."""
        try:
            rows: Matrix = np.load(io.BytesIO(self._file(block).read_bytes()), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return rows[: len(block)] if rows.ndim == 2 and len(rows) >= len(block) else None

    def _keep(self, block: range, rows: Matrix) -> None:
        self._blocks[block.start] = rows
        buffer = io.BytesIO()
        np.save(buffer, rows)
        write_cache(self._file(block), buffer.getvalue())


def _batches(block: range) -> Iterator[range]:
    for start in range(block.start, block.stop, BATCH_SIZE):
        yield range(start, min(block.stop, start + BATCH_SIZE))
