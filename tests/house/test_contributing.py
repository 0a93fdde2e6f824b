"""What contributors are told exists, and their hooks run the tools that `make lint` runs."""

import re
from typing import Any

import pytest

from tests.house.test_documentation import GUIDES, TARGETS
from tests.support.documents import FENCE, command_lines, inline_code, links, parse_command
from tests.support.module_graph import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
WORDS = {
    "candidates", "domain", "EMA", "FID", "held out", "herding", "KID", "kernel", "MiFID", "preset",
    "quota", "run, run folder", "seed", "snapshot", "truncation", "upscaler",
}  # fmt: skip
"""Words that a newcomer meets in the first hour."""


def read(path: str) -> Any:
    """Return a YAML file of the repository."""
    return pytest.importorskip("yaml").safe_load((ROOT / path).read_text())


def test_hooks_run_the_tools_of_make_lint_from_the_same_folder() -> None:
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert all(hook["language"] == "system" for hook in hooks)
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lint
    steps = re.findall(r"\$\(VENV\)/bin/(ruff \w+|mypy)", lint[1])
    assert [re.match(r"\.venv/bin/(ruff \w+|mypy)", hook["entry"])[1] for hook in hooks] == steps  # type: ignore[index]


@pytest.mark.parametrize("form", [path.name for path in FORMS if path.stem != "config"])
def test_a_form_asks_each_thing_once(form: str) -> None:
    asked = read(f".github/ISSUE_TEMPLATE/{form}")
    assert asked["name"]
    assert asked["description"]
    names = [field["id"] for field in asked["body"]]
    assert len(names) == len(set(names)) >= 3
    assert all(field["attributes"]["label"] for field in asked["body"])


def test_a_bug_is_told_with_the_report_of_its_machine() -> None:
    form = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text()
    for text in (form, CONTRIBUTING):
        assert "painter doctor --report" in text


def test_what_contributors_are_told_exists() -> None:
    for line in command_lines(CONTRIBUTING, "painter"):
        parse_command(line)
    blocks = "\n".join(block for _, block in FENCE.findall(CONTRIBUTING))
    assert set(re.findall(r"^make ([a-z-]+)", blocks, re.MULTILINE)) <= TARGETS
    for code in inline_code(CONTRIBUTING):
        if re.fullmatch(r"[\w.]+/", code):
            assert (ROOT / code).is_dir(), code
    assert len(CONTRIBUTING.splitlines()) <= 80
    assert "docs/development.md#the-tests" in links(CONTRIBUTING)


def test_every_word_of_the_first_hour_is_in_the_glossary_with_its_guide() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+) \|$", GUIDES["docs/glossary.md"], re.MULTILINE)
    told = {word: (what, more) for word, what, more in rows if word not in ("word", "---")}
    assert set(told) >= WORDS, WORDS - set(told)
    for word, (what, more) in told.items():
        assert len(what) <= 200, word
        assert links(more), word


def test_words_of_a_part_of_the_glossary_are_in_order() -> None:
    for part in GUIDES["docs/glossary.md"].split("\n## ")[1:]:
        words = re.findall(r"^\| (.+?) \|", part, re.MULTILINE)[2:]
        assert words == sorted(words, key=str.casefold)


HARD = re.compile(r"\b(?:snapshots?|held[ -]out|KID|MiFID|candidates?|herding|EMA|domains?)\b")


@pytest.mark.parametrize("path", sorted(set(GUIDES) - {"docs/glossary.md"}))
def test_a_guide_with_hard_words_leads_to_the_glossary(path: str) -> None:
    prose = re.sub(r"`[^`\n]+`", "", FENCE.sub("", GUIDES[path]))
    leads = any("glossary.md" in link for link in links(GUIDES[path]))
    assert leads or not HARD.search(prose), path
