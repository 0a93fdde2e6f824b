"""Training on all GPUs of a kernel: a process each.

The kernel's own process calls `train_in_processes`, where torchrun starts processes that share each
batch, or `train_on_gpu`, where one process trains by itself. Either writes the request to a file;
each process runs this module as one rank: `python -m submission.kernel.distributed REQUEST.json`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.core import errors
from pipeline.core.errors import PainterError, RankLost
from pipeline.system.parallel import THREADS_VARIABLE, allowed_cores, threads_from_env
from pipeline.system.processes import CODE, environment_of_painter
from pipeline.system.storage import write_json
from pipeline.training.distributed.context import init_distributed
from submission.kernel.machine import isolated
from submission.kernel.training import TrainingRequest, train_rank

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def usable_gpus(batch_size: int) -> int:
    """Return how many GPUs can share a batch equally: 1 also where there is none."""
    return max(count for count in range(1, gpu_count() + 1) if batch_size % count == 0)


def gpu_count() -> int:
    """Return the number of GPUs: 1 also where there is none."""
    return max(1, torch.cuda.device_count())


def train_in_processes(request: Mapping[str, Any], count: int, scratch: Path) -> None:
    """Train in `count` processes; their output appears in this process's output.

    Args:
        request: the fields of `submission.kernel.training.TrainingRequest`.
        count: processes, as many as there are GPUs to use.
        scratch: a folder for the request and for the errors of processes that fail.

    Raises:
        PainterError: what a process raised.
        RankLost: if they ended in another way; the last checkpoint is kept.
    """
    file = scratch / "request.json"
    write_json(file, dict(request))
    for old in scratch.glob("failure-*.json"):
        old.unlink()
    code = _stream_output(torchrun(count, file), count)
    if code != 0:
        raise _failure(scratch, count, code)


def train_on_gpu(
    request: Mapping[str, Any], gpu: int, count: int, scratch: Path, label: str
) -> None:
    """Train in one process that sees one GPU; its output appears in this process's output.

    Args:
        request: as in `train_in_processes`.
        gpu: its index among those that this process sees.
        count: how many processes share the processor's cores.
        scratch: a folder of its own; it is created.
        label: begins each line of the output.

    Raises:
        PainterError: what the process raised.
        RankLost: if it ended in another way; the last checkpoint is kept.
    """
    scratch.mkdir(exist_ok=True)
    file = scratch / "request.json"
    write_json(file, dict(request))
    visible = os.environ.get(VISIBLE_GPUS, "").split(",")
    own = visible[gpu] if gpu < len(visible) and visible[gpu] else str(gpu)
    code = _stream_output(one_process(file), count, {VISIBLE_GPUS: own}, f"{label}: ")
    if code != 0:
        raise _failure(scratch, 1, code)


def one_process(request: Path) -> list[str]:
    """Return the command that trains in one process."""
    return [sys.executable, "-m", "submission.kernel.distributed", str(request)]


def torchrun(count: int, request: Path) -> list[str]:
    """Return the command that starts the processes; they meet without any network."""
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1",
        f"--nproc-per-node={count}", "-m", "submission.kernel.distributed", str(request),
    ]  # fmt: skip


def _stream_output(
    command: list[str], count: int, variables: Mapping[str, str] | None = None, prefix: str = ""
) -> int:
    """Run a command, printing its lines as they come; return its exit code.

    A notebook shows what its own process prints, and nothing of what others print.
    """
    threads = str(threads_from_env() or max(1, allowed_cores() // count))
    with subprocess.Popen(
        command,
        cwd=CODE,
        env=environment_of_painter(**{THREADS_VARIABLE: threads}, **dict(variables or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                if line.strip():  # a progress bar wipes itself out with spaces
                    # One write a line: threads that print at the same time mix none.
                    print(f"{prefix}{line.rstrip()}\n", end="", flush=True)
            return process.wait()
        finally:
            process.terminate()  # does nothing but where this process is interrupted


def _failure(scratch: Path, count: int, code: int) -> PainterError:
    """Return the error of the process that failed by itself, not for want of another."""
    failures = [
        json.loads(p.read_text(encoding="utf-8")) for p in sorted(scratch.glob("failure-*.json"))
    ]
    failures.sort(key=lambda failure: failure["error"] == RankLost.__name__)
    if not failures or failures[0]["error"] == RankLost.__name__:
        processes = f" in {count} processes" if count > 1 else ""
        return RankLost(
            f"The training{processes} ended with exit code {code}; what they printed "
            "stands above. The last checkpoint is kept."
        )
    kind = getattr(errors, failures[0]["error"])
    error: PainterError = kind(failures[0]["message"])
    return error


def run_rank(request: Path) -> None:
    """Train as one rank; an error is written beside the request, for the kernel's own process."""
    with isolated(request.parent):
        try:
            with init_distributed() as distributed:
                train_rank(
                    TrainingRequest(**json.loads(request.read_text(encoding="utf-8"))), distributed
                )
        except PainterError as error:
            _write_failure(request.parent, error)
            sys.exit(error.exit_code)


def _write_failure(scratch: Path, error: PainterError) -> None:
    rank = os.environ.get("RANK", "0")
    about = {"error": type(error).__name__, "message": str(error)}
    write_json(scratch / f"failure-{rank}.json", about)


if __name__ == "__main__":
    run_rank(Path(sys.argv[1]))
