"""A tiny generator behind a real server on a free port of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from fastapi import FastAPI

from pipeline.config import Config, apply_settings
from pipeline.families.registry import build_generator
from pipeline.models.snapshot import Snapshot
from pipeline.service.app import create_app
from pipeline.service.connection import CLIENT_TIMEOUT
from pipeline.service.inference import InferenceService
from pipeline.service.model import NoiseModel, TranslatorModel
from pipeline.service.server import listen, make_server, url_of
from tests.support.clock import WAIT

TINY = {
    "image_size": 32, "generator_channels": 4, "latent_size": 4, "output_size": 32,
    "precision": "float32",
}  # fmt: skip


def tiny_snapshot(**settings: object) -> Snapshot:
    """Return an untrained generator, always the same."""
    config = apply_settings(Config(), TINY | settings)
    torch.manual_seed(0)
    return Snapshot(build_generator(config).eval(), config, 123)


def tiny_model(score: dict[str, Any] | None = None, **settings: object) -> NoiseModel:
    """Return the same as a model that can be served."""
    return NoiseModel(tiny_snapshot(**settings), "tiny", "0" * 64, torch.device("cpu"), score)


TINY_TRANSLATOR = {
    "family": "cyclegan", "image_size": 64, "generator_channels": 4, "precision": "float32",
    "output_size": 64,
}  # fmt: skip


def tiny_translator_snapshot() -> Snapshot:
    """Return an untrained translator, always the same."""
    config = apply_settings(Config(), TINY_TRANSLATOR)
    torch.manual_seed(0)
    return Snapshot(build_generator(config).eval(), config, 123)


def tiny_translator() -> TranslatorModel:
    """Return the same as a model that can be served."""
    return TranslatorModel(tiny_translator_snapshot(), "tiny", "0" * 64, torch.device("cpu"))


def serving(
    service: InferenceService, client_timeout: float = CLIENT_TIMEOUT
) -> AbstractContextManager[str]:
    """Return what yields the address of a service that runs in a thread."""
    return serving_app(create_app(service), client_timeout)


@contextmanager
def serving_app(app: FastAPI, client_timeout: float = CLIENT_TIMEOUT) -> Iterator[str]:
    """Yield the address of a server that runs in a thread."""
    listener = listen("127.0.0.1", 0)
    server = make_server(app, client_timeout)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield url_of(listener)
    finally:
        server.should_exit = True
        thread.join()


def connect(url: str) -> socket.socket:
    """Return a connection whose end takes little by itself."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(WAIT)
    made.connect((host, int(port)))
    return made


@contextmanager
def asked(url: str, path: str) -> Iterator[socket.socket]:
    """Yield a connection on which a request has been made."""
    with connect(url) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield client


DROP = """([bytes, name, type]) => {
  const transfer = new DataTransfer();
  if (name) transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
  else transfer.setData("text/plain", "a link");
  dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
}"""
"""Drops a file of these bytes, name and type on the page; a link without a name."""


class Held:
    """A gatherer that computes nothing until it is told to."""

    def __init__(self, side: int = 32) -> None:
        self._side = side
        self._changed = threading.Condition()
        self._waiting: list[tuple[Future[np.ndarray], int]] = []
        self._released = False

    def submit(self, z: torch.Tensor) -> Future[np.ndarray]:
        """Promise black images."""
        future: Future[np.ndarray] = Future()
        with self._changed:
            self._waiting.append((future, len(z)))
            self._changed.notify_all()
            if self._released:
                self._fulfil()
        return future

    def wait_for(self, requests: int) -> None:
        """Return when so many requests have arrived."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._waiting) >= requests, timeout=60)

    def release(self) -> None:
        """Fulfil what was promised and what will be."""
        with self._changed:
            self._released = True
            self._fulfil()

    def close(self) -> None:
        """Leave nobody waiting."""
        self.release()

    def _fulfil(self) -> None:
        for future, count in self._waiting:
            if not future.set_running_or_notify_cancel():
                continue
            future.set_result(np.zeros((count, self._side, self._side, 3), np.uint8))
        self._waiting.clear()


class BusyOnce:
    """A route of a page that refuses its first request, as a busy server does, and then none."""

    def __init__(self) -> None:
        self.refused = False

    def __call__(self, route: Any) -> None:
        if self.refused:
            route.continue_()
            return
        self.refused = True
        route.fulfill(status=429, headers={"Retry-After": "0.01"}, json={"error": "busy"})
