"""Points of a study on Kaggle's kernels: pushed, watched, pulled, and scored here.

Kaggle runs two GPU kernels of a user at a time, so two workers are what a study wants.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from kernels.metadata import KernelPlan
from kernels.pull import pull
from kernels.push import Confirmation, FindScorer, push
from kernels.record import KernelRecord
from kernels.watch import POLL_SECONDS
from pipeline.core.errors import Interrupted, RemoteFailed
from pipeline.core.polling import MAX_FAILURES, poll
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import KernelStatus
from pipeline.scoring.record import Score, require_score
from pipeline.study.executor import LocalExecutor, OnScore
from pipeline.study.plan import Point

AT_A_TIME = 2
"""GPU kernels that Kaggle runs of one user at the same time."""


@dataclass(frozen=True)
class KaggleExecutor:
    """Runs points in Kaggle's kernels."""

    client: KaggleClient
    local: LocalExecutor
    """Where run folders lie; scores what Kaggle has not scored with the study's features."""
    plan_of: Callable[[Point], KernelPlan]
    """What to push for a point."""
    confirm_replace: Confirmation = lambda question: False
    """Asked before a push over a version from another folder."""
    find_scorer: FindScorer = lambda: None
    """As a push takes it."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """The client serves one thread at a time."""

    @property
    def stopping(self) -> threading.Event:
        """Return what is set when the study is to end."""
        return self.local.stopping

    def run_point(self, point: Point, on_score: OnScore | None = None) -> Score:
        """Push a point, wait for it, pull and score it; calling it again pushes nothing twice.

        Raises:
            RemoteFailed: if the kernel ends with an error.
            KaggleError: if Kaggle refuses.
            Interrupted: after Ctrl+C; the kernel keeps running, and the next call finds it.
        """
        del on_score  # a kernel's validation scores arrive with its output
        run = self.local.run_folder(point)
        if self.is_done(point):
            return require_score(run)
        with self.lock:
            plan = self.plan_of(point)
            record, _ = push(
                self.client,
                plan,
                run.path,
                confirm_replace=self.confirm_replace,
                find_scorer=self.find_scorer,
            )
        if record.pulled is None or not run.images.exists():  # pulled once, and deleted since
            status = self._wait(record)
            if status.state != "COMPLETE":
                raise RemoteFailed(
                    f"{record.label} ended as {status.state}: {status.failure or 'no message'}. "
                    f"See {record.url}"
                )
            with self.lock:
                pull(self.client, record, run.path)
        return self.local.score(point)

    def is_done(self, point: Point) -> bool:
        """Tell whether a point's folder holds its score, whatever images Kaggle has."""
        return self.local.has_score(self.local.run_folder(point))

    def _wait(self, record: KernelRecord) -> KernelStatus:
        """Return how a kernel ended, once it has."""

        def ended() -> KernelStatus | None:
            if self.stopping.is_set():
                raise Interrupted(f"{record.label} keeps running; the same command resumes.")
            with self.lock:
                status = self.client.kernel_status(record.name, record.version or 0)
            return status if status.ended else None

        return poll(ended, POLL_SECONDS, self.client.clock, max_failures=MAX_FAILURES)
