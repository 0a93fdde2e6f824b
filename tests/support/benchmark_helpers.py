"""Callers of benchmarks that start no process: real ones in this one, and one of stated speed."""

from __future__ import annotations

import json
from typing import Any

from pipeline.bench.worker import reply_to, resolve
from pipeline.core.errors import WorkFailed

TINY_BENCHMARK: dict[str, Any] = {
    "minutes": 0.01,
    "rounds": 1,
    "images": 4,
    "matrix_size": 32,
    "recipes": {"monet64": 4},
    "changes": {
        "image_size": 32, "generator_channels": 4, "discriminator_channels": 4, "latent_size": 4,
    },
}  # fmt: skip
"""Settings of a benchmark that takes seconds."""


class Here:
    """Serves an object as a `Worker` does, in this process."""

    def __init__(self, target: str) -> None:
        self.target, self.served = target, resolve(target)

    def call(self, method: str, *arguments: Any, limit: float = 0) -> Any:
        del limit
        return unpacked(reply_to(self.served, packed(method, *arguments)))

    def close(self) -> None:
        self.served = None


def packed(*words: Any) -> str:
    return json.dumps(words)


def unpacked(line: str) -> Any:
    reply = json.loads(line)
    if "error" in reply:
        raise WorkFailed(reply["error"])
    return reply["result"]


class StatedSpeed:
    """A `TrainingProgram` whose steps take as long as it is told, and which counts its steps.

    A step has 1,000 FLOPs; on its GPU it takes 2 ms in 7 kernels, started by 3 calls.
    """

    def __init__(self, speeds: dict[str, float], fails: str = "", gpu: bool = True) -> None:
        self.speeds, self.fails, self.gpu = speeds, fails, gpu
        self.program, self.steps, self.closed = "", 0, False

    def call(self, method: str, *arguments: Any, limit: float = 0) -> Any:
        del limit
        if method == self.fails:
            raise WorkFailed(f"{method} failed: out of memory")
        return getattr(self, method)(*arguments)

    def close(self) -> None:
        self.closed = True

    def start(self, program: str, folder: str, config: dict[str, Any]) -> None:
        del folder, config
        self.program = program

    def seconds(self, steps: int) -> float:
        self.steps += steps
        return steps * self.speeds[self.program]

    def flops(self) -> int:
        return 1000

    def profile(self, steps: int) -> dict[str, float] | None:
        del steps
        return {"milliseconds": 2.0, "kernels": 7.0, "launches": 3.0} if self.gpu else None

    def matrix_rate(self, size: int | None) -> float:
        del size
        return 1e6

    def memory(self) -> int:
        return 10**8
