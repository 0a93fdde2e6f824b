"""The pages, the command line and the Makefile name the same things."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pipeline.cli import cli
from pipeline.config import all_settings, preset_names
from pipeline.study.reading import load_study
from pipeline.study.shipped import study_names
from pipeline.system import devices
from tests.support.documents import (
    FENCE,
    anchors,
    code_of,
    command_lines,
    fences,
    inline_code,
    labels,
    links,
    pages,
    parse_command,
)
from tests.support.module_graph import ROOT

PAGES = pages()
CODE = "\n".join(code for text in PAGES.values() for code in code_of(text))
MAKEFILE = (ROOT / "Makefile").read_text()
OF_OTHERS = {
    "--standalone",
    "--nproc-per-node",
    "--cov-report",
    "--data-binary",
    "--durations",
    "--help",
    "--logdir",
}
TARGETS = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z]+) +\?=", MAKEFILE, re.MULTILINE))
OF_THE_CODE = {"docs/architecture.md", "docs/add-a-family.md", "docs/upgrading.md"}
WRITTEN_BY_HAND = [text for path, text in PAGES.items() if "/reference/" not in path]
GUIDES = {
    path: text
    for path, text in PAGES.items()
    if path.startswith("docs/") and "/reference/" not in path and path not in OF_THE_CODE
}
LINKED = [
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("pretrained/**/*.md"))
    if path.is_file()
]


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield each command with all its words."""
    for name, command in cli.commands.items():
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", c) for inner, c in command.commands.items())


def test_every_command_is_documented_and_the_reverse() -> None:
    named = set(re.findall(r"painter ([a-z]+)\b", CODE))
    assert set(cli.commands) <= named
    assert named <= set(cli.commands), named - set(cli.commands)


def test_every_command_of_a_group_is_documented() -> None:
    for name, _ in every_command():
        assert f"painter {name}" in CODE, name


def test_every_option_is_documented_and_the_reverse() -> None:
    options = {option for _, command in every_command() for option in options_of(command)}
    named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", CODE))
    assert options | {"--version"} <= named, options - named
    assert named <= options | {"--version"} | OF_OTHERS, named - options


def options_of(command: click.Command) -> set[str]:
    """Return all spellings of a command's options."""
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


@pytest.mark.parametrize(
    "line",
    sorted({line for text in WRITTEN_BY_HAND for line in command_lines(text, "painter")}),
)
def test_documented_commands_are_understood_as_they_stand(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "use_device", lambda _: None)  # not every machine has each
    parse_command(line)
    for preset in re.findall(r"--(?:upscaler-)?preset (\S+)", line):
        assert preset in preset_names()
    for setting in re.findall(r"--set ([a-z0-9_]+)=", line):
        assert setting in all_settings()


def test_every_make_target_is_documented_and_the_reverse() -> None:
    named = {word for line in re.findall(r"\bmake ((?:[a-z-]+ ?)+)", CODE) for word in line.split()}
    assert named == TARGETS


def test_variables_of_make_are_documented_and_the_reverse() -> None:
    assert all(f"`{name}`" in "".join(PAGES.values()) for name in VARIABLES - {"PYTHON"})
    for text in PAGES.values():
        for line in command_lines(text, "make"):
            assert set(re.findall(r"\b([A-Z]+)=", line)) <= VARIABLES, line


def test_every_preset_setting_and_study_is_documented() -> None:
    text = "".join(PAGES.values())
    for name in [*preset_names(), *all_settings(), *study_names()]:
        assert f"`{name}`" in text, name


def test_every_extra_is_documented() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = PAGES["docs/development.md"]
    for extra in declared["optional-dependencies"]:
        assert re.search(rf"^\| `{extra}` \|", table, re.MULTILINE), extra


@pytest.mark.parametrize("path", PAGES)
def test_documented_toml_is_read(path: str, tmp_path: Path) -> None:
    for block in fences(PAGES[path], "toml"):
        said = tomllib.loads(block)
        if "preset" in said:
            (tmp_path / "study.toml").write_text(block)
            assert load_study(str(tmp_path / "study.toml")).name == said["name"]


def test_make_alone_prints_every_target() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    shown = set(re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.MULTILINE))
    assert shown == TARGETS


def test_every_target_is_phony() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == TARGETS


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_their_anchors_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_repository_that_are_named_exist(page: str) -> None:
    if page == "docs/upgrading.md":
        return  # it names those of earlier versions
    folders = "pipeline|submission|kernels|tests|benchmarks|docs|pretrained"
    for code in inline_code(PAGES[page]):
        if re.fullmatch(rf"(?:{folders})/[\w./-]*", code) and "NAME" not in code:
            assert (ROOT / code).exists(), code


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    led = {(index.parent / link).resolve() for link in links(index.read_text())}
    assert {path for path in (ROOT / "docs").rglob("*.md") if path != index} <= led


def test_the_front_page_is_short_and_leads_to_every_guide() -> None:
    front = PAGES["README.md"]
    assert len(front.splitlines()) <= 150
    measured = {"docs/benchmarks.md", "docs/systems.md"}
    chapters = {path for path in GUIDES if path.startswith("docs/tutorial/")}  # the index has them
    assert set(GUIDES) - measured - chapters <= {link.partition("#")[0] for link in links(front)}


@pytest.mark.parametrize("path", GUIDES)
def test_a_guide_begins_with_its_commands_and_ends_within_200_lines(path: str) -> None:
    lines = GUIDES[path].splitlines()
    assert lines[0].startswith("# ")
    assert lines[2] == "```"
    assert re.match(r"(\$ )?(painter|make|torchrun)\b", lines[3])
    assert len(lines) <= 200


def test_inline_code_ends_on_its_line() -> None:
    # It is read line by line here, and a break in it is a space to whoever copies it.
    for page, text in PAGES.items():
        for line in FENCE.sub("", text).splitlines():
            assert line.count("`") % 2 == 0, (page, line)


def test_every_picture_says_what_it_shows() -> None:
    for page, text in PAGES.items():
        assert text.count("<img") + text.count("![") == len(labels(text)), page
        assert all(len(label.split()) >= 3 for label in labels(text)), page


def written_files(text: str) -> Iterator[str]:
    """Yield what the commands of a page write, and what stands in it to be kept as a file."""
    for line in command_lines(text, "painter"):
        yield from re.findall(r" --(?:run|out|json|html)[ =](\S+)", line)
    for _, block in FENCE.findall(text):
        yield from re.findall(r"(?:curl -o|^#) +(\S+\.\w+)\b", block, re.MULTILINE)
        yield from re.findall(r'(?:save|show)\(.*"([\w.]+)"\)', block)


def test_what_the_guides_write_leaves_a_checkout_clean() -> None:
    written = {name for text in WRITTEN_BY_HAND for name in written_files(text)}
    assert {"monets", "board.html", "good.gif", "small.toml", "checkers.jpg", "a.png"} <= written
    inside = {name for name in written if not name.startswith("/") and not name.isupper()}
    folders_end = "\n".join(name if "." in name else f"{name}/" for name in inside)
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    listed = subprocess.run(
        command, cwd=ROOT, text=True, input=folders_end, stdout=subprocess.PIPE, check=False
    )
    ignored = {line.rstrip("/") for line in listed.stdout.splitlines()}
    assert inside == ignored


def test_a_number_and_its_per_cent_sign_stand_together() -> None:
    # As `per_cent` writes them; what pages say in templates and scripts too.
    templates = [*ROOT.glob("pipeline/*/page/*"), *ROOT.glob("*/**/templates/*.html")]
    texts = PAGES | {path.name: path.read_text() for path in templates if path.is_file()}
    texts |= {str(path): path.read_text() for path in ROOT.glob("pretrained/*/*.md")}
    apart = {
        name: re.findall(r"[\d}]\s%(?!\}|[sd\d]).{0,40}", text) for name, text in texts.items()
    }
    assert not {name: lines for name, lines in apart.items() if lines}


@pytest.mark.parametrize("path", ["README.md", *GUIDES])
def test_fenced_blocks_fit_a_page(path: str) -> None:
    # A page of GitHub shows 97 characters of a block; what a program printed is as it is.
    for block in fences(PAGES[path]):
        if not re.search(r"^\$ ", block, re.MULTILINE):
            assert max(map(len, block.splitlines())) <= 97, block
