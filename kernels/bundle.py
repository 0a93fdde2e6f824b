"""The bundle: painter's sources and one kernel's settings as the one file that a kernel is.

Reads the packages `pipeline` and `submission`, from a checkout or installed; gives a Python
script, of which `kernels.notebook` makes a notebook. The same sources give the same bundle, byte
for byte, wherever they lie and whatever machine packs them.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import pipeline
import submission
from pipeline import __version__
from pipeline.config import family_settings, plugins
from pipeline.config.schema import BUILT_IN
from pipeline.core.errors import PainterError
from pipeline.runs.provenance import git_revision
from pipeline.system.image_writers import stored_zip
from submission.kernel.settings import BENCH, KernelSettings

SOURCES = ("**/*.py", "config/presets/*.toml", "templates/*", "py.typed")
"""What of a package is packed."""
EXCLUDED = ("cli", "reports", "service")
"""Folders of a package that never run in a kernel."""
MAX_SCRIPT_SIZE = 1_000_000
"""Bytes that Kaggle takes as a kernel's source."""


@dataclass(frozen=True)
class Kernel:
    """One kernel's source, and what it was made from."""

    script: str
    """A Python file that Kaggle can run."""
    bundle_hash: str
    """sha256 of the packed sources."""
    git_revision: str | None
    """Commit of the sources, marked `+changes` if they differ from it."""


def build(settings: KernelSettings, origin: str = "") -> Kernel:
    """Pack the sources with the settings of one kernel.

    Args:
        settings: what the kernel is to do.
        origin: mark of the folder that pushes it; without one, nobody does.

    Raises:
        PainterError: if the result is larger than Kaggle takes.
    """
    families = families_of(settings)
    archive = pack(_packages(), families)
    digest = hashlib.sha256(archive).hexdigest()
    revision = git_revision()
    template = (resources.files("kernels") / "script.py.txt").read_text(encoding="utf-8")
    script = Template(template).substitute(
        version=__version__,
        revision=revision or "unknown",
        git_revision=repr(revision),
        hash=digest,
        families=literal(",".join(families)),
        origin=origin,
        settings=literal(settings.to_dict()),
        archive=base64.encodebytes(bz2.compress(archive)).decode(),
    )
    size = len(script.encode())
    if size > MAX_SCRIPT_SIZE:
        raise PainterError(
            f"The kernel's file has {size:,} bytes; Kaggle takes {MAX_SCRIPT_SIZE:,}. "
            "Look for large files in pipeline/ and submission/."
        )
    return Kernel(script, digest, revision)


def families_of(settings: KernelSettings) -> list[str]:
    """Return the modules with families from outside that a kernel needs.

    To train, that of the run's own family, if it does not come with painter; to generate from a
    snapshot that is read there, or where that is not clear, all that are known here. To measure
    a machine, none.
    """
    known = plugins.modules()
    if settings.task == BENCH:
        return []
    if settings.config is None:
        return known
    family = settings.training_config().family
    if family in BUILT_IN:
        return []
    home = family_settings(family).network.__module__
    return [name for name in known if f"{home}.".startswith(f"{name}.")] or known


def _packages() -> list[Path]:
    """Return the folders of the packages that run in a kernel."""
    return [Path(package.__path__[0]) for package in (pipeline, submission)]


def pack(packages: Iterable[Path], modules: Iterable[str] = ()) -> bytes:
    """Return the sources of packages as an uncompressed zip that depends on nothing else.

    With them go modules with families from outside, under the names that they are imported by.

    Names are sorted, dates and modes fixed; the file system's play no part. Compression comes
    later and as a whole, so that the hash does not depend on a compressor's version.
    """
    files = {
        f"{package.name}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for package in packages
        for path in _sources(package)
    }
    for module in modules:
        files |= plugins.sources(module)
    return stored_zip(dict(sorted(files.items())))


def _sources(package: Path) -> Iterable[Path]:
    """Yield the files to pack; hidden files and folders are somebody else's."""
    for pattern in SOURCES:
        for path in package.glob(pattern):
            parts = path.relative_to(package).parts
            hidden = any(part.startswith(".") for part in parts)
            if path.is_file() and not hidden and parts[0] not in EXCLUDED:
                yield path


def literal(value: Any, indent: int = 0) -> str:
    """Return plain values as a Python literal, one key of a dict a line."""
    if not isinstance(value, dict) or not value:
        return repr(value)
    pad = "    " * indent
    lines = [f"{pad}    {key!r}: {literal(inner, indent + 1)},\n" for key, inner in value.items()]
    return "{\n" + "".join(lines) + pad + "}"
