"""The ledger: every submission with the local score it had, in one file that outlives run folders.

`ledger.json` lies in the folder where painter is used. It is written atomically, and a lock
serialises processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import RunError
from pipeline.core.records import from_json
from pipeline.runs.files import read_json
from pipeline.runs.identity import RunIdentity
from pipeline.system.locks import file_lock
from pipeline.system.storage import write_json

LEDGER = Path("ledger.json")
FORMAT = 1


@dataclass
class Row:
    """One submission."""

    kernel: str
    """OWNER/SLUG."""
    version: int
    run: str
    """Name of the run folder."""
    description: str
    images_sha256: str
    """Of the file that was submitted."""
    local_sha256: str | None = None
    """Of the images that were scored here: another file if Kaggle generated them anew."""
    mifid: float | None = None
    """Local score of these."""
    features: str | None = None
    n_generated: int | None = None
    ref: int | None = None
    """Kaggle's number; None while the answer to the submission is missing."""
    submitted: str | None = None
    """When, with the zone."""
    total_before: int | None = None
    """Submissions that Kaggle had counted before this one."""
    status: str = "INTENDED"
    """INTENDED until Kaggle has answered, then PENDING, COMPLETE or ERROR."""
    public_score: float | None = None
    error: str = ""
    chosen: str | None = None
    """Of how many images these were chosen and by what, in words."""
    asked: str | None = None
    """When it was last fetched from Kaggle, with the zone."""
    settings: dict[str, Any] | None = None
    """Sections of the run's config, with the [output] that the images were made with."""
    data_hash: str | None = None
    """Content hash of the images that the run was trained on."""

    def __post_init__(self) -> None:
        """Check what later code counts on.

        Raises:
            ValueError: if a time cannot be read.
        """
        for name, time in (("submitted", self.submitted), ("asked", self.asked)):
            if time is not None and datetime.fromisoformat(time).tzinfo is None:
                raise ValueError(f"{name} is {time!r}, without a time zone")

    @property
    def tag(self) -> str:
        """Return what the description on Kaggle begins with: finds the submission again."""
        return tag_of(self.kernel, self.version)

    def has_images_of(self, run: RunIdentity) -> bool:
        """Tell whether it submitted, or was scored here as, the images of a run."""
        return bool(run.images & ({self.images_sha256, self.local_sha256} - {""}))

    def comes_from(self, name: str, run: RunIdentity) -> bool:
        """Tell whether it was made of a run, whose folder has a name.

        Its images tell, whatever the folder is called. Where they have been made anew since, it is
        the run of the same name, unless that has other settings or data: those of earlier
        versions' submissions are not known.
        """
        if self.has_images_of(run):
            return True
        return self.run == name and not run.differs(self.settings, self.data_hash)


def tag_of(kernel: str, version: int) -> str:
    """Return the mark of a kernel version in a submission's description."""
    return f"[{kernel} v{version}]"


class Ledger:
    """The file and its lock."""

    def __init__(self, path: Path = LEDGER) -> None:
        """Name the file; nothing is created."""
        self.path = path

    def rows(self) -> list[Row]:
        """Return all submissions, oldest first.

        Raises:
            RunError: if the file is damaged.
            LaterVersion: if a later version wrote it.
        """
        if not self.path.exists():
            return []
        try:
            content = read_json(self.path, FORMAT)
            return [from_json(Row, row) for row in content["submissions"]]
        except RunError:
            reason = "it holds no JSON object"
        except (KeyError, TypeError, ValueError) as error:
            reason = str(error)
        raise RunError(
            f"{self.path} is damaged ({reason}). Move it away: `painter leaderboard` fetches the "
            "submissions again."
        )

    @contextmanager
    def transaction(self) -> Iterator[LedgerTransaction]:
        """Yield the rows for changing, while the file is locked."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(self.path.with_name(f".{self.path.name}.lock"), wait=True):
            yield LedgerTransaction(self.path, self.rows())


class LedgerTransaction:
    """The ledger's rows while it is locked."""

    def __init__(self, path: Path, rows: list[Row]) -> None:
        """Keep the rows; `save` writes them."""
        self._path = path
        self.rows = rows

    def find(self, kernel: str, version: int) -> Row | None:
        """Return the row of a kernel version, or None."""
        return next((r for r in self.rows if (r.kernel, r.version) == (kernel, version)), None)

    def save(self) -> None:
        """Write all rows atomically."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "submissions": [asdict(row) for row in self.rows],
        }
        write_json(self._path, content)
