"""A wheel takes one name, and holds all that the repository has of the program."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import painter
from tests.support.module_graph import ROOT

PARTS = ("pipeline", "submission", "kernels", "pretrained")
BUILD = (
    "from setuptools import build_meta\n"
    "for build in (build_meta.build_sdist, build_meta.build_wheel): build('built')"
)
RUN = (
    "import sys, painter; sys.argv = ['painter', '--version']\n"
    "try: painter.main()\nexcept SystemExit: import kernels; print(kernels.__path__[0])"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist and wheel, built of a copy of what git would commit."""
    # Not imported here: in this process something may have the standard library's distutils.
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("an earlier setuptools")
    folder = tmp_path_factory.mktemp("tree")
    leave = shutil.ignore_patterns("__pycache__")
    for name in (*PARTS, "painter"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "built"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """The wheel."""
    (wheel,) = built.glob("painter_gan-*.whl")
    return wheel


def test_it_takes_one_name_and_leaves_nothing_out(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        f"painter/program/{path.relative_to(ROOT).as_posix()}"
        for part in PARTS
        for path in (ROOT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected | {"painter/__init__.py", "painter/__main__.py"}


def test_the_sources_for_the_index_hold_all_that_the_wheel_holds(built: Path, wheel: Path) -> None:
    (sources,) = built.glob("painter_gan-*.tar.gz")
    with tarfile.open(sources) as archive, zipfile.ZipFile(wheel) as packed:
        held = {name.partition("/")[2] for name in archive.getnames()}
        program = {name.removeprefix("painter/program/") for name in packed.namelist()}
    wanted = {name for name in program if ".dist-info/" not in name}
    assert wanted | {"pyproject.toml", "setup.py", "LICENSE", "painter/README.md"} <= held


def test_it_runs_where_there_is_no_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{RUN}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    version, kernels = done.stdout.splitlines()
    assert version.startswith("painter, version")
    assert kernels == str(tmp_path / "site" / "painter" / "program" / "kernels")


def test_in_a_checkout_the_program_is_the_checkout() -> None:
    assert painter.find_program() == ROOT
