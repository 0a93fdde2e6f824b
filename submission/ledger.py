"""The ledger: every submission with the local score it had, in one file that outlives run folders.

`ledger.json` lies in the folder where painter is used. It is written atomically, and two
processes take turns by a lock.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.errors import RunError
from pipeline.runs import read_json
from pipeline.storage import write_json

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
    mifid: float | None = None
    """Local score at the time of the submission."""
    features: str | None = None
    n_generated: int | None = None
    ref: int | None = None
    """Kaggle's number; None while the answer to the submission is missing."""
    submitted: str | None = None
    status: str = "INTENDED"
    """INTENDED until Kaggle has answered, then PENDING, COMPLETE or ERROR."""
    public_score: float | None = None
    error: str = ""

    @property
    def tag(self) -> str:
        """Return what the description on Kaggle ends with: finds the submission again."""
        return tag_of(self.kernel, self.version)


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
        """
        if not self.path.exists():
            return []
        content = read_json(self.path)
        known = {f.name for f in fields(Row)}
        try:
            return [
                Row(**{k: v for k, v in row.items() if k in known})
                for row in content["submissions"]
            ]
        except (KeyError, TypeError, AttributeError):
            raise RunError(
                f"{self.path} is no ledger of this version of painter. Move it away; submissions "
                "stay on Kaggle, and `painter leaderboard` fetches them again."
            ) from None

    @contextmanager
    def opened(self) -> Iterator[Book]:
        """Yield the rows for changing, with other processes kept out."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Book(self.path, self.rows())


class Book:
    """The ledger's rows while no other process may change them."""

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
