"""Messages of commands that fail."""

from __future__ import annotations

import os
from pathlib import Path

import click


def disk_message(error: OSError) -> str:
    """Return the message for a file that could not be read or written."""
    from pipeline.system.filesystem import describe_disk
    from pipeline.system.storage import DISK_FULL

    where = f" ({error.filename})" if error.filename else ""
    if error.errno in DISK_FULL:
        disk = describe_disk(Path(error.filename)) if isinstance(error.filename, str) else ""
        return (
            f"The disk is full or the file too large{where}.{disk} Nothing half-written was kept; "
            "free some space and give the same command again."
        )
    return f"{error.strerror or error}{where}."


def fail(message: str, code: int) -> int:
    """Print a message on standard error and return the exit code."""
    rank = os.environ.get("RANK", "0")  # set by torchrun
    which = "" if rank == "0" else f" (process {rank})"
    click.echo(f"painter{which}: {message}", err=True)
    return code
