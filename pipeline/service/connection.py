"""What a connection has to do to be kept: ask within a time, and take what it is sent.

The server's own protocol waits for its clients for ever. This one looks at what the system has
taken: little lies in front of the system's buffers and in them, so that it shows when a client
stops taking.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import cast

CLIENT_TIMEOUT = 30.0
"""Seconds in which a client must take a piece of its answer, or finish its request."""
CHUNK_SIZE = 2**14
"""Bytes handed over at once. What the next one waits for has left the process."""
MAX_UNSENT_BYTES = 2**16
"""Bytes that the system holds of a connection beside those that are on their way, about."""


class TimeoutProtocol(asyncio.Protocol):
    """Goes before a protocol of the server's; drops who takes nothing, or never finishes asking."""

    client_timeout = CLIENT_TIMEOUT
    _connection: asyncio.Transport
    _write_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let nothing pile up in front of the connection, and wait for its first request."""
        self._connection = cast(asyncio.Transport, transport)
        super().connection_made(transport)
        self._connection.set_write_buffer_limits(high=0)
        _limit_unsent(self._connection.get_extra_info("socket"))
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; a part alone has to be followed by the rest."""
        super().data_received(data)
        cycle = getattr(self, "cycle", None)  # a request and its answer, as the server keeps them
        if cycle is not None and not cycle.response_complete:
            self._stop_read_timer()
        elif self._read_timer is None:
            self._expect_request()

    def pause_writing(self) -> None:
        """Wait for the client to take what was written."""
        super().pause_writing()
        self._write_timer = self._abort_later()

    def resume_writing(self) -> None:
        """All of it has been taken."""
        self._stop_write_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_write_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        self._read_timer = self._abort_later()

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
        self._read_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
        self._write_timer = None

    def _abort_later(self) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(self.client_timeout, self._connection.abort)


def _limit_unsent(connection: socket.socket | None) -> None:
    """Let the system ask for more only when it has little left to send."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS have it
    if connection is not None and option is not None:
        with suppress(OSError):  # a connection that is no TCP, or gone
            connection.setsockopt(socket.IPPROTO_TCP, option, MAX_UNSENT_BYTES)
