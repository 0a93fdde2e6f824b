"""Who is let in: counts images in the making and bytes that clients have not taken yet.

A request takes a place with its images and the most bytes that its answer may have. Once the answer
is made its images are free again, and the bytes are those that it has, until they are sent.
Everything here belongs to the thread of the event loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.core.errors import ServiceBusy

IMAGES = 512
"""Images that may be waiting or being made: seconds of work, and more than any one request."""
BYTES = 2**28
"""Bytes that answers may have which are being made or sent: five of the largest."""
MAX_WAIT = 120
"""Seconds after which a client is asked to come back at most: the pace may have been misjudged."""
_MEMORY = 0.9
"""How much of the earlier measurements counts beside a new one."""


@dataclass
class Pace:
    """How long a queue takes, from how long it took those who left it."""

    _seconds: float = 0.0
    _amount: float = 0.0

    def note(self, seconds: float, amount: int) -> None:
        """Take up that someone left after some seconds, who came when the queue had this length."""
        self._seconds = _MEMORY * self._seconds + seconds
        self._amount = _MEMORY * self._amount + amount

    def seconds(self, amount: int) -> int:
        """Return how long a queue of this length takes: whole seconds, 1 to `MAX_WAIT`."""
        each = self._seconds / self._amount if self._amount else 0.0
        return min(max(1, math.ceil(each * amount)), MAX_WAIT)


@dataclass
class Place:
    """What one request holds."""

    images: int
    bytes: int
    queue: int
    """Images, later bytes, that there were with its own when it joined them."""
    since: float
    """When it did so."""


class Room:
    """What all requests hold together, and how much that may be."""

    def __init__(
        self,
        most_images: int = IMAGES,
        most_bytes: int = BYTES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin empty.

        Args:
            most_images: a request for more is always refused.
            most_bytes: an answer that may have more than half is always refused.
            now: reads the clock that answers are timed by, in seconds.
        """
        self._now = now
        self.images = self.bytes = 0
        self._most_images, self._most_bytes = most_images, most_bytes
        self._making, self._sending = Pace(), Pace()

    @contextmanager
    def place(self, images: int, most_bytes: int) -> Iterator[Place]:
        """Hold a place for a request until its answer is sent, or nobody wants it.

        Args:
            images: that it asks for.
            most_bytes: that its answer may have.

        Raises:
            ServiceBusy: if there is no room now.
        """
        self._refuse_beyond(images, most_bytes)
        self.images += images
        self.bytes += most_bytes
        place = Place(images, most_bytes, self.images, self._now())
        try:
            yield place
        finally:
            if place.images == 0:
                self._sending.note(self._now() - place.since, place.queue)
            self.images -= place.images
            self.bytes -= place.bytes

    def made(self, place: Place, size: int) -> None:
        """Note that an answer is made, and of how many bytes: from now on it is being sent."""
        now = self._now()
        self._making.note(now - place.since, place.queue)
        self.images -= place.images
        self.bytes += size - place.bytes
        place.images, place.bytes, place.queue, place.since = 0, size, self.bytes, now

    def _refuse_beyond(self, images: int, most_bytes: int) -> None:
        if self.images + images > self._most_images:
            raise ServiceBusy(
                f"{self.images} images are being made; with {images} more they would be over "
                f"the {self._most_images} that are made at once. Ask again in a moment.",
                self._making.seconds(self.images),
            )
        # Half of what is left: so small answers find room beside large ones that nobody takes.
        if 2 * most_bytes > self._most_bytes - self.bytes:
            raise ServiceBusy(
                f"{self.bytes / 1e6:.0f} MB of answers are being made or taken, of "
                f"{self._most_bytes / 1e6:.0f} MB that are held at once; this one may have "
                f"{most_bytes / 1e6:.1f} MB, more than half of what is left. Ask again in a "
                "moment, or for less.",
                self._sending.seconds(self.bytes),
            )
