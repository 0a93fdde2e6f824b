"""What a benchmark leaves: `bench.json`, and the same as tables in `bench.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.bench.checks import CheckResult
from pipeline.bench.machine import Machine
from pipeline.bench.measure import Comparison
from pipeline.bench.settings import BenchmarkSettings
from pipeline.bench.training import from_plain, training_tables
from pipeline.core.records import FORMAT
from pipeline.runs.provenance import bundled, git_revision
from pipeline.system.storage import write_json, write_text

JSON, MARKDOWN = "bench.json", "bench.md"
TITLES = {
    "training": "Training",
    "generating": "Generating",
    "scoring": "Scoring",
    "checks": "What holds here",
}
_MARKS = {True: "yes", False: "**no**", None: "not there"}


@dataclass(frozen=True)
class PartRecord:
    """One part of a benchmark: what it found, or why it found nothing."""

    seconds: float
    result: Any = None
    """Plain values; None if it failed. Of a part that was cut off, what it had."""
    error: str | None = None


@dataclass
class BenchmarkRecord:
    """All of a benchmark, as far as it has come."""

    machine: Machine
    settings: BenchmarkSettings
    started: str
    """Time in UTC, ISO 8601."""
    parts: dict[str, PartRecord] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `bench.json` holds them."""
        return {
            "format": FORMAT,
            "painter": __version__,
            "git_revision": git_revision(),
            "bundle": bundled().get("bundle_hash"),
            "started": self.started,
            "machine": asdict(self.machine),
            "settings": self.settings.to_dict(),
            "parts": {name: asdict(part) for name, part in self.parts.items()},
        }

    def markdown(self) -> str:
        """Return tables for people, as docs/benchmarks.md has them."""
        revision = (git_revision() or "unknown")[:12]
        about = f"{self.machine}. painter {__version__}, revision {revision}, {self.started}."
        lines = [f"# {self.machine.name}", "", about]
        for name, part in self.parts.items():
            lines += ["", f"## {TITLES[name]}"]
            if part.result is not None:
                lines.append(tables(name, part.result))
            if part.error is not None:
                lines += ["", f"Not measured: {part.error}"]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write both files."""
        write_json(folder / JSON, self.to_dict())
        write_text(folder / MARKDOWN, self.markdown())


def tables(part: str, result: Any) -> str:
    """Return the tables of a part's result."""
    if part == "training":
        return training_tables([from_plain(recipe) for recipe in result])
    if part == "checks":
        return check_table([CheckResult(**check) for check in result])
    return comparison(result).markdown()


def comparison(values: Mapping[str, Any]) -> Comparison:
    """Return a comparison from plain values."""
    return Comparison(**{**values, "notes": tuple(values["notes"])})


def check_table(checks: Sequence[CheckResult]) -> str:
    """Return a table of checks."""
    rows = [f"| {c.name} | {_MARKS[c.holds]} | {c.found} |" for c in checks]
    return "\n".join(["\n| check | holds | found |", "|---|---|---|", *rows])
