"""What a kernel needs to score without a network: packages as wheels, and weights.

Wheels are packed from what is installed here, the same on every machine, so that a name which
tells the content can be made before anything is fetched or uploaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pipeline.core.errors import ScoringError
from pipeline.scoring.extractors import OFFLINE_EXTRA, PACKAGES, EfficientNetLite0, Inception
from pipeline.scoring.weights import (
    RELEASED_HASH_PREFIX,
    WEIGHTS_BYTES,
    cached_weights,
    inception_weights,
)
from pipeline.system.image_writers import stored_zip
from pipeline.system.storage import write_bytes

INCEPTION, OFFLINE = Inception.name, EfficientNetLite0.name
CODE, WEIGHTS, LICENSE, METADATA = ".py", ".pth", "LICENSE", "METADATA"
"""What of a distribution is packed. What lies in a folder of metadata needs the METADATA beside it:
Python fails to list what is installed where one on its path is without."""


@dataclass(frozen=True)
class ScorerFiles:
    """The files with which a kernel scores by one extractor."""

    features: str
    """The extractor's name."""
    wheels: dict[str, bytes]
    """By file name."""

    @property
    def slug(self) -> str:
        """Return the name of the dataset that holds them; other content has another name."""
        parts = [f"{name} {hashlib.sha256(self.wheels[name]).hexdigest()}" for name in self.wheels]
        weights = [RELEASED_HASH_PREFIX] if self.features == INCEPTION else []
        digest = hashlib.sha256("\n".join([*parts, *weights]).encode()).hexdigest()
        return f"painter-scorer-{digest[:12]}"

    @property
    def megabytes(self) -> float:
        """Return the size of all files, in megabytes."""
        size = sum(map(len, self.wheels.values()))
        if self.features == INCEPTION:
            cached = cached_weights()
            size += WEIGHTS_BYTES if cached is None else cached.stat().st_size
        return size / 1e6

    @property
    def described(self) -> str:
        """Return in words what they are."""
        if self.features == INCEPTION:
            return "the Inception weights and torch-fidelity"
        return f"the extractor {self.features}"

    def write(self, folder: Path) -> list[Path]:
        """Write the wheels into a folder; return all files, of which weights lie in the cache.

        Raises:
            ScoringError: if the weights are not there and cannot be fetched.
        """
        for name, content in self.wheels.items():
            write_bytes(folder / name, content)
        weights = [inception_weights()] if self.features == INCEPTION else []
        return [*(folder / name for name in self.wheels), *weights]


def scorer_files(features: str) -> ScorerFiles:
    """Return what a kernel needs for an extractor, without the weights that are fetched.

    Raises:
        ScoringError: if it is not installed here.
    """
    distributions = (name.replace("_", "-") for name in PACKAGES[features])
    return ScorerFiles(features, dict(map(pack_wheel, distributions)))


def pack_wheel(distribution: str) -> tuple[str, bytes]:
    """Return an installed package as a wheel: its file name and its content.

    It holds code, weights, license and metadata, enough to be imported from where it lies: a wheel
    is a zip (PEP 427), in which Python finds modules.

    Raises:
        ScoringError: if the package is not installed, or does not say what belongs to it.
    """
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        raise ScoringError(f"{distribution} is not installed here: {OFFLINE_EXTRA}") from None
    paths = [file for file in found.files or [] if _belongs(file)]
    if not paths:
        raise ScoringError(f"{distribution} does not say which files are its own: {OFFLINE_EXTRA}")
    name = distribution.replace("-", "_")
    content = {f.as_posix(): Path(str(f.locate())).read_bytes() for f in sorted(paths, key=str)}
    return f"{name}-{found.version}-py3-none-any.whl", stored_zip(content)


def _belongs(file: metadata.PackagePath) -> bool:
    wanted = file.suffix in (CODE, WEIGHTS) or file.name.startswith((LICENSE, METADATA))
    return wanted and ".." not in file.parts
