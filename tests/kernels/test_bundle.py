"""The one file that a kernel is: the same from the same sources, and it works on its own."""

import ast
import hashlib
import io
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernels import bundle
from kernels.bundle import MAX_SCRIPT_SIZE, Kernel, build, literal, pack
from pipeline.core.errors import PainterError
from pipeline.runs.folder import RunFolder
from pipeline.runs.provenance import git_revision
from submission import archive
from submission.archive import check_archive
from submission.kernel.settings import KernelSettings
from submission.rules import MINIMUM_IMAGES
from tests.support import forks
from tests.support.helpers import fill
from tests.support.kernel_sandbox import (
    CALL,
    FEWER_IMAGES,
    FEWEST,
    LEFT,
    run_script,
    start_script,
    tiny,
)
from tests.support.module_graph import ROOT

PACKED = ("pipeline", "submission")


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return build(tiny())


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    fill(tmp_path / "input" / "competitions" / "gan-getting-started" / "monet_jpg")
    return tmp_path / "input"


# --- The same sources, the same bundle


def copy_of_the_tree(target: Path) -> list[Path]:
    """Copy the packages with other dates and modes, and with what must play no part."""
    packages = []
    for name in PACKED:
        shutil.copytree(ROOT / name, target / name, copy_function=shutil.copyfile)
        for number, path in enumerate(sorted((target / name).rglob("*"), reverse=True)):
            if path.is_file():
                path.chmod(0o755 if number % 2 else 0o600)
                os.utime(path, (10**9 + number, 10**9 + number))
        (target / name / "__pycache__").mkdir(exist_ok=True)
        (target / name / "__pycache__" / "old.cpython-311.pyc").write_bytes(b"old")
        (target / name / ".ipynb_checkpoints").mkdir()
        (target / name / ".ipynb_checkpoints" / "cli.py").write_text("old")
        (target / name / ".hidden.py").write_text("old")
        (target / name / "notes.txt").write_text("mine")
        packages.append(target / name)
    return packages


def test_the_same_tree_gives_the_same_bundle_wherever_it_lies(
    tmp_path: Path, kernel: Kernel
) -> None:
    assert build(tiny()) == kernel
    first, second = copy_of_the_tree(tmp_path / "elsewhere")
    for packages in ([first, second], [second, first]):
        assert hashlib.sha256(pack(packages)).hexdigest() == kernel.bundle_hash


def test_one_changed_byte_or_name_gives_another_bundle(tmp_path: Path, kernel: Kernel) -> None:
    packages = copy_of_the_tree(tmp_path)
    rules = tmp_path / "submission" / "rules.py"
    rules.write_bytes(rules.read_bytes().replace(b"7_000", b"7_001"))
    changed = hashlib.sha256(pack(packages)).hexdigest()
    rules.rename(rules.with_name("ruled.py"))
    renamed = hashlib.sha256(pack(packages)).hexdigest()
    assert len({kernel.bundle_hash, changed, renamed}) == 3


def test_the_settings_are_no_part_of_the_hash(kernel: Kernel) -> None:
    other = build(tiny(seed=1))
    assert other.bundle_hash == kernel.bundle_hash
    assert other.script != kernel.script


def test_all_that_runs_is_packed_and_nothing_else() -> None:
    with zipfile.ZipFile(io.BytesIO(pack(ROOT / name for name in PACKED))) as packed:
        names = packed.namelist()
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in packed.infolist())
    assert names == sorted(names)
    expected = {
        path.relative_to(ROOT).as_posix()
        for name in PACKED
        for path in (ROOT / name).rglob("*")
        if path.suffix in (".py", ".toml", ".html", ".css") or path.name == "py.typed"
        if path.parent.name != "studies"  # a kernel runs one point, whose settings come with it
        # No command line runs there, no pages are made, and nothing can reach a kernel's ports.
        if not {"cli", "reports", "service"} & {*path.relative_to(ROOT).parts[1:2]}
    }
    assert set(names) == expected
    assert {"pipeline/config/presets/demo.toml", "submission/kernel/entry.py"} < set(names)


# With the packages of the current folder, and nothing of those that the process had.
INSTALLED = """
import os, sys
packages = ("kernels", "pipeline", "submission", "tests")
for name in [name for name in sys.modules if name.split(".")[0] in packages]:
    del sys.modules[name]
sys.path.insert(0, os.getcwd())
from kernels import bundle
from submission.kernel.settings import KernelSettings
made = bundle.build(KernelSettings("generate", attached="alice/run"))
print(bundle.__file__, made.bundle_hash, made.git_revision)
"""


def test_an_installed_painter_makes_the_same_bundle(tmp_path: Path, kernel: Kernel) -> None:
    copy_of_the_tree(tmp_path)
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels")
    done = forks.run(forks.code, INSTALLED, cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "kernels" / "bundle.py"
    assert done.stdout.split() == [str(file), kernel.bundle_hash, "None"]


# --- The script


def test_the_script_is_a_readable_python_file(kernel: Kernel) -> None:
    assert len(kernel.script.encode()) < MAX_SCRIPT_SIZE == 1_000_000
    tree = ast.parse(kernel.script)
    compile(tree, "script.py", "exec")
    about = ast.get_docstring(tree)
    assert about is not None
    assert kernel.bundle_hash in about
    for path in ("/kaggle/input", "/kaggle/working"):
        assert kernel.script.count(path) == 1
    assert max(len(line) for line in kernel.script.splitlines()) <= 100


def test_the_guide_says_how_large_the_script_is(kernel: Kernel) -> None:
    said = re.search(r"one script of about (\d+) kB", (ROOT / "docs" / "kaggle.md").read_text())
    assert said is not None
    assert len(kernel.script) / 1000 == pytest.approx(int(said[1]), rel=0.05)


def constants(script: str) -> dict[str, Any]:
    """Return what the script assigns at its top."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(script).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def test_the_settings_stand_in_the_script_to_be_edited(kernel: Kernel) -> None:
    found = constants(kernel.script)
    assert KernelSettings.from_dict(found["SETTINGS"]) == tiny()
    assert found["BUNDLE_HASH"] == kernel.bundle_hash
    assert found["GIT_REVISION"] == kernel.git_revision == git_revision()
    assert list(found) == [
        "SETTINGS", "INPUT", "WORKING", "GIT_REVISION", "BUNDLE_HASH", "FAMILIES", "ORIGIN",
        "ARCHIVE",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [{"a": {"b": None, "c": {}}, "d": [1, 2.5], "e": 'it\'s "so" $\n\\'}, {}, None, "$a", -1e-9],
)
def test_a_literal_reads_back_as_the_value(value: Any) -> None:
    assert ast.literal_eval(literal(value)) == value


def test_a_script_larger_than_kaggle_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_SCRIPT_SIZE", 50_000)
    with pytest.raises(PainterError, match="Kaggle takes 50,000"):
        build(tiny())


@pytest.mark.parametrize(
    "count",
    [
        FEWEST,
        pytest.param(MINIMUM_IMAGES, marks=pytest.mark.slow),  # half of it is JPEG encoding
    ],
)
def test_the_script_trains_and_leaves_a_valid_submission_where_only_kaggles_libraries_are(
    tmp_path: Path, inputs: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    script = kernel.script
    if count == FEWEST:
        monkeypatch.setattr(archive, "MINIMUM_IMAGES", FEWEST)
        script = build(tiny(count=FEWEST)).script.replace(CALL, f"{FEWER_IMAGES}\n{CALL}")
    done = run_script(script, inputs, tmp_path / "working", new=True)
    assert done.returncode == 0, done.stdout
    run = RunFolder(tmp_path / "working")
    assert {path.name for path in run.path.iterdir()} == LEFT
    assert check_archive(run.images) == []
    assert f"images.zip: {count:,} images" in done.stdout
    assert "score: skipped (torch-fidelity is not installed, and no wheel" in done.stdout
    (sitting,) = run.read_provenance()["sittings"]
    assert sitting["bundle"] == kernel.bundle_hash
    assert sitting["git_revision"] == kernel.git_revision
    assert sitting["libraries"]["torch"] is not None
    # Half a minute between two lines of a bar: a short stage has its first and its last.
    assert done.stdout.count("generate:") <= 3


def test_a_failing_step_fails_the_script_with_its_message(tmp_path: Path, kernel: Kernel) -> None:
    (tmp_path / "input").mkdir()
    done = run_script(kernel.script, tmp_path / "input", tmp_path / "working")
    assert done.returncode == 1
    assert "painter failed: The competition gan-getting-started is not among" in done.stdout
    last = done.stdout.rstrip().splitlines()[-1]
    assert last.startswith("pipeline.core.errors.DataError: The competition gan-getting-started")
    assert not list((tmp_path / "working").iterdir())


def with_another_character(packed: str) -> str:
    middle = len(packed) // 2
    return packed[:middle] + ("A" if packed[middle] != "A" else "B") + packed[middle + 1 :]


@pytest.mark.parametrize("damage", [with_another_character, lambda packed: packed[:-200]])
def test_damaged_sources_are_not_run(
    tmp_path: Path, kernel: Kernel, damage: Callable[[str], str]
) -> None:
    before, start, rest = kernel.script.partition('ARCHIVE = """')
    packed, after = rest.split('"""', 1)
    damaged = f'{before}{start}{damage(packed)}"""{after}'
    done = run_script(damaged, tmp_path, tmp_path / "working")
    assert done.returncode == 1
    assert "RuntimeError: The packed sources in this file are damaged" in done.stdout


# --- The sandbox itself


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        ("import pipeline", "No module named 'pipeline'"),
        ("import submission.rules", "No module named 'submission'"),
        ("import kernels.bundle", "No module named 'kernels'"),
        ("import click", "No module named 'click'"),
        ("import torch_fidelity", "No module named 'torch_fidelity'"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "no network in a kernel"),
    ],
)
def test_the_sandbox_has_no_more_than_a_kernel(tmp_path: Path, attempt: str, error: str) -> None:
    text = f"paths = '/kaggle/input', '/kaggle/working'\n{attempt}\n"
    done = run_script(text, tmp_path, tmp_path / "working", timeout=60)
    assert done.returncode == 1
    assert error in done.stdout


def test_the_sandbox_gives_pipes_and_a_home_of_its_own(tmp_path: Path) -> None:
    text = (
        "import os, sys, pathlib, numpy; print(pathlib.Path.home(), os.getcwd(), sys.argv)\n"
        "print('/kaggle/input', '/kaggle/working', file=sys.stderr)\n"
    )
    process = start_script(text, tmp_path, tmp_path / "working")
    out, err = (stream.decode() for stream in process.communicate(timeout=60))
    assert process.returncode == 0, err
    assert str(Path.home()) not in out
    assert f" {tmp_path / 'working'} " in out
    assert err.split() == [str(tmp_path), str(tmp_path / "working")]


def test_the_sandbox_stops_a_script_that_takes_too_long(tmp_path: Path) -> None:
    text = "print('/kaggle/input /kaggle/working', flush=True)\nimport time\ntime.sleep(600)\n"
    with pytest.raises(subprocess.TimeoutExpired) as stopped:
        run_script(text, tmp_path, tmp_path / "working", timeout=2)
    assert str(tmp_path).encode() in stopped.value.output
