"""The scorer: a private dataset of the account with which its kernels score themselves.

A kernel has no network, so what its scores need travels in a dataset. That is named after its
content: it is uploaded once, whatever machine asks for it, and never changes under a kernel that
waits. A push that cannot have it soon goes without.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kernels.datasets import FAILED, READY, wait_until_ready
from kernels.metadata import KernelPlan
from kernels.scorer_files import INCEPTION, OFFLINE, ScorerFiles, scorer_files
from pipeline.core.errors import (
    Interrupted,
    KaggleUnreachable,
    PainterError,
    ScoringError,
    WorkFailed,
)
from pipeline.kaggle import patience
from pipeline.kaggle.api import KaggleClient
from pipeline.scoring.extractors import is_installed
from pipeline.scoring.weights import INCEPTION_URL, cached_weights
from pipeline.system.caches import cache_folder
from pipeline.system.locks import file_lock
from pipeline.system.transfers import answers

FINDING_SECONDS = 8.0
"""How long a push looks for its scorer, or waits for an upload that does not move."""
PROBE_SECONDS = 4.0
"""Of these, for the site of the weights to answer."""
READY_SECONDS = 300.0
"""How long a push waits for Kaggle to make the dataset of what was uploaded."""

Log = Callable[[str], object]


@dataclass(frozen=True)
class Scorer:
    """The dataset of one extractor, of one account."""

    client: KaggleClient
    files: ScorerFiles

    @property
    def name(self) -> str:
        """Return OWNER/SLUG."""
        return f"{self.client.user}/{self.files.slug}"

    @property
    def state(self) -> str | None:
        """Return what Kaggle is doing with it, `READY` in the end; None if it is not there."""
        return self.client.dataset_state(self.name)

    def make(self, log: Log, anew: bool = False) -> None:
        """Upload it unless it is there, and wait until it is ready.

        Args:
            log: called with a line on what takes long.
            anew: also where Kaggle could not process what was uploaded before.

        Raises:
            KaggleError: if Kaggle refuses it, or cannot process it.
            KaggleUnreachable: if it does not answer, or takes long; the same call goes on.
            ScoringError: if there are no weights to upload.
            Interrupted: after Ctrl+C; the same call goes on.
        """
        try:
            state = self.state
            if state is None or (anew and state == FAILED):
                self._upload(log)
            elif state not in (READY, FAILED):
                log(f"Kaggle is still making {self.name} ready ...")
            if state != READY:
                wait_until_ready(
                    self.client,
                    self.name,
                    READY_SECONDS,
                    if_failed="`painter kernel scorer` uploads it again",
                    if_late="a later push attaches it",
                )
        except KeyboardInterrupt:
            raise Interrupted(
                f"Stopped before {self.name} was ready; no kernel was pushed. What has arrived is "
                "kept: the same command goes on from there. `painter kernel push --no-scorer` "
                "does without."
            ) from None

    def _upload(self, log: Log) -> None:
        with _alone(), tempfile.TemporaryDirectory(prefix="painter-scorer-") as folder:
            check_weights_within_reach(self.files)
            log(
                f"Uploading {self.name}, a private dataset of yours ({self.files.megabytes:.0f} "
                f"MB, once): {self.files.described}, with which kernels score themselves. "
                "`painter kernel push --no-scorer` leaves it out."
            )
            paths = self.files.write(Path(folder))
            patience.renew()
            notes = f"features {self.files.features}"
            self.client.upload_dataset(self.name, paths, notes, immutable=True)


def scorer_of(client: KaggleClient, features: str = INCEPTION) -> Scorer:
    """Return the scorer of an account.

    Raises:
        ScoringError: if what it consists of is not installed here.
    """
    return Scorer(client, scorer_files(features))


def ready_scorer(client: KaggleClient) -> str | None:
    """Return the name of a scorer that is ready, the leaderboard's features first; else None.

    Raises:
        KaggleUnreachable: if Kaggle does not answer.
    """
    for features in filter(is_installed, (INCEPTION, OFFLINE)):
        scorer = scorer_of(client, features)
        if scorer.state == READY:
            return scorer.name
    return None


def scorer_to_attach(client: KaggleClient, log: Log, make: bool = True) -> str | None:
    """Return the scorer that a push attaches; None, and a line on what is lost, without one.

    A kernel is worth pushing without it, so it is not waited for long; an upload that moves may
    take its time.

    Args:
        client: the account.
        log: called with a line on what takes long, or cannot be.
        make: whether one is made where there is none yet.

    Raises:
        Interrupted: after Ctrl+C; the same call goes on.
    """
    try:
        with patience.limited(FINDING_SECONDS, client.clock):
            name = ready_scorer(client)
            if name is None and not make:
                raise ScoringError("`painter kernel scorer` makes what it takes, once.")
            if name is None:
                scorer = scorer_of(client)
                scorer.make(log)
                name = scorer.name
    except Interrupted:
        raise
    except (PainterError, WorkFailed, OSError) as error:
        log(
            "This kernel will not score itself: its last snapshot is kept, and `painter score` "
            f"scores it after the pull. {str(error).rstrip('.')}."
        )
        return None
    return name


def check_weights_within_reach(files: ScorerFiles) -> None:
    """Raise ScoringError where patience is limited and weights are neither here nor to be had."""
    left = patience.seconds_left()
    if files.features != INCEPTION or cached_weights() is not None or left == math.inf:
        return
    if not answers(INCEPTION_URL, min(PROBE_SECONDS, left)):
        raise ScoringError(
            f"The Inception weights are not in {cache_folder()}, and their site does not answer: "
            f"`painter kernel scorer --features {OFFLINE}` takes others, which are installed."
        )


def describe_scorer(plan: KernelPlan, owner: str) -> list[str]:
    """Return lines on the scorer of a kernel that is to be pushed."""
    if not plan.scored:
        return []
    try:
        files = scorer_files(INCEPTION)
    except ScoringError as error:
        return [f"scorer    none: {error}"]
    return [
        f"scorer    {owner}/{files.slug}, private, {files.megabytes:.0f} MB: attached; uploaded "
        "before that if no scorer is there; --no-scorer leaves it out"
    ]


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes of this machine from uploading the same at the same time.

    Raises:
        KaggleUnreachable: if one does.
    """
    with file_lock(cache_folder() / "scorer.lock", wait=False) as ours:
        if not ours:
            raise KaggleUnreachable(
                "Another painter on this machine is uploading the scorer; once that has ended, a "
                "push attaches it"
            )
        yield
