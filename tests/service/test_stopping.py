"""A server that is stopped: what was begun is finished, unless somebody will not wait."""

import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import numpy as np
import pytest
import torch

from pipeline.service.admission import Capacity
from pipeline.service.connection import TimeoutProtocol
from pipeline.service.inference import InferenceService
from tests.support import forks
from tests.support.clock import WAIT, until
from tests.support.module_graph import ROOT
from tests.support.service_helpers import Held, asked, serving, tiny_model


class HoldsSingles(Held):
    """A gatherer that makes many images at once, of noise, and a single one when it is told to."""

    def submit(self, z: torch.Tensor) -> Future[np.ndarray]:
        """Return or promise images."""
        if len(z) == 1:
            return super().submit(z)
        future: Future[np.ndarray] = Future()
        rng = np.random.default_rng(0)
        future.set_result(rng.integers(0, 256, (len(z), 256, 256, 3), np.uint8))
        return future


def test_computing_is_not_limited_and_sending_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimeoutProtocol, "stop_timeout", 0.2, raising=False)
    held, capacity = HoldsSingles(), Capacity()
    with ThreadPoolExecutor(2) as pool, ExitStack() as server:
        url = server.enter_context(serving(InferenceService(tiny_model(), held, capacity)))
        with asked(url, "/v1/images?count=16&size=256") as slow:
            assert slow.recv(1) == b"H"
            waiting = pool.submit(httpx.get, f"{url}v1/images", timeout=WAIT)
            held.wait_for(1)
            stopped = pool.submit(server.close)
            slow.settimeout(0.001)

            def dropped() -> bool:
                with suppress(TimeoutError, ConnectionError):
                    slow.recv(100)  # so much that it is not silent, and too little for 3 MB
                return capacity.bytes < 1_000_000

            until(dropped)
        assert not waiting.done()
        held.release()
        assert waiting.result().status_code == 200
        stopped.result()


SERVES = """
import threading
from pipeline.service.app import create_app
from pipeline.service.server import listen, run, url_of
from pipeline.service.inference import InferenceService
from tests.support.service_helpers import Held, tiny_model

held = Held()

def talk():
    held.wait_for(1)
    print("begun", flush=True)

with listen("127.0.0.1", 0) as listener:
    app = create_app(InferenceService(tiny_model(), held))
    print(url_of(listener), flush=True)
    threading.Thread(target=talk, daemon=True).start()
    run(app, listener)
"""


def test_a_second_ctrl_c_ends_at_once() -> None:
    process = forks.Process(forks.code, SERVES, cwd=ROOT, env=os.environ)
    assert process.stdout
    assert process.stderr
    url = process.stdout.readline().decode().strip()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.get, f"{url}v1/images", timeout=WAIT)
        assert process.stdout.readline() == b"begun\n"
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr.readline() == b"\n"
        assert b"Ctrl+C again ends at once" in process.stderr.readline()
        os.kill(process.pid, signal.SIGINT)
        with pytest.raises(httpx.HTTPError):
            asked.result()
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    assert err == b"\npainter: Ended by a second Ctrl+C; what was being made is lost.\n"
