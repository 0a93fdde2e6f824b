"""The ranks that torchrun starts, without what a new interpreter pays for importing torch.

torchrun is real, and so are the variables by which ranks find each other; `kernel_rank` is what it
starts, and the ranks are forked off the server of `forks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection, Listener
from pathlib import Path

import pytest

from pipeline.system.processes import CODE
from submission import archive
from submission.kernel import distributed
from tests.support import forks, kernel_rank


def rank_of_five_images(request: str) -> None:
    """Be `python -m submission.kernel.distributed` where five images make a submission."""
    vars(archive)["MINIMUM_IMAGES"] = 5
    distributed.run_rank(Path(request))


@contextmanager
def forked_ranks(count: int, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let torchrun start `count` ranks within the block, each forked off."""
    original = distributed.torchrun

    def torchrun(count: int, request: Path) -> list[str]:
        module = distributed.__name__
        return [kernel_rank.__name__ if w == module else w for w in original(count, request)]

    with Listener() as listener, ThreadPoolExecutor(count) as desks:
        patch.setattr(distributed, "torchrun", torchrun)
        patch.setenv(kernel_rank.ADDRESS, str(listener.address))
        served = [desks.submit(_serve, listener) for _ in range(count)]
        yield
        for one in served:
            one.result()


def _serve(listener: Listener) -> None:
    connection: Connection = listener.accept()
    with connection:
        environment, request = connection.recv()
        done = forks.run(rank_of_five_images, request, cwd=CODE, env=environment)
        connection.send((done.stdout + done.stderr, done.returncode))
