"""Slow, silent and vanished clients, as sockets against the real server."""

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import uvicorn

from pipeline.core.errors import ServiceBusy
from pipeline.service.admission import MAX_WAIT, Capacity, WaitEstimate
from pipeline.service.batching import Batcher
from pipeline.service.connection import CHUNK_SIZE, MAX_UNSENT_BYTES, TimeoutProtocol
from pipeline.service.inference import InferenceService
from pipeline.service.queries import MAX_IMAGES, MAX_PIXELS
from pipeline.service.responses import HeadAsGet, until_disconnected
from tests.support.clock import WAIT, StandingTime, until
from tests.support.service_helpers import Held, asked, connect, serving, tiny_model

PATIENCE = 1.0
"""Seconds instead of half a minute."""
LARGE = "/v1/images?count=16&size=256"
"""3 MB of noise as PNG: much more than the buffers on the way hold."""
MEGABYTE = 2**20


def is_dropped(client: socket.socket) -> bool:
    """Tell whether the server has ended a connection, after taking what has arrived."""
    client.settimeout(0.05)
    try:
        while client.recv(MEGABYTE):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


class Noise:
    """A gatherer whose images cannot be made smaller."""

    def __init__(self) -> None:
        self.asked = 0

    def submit(self, z: torch.Tensor) -> Future[np.ndarray]:
        """Return images at once."""
        self.asked += 1
        future: Future[np.ndarray] = Future()
        rng = np.random.default_rng(0)
        future.set_result(rng.integers(0, 256, (len(z), 256, 256, 3), np.uint8))
        return future

    def close(self) -> None:
        """Nothing was begun."""


class Counting:
    """A generator that counts its calls and the rows in them, and can be held back."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, z: torch.Tensor) -> np.ndarray:
        self.rows.append(int((z.abs().sum(1) > 0).sum()))  # those that are not padding
        self.begun.set()
        assert self.go.wait(WAIT)
        return np.zeros((len(z), 32, 32, 3), np.uint8)


@pytest.fixture
def counting() -> Iterator[tuple[Counting, InferenceService]]:
    """Yield a generator whose batches hold one row, and a studio with it."""
    compute = Counting()
    service = InferenceService(tiny_model(), Batcher(compute, [1]))
    yield compute, service
    compute.go.set()


# --- Clients that take nothing


def nibble(client: socket.socket) -> None:
    """Take a byte, if there is one."""
    client.settimeout(0.001)
    with suppress(TimeoutError, ConnectionError):
        client.recv(1)


def test_fifty_slow_clients_hold_no_more_than_the_limit_and_others_are_served() -> None:
    capacity = Capacity(max_bytes=24 * MEGABYTE)
    with ExitStack() as stack:
        # None is dropped in this time, however long the machine takes over the rest.
        url = stack.enter_context(serving(InferenceService(tiny_model(), Noise(), capacity), WAIT))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=WAIT))
        with ExitStack() as clients:
            slow = [clients.enter_context(asked(url, LARGE)) for _ in range(50)]
            assert [one.recv(1) for one in slow] == [b"H"] * 50
            for _ in range(6):
                for one in slow:
                    nibble(one)
                assert client.get("/v1/images?size=64").status_code == 200
                assert 8 * MEGABYTE < capacity.bytes <= 24 * MEGABYTE
        until(lambda: capacity.bytes == 0)
        assert client.get(LARGE).status_code == 200
    assert (capacity.images, capacity.bytes) == (0, 0)


def test_who_takes_too_little_is_dropped_and_holds_nothing_any_more() -> None:
    capacity, noise = Capacity(), Noise()
    with (
        serving(InferenceService(tiny_model(), noise, capacity), PATIENCE / 4) as url,
        asked(url, LARGE) as slow,
        asked(url, LARGE) as slower,
    ):

        def held_and_gone() -> bool:
            nibble(slow)
            return noise.asked == 2 and capacity.bytes == 0

        until(held_and_gone)
        until(lambda: is_dropped(slow) and is_dropped(slower))
        assert httpx.get(f"{url}v1/images", timeout=WAIT).status_code == 200


def test_an_answer_counts_until_it_is_taken_and_what_goes_beyond_gets_429() -> None:
    capacity = Capacity(max_bytes=9 * MEGABYTE)
    with (
        serving(InferenceService(tiny_model(), Noise(), capacity), WAIT) as url,
        httpx.Client(base_url=url, timeout=WAIT) as client,
    ):
        with asked(url, LARGE) as slow:
            until(lambda: capacity.images == 0 and capacity.bytes > 0)
            assert 2 * MEGABYTE < capacity.bytes < 3.5 * MEGABYTE
            assert client.get("/healthz").json()["waiting_bytes"] == capacity.bytes
            refused = client.get(f"{LARGE}&seed=1")
            assert refused.status_code == 429
            assert "MB of answers are being made or taken" in refused.json()["error"]
            assert int(refused.headers["retry-after"]) >= 1
            content = b""
            while len(content) < 2 * MEGABYTE:
                content += slow.recv(MEGABYTE)
            until(lambda: is_dropped(slow) or capacity.bytes == 0)
        assert client.get(f"{LARGE}&seed=1").status_code == 200


def test_a_slow_client_that_goes_on_taking_gets_all_of_it() -> None:
    capacity = Capacity()
    path = "/v1/images?count=4&size=256"  # 0.8 MB
    with (
        serving(InferenceService(tiny_model(), Noise(), capacity), PATIENCE) as url,
        httpx.Client(base_url=url, timeout=WAIT) as client,
    ):
        whole = client.get(path).content
        began = time.monotonic()
        with asked(url, path) as slow:
            content = b""
            while not content.endswith(whole[-100:]):
                content += slow.recv(CHUNK_SIZE)
                time.sleep(0.01)
        assert content.endswith(whole)
        assert time.monotonic() - began > PATIENCE  # longer than anybody waits for a piece
        until(lambda: capacity.bytes == 0)


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"])
@pytest.mark.parametrize("sent", [b"", b"GET /v1/images HT"])
def test_who_never_finishes_asking_is_dropped(
    monkeypatch: pytest.MonkeyPatch, before: bytes, sent: bytes
) -> None:
    # After an answer uvicorn waits for the next question by its own rule, of 5 seconds.
    quick = partial(uvicorn.Config, timeout_keep_alive=1)
    monkeypatch.setattr("pipeline.service.server.uvicorn.Config", quick)
    # Who asks first has to come to it on a busy machine, too.
    patience = PATIENCE if before else 0.3
    with serving(InferenceService(tiny_model()), patience) as url, connect(url) as client:
        if before:
            client.sendall(before)
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        client.sendall(sent)
        until(lambda: is_dropped(client))


def test_who_waits_for_long_work_is_not_dropped() -> None:
    held = Held()
    with (
        serving(InferenceService(tiny_model(), held), PATIENCE / 2) as url,
        ThreadPoolExecutor(1) as pool,
    ):
        asking = pool.submit(httpx.get, f"{url}v1/images", timeout=WAIT)
        held.wait_for(1)
        time.sleep(0.8 * PATIENCE)
        held.release()
        assert asking.result().status_code == 200


# --- Clients that have left


def test_what_nobody_waits_for_is_not_computed(counting: tuple[Counting, InferenceService]) -> None:
    compute, service = counting
    with serving(service) as url, ExitStack() as clients:
        first = clients.enter_context(asked(url, "/v1/images"))
        assert compute.begun.wait(WAIT)
        for number in range(20):
            clients.enter_context(asked(url, f"/v1/images?count=4&seed={number}"))
        until(lambda: service.capacity.images == 81)
        stays = clients.enter_context(asked(url, "/v1/images?seed=99"))
        until(lambda: service.capacity.images == 82)
        gone = clients.pop_all()
        for client in (first, stays):
            gone.callback(client.close)
        kept = [first.dup(), stays.dup()]
        gone.close()
        until(lambda: service.capacity.images == 2)
        compute.go.set()
        for client in kept:
            assert client.recv(15) == b"HTTP/1.1 200 OK"
            client.close()
        until(lambda: service.capacity.bytes == 0)
    assert compute.rows == [1, 1]


def test_a_long_file_that_nobody_waits_for_is_not_written_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames: list[int] = []
    go = threading.Event()

    def slow(pixels: np.ndarray, _: object) -> Iterator[np.ndarray]:
        for frame in pixels:
            frames.append(1)
            assert go.wait(WAIT)
            yield frame

    monkeypatch.setattr("pipeline.service.jobs.resize_each", slow)
    service = InferenceService(tiny_model(), Noise())
    with serving(service) as url:
        with asked(url, "/v1/interpolation?images=1,2&frames_per_step=30&size=256"):
            until(lambda: frames == [1])
        until(lambda: service.capacity.images == 0)
        go.set()
        assert httpx.get(f"{url}v1/images", timeout=WAIT).status_code == 200
    assert len(frames) == 2  # of the 60, the one that was begun; and the image


# --- How long to wait


def test_the_pace_is_that_of_the_queue() -> None:
    pace = WaitEstimate()
    assert pace.seconds(1000) == 1  # nothing is known yet
    for _ in range(50):
        pace.note(1.99, 10)
    assert pace.seconds(10) == 2
    assert pace.seconds(100) == 20
    assert pace.seconds(1) == 1
    assert pace.seconds(10**6) == MAX_WAIT
    for _ in range(50):
        pace.note(9.99, 10)
    assert pace.seconds(10) == 10  # the latest count most


def test_retry_after_follows_the_queue() -> None:
    time = StandingTime()
    capacity = Capacity(max_images=8, now=time.clock.now)
    with capacity.reserve(2, 100) as reservation:
        time.sleep(3.0)
        capacity.made(reservation, 50)  # 1.5 seconds an image
    waits = []
    for queue in (4, 8):
        with capacity.reserve(queue, 100), pytest.raises(ServiceBusy) as busy:
            capacity._check_capacity(8, 100)
        waits.append(busy.value.seconds)
    assert waits == [6, 12]


def test_the_largest_answers_find_room_when_there_is_little_else() -> None:
    capacity = Capacity()
    with (
        capacity.reserve(MAX_IMAGES, 3 * MAX_PIXELS),
        capacity.reserve(MAX_IMAGES, 3 * MAX_PIXELS),
    ):
        assert capacity.images == 2 * MAX_IMAGES


def test_a_failure_leaves_nothing_counted() -> None:
    capacity = Capacity()
    with pytest.raises(ValueError, match="broken"), capacity.reserve(3, 100):
        raise ValueError("broken")
    assert (capacity.images, capacity.bytes) == (0, 0)


# --- HEAD


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/page/page.js", "/openapi.json", "/v1/model", "/healthz", "/v1/images?seed=4",
     "/v1/images?count=2", "/v1/grid?rows=2", "/v1/interpolation?frames_per_step=2", "/nowhere",
     "/v1/images?size=1"],
)  # fmt: skip
def test_head_is_get_without_a_body(path: str) -> None:
    with (
        serving(InferenceService(tiny_model())) as url,
        httpx.Client(base_url=url, timeout=WAIT) as client,
    ):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        ignored = {"date"}
        assert {k: v for k, v in head.headers.items() if k not in ignored} == {
            k: v for k, v in got.headers.items() if k not in ignored
        }
        assert int(head.headers["content-length"]) == len(got.content)
        if etag := got.headers.get("etag"):
            assert client.head(path, headers={"If-None-Match": etag}).status_code == 304


# --- The parts


def run_alone(work: Coroutine[Any, Any, Any]) -> None:
    """Run to its end in a thread: in this one the loop of a browser's tests may be running."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def test_work_goes_on_while_its_client_sends_and_ends_when_it_leaves() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(WAIT)
        except asyncio.CancelledError:
            done.append("cancelled")
            raise

    messages: list[dict[str, Any]] = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return messages.pop(0)

    run_alone(until_disconnected(work(), receive))
    assert done == ["cancelled"]


def test_only_bodies_of_head_are_left_out() -> None:
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, _: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["method"].encode()})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    for method in ("GET", "HEAD"):
        run_alone(HeadAsGet(app)({"type": "http", "method": method}, receive, send))
    assert [m.get("body") for m in sent] == [None, b"GET", None, b""]


def test_little_lies_in_front_of_a_connection() -> None:
    assert CHUNK_SIZE + MAX_UNSENT_BYTES < MEGABYTE / 8
    assert TimeoutProtocol.client_timeout == 30
