"""Which pages are generated, and by what."""

from __future__ import annotations

from collections.abc import Callable

from docs.generator import commands, environment, notebook, picture, settings

PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/commands.md": commands.page,
    "docs/reference/settings.md": settings.page,
    "docs/reference/environment.md": environment.page,
    "docs/architecture.svg": picture.page,
    "docs/tutorial/tutorial.ipynb": notebook.page,
}
"""The text of each page, by its place in the repository."""
