"""Points of a study on Kaggle's kernels: pushed, watched, pulled, and scored here.

Kaggle runs two GPU kernels of a user at a time, so two workers are what a study wants. An upscaler
of the study is trained by a kernel of its own, and attached to those of the points.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernels.attachments import Attachment
from kernels.metadata import KernelPlan
from kernels.pull import pull
from kernels.push import Confirmation, FindScorer, push
from kernels.record import KernelRecord, read_record
from kernels.study_plans import StudyKernels
from kernels.watch import POLL_SECONDS
from pipeline.core.errors import Interrupted, RemoteFailed
from pipeline.core.polling import MAX_FAILURES, poll
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.records import KernelStatus
from pipeline.runs.folder import RunFolder
from pipeline.scoring.record import Score, require_score
from pipeline.study.executor import LocalExecutor, OnScore
from pipeline.study.plan import Point
from pipeline.study.upscalers import factor_of

AT_A_TIME = 2
"""GPU kernels that Kaggle runs of one user at the same time."""


@dataclass(frozen=True)
class KaggleExecutor:
    """Runs points in Kaggle's kernels."""

    client: KaggleClient
    local: LocalExecutor
    """Where run folders lie; scores what Kaggle has not scored with the study's features."""
    kernels: StudyKernels
    """What to push for a point, and for its upscaler."""
    confirm_replace: Confirmation = lambda question: False
    """Asked before a push over a version from another folder."""
    find_scorer: FindScorer = lambda: None
    """As a push takes it."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """The client serves one thread at a time."""
    training_upscaler: dict[int, threading.Lock] = field(default_factory=dict)
    """By factor; held while that upscaler is trained, which other points may wait for."""

    @property
    def stopping(self) -> threading.Event:
        """Return what is set when the study is to end."""
        return self.local.stopping

    def run_point(self, point: Point, on_score: OnScore | None = None) -> Score:
        """Push a point, wait for it, pull and score it; calling it again pushes nothing twice.

        What it continues and its upscaler, if it has one, come first.

        Raises:
            RemoteFailed: if the kernel ends with an error.
            KaggleError: if Kaggle refuses.
            Interrupted: after Ctrl+C; the kernel keeps running, and the next call finds it.
        """
        del on_score  # a kernel's validation scores arrive with its output
        run = self.local.run_folder(point)
        if self.is_done(point):
            return require_score(run)
        earlier = self._earlier(point)
        upscaler = self._upscaler(point)
        plan, attachments = self.kernels.plan_of(point, upscaler, earlier)
        self._run_kernel(plan, run, run.images, attachments)
        return self.local.score(point)

    def _earlier(self, point: Point) -> RunFolder | None:
        """Return the run that a point continues, trained if need be; None if it continues none."""
        if point.continues is None:
            return None
        before = self.local.predecessor(point)
        run = self.local.run_folder(before)
        if not run.state.exists():
            self.run_point(before)  # such points are run one after the other
        return run

    def _upscaler(self, point: Point) -> RunFolder | None:
        """Return the upscaler of a point, trained if need be; None for a filter."""
        factor = factor_of(self.local.plan, point)
        if factor is None:
            return None
        run = self.local.upscaler_run(factor)
        with self.training_upscaler.setdefault(factor, threading.Lock()):
            if run.config.exists() and read_record(run.path) is None:
                self.local.train_upscaler(point, factor)  # begun here: at once if it is done
            else:
                self._run_kernel(self.kernels.upscaler_plan(factor), run, run.snapshot)
        return run

    def _run_kernel(
        self,
        plan: KernelPlan,
        run: RunFolder,
        wanted: Path,
        attachments: Sequence[Attachment] = (),
    ) -> None:
        """Push a kernel, wait for it, and pull its output, of which one file is wanted.

        Raises:
            RemoteFailed: if the kernel ends with an error.
        """
        with self.lock:
            record, _ = push(
                self.client,
                plan,
                run.path,
                attachments,
                confirm_replace=self.confirm_replace,
                find_scorer=self.find_scorer,
            )
        if record.pulled is not None and wanted.exists():
            return  # else it was pulled once, and deleted since
        status = self._wait(record)
        if status.state != "COMPLETE":
            raise RemoteFailed(
                f"{record.label} ended as {status.state}: {status.failure or 'no message'}. "
                f"See {record.url}"
            )
        with self.lock:
            pull(self.client, record, run.path)

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
