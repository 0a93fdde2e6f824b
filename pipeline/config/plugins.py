"""Plugins: families that do not come with painter, found by module name.

An installed package declares them as entry points of the group `painter.families`, the name being
the family's and the value its module. Without installing anything, the environment variable
PAINTER_FAMILIES names modules, with commas between them. Importing such a module registers it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path, PurePosixPath

from pipeline.core.errors import ConfigError

ENTRY_POINT_GROUP = "painter.families"
ENVIRONMENT_VARIABLE = "PAINTER_FAMILIES"
_imported: set[str] = set()


def modules() -> list[str]:
    """Return the names of the modules with plugin families."""
    named = (word.strip() for word in os.environ.get(ENVIRONMENT_VARIABLE, "").split(","))
    return sorted({*_declared(), *filter(None, named)})


@cache
def _declared() -> tuple[str, ...]:
    """Return the modules that installed packages declare; looked up once, since it takes long."""
    return tuple(entry.module for entry in entry_points(group=ENTRY_POINT_GROUP))


def sources(module: str) -> dict[str, bytes]:
    """Return the files of a module, or of a package and all within it, by their place on the path.

    The packages around it are empty: a family imports nothing of them.

    Raises:
        ConfigError: if it is not found, or is not made of Python's source files.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # the latter: no name of a module, or a script that runs
        spec = None
    origin = None if spec is None else spec.origin
    if spec is None or origin is None or not origin.endswith(".py"):
        raise ConfigError(f"The source of module {module!r} is not found, which a kernel needs.")
    place = PurePosixPath(*module.split("."))
    around = {str(p / "__init__.py"): b"" for p in place.parents if p.name}
    if spec.submodule_search_locations is None:
        return around | {f"{place}.py": Path(origin).read_bytes()}
    folder = Path(origin).parent
    own = {(place / p.relative_to(folder)).as_posix(): p.read_bytes() for p in folder.rglob("*.py")}
    return around | own


def import_families() -> None:
    """Import the modules with plugin families, each once.

    Raises:
        ConfigError: if one cannot be imported.
    """
    for name in modules():
        if name in _imported:
            continue
        _imported.add(name)  # before: while it is imported it may ask for families
        try:
            importlib.import_module(name)
        except ConfigError:
            _imported.discard(name)
            raise
        except (Exception, SystemExit) as error:  # a third-party module may do anything
            _imported.discard(name)
            raise ConfigError(
                f"The family in module {name!r} cannot be imported "
                f"({type(error).__name__}: {error}). {ENVIRONMENT_VARIABLE} and the entry "
                f"points {ENTRY_POINT_GROUP!r} name modules that Python finds: put its folder on "
                "PYTHONPATH."
            ) from error
