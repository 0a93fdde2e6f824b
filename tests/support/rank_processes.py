"""Several ranks of one training as real processes on this machine, without torchrun.

The processes are forked off the server of `forks`; they find each other as torchrun
would let them, by environment variables.
"""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from pipeline.training.distributed.context import init_distributed
from tests.support.forks import CONTEXT

PATIENCE = 120
"""Seconds after which a test counts as hanging, on however busy a machine."""


def run_ranks(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run `work(context, *arguments)` in every rank; return what each returned, or its exception.

    A process that was killed gives its exit code's negative.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [_start(rank, count, port, work, arguments) for rank in range(count)]
    results = [_result(process, answers) for process, answers in started]
    for process, _ in started:
        process.join(PATIENCE)
        assert process.exitcode is not None, "a rank did not end"
    return results


def _start(
    rank: int, count: int, port: int, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, Connection]:
    answers, answer = CONTEXT.Pipe(duplex=False)
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    texts = {name: str(number) for name, number in numbers.items()} | {"MASTER_ADDR": "127.0.0.1"}
    process = CONTEXT.Process(target=_serve, args=(texts, answer, work, pickle.dumps(arguments)))
    process.start()
    answer.close()
    return process, answers


def _serve(
    variables: dict[str, str], answer: Connection, work: Callable[..., Any], arguments: bytes
) -> None:
    os.environ.update(variables)
    torch.set_num_threads(1)
    try:
        with init_distributed() as distributed:
            result = work(distributed, *pickle.loads(arguments))
    except Exception as error:
        traceback.print_exc()
        result = error
    answer.send_bytes(pickle.dumps(result))  # torch's own way needs the sender to stay


def _result(process: Any, answers: Connection) -> Any:
    assert answers.poll(PATIENCE), "a rank hangs"
    try:
        return pickle.loads(answers.recv_bytes())
    except EOFError:
        process.join(PATIENCE)
        return process.exitcode
