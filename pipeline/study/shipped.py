"""Which studies come with painter."""

from __future__ import annotations

from importlib import resources


def study_names() -> list[str]:
    """Return the names of the studies that come with painter."""
    folder = resources.files("pipeline") / "studies"
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )
