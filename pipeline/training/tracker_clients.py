"""The clients of trackers: programs that keep and show the curves of many runs.

One class a client, all with the methods of `TrackerClient`, and nothing else of painter knows what
they are called. Each is imported when it is asked for. They read their credentials themselves,
from where their own login has put them; none passes through here.
"""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from PIL import Image

from pipeline.core.errors import ConfigError, RunError
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import write_json

PROJECT = "painter"
"""In which runs are kept, where the tracker's own variable names no other."""
SENT = "sent"
"""Key of `tracker.json`: by tracker the last step that it was given."""
GRID = "samples"
"""Name of the sample grids."""
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}
"""Trackers, and what each needs; the extras are called the same."""
TITLES = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases", "trackio": "trackio"}


class TrackerClient(Protocol):
    """What a run needs of a tracker. Any method may raise anything."""

    keeps_what_it_has: bool
    """What a resumed run has sent before must not be sent again; else it is replaced."""

    def last_step(self) -> int | None:
        """Return the last step that it has of the run, -1 for none; None if it cannot say."""

    def row(self, values: Mapping[str, float], step: int, grid: Path | None) -> None:
        """Add values by their names and a sample grid, of one step; later steps come later."""

    def close(self) -> None:
        """Write or send what is pending."""


def check_tracker(name: str) -> None:
    """Check, before anything is loaded, that what a tracker needs is installed.

    Raises:
        ConfigError: naming the package.
    """
    package = PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"tracker is {name!r}, and {package} is not installed here. Install it (pip install "
            f"{package}), or leave the setting tracker out."
        )


def open_client(
    name: str, run: RunFolder, settings: Mapping[str, Any], step: int
) -> TrackerClient | None:
    """Return the client of a tracker, with the run begun there or taken up again.

    Args:
        name: a value of the setting `tracker`; `auto` is TensorBoard where it is installed.
        run: whose `tracker.json` has the run's id there.
        settings: all settings, by section.
        step: steps taken so far.
    """
    if name == "auto":
        try:
            return TensorBoardClient(run, step)
        except ImportError:
            return None
    if name == "tensorboard":
        return TensorBoardClient(run, step)
    if name == "wandb":
        return WandbClient(run, settings)
    return TrackioClient(run, settings) if name == "trackio" else None


class TensorBoardClient:
    """Event files in `RUN/tensorboard`."""

    keeps_what_it_has = False

    def __init__(self, run: RunFolder, step: int) -> None:
        """Start after `step`; what an earlier session wrote after it is purged."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)

    def last_step(self) -> int | None:
        """Return None: what is there is replaced, and not read."""
        return None

    def row(self, values: Mapping[str, float], step: int, grid: Path | None) -> None:
        """Add values by their names and a sample grid, of one step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if grid is not None:
            with Image.open(grid) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._writer.add_image(GRID, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is pending."""
        self._writer.close()


class _LoggingClient:
    """A run at a tracker whose library logs by step, as that of Weights & Biases does."""

    keeps_what_it_has = True
    whole_row: ClassVar[Mapping[str, bool]] = {}
    """Options of the library's `log` that say that nothing more comes of a step."""

    def __init__(self, library: Any, **options: Any) -> None:
        """Begin the run, or take it up again, by the library's own `init`."""
        self._library = library
        self._run: Any = library.init(resume="allow", **options)

    def row(self, values: Mapping[str, float], step: int, grid: Path | None) -> None:
        """Add values by their names and a sample grid, of one step: all of it or nothing."""
        image = {} if grid is None else {GRID: self._library.Image(str(grid))}
        self._run.log({**values, **image}, step=step, **self.whole_row)

    def close(self) -> None:
        """Write or send what is pending."""
        self._run.finish()


class WandbClient(_LoggingClient):
    """A run of Weights & Biases; `WANDB_MODE=offline` keeps it in `RUN/wandb` to be sent later."""

    whole_row: ClassVar = {"commit": True}

    def __init__(self, run: RunFolder, settings: Mapping[str, Any]) -> None:
        """Begin the run, or take it up again.

        Nothing is sent but what is given here: not what the process prints, nor its sources, its
        commit, its command line or how busy the machine is.
        """
        import wandb

        super().__init__(
            wandb,
            project=None if os.environ.get("WANDB_PROJECT") else PROJECT,
            name=_name(run),
            id=_id_of("wandb", run),
            dir=str(run.path),
            config=dict(settings),
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
            ),
        )

    def last_step(self) -> int | None:
        """Return what the site answered when the run was taken up; offline nobody answers."""
        if self._run.offline:
            return None
        return int(self._run.starting_step) - 1 if self._run.resumed else -1


class TrackioClient(_LoggingClient):
    """A run of trackio: a database on this machine, unless its own variables name a Space."""

    def __init__(self, run: RunFolder, settings: Mapping[str, Any]) -> None:
        """Begin the run, or take it up again: trackio knows runs by their names."""
        import trackio

        super().__init__(
            trackio,
            project=os.environ.get("TRACKIO_PROJECT") or PROJECT,
            name=f"{_name(run)}-{_id_of('trackio', run)}",
            config=dict(settings),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        following = getattr(self._run, "_next_step", None)  # it has no public name
        self._last_step = following - 1 if isinstance(following, int) else None

    def last_step(self) -> int | None:
        """Return the last step in its database when the run was taken up."""
        return self._last_step


def _name(run: RunFolder) -> str:
    return run.path.resolve().name


def _id_of(tracker: str, run: RunFolder) -> str:
    """Return the run's id at a tracker, made up where `tracker.json` has none; it is no secret."""
    known = _known(run)
    if isinstance(known.get(tracker), str):
        return str(known[tracker])
    made = uuid.uuid4().hex[:8]
    write_json(run.tracker, known | {tracker: made})
    note_sent(tracker, run, -1)
    return made


def sent_before(tracker: str, run: RunFolder) -> int | None:
    """Return the last step that a tracker was given, -1 for none; None if that was not noted."""
    step = _known(run).get(SENT, {}).get(tracker)
    return step if isinstance(step, int) else None


def note_sent(tracker: str, run: RunFolder, step: int | None) -> None:
    """Note in `tracker.json` the last step that a tracker was given; None: not known."""
    known = _known(run)
    write_json(run.tracker, known | {SENT: known.get(SENT, {}) | {tracker: step}})


def _known(run: RunFolder) -> dict[str, Any]:
    try:
        return read_json(run.tracker)
    except RunError:
        return {}
