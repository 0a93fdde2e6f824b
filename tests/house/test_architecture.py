"""Which part may import which, and what runs where little is installed.

Who imports whom is read from the sources (see `module_graph`); the one list of rooms is the table
in docs/architecture.md, which is held against them.
"""

import ast
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kernels.bundle import _packages, pack
from pipeline.config.schema import BUILT_IN
from tests.support.kernel_sandbox import KERNEL_LIBRARIES, beyond_kaggles_image
from tests.support.module_graph import (
    PACKAGES,
    ROOT,
    arrows_between,
    at_the_top,
    by_room,
    circles,
    closure,
    graph,
    modules,
    needed,
    room,
    roots,
    tree_of,
)

FRONT_DOOR = ("pipeline.cli", "pipeline.__main__")
"""The top floor: two rooms that alone may import all packages, and that nothing imports."""
TRAINING_LOOP = "pipeline.training.loop._train"
MAX_FUNCTION_LINES, MAX_MODULE_LINES = 40, 400
STILL_TOO_LONG = {"functions": 0, "modules": 0}
"""How many are longer yet: these numbers only ever fall."""
STILL_IN_CIRCLES = 0
"""Groups of modules within one room that import each other, yet."""


# --- Arrows run one way


def test_the_packages_lie_on_one_another() -> None:
    above = {"pipeline": {"submission", "kernels"}, "submission": {"kernels"}, "kernels": set()}
    for module, others in graph().items():
        package = module.split(".")[0]
        if room(module) not in FRONT_DOOR:
            found = {other for other in others if other.split(".")[0] in above[package]}
            assert not found, f"{module} imports {found}"


def test_nothing_imports_the_front_door() -> None:
    for module, others in graph().items():
        if room(module) not in FRONT_DOOR:
            found = {other for other in others if room(other) in FRONT_DOOR}
            assert not found, f"{module} imports {found}"
    assert by_room(graph())["pipeline.__main__"] == {"pipeline.cli", "pipeline.core"}


def test_rooms_import_each_other_in_no_circle() -> None:
    found = circles(by_room(graph()))
    assert found == [], [arrow for group in found for arrow in arrows_between(group, graph())]


def test_modules_import_each_other_in_no_circle() -> None:
    found = circles(graph())
    assert all(len({room(module) for module in group}) == 1 for group in found), found
    assert len(found) <= STILL_IN_CIRCLES, found


def test_the_picture_of_the_house_is_that_of_the_code() -> None:
    drawn = rooms_drawn()
    assert len(drawn) == len(set(drawn))
    arrows = by_room(graph())
    assert set(drawn) == set(arrows) - {"pipeline"}, "docs/architecture.md lists other rooms"
    for number, name in enumerate(drawn):
        higher = arrows[name] & set(drawn[:number])
        assert not higher, f"{name} imports {higher}, drawn above it in docs/architecture.md"


def rooms_drawn() -> list[str]:
    """Return the rooms of the table in docs/architecture.md, from the top floor down."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    paths = re.findall(r"^\| `([\w/.]+)` \|", text, re.MULTILINE)
    return [path.rstrip("/").removesuffix(".py").replace("/", ".") for path in paths]


def test_product_code_does_not_import_tests_or_benchmarks() -> None:
    for module, path in modules().items():
        assert not roots(path) & {"tests", "benchmarks"}, module


# --- Libraries


def test_only_the_room_of_kaggle_imports_its_client() -> None:
    users = {room(m) for m, path in modules().items() if roots(path) & {"kaggle", "kagglesdk"}}
    assert users == {"pipeline.kaggle"}


def libraries(path: Path) -> set[str]:
    """Return what a file imports at its top beyond our packages and the standard library."""
    return roots(path, everywhere=False) - set(PACKAGES) - set(sys.stdlib_module_names)


def runs_in_a_kernel() -> set[str]:
    """Return all modules that what a kernel starts leads to, at their top or in a function.

    A kernel starts `submission.kernel`, and families are imported by their names.
    """
    starts = [name for name in modules() if name.startswith("submission.kernel.")]
    return set().union(*(closure(start, graph()) for start in [*starts, *BUILT_IN.values()]))


def test_what_runs_in_a_kernel_imports_what_kaggles_image_has() -> None:
    needed = runs_in_a_kernel()
    assert {"pipeline.training.loop", "pipeline.families.fastgan.networks"} < needed
    for module in needed:
        assert libraries(modules()[module]) <= KERNEL_LIBRARIES, module


def test_what_runs_in_a_kernel_is_in_its_bundle() -> None:
    with zipfile.ZipFile(io.BytesIO(pack(_packages()))) as packed:
        names = set(packed.namelist())
    for module in runs_in_a_kernel():
        assert modules()[module].relative_to(ROOT).as_posix() in names, module


def test_other_libraries_are_imported_in_rooms_that_are_entered_when_they_are_used() -> None:
    with_others = {m for m, p in modules().items() if libraries(p) - KERNEL_LIBRARIES}
    for module, others in at_the_top().items():
        entered = {other for other in others & with_others if room(other) != room(module)}
        assert not entered, f"{module} imports {entered} at its top"


def test_the_command_line_begins_with_nothing_heavy() -> None:
    begun = closure("pipeline.cli", at_the_top())
    assert set().union(*(libraries(modules()[module]) for module in begun)) == {"click"}


# --- Sizes


def test_no_function_is_longer_than_can_be_seen_at_once() -> None:
    lengths = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1
        for module, path in modules().items()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    del lengths[TRAINING_LOOP]
    longer = {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES}
    assert len(longer) <= STILL_TOO_LONG["functions"], longer


def test_no_module_is_longer_than_can_be_read_in_one_go() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in modules().items()}
    longer = {name: length for name, length in lengths.items() if length > MAX_MODULE_LINES}
    assert len(longer) <= STILL_TOO_LONG["modules"], longer


# --- Every module says what it is, and is tested


def used_by_tests() -> set[str]:
    """Return the modules that tests import, that commands run, and what these are made of.

    The latter are the modules of the same room: a room is tested by its face.
    """
    named = {name for path in (ROOT / "tests").rglob("*.py") for name in needed(path)}
    commands = (module for module in modules() if room(module) == "pipeline.cli")
    starts = named | {other for module in commands for other in graph()[module]}
    within = {m: {o for o in others if room(o) == room(m)} for m, others in graph().items()}
    return set().union(*(closure(start, within) for start in starts))


def test_every_module_says_what_it_is_and_has_a_test_that_imports_it() -> None:
    used = used_by_tests()
    for module, path in modules().items():
        assert ast.get_docstring(tree_of(path)), path
        if not path.name.startswith("__"):
            assert module in used, f"no test imports {module}"


def test_what_docstrings_name_exists() -> None:
    """Modules, and what is in them, as `pipeline.training.step` and `pipeline.config.resolve`."""
    named = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)`")
    lost = {
        f"{module}: {name}"
        for module, path in modules().items()
        for name in named.findall(path.read_text())
        if name not in modules() and not is_defined(name)
    }
    assert not lost


def is_defined(name: str) -> bool:
    """Tell whether the last part of a dotted name stands in the module that the rest names."""
    home, _, last = name.rpartition(".")
    return home in modules() and re.search(rf"\b{last}\b", modules()[home].read_text()) is not None


def folder_of(room: str) -> Path:
    """Return where the tests of a room lie."""
    return ROOT / "tests" / room.removeprefix("pipeline.").replace(".", "/")


def test_tests_lie_in_folders_as_the_packages_do() -> None:
    rooms = {room(module) for module in modules()} - {"pipeline", "pipeline.__main__"}
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    others = {
        ROOT / "tests" / name for name in ("benchmarks", "house", "submission/kernel", "tools")
    }
    assert folders == {folder_of(room) for room in rooms} | others
    for name in rooms:
        needed_there = {n for path in folder_of(name).rglob("*.py") for n in needed(path)}
        assert name in {room(module) for module in needed_there & set(modules())}, name


# --- In a kernel


IN_A_KERNEL = """
import sys
from importlib.machinery import PathFinder

class WithoutTheRest(PathFinder):
    # What painter declares beyond the libraries of Kaggle's image is as if not installed.
    names = set(sys.argv[1].split(","))

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.split(".")[0] in cls.names
        return None if hidden else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [WithoutTheRest if f is PathFinder else f for f in sys.meta_path]
from pathlib import Path
import torch
torch.set_num_threads(1)
from pipeline.config import resolve
from pipeline.data.images import content_hash, load_images, open_images
from pipeline.runs.training_data import TrainingData
from pipeline.stages.generate import generate
from pipeline.families.registry import make_sampler
from pipeline.models.snapshots import load_snapshot
from pipeline.training.loop import train
import submission.archive as archive

paintings, run = Path(sys.argv[2]), Path(sys.argv[3])
small = ["image_size=32", "generator_channels=4", "discriminator_channels=4", "latent_size=4",
         "batch_size=4", "images=8", "minutes=none"]
config = resolve("demo", None, small)
images = open_images(paintings)
loaded = load_images(images, 32)
about = TrainingData(str(paintings), None, 3, content_hash(images))
train(config, loaded.pixels, about, run)
snapshot = load_snapshot(run / "snapshot.safetensors")
generate(make_sampler(snapshot, 0, torch.device("cpu")), 5, run / "images.zip", config.output)
archive.MINIMUM_IMAGES = 5
print("packed", archive.package(run / "images.zip", run / "images.zip"))
"""


@pytest.mark.slow  # a new interpreter; that of tests/kernels/test_bundle.py shows it of the bundle
def test_train_generate_and_package_run_with_nothing_but_kaggles_libraries(tmp_path: Path) -> None:
    from pipeline.data.synthetic_landscapes import draw_landscape

    (tmp_path / "paintings").mkdir()
    for index in range(3):
        draw_landscape(index, size=64).save(tmp_path / "paintings" / f"{index}.png")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_KERNEL, ",".join(sorted(beyond_kaggles_image())),
         str(tmp_path / "paintings"), str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "packed 5" in done.stdout
