"""Timeouts of connections: for sending a request, and for reading the response.

The server's own protocol waits for its clients for ever. This one keeps the write buffers of
process and system small, so that it shows when a client stops reading.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, cast

CLIENT_TIMEOUT = 30.0
"""Seconds in which a client must read a chunk of its response, or finish its request."""
STOP_TIMEOUT = 120.0
"""Seconds that a client has for the rest of its response, once the server stops."""
CHUNK_SIZE = 2**14
"""Bytes written at once. The next chunk is written when this one has left the process."""
MAX_UNSENT_BYTES = 2**16
"""Unsent bytes that the system buffers for a connection, about."""


class TimeoutProtocol(asyncio.Protocol):
    """A mixin of the server's protocol; closes connections that time out."""

    client_timeout = CLIENT_TIMEOUT
    stop_timeout = STOP_TIMEOUT
    _connection: asyncio.Transport
    _write_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _stop_timer: asyncio.TimerHandle | None = None
    _stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the write buffer empty, and start the timer of the first request."""
        self._connection = cast(asyncio.Transport, transport)
        super().connection_made(transport)
        self._connection.set_write_buffer_limits(high=0)
        _limit_unsent(self._connection.get_extra_info("socket"))
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request; the rest has to follow in time."""
        super().data_received(data)
        cycle = getattr(self, "cycle", None)  # the server's state of a request and its response
        if cycle is not None and not cycle.response_complete:
            self._stop_read_timer()
        elif self._read_timer is None:
            self._expect_request()

    def pause_writing(self) -> None:
        """Start the timer for the client to read what was written."""
        super().pause_writing()
        self._write_timer = self._abort_later(self.client_timeout)
        self._limit_rest()

    def resume_writing(self) -> None:
        """Stop the timer: all of it has been read."""
        self._stop_write_timer()
        super().resume_writing()

    def shutdown(self) -> None:
        """Finish the response; from when its client first makes the server wait, time is limited.

        The time that it takes to compute is not.
        """
        cast(Any, super()).shutdown()
        self._stopping = True
        if self._write_timer is not None:
            self._limit_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_write_timer()
        self._stop_read_timer()
        if self._stop_timer is not None:
            self._stop_timer.cancel()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        self._read_timer = self._abort_later(self.client_timeout)

    def _limit_rest(self) -> None:
        if self._stopping and self._stop_timer is None:
            self._stop_timer = self._abort_later(self.stop_timeout)

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
        self._read_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
        self._write_timer = None

    def _abort_later(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._connection.abort)


def _limit_unsent(connection: socket.socket | None) -> None:
    """Limit the system's send buffer: it accepts more only when it has little left to send."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS have it
    if connection is not None and option is not None:
        with suppress(OSError):  # a connection that is no TCP, or gone
            connection.setsockopt(socket.IPPROTO_TCP, option, MAX_UNSENT_BYTES)
