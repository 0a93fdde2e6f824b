"""What a run tells a tracker as it trains. Setting `tracker`; the clients are in `tracker_clients`.

Whatever goes wrong there is printed once, and the training goes on without: clients, and what they
import, raise errors of any kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.core.errors import PainterError, RunError
from pipeline.core.user_warnings import warn_once
from pipeline.runs.curves import read_scores, read_stats_so_far
from pipeline.runs.folder import RunFolder
from pipeline.training.tracker_clients import (
    TITLES,
    TrackerClient,
    note_sent,
    open_client,
    sent_before,
)

SCORE = "score/"
"""Prefix of the names of validation scores."""


@dataclass
class _Row:
    """What a tracker is told of one step."""

    step: int
    values: dict[str, float] = field(default_factory=dict)
    grid: Path | None = None


class RunTracker:
    """Sends settings, statistics, validation scores and sample grids of one run, a row a step.

    A tracker that keeps what it has gets each row once: what earlier sessions could not send comes
    first, from the files of the run.
    """

    def __init__(self, run: RunFolder, config: Config, step: int) -> None:
        """Begin, or go on after `step`; to be made before the logs of the run are cut there."""
        self._run, self._name = run, config.logging.tracker
        self._title = TITLES.get(self._name, TITLES["tensorboard"])
        self._grids = config.logging.tracker_grids and self._name != "auto"
        self._client: TrackerClient | None = None
        self._sent, self._each = -1, False
        self._row: _Row | None = None
        try:
            self._client = open_client(self._name, run, config.to_dict(), step)
            if self._client is not None and self._client.keeps_what_it_has:
                self._take_up(self._client, step, config.training.batch_size)
        except Exception as error:
            self._disable(error)

    def statistics(self, line: Mapping[str, float]) -> None:
        """Send one line of statistics under its step."""
        self._add(_statistics_row(line))

    def score(self, line: Mapping[str, Any]) -> None:
        """Send one validation score under its step."""
        self._add(_score_row(line))

    def grid(self, path: Path, step: int) -> None:
        """Send a sample grid, if the settings say so and it could be written."""
        if self._grids and path.exists():
            self._add(_Row(step, grid=path))

    def flush(self) -> None:
        """Send the row of the last step, to which nothing more will come."""
        row, self._row = self._row, None
        if self._client is None or row is None:
            return
        try:
            self._client.row(row.values, row.step, row.grid)
            if self._client.keeps_what_it_has:
                self._sent = row.step
                if self._each:
                    note_sent(self._name, self._run, row.step)
        except Exception as error:
            self._disable(error)

    def close(self) -> None:
        """End; a row that was not flushed, as after an error, is left to the next session."""
        client, self._client, self._row = self._client, None, None
        if client is not None:
            try:
                client.close()
            except Exception as error:
                self._warn(error)
            else:
                self._note_sent(client)

    def _take_up(self, client: TrackerClient, step: int, batch_size: int) -> None:
        """Send what the tracker lacks of the steps up to `step`; later ones are trained again."""
        has, noted = client.last_step(), sent_before(self._name, self._run)
        self._each = has is None  # it will not be able to say later either
        # Versions that noted nothing sent whatever they logged.
        known = has if has is not None else noted
        self._sent = _last_step(self._run) if known is None else known
        if not self._each:
            note_sent(self._name, self._run, None)  # if this session is killed, it is to be asked
        for row in _logged_rows(self._run, batch_size):
            if row.step <= step and (row.grid is None or self._grids):
                self._add(row)
        self.flush()

    def _add(self, row: _Row) -> None:
        """Add to the row of a step, unless an earlier session has sent it; rows go out whole."""
        if self._client is None or row.step <= self._sent:
            return
        if self._row is not None and self._row.step != row.step:
            self.flush()
        self._row = self._row or _Row(row.step)
        self._row.values |= row.values
        self._row.grid = row.grid or self._row.grid
        if self._client is not None and not self._client.keeps_what_it_has:
            self.flush()

    def _note_sent(self, client: TrackerClient) -> None:
        if client.keeps_what_it_has:
            with suppress(OSError, PainterError):  # the next session asks, or goes by what is noted
                note_sent(self._name, self._run, self._sent)

    def _disable(self, error: Exception) -> None:
        client, self._client, self._row = self._client, None, None
        self._warn(error)
        if client is not None:
            self._note_sent(client)
            with suppress(Exception):  # the reason has been printed
                client.close()

    def _warn(self, error: Exception) -> None:
        said = next(iter(str(error).splitlines()), "")  # some say more in further ones
        warn_once(
            f"No curves in {self._title}: {type(error).__name__}: {said}. The training goes on."
        )


_NO_SCORES = ("step", "images_seen", "seconds", "score_seconds", "n_generated", "best")


def _statistics_row(line: Mapping[str, float]) -> _Row:
    return _Row(int(line["step"]), {k: value for k, value in line.items() if k != "step"})


def _score_row(line: Mapping[str, Any]) -> _Row:
    values = {
        SCORE + name: float(value)
        for name, value in line.items()
        if name not in _NO_SCORES and isinstance(value, int | float)
    }
    return _Row(int(line["step"]), values)


def _logged_rows(run: RunFolder, batch_size: int) -> Iterator[_Row]:
    """Yield what earlier sessions have logged, in the order of the steps."""
    rows = [_Row(images // batch_size, grid=path) for images, path in run.sample_grids()]
    with suppress(RunError):  # no step was logged, or somebody has changed the file
        columns = read_stats_so_far(run.stats)
        for numbers in zip(*columns.values(), strict=True):
            line = dict(zip(columns, numbers, strict=True))
            rows.append(_statistics_row({k: v for k, v in line.items() if not math.isnan(v)}))
    with suppress(RunError):
        rows += [_score_row(line) for line in read_scores(run.scores) if "step" in line]
    yield from sorted(rows, key=lambda row: row.step)


def _last_step(run: RunFolder) -> int:
    """Return the last step that an earlier session logged, and so sent; -1 if there was none.

    It may have logged more after its last checkpoint, which is now trained again with the same
    result.
    """
    try:
        return int(max(read_stats_so_far(run.stats)["step"], default=-1))
    except RunError:
        return -1
