"""Stands in for a notebook's display: keeps what the cells show, and lays it out as a page."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass
from pathlib import Path

RECORDING = """
import base64, json, sys, types

def _note(place, kind, data):
    data = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    with open({shown!r}, "a") as file:
        file.write(json.dumps([place, kind, data]) + chr(10))

class _Handle:
    def __init__(self, place):
        self.place = place
    def update(self, shown):
        _note(self.place, *shown)

def _display(shown, display_id=None):
    _display.places += 1
    _note(_display.places, *shown)
    return _Handle(_display.places)

_display.places = 0
_module = types.ModuleType("IPython.display")
_module.display = _display
for _kind in ("Image", "SVG", "Markdown"):
    setattr(_module, _kind, lambda data, kind=_kind: (kind, data))
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].display = _module
sys.modules["IPython.display"] = _module
"""
"""Source that takes the place of IPython's display in its process, and writes all to a file."""


@dataclass(frozen=True)
class Shown:
    """What a cell shows."""

    kind: str
    """Image, SVG or Markdown."""
    data: str
    """Text; of an image, base64."""


def recording(shown: Path) -> str:
    """Return source that notes in a file what is displayed after it."""
    return RECORDING.format(shown=str(shown))


def read_shown(shown: Path) -> list[Shown]:
    """Return what stands below the cells in the end: what is updated has its last state."""
    places = {}
    for line in shown.read_text().splitlines():
        place, kind, data = json.loads(line)
        places[place] = Shown(kind, data)
    return list(places.values())


def as_html(shown: Shown) -> str:
    """Return what is shown as a part of a page."""
    if shown.kind == "SVG":
        return shown.data
    if shown.kind == "Markdown":
        return f"<pre>{html.escape(shown.data)}</pre>"
    assert base64.b64decode(shown.data)[:2] == b"\xff\xd8"
    return f'<img src="data:image/jpeg;base64,{shown.data}">'
