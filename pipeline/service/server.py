"""The server: listens, and stops gracefully: what was begun is finished, nothing new accepted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from pipeline.core import interrupts
from pipeline.core.errors import ConfigError
from pipeline.service.connection import CLIENT_TIMEOUT, TimeoutProtocol
from pipeline.service.hosts import limit_hosts

_BACKLOG = 2048
SILENT_STOP = 0.3
"""Seconds that stopping may take before it is said what it waits for, and how to end it."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: a name or an address of this machine.
        port: 0 picks a free one.

    Raises:
        ConfigError: if the port is taken or not allowed, or the host is not this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except UnicodeError:
        raise ConfigError(
            f"--host {host} is no name that a machine can have. Give a name or an address of this "
            "one, such as 127.0.0.1."
        ) from None
    except OSError as error:
        raise ConfigError(f"--host {host} cannot be used: {error.strerror or error}.") from None
    try:
        _claim(listener)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Nothing can listen at {host}, port {port}: {error.strerror or error}. Choose another "
            "--port (0 takes a free one), or stop what listens there."
        ) from None
    return listener


def _claim(listener: socket.socket) -> None:
    """Let a port be taken again that was in use a moment ago, and none that is in use."""
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # On Windows that option lets two servers share a port. This one forbids others to ask for it.
    elif (option := getattr(socket, "SO_EXCLUSIVEADDRUSE", None)) is not None:
        listener.setsockopt(socket.SOL_SOCKET, option, 1)


def url_of(listener: socket.socket) -> str:
    """Return the address to type into a browser."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


class _Server(uvicorn.Server):
    """A server that finishes what was begun, however long that takes, unless Ctrl+C comes twice."""

    _by_ctrl_c = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop the server; at once if it was told so before."""
        if sig == signal.SIGINT and self.should_exit:
            again = "a second Ctrl+C" if self._by_ctrl_c else "Ctrl+C"
            interrupts.end_at_once(f"Ended by {again}; what was being made is lost.")
        super().handle_exit(sig, frame)
        self._by_ctrl_c |= sig == signal.SIGINT

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was begun."""
        loop = asyncio.get_running_loop()
        said = loop.call_later(SILENT_STOP, self._say_how_to_end)
        await super().shutdown(sockets)
        said.cancel()

    def _say_how_to_end(self) -> None:
        if self._by_ctrl_c and self.server_state.tasks:
            with suppress(OSError):
                os.write(2, b"\nFinishing what was begun; Ctrl+C again ends at once.\n")


def make_server(app: FastAPI, client_timeout: float = CLIENT_TIMEOUT) -> uvicorn.Server:
    """Return a server that is quiet unless something fails.

    Args:
        app: the application.
        client_timeout: seconds in which a client must read a chunk, or finish its request.
    """
    protocol = type(
        "Protocol", (TimeoutProtocol, AutoHTTPProtocol), {"client_timeout": client_timeout}
    )
    return _Server(
        uvicorn.Config(
            app,
            http=protocol,
            log_level="warning",
            access_log=False,
            lifespan="on",
        )
    )


def run(app: FastAPI, listener: socket.socket, names: Collection[str] = ()) -> None:
    """Answer requests until SIGTERM or Ctrl+C; then finish what was begun.

    Args:
        app: the application.
        listener: where it listens.
        names: that it answers to beside this machine's own, where nobody else reaches it.
    """
    limit_hosts(app, listener, names)
    with _absorb_signals():
        make_server(app).run(sockets=[listener])


@contextmanager
def _absorb_signals() -> Iterator[None]:
    """Ignore the signals that the server raises once more after it has stopped because of them."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, lambda *_: None) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
