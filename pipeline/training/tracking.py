"""What a run tells a tracker as it trains. Setting `tracker`; the clients are in `tracker_clients`.

Whatever goes wrong there is printed once, and the training goes on without: clients, and what they
import, raise errors of any kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.core.errors import RunError
from pipeline.core.user_warnings import warn_once
from pipeline.runs.curves import read_stats_so_far
from pipeline.runs.folder import RunFolder
from pipeline.training.tracker_clients import TITLES, TrackerClient, open_client

SCORE = "score/"
"""Prefix of the names of validation scores."""


class RunTracker:
    """Sends settings, statistics, validation scores and sample grids of one run."""

    def __init__(self, run: RunFolder, config: Config, step: int) -> None:
        """Begin, or go on after `step`; to be made before the logs of the run are cut there."""
        name = config.logging.tracker
        self._title = TITLES.get(name, TITLES["tensorboard"])
        self._grids = config.logging.tracker_grids and name != "auto"
        self._client: TrackerClient | None = None
        self._sent = -1
        try:
            self._client = open_client(name, run, config.to_dict(), step)
        except Exception as error:
            self._disable(error)
        if self._client is not None and self._client.keeps_what_it_has:
            self._sent = _last_step(run)

    def statistics(self, line: Mapping[str, float]) -> None:
        """Send one line of statistics under its step."""
        values = {name: value for name, value in line.items() if name != "step"}
        self._send(int(line["step"]), lambda client, step: client.scalars(values, step))

    def score(self, line: Mapping[str, Any]) -> None:
        """Send one validation score under its step."""
        values = {
            SCORE + name: float(value)
            for name, value in line.items()
            if name not in _NO_SCORES and isinstance(value, int | float)
        }
        self._send(int(line["step"]), lambda client, step: client.scalars(values, step))

    def grid(self, path: Path, step: int) -> None:
        """Send a sample grid, if the settings say so and it could be written."""
        if self._grids and path.exists():
            self._send(step, lambda client, step: client.grid(path, step))

    def close(self) -> None:
        """Send what is pending."""
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except Exception as error:
                self._warn(error)

    def _send(self, step: int, send: Callable[[TrackerClient, int], None]) -> None:
        """Send what an earlier session has not sent already."""
        if self._client is None or step <= self._sent:
            return
        try:
            send(self._client, step)
        except Exception as error:
            self._disable(error)

    def _disable(self, error: Exception) -> None:
        client, self._client = self._client, None
        self._warn(error)
        if client is not None:
            with suppress(Exception):  # the reason has been printed
                client.close()

    def _warn(self, error: Exception) -> None:
        warn_once(
            f"No curves in {self._title}: {type(error).__name__}: {error}. The training goes on."
        )


_NO_SCORES = ("step", "images_seen", "seconds", "score_seconds", "n_generated", "best")


def _last_step(run: RunFolder) -> int:
    """Return the last step that an earlier session logged, and so sent; -1 if there was none.

    It may have logged more after its last checkpoint, which is now trained again with the same
    result.
    """
    try:
        return int(max(read_stats_so_far(run.stats)["step"], default=-1))
    except RunError:
        return -1
