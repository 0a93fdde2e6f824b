"""docs/reference/settings.md: every setting, preset and key of a study, from their dataclasses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from docs.generator import studies
from docs.generator.markdown import block, code, document, link, plain, table
from docs.generator.sources import field_docs, first_sentence, module_sentence, top_comment
from pipeline.config import IDENTITY_SECTIONS, load_preset, settings_of
from pipeline.config.about import Measurement, about_shipped, shipped_presets
from pipeline.config.aliases import RENAMED
from pipeline.config.schema import BUILT_IN, DEFAULT_FAMILY, Setting, sections_of
from pipeline.core.errors import ConfigError
from pipeline.core.records import union_members

OUT_OF_RANGE: dict[type, tuple[Any, ...]] = {
    int: (-1, 2**70),
    float: (-1.0, 1e9),
    str: ("?",),
    tuple: (("?",),),
}
"""Values of a type that a setting refuses if it has a range: what it then says is expected."""
KINDS = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text"}


@dataclass(frozen=True)
class Row:
    """What there is to say of a setting, in one or several families."""

    name: str
    values: str
    default: str
    doc: str


def page() -> str:
    """Return the text of the page."""
    sections = list(sections_of(DEFAULT_FAMILY))
    titles = ["Families", *(f"[{name}]" for name in sections), "Presets", "Studies"]
    return document(
        "# Settings",
        "A preset names all settings of a run; `--config FILE.toml` and then `--set KEY=VALUE` "
        "change single ones. A file has them under their sections or flat, since each name is "
        "there once. `none` takes away what a preset says. An unknown name fails, and so does a "
        "setting of another family. [Commands](commands.md) that train take all of them; "
        "`painter generate --set` takes those of [output].",
        "On this page: " + ", ".join(map(link, titles)),
        _families(),
        *(_section(name) for name in sections),
        _presets(),
        studies.part(),
    )


# --- Families


def _families() -> str:
    rows = []
    for family, module in BUILT_IN.items():
        presets = [name for name in shipped_presets() if load_preset(name).family == family]
        about = module_sentence(module).removeprefix(f"Family {family}: ")
        rows.append([code(family), plain(about[0].upper() + about[1:]), _words(presets)])
    return (
        "## Families\n\nA family is a kind of networks; the setting `family` names it. Some "
        "settings are those of certain families, and the tables say of which. Families of your "
        "own: [how to add a family](../add-a-family.md).\n\n"
        + table(["family", "networks", "presets"], rows)
    )


# --- Settings


def _section(section: str) -> str:
    owners: dict[Row, list[str]] = {}
    for family in BUILT_IN:
        for row in _rows_of(family, section):
            owners.setdefault(row, []).append(family)
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row, families in owners.items():
        groups.setdefault(tuple(families), []).append(row)
    parts = [f"## [{section}]", _about(section), _table(groups.pop(tuple(BUILT_IN), []))]
    for names, rows in groups.items():
        parts += [f"Of {_listed(names)}:", _table(rows)]
    return "\n\n".join(filter(None, parts))


def _listed(families: Sequence[str]) -> str:
    *most, last = map(code, families)
    word = "family" if not most else "families"
    return f"{word} {' and '.join(filter(None, [', '.join(most), last]))}"


def _about(section: str) -> str:
    base = next(c for c in sections_of(DEFAULT_FAMILY)[section].__mro__[::-1] if c is not object)
    if section in IDENTITY_SECTIONS:
        return plain(f"{first_sentence(base)} A change makes another run.")
    return plain(f"{first_sentence(base)} May change when a run is resumed.")


def _table(rows: Iterable[Row]) -> str:
    cells = [[code(row.name), row.values, row.default, row.doc] for row in rows]
    return table(["setting", "values", "default", "what it does"], cells) if cells else ""


def _rows_of(family: str, section: str) -> list[Row]:
    docs = field_docs(sections_of(family)[section])
    return [
        Row(s.name, _values(s, family), _default(s, family), plain(docs[s.name]) + _before(s.name))
        for s in settings_of(family).values()
        if s.section == section
    ]


def _before(name: str) -> str:
    """Return which old spellings of a setting still work."""
    old = ", ".join(code(before) for before, now in RENAMED.items() if now == name)
    return f" Also {old}, as earlier versions have it." if old else ""


def _default(setting: Setting, family: str) -> str:
    if setting.name == "family":
        return code(DEFAULT_FAMILY)
    return code(written(setting.default).strip('"'))


def written(value: Any) -> str:
    """Return a value as TOML has it; no value is the word none, and whole numbers have no point."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps("none" if value is None else value, ensure_ascii=False)


def _values(setting: Setting, family: str) -> str:
    """Return which values a setting takes, by what it says of one that it does not take."""
    if setting.name == "family":
        return _words(BUILT_IN)
    options = union_members(setting.hint)
    kind = next(o for o in options if o is not type(None))
    kind = getattr(kind, "__origin__", kind)
    expected = next(filter(None, (_refusal(setting, v, family) for v in _tried(kind))), "")
    found = _described(kind, expected)
    return f"{found}, or `none`" if type(None) in options else found


def _tried(kind: type) -> tuple[Any, ...]:
    return OUT_OF_RANGE.get(kind, ())


def _refusal(setting: Setting, value: Any, family: str) -> str:
    """Return what a setting expects in place of a value, as its error says; nothing if none."""
    try:
        sections_of(family)[setting.section](**{setting.name: value})
    except ConfigError as error:
        told = re.match(rf"{setting.name} is .*; expected (.*)\.$", str(error), re.DOTALL)
        return told[1] if told else ""
    return ""


def _described(kind: type, expected: str) -> str:
    if kind is tuple:
        return f"list of {_described(str, expected) if expected else 'texts'}"
    if expected.startswith("one of "):
        return _words(expected.removeprefix("one of ").split(", "))
    if kind is int and re.match(r"from|above|at least|\d+ or more", expected):
        return plain(f"whole number, {expected}")
    return plain(expected) or KINDS[kind]


def _words(words: Iterable[str]) -> str:
    """Return words that are values as code; what says more than a word stays as it is."""
    return ", ".join(word if " " in word else code(word) for word in words)


# --- Presets


def _presets() -> str:
    return "\n\n".join(
        [
            "## Presets",
            "What each sets otherwise than the defaults of its family.",
            *(_preset(name) for name in shipped_presets()),
        ]
    )


def _preset(name: str) -> str:
    config = load_preset(name)
    known, lines = settings_of(config.family), []
    for section, values in config.to_dict().items():
        changed = {k: v for k, v in values.items() if v != known[k].default or k == "family"}
        if changed:
            lines += ["", f"[{section}]", *(f"{k} = {written(v)}" for k, v in changed.items())]
    comment = top_comment("pipeline.config", "presets", f"{name}.toml")
    parts = [f"### {name}", plain(comment), _measured(about_shipped(name).measured)]
    return "\n\n".join([*filter(None, parts), block("\n".join(lines), "toml")])


def _measured(scores: Iterable[Measurement]) -> str:
    """Return a table of what was measured of a preset; nothing if nothing was."""
    rows = [
        [m.score + m.interval_text, f"{m.n:,}", m.cost, plain(m.how), code(m.page)] for m in scores
    ]
    heads = ["measured, in offline features", "n", "cost", "what", "from"]
    return table(heads, rows) if rows else ""
