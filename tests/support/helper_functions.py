"""Functions for helper processes: quick to import, and they tell where they were called."""

import os


def process_and(argument: object) -> tuple[int, object]:
    """Return the number of the process that this runs in, and the argument."""
    return os.getpid(), argument


def fails(argument: object) -> None:
    """Raise an error that names the argument."""
    raise ValueError(f"cannot take {argument}")


def dies_outside(process: int) -> int:
    """Return the number of this process if it is the one given; else end it at once."""
    if os.getpid() != process:
        os._exit(1)
    return process


def process_as_fault(content: bytes) -> str:
    """Return the number of the process that this runs in as the fault of a file."""
    assert content
    return str(os.getpid())
