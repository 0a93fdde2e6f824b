"""Runs a kernel's source as Kaggle would: in a process of its own, where little is installed.

What painter declares beyond the libraries of Kaggle's image is as if not installed, and so are
painter's own packages, but for what the source itself unpacks and puts on sys.path. There is no
network, and home and working directory are empty folders.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.config import apply_settings, resolve
from submission.kernel.settings import KernelSettings
from tests.support import factories, forks
from tests.support.module_graph import PACKAGES, ROOT

KERNEL_LIBRARIES = {
    "torch", "torchvision", "numpy", "scipy", "PIL", "tqdm", "safetensors", "filelock",
}  # fmt: skip
"""What Kaggle's image has, and what code may import at the top of a module that runs there."""
INPUT = "/kaggle/input"
WORKING = "/kaggle/working"
LEFT = {
    "config.json", "provenance.json", "log.txt", "stats.jsonl", "state.pt",
    "snapshot.safetensors", "snapshot.json", "samples", "scores.jsonl", "images.zip", "images.json",
}  # fmt: skip
"""What a kernel leaves in its working folder, without a score."""
CALL = "run(SETTINGS, INPUT, WORKING)"
"""The last line of a kernel's script."""
FEWEST = 5
FEWER_IMAGES = f"""import submission.archive, pipeline.training.validation_score
submission.archive.MINIMUM_IMAGES = {FEWEST}
pipeline.training.validation_score.BENCHMARK_IMAGES = 1"""
"""Before its stages, it lets a kernel make 5 images instead of 7,000, and a training measure the
time of a score on one instead of 16."""
TINY = factories.TINY | {
    "images": 8,
    "sample_count": 4,
    "minutes": None,
    "precision": "float32",
    "jpeg_quality": 30,
}
_SANDBOX = """
import runpy, socket, sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    # Finds hidden packages only in what the source itself has put on sys.path.
    hidden = set(sys.argv.pop(1).split(","))
    installed = list(sys.path)
    others = list(sys.meta_path)

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.split(".")[0] in cls.hidden:
            places = [p for p in sys.path if p not in cls.installed] if path is None else path
            return PathFinder.find_spec(name, places, target)
        specs = (finder.find_spec(name, path, target) for finder in cls.others)
        return next((spec for spec in specs if spec is not None), None)

def no_network(*args, **options):
    raise OSError("There is no network in a kernel")

sys.meta_path[:] = [Finder]
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = no_network
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def tiny(**changes: Any) -> KernelSettings:
    """Return settings of a kernel that trains two steps of a tiny network."""
    config = apply_settings(resolve("demo"), TINY).to_dict()
    return KernelSettings.from_dict({"task": "train", "config": config, "minutes": 5} | changes)


def beyond_kaggles_image() -> set[str]:
    """Return the import names of all declared dependencies that a kernel does not have."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [d for extra in declared["optional-dependencies"].values() for d in extra]
    names = {re.split(r"[^\w-]", d)[0] for d in [*declared["dependencies"], *extras]}
    imports = {"pillow": "PIL"}
    modules = {imports.get(name, name.replace("-", "_")) for name in names}
    comes_with_torch = {"jinja2"}
    return modules - KERNEL_LIBRARIES - comes_with_torch


def run_script(
    text: str, inputs: Path, working: Path, timeout: float = 300, new: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a kernel's source to its end; `stdout` is all that it printed to either stream.

    Args:
        text: the source, as `start_script` takes it.
        inputs: as there.
        working: as there.
        timeout: seconds after which it is killed, and `subprocess.TimeoutExpired` raised.
        new: in a new interpreter, where nothing has been imported before.
    """
    with tempfile.TemporaryDirectory(prefix="kernel-log-") as folder:
        log = Path(folder) / "log.txt"
        process = start_script(text, inputs, working, log, new)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            error.output = log.read_bytes()
            raise
        printed = log.read_text(errors="replace")
        return subprocess.CompletedProcess(process.args, code, printed, "")


def start_script(
    text: str, inputs: Path, working: Path, log: Path | None = None, new: bool = False
) -> forks.Process:
    """Start a kernel's source: a script, or a notebook, whose code cells run in order.

    Args:
        text: the source, with Kaggle's two paths in it, once each.
        inputs: takes the place of /kaggle/input.
        working: takes the place of /kaggle/working; also the current directory, as there.
        log: takes both output streams; without it they are two pipes.
        new: in a new interpreter, where nothing has been imported before.

    Returns:
        The process, which leads a group of its own.
    """
    source = code_of(text)
    for path, place in ((INPUT, inputs), (WORKING, working)):
        assert source.count(path) == 1, f"{path} stands {source.count(path)} times in the source"
        source = source.replace(path, str(place.resolve()))
    working.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="kernel-sandbox-"))
    (folder / "home").mkdir()
    (folder / "tmp").mkdir()
    (folder / "script.py").write_text(source)
    hidden = sorted({*beyond_kaggles_image(), *PACKAGES, "tests"})
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "OMP_NUM_THREADS": "1",
    }
    work = in_a_new_interpreter if new else as_if_in_one
    process = forks.Process(
        work, str(folder / "script.py"), hidden, cwd=working, env=environment, log=log
    )
    weakref.finalize(process, shutil.rmtree, folder, ignore_errors=True)
    return process


def in_a_new_interpreter(script: str, hidden: Sequence[str]) -> None:
    """Run a script in a new interpreter that takes the place of this process."""
    os.execv(sys.executable, [sys.executable, "-c", _SANDBOX, ",".join(hidden), script])


def as_if_in_one(script: str, hidden: Sequence[str]) -> None:
    """Run a script here, with what is hidden forgotten, and the path as Python makes it."""
    forgotten = {*hidden, "tqdm"}  # which reads the environment when it is imported
    for name in [name for name in sys.modules if name.split(".")[0] in forgotten]:
        del sys.modules[name]
    sys.path[:] = ["", *(path for path in sys.path if path not in ("", str(ROOT)))]
    forks.code(_SANDBOX, ",".join(hidden), script)


def code_of(text: str) -> str:
    """Return the Python code of a script, or of a notebook's code cells in order."""
    if not text.startswith("{"):
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
