"""What 0.1.0's README said and no page says: `python -m tests.support.kept_words` prints it.

Commands, options, presets, settings, make targets, files, routes and values are the words of its
code; measured tables are compared row by row, and all other numbers one by one. What was taken
away or renamed on purpose stands in the tables below, with its reason.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable

from tests.support.documents import FENCE, code_of, inline_code, pages
from tests.support.module_graph import ROOT

README_OF_0_1_0 = ROOT / "tests" / "fixtures" / "0.1.0" / "README.md"

RENAMED = {
    "redrawing_weight": ("reconstruction_weight", "the field's term; the old spelling loads"),
    "7/7": ("8/8", "the demo has one stage more"),
    "321.62": ("415.03", "the demo's output is of a newer run"),
    "2.2.4": ("2.2.5", "Kaggle's client is a newer one"),
    "220": ("270", "a kernel's script has grown to so many kB"),
}
"""A word or number of 0.1.0 -> what stands in its place, and why."""

GONE = {
    "0.628": "the demo's output is of a newer run, and shortened",
    "31.8": "the demo's output is of a newer run, and shortened",
    **dict.fromkeys(
        ["03", "032", "03:29", "20,032", "22", "22%", "██▏"],
        "a progress bar among a kernel's output, which is one line that moves now",
    ),
    "or": "it stood between two options of a synopsis",
    **dict.fromkeys(
        ["ADDRESS", "FILE.gif", "FILE.png", "FILE.zip", "PIXELS", "SHARE", "ZIP"],
        "a placeholder in a synopsis, where docs/reference/commands.md has its own",
    ),
}
"""A word or number of 0.1.0 that nothing stands for, and why."""

MAP_OF_THE_CODE = re.compile(r"^```\npipeline/ .*?^```", re.MULTILINE | re.DOTALL)
"""Modules have moved: docs/architecture.md has the map of today, docs/upgrading.md the moves."""


def words(text: str) -> set[str]:
    """Return the words of inline code, and the names among those of fenced blocks."""
    text = MAP_OF_THE_CODE.sub("", text)
    fenced = {word for code in code_of(text) for word in split(code)}
    names = {word for word in fenced if re.search(r"[^a-z]", word)}
    return names | {word for code in inline_code(text) for word in split(code)} | phrases(text)


def split(code: str) -> list[str]:
    """Return what white space, brackets and commas separate."""
    return [word for part in re.split(r"[\s\[\](),;|]+", code) if (word := part.strip(".:"))]


def phrases(text: str) -> set[str]:
    """Return commands and make targets with the program's name."""
    return {
        " ".join(found)
        for code in code_of(text)
        for found in re.findall(r"\b(painter(?: kernel)?|make) ([a-z][a-z-]*)", code)
    }


def lost_words(old: str, new: Iterable[str]) -> set[str]:
    """Return the words of the old page's code that no new page has."""
    here = set().union(*map(words, new))
    return {word for word in words(old) - GONE.keys() if today(word) not in here}


def lost_numbers(old: str, new: Iterable[str]) -> set[str]:
    """Return the numbers of the old page, tables and prose, that no new page has."""
    here = set().union(*(numbers(text) for text in new))
    return {number for number in numbers(old).keys() - GONE.keys() if today(number) not in here}


def lost_rows(old: str, new: Iterable[str]) -> list[str]:
    """Return the rows of the old tables whose numbers stand together nowhere.

    Together is a row of a table, or a section that has no table.
    """
    here = [numbers(place) for text in new for place in [*rows(text), *plain_sections(text)]]
    return [
        row
        for row in rows(old)
        if not row.startswith("| `painter kernel push")  # a synopsis, compared by its words
        and not any(numbers(row) <= there for there in here)
    ]


def rows(text: str) -> list[str]:
    """Return the rows of tables."""
    return [line for line in text.splitlines() if line.startswith("| ")]


def plain_sections(text: str) -> list[str]:
    """Return the sections that have no table."""
    sections = re.split(r"^(?=#)", FENCE.sub("", text), flags=re.MULTILINE)
    return [section for section in sections if not rows(section)]


def numbers(text: str) -> Counter[str]:
    """Return the numbers of a text, and how often each is there."""
    return Counter(re.findall(r"\d+(?:[.,]\d+)*(?:e-?\d+)?", text))


def lost_sources(old: str, new: Iterable[str]) -> set[str]:
    """Return the papers and addresses that no new page names."""
    named = r"https://[^)\s\"]+|[A-Z]\w+ (?:et al\.|and [A-Z]\w+) \(?\d{4}"
    here = {found.replace("(", "") for text in new for found in re.findall(named, one_line(text))}
    return {f for f in re.findall(named, one_line(old)) if f.replace("(", "") not in here}


def one_line(text: str) -> str:
    """Return a text with all white space as single spaces."""
    return re.sub(r"\s+", " ", text)


def today(word: str) -> str:
    """Return what stands in the place of a word or number."""
    return RENAMED[word][0] if word in RENAMED else word


def lost() -> list[str]:
    """Return all that 0.1.0's README said and no page of today says."""
    old, new = README_OF_0_1_0.read_text(), list(pages().values())
    single = lost_words(old, new) | lost_numbers(old, new) | lost_sources(old, new)
    return [*sorted(single), *lost_rows(old, new)]


if __name__ == "__main__":
    missing = lost()
    print("\n".join(missing) or "Nothing is lost.")
    sys.exit(bool(missing))
