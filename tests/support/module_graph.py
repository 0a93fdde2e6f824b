"""Who imports whom, read from the sources: for the tests of the architecture."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "submission", "kernels")
Graph = dict[str, set[str]]
"""From each node to those that it needs."""


@cache
def modules() -> dict[str, Path]:
    """Return the product's modules by their dotted names; a package's face has the package's."""
    return {name_of(p): p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))}


def name_of(path: Path) -> str:
    """Return the dotted name of a file of this repository."""
    place = path.relative_to(ROOT).with_suffix("")
    return ".".join(place.parent.parts if place.name == "__init__" else place.parts)


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the parsed source of a file."""
    return ast.parse(path.read_text())


def _import_statements(path: Path, everywhere: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield modules that are imported, each with what is taken from it, if that is named."""
    tree = tree_of(path)
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or "", [alias.name for alias in node.names]


def imported(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Yield the names of the modules that a file imports: anywhere, or at its top level alone."""
    for name, _ in _import_statements(path, everywhere):
        yield name


def roots(path: Path, everywhere: bool = True) -> set[str]:
    """Return the first parts of what a file imports: packages of ours and of others."""
    return {name.split(".")[0] for name in imported(path, everywhere)}


@cache
def graph() -> Graph:
    """Return which module imports which, at its top or in a function, for its types or to run."""
    return {
        module: set(modules()) & set(needed(path)) - {module} for module, path in modules().items()
    }


@cache
def at_the_top() -> Graph:
    """Return which modules a module imports as it is imported itself."""
    return {
        module: set(modules()) & set(needed(path, everywhere=False))
        for module, path in modules().items()
    }


def needed(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Yield the modules that a file imports; `from a.b import c` is `a.b.c` if that is one."""
    for name, members in _import_statements(path, everywhere):
        wholes = [f"{name}.{member}" for member in members]
        yield from (whole if whole in modules() else name for whole in wholes or [name])


def room(module: str) -> str:
    """Return the room that a module is in: a folder of `pipeline`, or another package.

    Modules that lie in `pipeline` itself are rooms of their own.
    """
    first, *rest = module.split(".")
    return f"{first}.{rest[0]}" if first == "pipeline" and rest else first


def by_room(arrows: Mapping[str, Iterable[str]]) -> Graph:
    """Return which room needs which."""
    found: Graph = defaultdict(set)
    for module, others in arrows.items():
        found[room(module)] |= {room(other) for other in others} - {room(module)}
    return dict(found)


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes each of which leads to all others of its group (Tarjan 1972)."""
    found: list[list[str]] = []
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            place = stack.index(node)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in arrows:
        if node not in number:
            visit(node)
    return found


def arrows_between(group: Iterable[str], arrows: Mapping[str, set[str]]) -> list[str]:
    """Return the imports, module by module, that tie rooms of a group together."""
    wanted = set(group)
    return [
        f"{module} -> {other}"
        for module, others in sorted(arrows.items())
        for other in sorted(others)
        if room(module) != room(other) and {room(module), room(other)} <= wanted
    ]


def closure(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    """Return a node and all that it leads to."""
    found, todo = set(), [start]
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += arrows.get(node, ())
    return found


def floors(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the nodes of a graph without circles, those that need nothing first."""
    left, found = dict(arrows), []
    while left:
        floor = sorted(n for n, others in left.items() if not others & set(left))
        assert floor, f"a circle among {sorted(left)}"
        found.append(floor)
        left = {n: others for n, others in left.items() if n not in floor}
    return found
