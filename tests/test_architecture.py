"""Which part may import which, and what runs where little is installed."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "submission", "kernels")
FRONT_DOOR = (
    "pipeline/cli.py",
    "pipeline/cli_kaggle.py",
    "pipeline/cli_study.py",
    "pipeline/__main__.py",
)
KERNEL_LIBRARIES = {
    "torch", "torchvision", "numpy", "scipy", "PIL", "tqdm", "safetensors", "filelock",
}  # fmt: skip
"""What Kaggle's image has, and what code may import at the top of a module that runs there."""

ONLY_THROUGH_THE_COMMAND_LINE = {
    "pipeline.kaggle.connection",  # in a process of its own: the client reads credentials then
    "pipeline.kaggle.downloads",
    "pipeline.kaggle.uploads",
    "pipeline.cli.kaggle",
    "pipeline.cli.export",
    "pipeline.cli.latents",
    "pipeline.cli.options",
    "pipeline.cli.service",
    "pipeline.cli.study",
    "kernels.entries",
    "kernels.points",
    "kernels.remake",
}


def sources() -> list[Path]:
    return sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))


def imported(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Yield the modules that a file imports: anywhere, or at its top level alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def test_pipeline_knows_neither_submission_nor_kernels_but_for_the_front_door() -> None:
    for path in (ROOT / "pipeline").rglob("*.py"):
        if path.relative_to(ROOT).as_posix() in FRONT_DOOR:
            continue
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & {"submission", "kernels"}, path


def test_submission_does_not_know_kernels() -> None:
    for path in (ROOT / "submission").rglob("*.py"):
        assert "kernels" not in {name.split(".")[0] for name in imported(path)}, path


def test_product_code_does_not_import_tests_or_benchmarks() -> None:
    for path in sources():
        assert not {name.split(".")[0] for name in imported(path)} & {"tests", "benchmarks"}, path


def test_only_the_wrapper_imports_the_kaggle_client() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if "kaggle" in {name.split(".")[0] for name in imported(path)}
    }
    assert users == {"pipeline/kaggle/connection.py"}


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    free = {
        "pipeline/cli.py",
        "pipeline/cli_kaggle.py",
        "pipeline/cli_export.py",
        "pipeline/cli_latents.py",
        "pipeline/cli_options.py",
        "pipeline/cli_service.py",
        "pipeline/cli_study.py",
        "pipeline/service/answers.py",
        "pipeline/service/app.py",
        "pipeline/service/queries.py",
        "pipeline/service/server.py",
        "pipeline/report.py",
        "pipeline/charts.py",
        "pipeline/data/explore.py",
    }
    allowed = KERNEL_LIBRARIES | set(PACKAGES) | set(sys.stdlib_module_names)
    for path in sources():
        if path.relative_to(ROOT).as_posix() not in free:
            roots = {name.split(".")[0] for name in imported(path, everywhere=False)}
            assert roots <= allowed, path


def used_by_tests() -> set[str]:
    """Return the dotted names of all that the tests import: modules, and names in them."""
    found = set()
    for path in (ROOT / "tests").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                found |= {node.module or "", *(f"{node.module}.{a.name}" for a in node.names)}
    return found | {module for name in found for module in shown_by(name)}


def shown_by(name: str) -> set[str]:
    """Return the modules whose names a package hands on that is imported under this name."""
    face = ROOT.joinpath(*name.split(".")) / "__init__.py"
    return set(imported(face)) if name and face.exists() else set()


def test_every_module_says_what_it_is_and_has_a_test_that_imports_it() -> None:
    used = used_by_tests()
    for path in sources():
        assert ast.get_docstring(ast.parse(path.read_text())), path
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        if not path.name.startswith("__") and module not in ONLY_THROUGH_THE_COMMAND_LINE:
            assert module in used, f"no test imports {module}"


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
from pipeline.training.checkpoints import load_snapshot
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


def beyond_kaggles_image() -> set[str]:
    """Return the import names of all declared dependencies that a kernel does not have."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [d for extra in declared["optional-dependencies"].values() for d in extra]
    names = {re.split(r"[^\w-]", d)[0] for d in [*declared["dependencies"], *extras]}
    imports = {"pillow": "PIL"}
    modules = {imports.get(name, name.replace("-", "_")) for name in names}
    comes_with_torch = {"jinja2"}
    return modules - KERNEL_LIBRARIES - comes_with_torch


def test_train_generate_and_package_run_with_nothing_but_kaggles_libraries(tmp_path: Path) -> None:
    from pipeline.data.painterly import draw_landscape

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


@pytest.mark.parametrize("word", ["/work/", "../shared", "helper", "subagent"])
def test_the_repository_speaks_of_the_product_alone(word: str) -> None:
    allowed = {"tests/test_architecture.py", ".ci/run"}
    for path in [*sources(), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "Makefile"]:
        if path.relative_to(ROOT).as_posix() not in allowed:
            assert word not in path.read_text(), path
