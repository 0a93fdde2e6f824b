"""What calls to Kaggle return: nothing outside this room knows the types of Kaggle's client."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Competition:
    """A competition's rules, and whether the user has accepted them."""

    entered: bool
    daily_submissions: int
    kernels_only: bool


@dataclass(frozen=True)
class SubmissionLimits:
    """Submissions of the user's team, by the day in UTC."""

    today: int
    total: int
    allowed_now: int
    limited_by_total: bool = False
    """Whether the cap of the whole competition is reached, not that of the day."""


@dataclass(frozen=True)
class Quota:
    """GPU time of the user's week."""

    used_minutes: float
    """Used, or reserved by kernels that run."""
    allowed_minutes: float
    refreshes: datetime | None

    @property
    def left_minutes(self) -> float:
        """Return what is left of the week."""
        return max(0.0, self.allowed_minutes - self.used_minutes)

    @property
    def refreshes_text(self) -> str:
        """Return when there is time again, for messages."""
        return f"{self.refreshes:%Y-%m-%d %H:%M} UTC" if self.refreshes else "within a week"


@dataclass(frozen=True)
class PushedKernel:
    """A kernel version that Kaggle has taken."""

    name: str
    """OWNER/SLUG, as Kaggle made it."""
    version: int
    url: str
    missing: str = ""
    """What could not be attached, in words; the version runs without it."""


@dataclass(frozen=True)
class KernelSource:
    """One version of a kernel."""

    version: int
    text: str


@dataclass(frozen=True)
class ListedKernel:
    """A kernel as Kaggle lists it."""

    name: str
    """OWNER/SLUG."""
    last_run: datetime | None


@dataclass(frozen=True)
class KernelStatus:
    """How far a kernel version is."""

    state: str
    """QUEUED, RUNNING, COMPLETE, ERROR, CANCEL_REQUESTED, CANCEL_ACKNOWLEDGED or NEW_SCRIPT."""
    failure: str = ""

    @property
    def ended(self) -> bool:
        """Tell whether nothing more will happen."""
        return self.state in ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


@dataclass(frozen=True)
class OutputFile:
    """A file that a kernel left in its working folder."""

    name: str
    url: str


@dataclass(frozen=True)
class KernelOutput:
    """What a kernel version left."""

    files: list[OutputFile]
    log: str


@dataclass(frozen=True)
class Submission:
    """One submission as the competition's site knows it."""

    ref: int
    status: str
    """PENDING, COMPLETE or ERROR."""
    public_score: float | None
    error: str
    description: str
    date: datetime | None
    file_name: str
    team: str


@dataclass(frozen=True)
class LeaderboardRow:
    """One team on the public leaderboard."""

    team: str
    score: float
    date: datetime | None
