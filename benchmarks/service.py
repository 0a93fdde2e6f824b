"""Speed and memory of the service under load: `make bench-service`.

Clients on the same machine request one image after the other, all different, over persistent
connections. The baseline is the same server, generator and file format, which calls the
generator once per request instead of batching requests. Each server is a process of
its own, and the memory is that process's alone.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch

from benchmarks.output import load_or_build_snapshot
from pipeline.bench.measure import MB, Values, machine, number, spread
from pipeline.service.model import NoiseModel
from pipeline.system.devices import default_device

CLIENTS = (1, 8, 32)
PAINTER = "painter"
BASELINE = "one call a request"
WARM_UP = 50
"""Requests before any that is counted."""


class UnbatchedQueue:
    """A batch queue without batching: each request's images in a call of their own."""

    def __init__(self, model: NoiseModel, threads: int) -> None:
        self._model = model
        self._pool = ThreadPoolExecutor(threads)

    def submit(self, z: torch.Tensor) -> Future[np.ndarray]:
        return self._pool.submit(self._model.pixels, z)

    def close(self) -> None:
        self._pool.shutdown()


# --- The server's process


def serve(snapshot: Path | None, batched: bool) -> None:
    """Serve until SIGTERM; the address is the first line printed."""
    from pipeline.service.app import create_app
    from pipeline.service.inference import InferenceService
    from pipeline.service.server import listen, run, url_of
    from pipeline.system.parallel import usable_cores

    model = NoiseModel(load_or_build_snapshot(snapshot), "bench", "0" * 64, default_device())
    if not batched:
        torch.set_num_threads(1)  # as many calls at once as cores: better than all cores for each
    service = InferenceService(model, None if batched else UnbatchedQueue(model, usable_cores()))
    with listen("127.0.0.1", 0) as listener:
        print(url_of(listener), flush=True)
        run(create_app(service), listener)


@dataclass(frozen=True)
class Server:
    """A running server."""

    host: str
    process: int

    @property
    def resident(self) -> float:
        """Return its memory in MB."""
        asked = ["ps", "-o", "rss=", "-p", str(self.process)]  # in units of 1,024 bytes
        return int(subprocess.run(asked, check=True, stdout=subprocess.PIPE).stdout) * 1024 / MB


@contextmanager
def server(snapshot: Path | None, batched: bool) -> Iterator[Server]:
    """Start a server in a process, and stop it at the end."""
    command = [sys.executable, "-m", "benchmarks.service", "--serve", "yes" if batched else "no"]
    if snapshot is not None:
        command += ["--snapshot", str(snapshot)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield Server(urlsplit(process.stdout.readline().strip()).netloc, process.pid)
        finally:
            process.terminate()


# --- The clients


@dataclass(frozen=True)
class Load:
    """What clients measured."""

    milliseconds: list[float]
    """Latency of each response."""
    errors: int
    seconds: float

    @property
    def rate(self) -> float:
        """Return images a second."""
        return len(self.milliseconds) / self.seconds

    def percentile(self, share: int) -> float:
        """Return a percentile of the latency in milliseconds."""
        return float(np.percentile(self.milliseconds, share))


def load(
    host: str, query: str, clients: int, first: int, requests: int = 10**9, seconds: float = 1e9
) -> Load:
    """Request images from `first` on, until the number of requests or the time is reached."""
    images = itertools.count(first)
    began = time.perf_counter()

    def ask() -> tuple[list[float], int]:
        connection = http.client.HTTPConnection(host, timeout=600)
        times: list[float] = []
        errors = 0
        for image in images:
            start = time.perf_counter()
            if image >= first + requests or start - began > seconds:
                break
            connection.request("GET", f"/v1/images?images={image}{query}")
            response = connection.getresponse()
            response.read()
            errors += response.status != http.client.OK
            times.append(1000 * (time.perf_counter() - start))
        connection.close()
        return times, errors

    with ThreadPoolExecutor(clients) as pool:
        seen = [future.result() for future in [pool.submit(ask) for _ in range(clients)]]
    passed = time.perf_counter() - began
    return Load([t for times, _ in seen for t in times], sum(e for _, e in seen), passed)


# --- What is printed


def compare(snapshot: Path | None, query: str, rounds: int, seconds: float) -> None:
    """Print rates, latencies and ratios by the number of clients."""
    with server(snapshot, True) as ours, server(snapshot, False) as theirs:
        hosts = {PAINTER: ours.host, BASELINE: theirs.host}
        for host in hosts.values():
            load(host, query, max(CLIENTS), 1, requests=WARM_UP)
        found: dict[tuple[str, int], list[Load]] = {}
        for turn in range(rounds):
            for clients in CLIENTS:
                for name, host in hosts.items():
                    asked = partial(load, host, query, clients, 1000 + 10**6 * turn)
                    found.setdefault((name, clients), []).append(asked(seconds=seconds))
    print(table(found))
    print(ratio_table(found))


def table(found: dict[tuple[str, int], list[Load]]) -> str:
    """Return the Markdown table of loads: medians over the rounds, and the sum of errors."""
    lines = [
        "\n| over HTTP | clients | images/s | least to most | n | p50 | p99 | errors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, clients), loads in found.items():
        waits = (statistics.median(one.percentile(share) for one in loads) for share in (50, 99))
        cells = [
            name, str(clients), spread([one.rate for one in loads]),
            *(f"{number(wait)} ms" for wait in waits),
            f"{sum(one.errors for one in loads)} of {sum(len(o.milliseconds) for o in loads):,}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio_table(found: dict[tuple[str, int], list[Load]]) -> str:
    """Return the Markdown table of images a second relative to the baseline, round by round."""
    values: Values = {
        f"{clients} client{'s' if clients > 1 else ''}": [
            ours.rate / theirs.rate
            for ours, theirs in zip(found[PAINTER, clients], found[BASELINE, clients], strict=True)
        ]
        for clients in CLIENTS
    }
    lines = [f"\n| {PAINTER} over {BASELINE} | times | least to most | n |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {spread(row)} |" for name, row in values.items())])


def memory(snapshot: Path | None, query: str, requests: int, clients: int = 8) -> None:
    """Print the server's memory after a tenth, half and all of many requests."""
    print("\n| requests answered | memory of the server | errors |\n|---|---|---|")
    with server(snapshot, True) as ours:
        done = errors = 0
        for until in (requests // 10, requests // 2, requests):
            seen = load(ours.host, query, clients, 1 + done, requests=until - done)
            done, errors = until, errors + seen.errors
            print(f"| {done:,} | {number(ours.resident)} MB | {errors} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshot", type=Path, help="of a trained run [default: untrained]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--requests", type=int, default=10_000, help="for the memory; 0: none")
    parser.add_argument("--format", default="png", choices=["png", "jpeg", "webp"])
    parser.add_argument("--serve", choices=["yes", "no"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.snapshot, arguments.serve == "yes")
        return
    size = load_or_build_snapshot(arguments.snapshot).config.output.output_size
    print(machine(default_device(), f"{arguments.format} of {size} pixels"))
    query = f"&format={arguments.format}"
    compare(arguments.snapshot, query, arguments.rounds, arguments.seconds)
    if arguments.requests:
        memory(arguments.snapshot, query, arguments.requests)


if __name__ == "__main__":
    main()
