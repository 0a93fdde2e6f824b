"""The account of commands that show what they would do: used if there is one, and else named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cli.options import warn
from pipeline.core.errors import PainterError

if TYPE_CHECKING:
    from pipeline.kaggle.api import KaggleClient

PLACEHOLDER = "YOUR-USER-NAME"
"""In place of the account's name, where there are no credentials."""


def account_or_placeholder() -> tuple[KaggleClient | None, str]:
    """Return the account and its name; without credentials say so: None and `PLACEHOLDER`."""
    from pipeline.kaggle.api import KaggleClient

    try:
        client = KaggleClient()
        return client, client.user
    except PainterError as error:
        warn(f"Without credentials the id says {PLACEHOLDER}. {error}")
        return None, PLACEHOLDER
