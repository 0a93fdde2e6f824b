"""Waiting until Kaggle has made a dataset of what was uploaded, so that kernels can have it."""

from __future__ import annotations

from pipeline.core.errors import KaggleError, KaggleUnreachable
from pipeline.core.polling import poll
from pipeline.kaggle import patience
from pipeline.kaggle.api import KaggleClient
from pipeline.kaggle.errors import dataset

READY, FAILED = "READY", "FAILED"
"""What `KaggleClient.dataset_state` says in the end."""
POLL_SECONDS = 5.0


def wait_until_ready(
    client: KaggleClient, name: str, seconds: float, *, if_failed: str, if_late: str
) -> None:
    """Return once a dataset can be attached.

    Args:
        client: the account.
        name: OWNER/SLUG.
        seconds: how long Kaggle may take.
        if_failed: what to do where it could not process the files, for the message.
        if_late: what to do where it takes longer, likewise.

    Raises:
        KaggleError: if Kaggle could not process what was uploaded.
        KaggleUnreachable: if it does not answer, or takes longer.
    """

    def ready() -> bool | None:
        state = client.dataset_state(name)
        if state == FAILED:
            raise KaggleError(
                f"Kaggle could not process the dataset {name}: {dataset(name).page}. {if_failed}"
            )
        return state == READY or None

    try:
        with patience.limited(seconds, client.clock):
            poll(ready, POLL_SECONDS, client.clock, seconds)
    except TimeoutError:
        raise KaggleUnreachable(
            f"Kaggle has not made the dataset {name} ready within {seconds / 60:.0f} minutes; "
            f"{if_late}"
        ) from None
