"""Admission control: limits the images being computed, and the bytes that are held for clients.

A request reserves its images and the maximum bytes of its response. Once the response is computed
its images are released, and the bytes are those that it has, until they are sent.
Everything here belongs to the thread of the event loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.core.errors import ServiceBusy

MAX_PENDING_IMAGES = 512
"""Images that may be pending: seconds of work, and more than any one request."""
MAX_PENDING_BYTES = 2**28
"""Bytes that pending responses, and photos that were sent, may have: five of the largest."""
MAX_WAIT = 120
"""Upper bound of Retry-After in seconds: the estimate may be wrong."""
_DECAY = 0.9
"""Of the moving average: how much the earlier measurements count beside a new one."""


@dataclass
class WaitEstimate:
    """Estimates how long a queue takes, by a moving average of how long it took."""

    _seconds: float = 0.0
    _amount: float = 0.0

    def note(self, seconds: float, amount: int) -> None:
        """Count a request that left after some seconds and came when the queue had this length."""
        self._seconds = _DECAY * self._seconds + seconds
        self._amount = _DECAY * self._amount + amount

    def seconds(self, amount: int) -> int:
        """Return how long a queue of this length takes: whole seconds, 1 to `MAX_WAIT`."""
        each = self._seconds / self._amount if self._amount else 0.0
        return min(max(1, math.ceil(each * amount)), MAX_WAIT)


@dataclass
class Reservation:
    """What one request has reserved."""

    images: int
    bytes: int
    queue: int
    """Length of the queue, its own included, when it joined: images, later bytes."""
    since: float
    """When it joined."""


class Capacity:
    """What all requests have reserved together, and its limits."""

    def __init__(
        self,
        max_images: int = MAX_PENDING_IMAGES,
        max_bytes: int = MAX_PENDING_BYTES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin empty.

        Args:
            max_images: a request for more is always refused.
            max_bytes: a response that may have more than half is always refused.
            now: reads the clock that answers are timed by, in seconds.
        """
        self._now = now
        self.images = self.bytes = 0
        self._max_images, self._max_bytes = max_images, max_bytes
        self._making, self._sending = WaitEstimate(), WaitEstimate()

    @contextmanager
    def reserve(self, images: int, max_bytes: int) -> Iterator[Reservation]:
        """Reserve capacity for a request until its response is sent, or the client has left.

        Args:
            images: that it asks for.
            max_bytes: that its response may have.

        Raises:
            ServiceBusy: if there is not enough capacity now.
        """
        self._check_capacity(images, max_bytes)
        self.images += images
        self.bytes += max_bytes
        reservation = Reservation(images, max_bytes, self.images, self._now())
        try:
            yield reservation
        finally:
            if reservation.images == 0:
                self._sending.note(self._now() - reservation.since, reservation.queue)
            self.images -= reservation.images
            self.bytes -= reservation.bytes

    @contextmanager
    def hold(self, max_bytes: int) -> Iterator[Callable[[int], None]]:
        """Reserve the bytes of a photo that a client sends, until it is not needed any more.

        Yields a function that is called with the bytes that it has, once it has been received.

        Args:
            max_bytes: that it may have.

        Raises:
            ServiceBusy: if there is not enough capacity for it, or for its image, now.
        """
        self._check_capacity(1, max_bytes)
        held = max_bytes

        def received(size: int) -> None:
            nonlocal held
            self.bytes += size - held
            held = size

        self.bytes += max_bytes
        try:
            yield received
        finally:
            self.bytes -= held

    def made(self, reservation: Reservation, size: int) -> None:
        """Record that a response is computed, and its bytes: from now on it is being sent."""
        now = self._now()
        self._making.note(now - reservation.since, reservation.queue)
        self.images -= reservation.images
        self.bytes += size - reservation.bytes
        reservation.images, reservation.bytes, reservation.queue, reservation.since = (
            0,
            size,
            self.bytes,
            now,
        )

    def _check_capacity(self, images: int, max_bytes: int) -> None:
        if self.images + images > self._max_images:
            raise ServiceBusy(
                f"{self.images} images are being made; with {images} more they would be over "
                f"the {self._max_images} that are made at once. Ask again in a moment.",
                self._making.seconds(self.images),
            )
        # Half of what is left: so small responses fit beside large ones that nobody reads.
        if 2 * max_bytes > self._max_bytes - self.bytes:
            raise ServiceBusy(
                f"{self.bytes / 1e6:.0f} MB of answers are being made or taken, of "
                f"{self._max_bytes / 1e6:.0f} MB that are held at once; this one may have "
                f"{max_bytes / 1e6:.1f} MB, more than half of what is left. Ask again in a "
                "moment, or for less.",
                self._sending.seconds(self.bytes),
            )
