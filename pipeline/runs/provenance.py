"""The provenance of a run: versions, machine, command, commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pipeline import __version__
from pipeline.core.paths import shorten_home
from pipeline.core.redaction import redact_argument
from pipeline.runs.files import read_json

BUNDLE_FILE = Path(__file__).parents[2] / "bundle.json"
"""Beside the packages that a kernel's script unpacked."""


RECORDED_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pillow", "safetensors")


def session_record(precision: str, device: str) -> dict[str, Any]:
    """Return the record of one training session: versions, machine, command, time."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *map(_recorded_word, sys.argv[1:])],
        "painter": __version__,
        "git_revision": git_revision(),
        "bundle": bundled().get("bundle_hash"),
        "python": platform.python_version(),
        "libraries": {name: library_version(name) for name in RECORDED_LIBRARIES},
        "platform": platform.platform(),
        "device": device,
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def _recorded_word(word: str) -> str:
    """Return a word of the command line without passwords and without whose home folder it was."""
    return shorten_home(redact_argument(word))


def library_version(name: str) -> str | None:
    """Return the version of an installed library, or None if unknown."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def bundled() -> dict[str, Any]:
    """Return `bundle_hash` and `git_revision` of the bundle that this code was unpacked from.

    A kernel's script writes them beside the packages; elsewhere the result is empty.
    """
    return read_json(BUNDLE_FILE) if BUNDLE_FILE.exists() else {}


def git_revision() -> str | None:
    """Return the commit of the source tree, marked `+changes` if it differs, or None."""
    if bundle := bundled():
        return bundle.get("git_revision")
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def device_name(device: torch.device) -> str:
    """Return the device's name for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"{torch.backends.mps.get_name()} GPU"
    return f"CPU ({os.cpu_count()} cores)"
