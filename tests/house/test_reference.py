"""Generated pages say what the code is today, and nothing of the machine that made them."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from docs.generator import commands, environment, picture, settings
from docs.generator.__main__ import main
from docs.generator.markdown import link, plain, table
from docs.generator.pages import PAGES
from docs.generator.sources import ROOT
from pipeline import __version__
from pipeline.cli import cli
from pipeline.cli.ranges import WholeRange
from pipeline.config import settings_of
from pipeline.config.about import shipped_presets
from pipeline.config.schema import BUILT_IN
from pipeline.study.shipped import study_names
from tests.support import forks
from tests.support.module_graph import closure, modules, tree_of

SVG = "{http://www.w3.org/2000/svg}"
OF_A_MACHINE = [str(ROOT), str(Path.home()), "Sentinel", "PosixPath", "0x7f", "object at"]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Make each page once."""
    return {place: make() for place, make in PAGES.items()}


@pytest.mark.parametrize("place", PAGES)
def test_a_generated_page_is_that_of_the_code(place: str, texts: dict[str, str]) -> None:
    assert (ROOT / place).read_text() == texts[place], f"{place} is old. Run: make reference"


def test_make_reference_writes_what_has_changed_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("docs.generator.__main__.ROOT", tmp_path)
    monkeypatch.setattr("docs.generator.__main__.PAGES", {"a/new.md": lambda: "new\n"})
    main()
    main()
    assert capsys.readouterr().out == "a/new.md\n"
    assert (tmp_path / "a" / "new.md").read_text() == "new\n"


def test_nothing_of_the_machine_is_on_a_page(texts: dict[str, str]) -> None:
    for place, text in texts.items():
        assert not [word for word in OF_A_MACHINE if word in text], place


def in_a_new_interpreter(folder: Path, environment: dict[str, str]) -> str:
    """Return what `ELSEWHERE` prints."""
    command, more = [sys.executable, "-c", ELSEWHERE], {"PYTHONHASHSEED": "7"}
    done = subprocess.run(
        command, cwd=folder, env=environment | more, capture_output=True, text=True, check=True
    )
    return done.stdout


def forked(folder: Path, environment: dict[str, str]) -> str:
    """Return what `ELSEWHERE` prints, with the order of sets that the tests have."""
    done = forks.run(forks.code, ELSEWHERE, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "run", [forked, pytest.param(in_a_new_interpreter, marks=pytest.mark.slow)]
)
def test_pages_are_the_same_on_another_terminal_and_beside_families_from_outside(
    texts: dict[str, str], tmp_path: Path, run: Callable[[Path, dict[str, str]], str]
) -> None:
    environment = os.environ | {
        "COLUMNS": "30", "OMP_NUM_THREADS": "3", "PAINTER_FAMILIES": "tests.families.toy_family",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    found = json.loads(run(tmp_path, environment))
    assert found == {place: texts[place] for place in found}
    assert len(found) == 3


ELSEWHERE = """
import json
from docs.generator.pages import PAGES
from pipeline.config import family_names, preset_names
assert "sketch" in family_names() and "sketch32" in preset_names()
pages = {place: make for place, make in PAGES.items() if place.startswith("docs/reference/")}
print(json.dumps({place: make() for place, make in pages.items()}))
"""


# --- Commands


def every_command() -> list[tuple[str, click.Command]]:
    """Return each command with all its words."""
    return list(commands.every_command("painter", cli))


@pytest.mark.parametrize(("name", "command"), every_command(), ids=[n for n, _ in every_command()])
def test_every_command_and_option_says_what_it_does(name: str, command: click.Command) -> None:
    assert command.help, name
    for option in command.params:
        assert isinstance(option, click.Argument) or option.help, f"{name} {option.opts}"


def test_every_option_is_in_its_commands_table(texts: dict[str, str]) -> None:
    parts = re.split(r"^## ", texts["docs/reference/commands.md"], flags=re.MULTILINE)
    sections = dict(part.split("\n", 1) for part in parts)
    for name, command in every_command():
        for option in command.params:
            if isinstance(option, click.Option) and command is not cli:
                for spelling in (*option.opts, *option.secondary_opts):
                    assert re.search(rf"(?<![\w-]){spelling}(?![\w-])", sections[name]), spelling


def test_an_option_says_its_values_default_and_range() -> None:
    row = commands._row
    on = click.Option(["--on"], type=click.Choice(["here", "kaggle"]), default="here", help="W.")
    assert row(on) == ("`--on here|kaggle`", "`here`", "W.")
    top = click.Option(["--top"], type=WholeRange(1, 9), help="T [default: all].")
    assert row(top) == ("`--top N`", "all", "T. From 1 to 9.")
    loop = click.Option(["--loop/--no-loop"], default=True, help="Back.")
    assert row(loop) == ("`--loop|--no-loop`", "`--loop`", "Back.")
    seed = click.Option(["--seed"], type=WholeRange(0, 2**63 - 1), required=True, help="S.")
    assert row(seed) == ("`--seed N`", "required", "S. 0 or more.")
    run = click.Option(["--run", "--out"], default=Path("runs/a"), help="R.")
    assert row(run)[1:] == ("`runs/a`", "R. Also `--out`, as earlier versions have it.")


# --- Settings


def values_of(name: str, family: str = "dcgan") -> str:
    return settings._values(settings_of(family)[name], family)


def test_every_setting_preset_and_study_is_on_the_page(texts: dict[str, str]) -> None:
    text = texts["docs/reference/settings.md"]
    for family in BUILT_IN:
        for name in settings_of(family):
            assert f"| `{name}` |" in text, name
    assert {f"### {name}" for name in shipped_presets()} <= set(text.splitlines())
    for name in study_names():
        assert f"| `{name}` |" in text, name


def test_a_setting_has_the_values_that_it_takes() -> None:
    assert values_of("truncation") == "from 0 to 2"
    assert values_of("image_size") == "`32`, `64`, `128`, `256`"
    assert values_of("sample_count") == "whole number, from 1 to 1024"
    assert values_of("score_every") == "whole number, above 0, or `none`"
    assert values_of("horizontal_flip") == "`true` or `false`"
    assert values_of("diffaugment") == "list of `colour`, `translation`, `cutout`"
    assert values_of("crop_size", "upscaler").endswith("at most image_size, or `none`")


@pytest.mark.parametrize("name", shipped_presets())
def test_a_presets_lines_are_a_file_that_sets_the_same(name: str) -> None:
    from pipeline.config import Config, load_preset

    lines = re.search(r"```toml\n(.*?)```", settings._preset(name), re.DOTALL)
    assert lines
    assert Config.from_dict(tomllib.loads(lines[1])) == load_preset(name)


# --- Environment


def names_read() -> set[str]:
    """Return the environment variables that the product names, as text or by a constant."""
    trees = [tree_of(path) for path in modules().values()]
    constants = dict(pair for tree in trees for pair in texts_of(tree))
    found = set(re.findall(r"environ[\w.]*[\[(]\"([A-Z_0-9]+)\"", SCRIPT.read_text()))
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"\A(?:PAINTER|KAGGLE)_[A-Z_0-9]+\Z", node.value))
                found |= set(re.findall(r"\A[A-Z]+_PROXY\Z", node.value))
            elif (key := key_of_environment(node)) is not None:
                found.add(constants.get(key, key))
    return found


SCRIPT = ROOT / "kernels" / "script.py.txt"


def texts_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the constants of a module that are texts, with their values."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for name, value in paired(node.targets[0], node.value):
                if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
                    yield name.id, str(value.value)


def paired(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Return each name of an assignment with what it takes."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def key_of_environment(node: ast.AST) -> str | None:
    """Return what is looked up in os.environ or in a copy of it, a text or a constant's name."""
    if isinstance(node, ast.Subscript):
        place, key = node.value, node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        place, key = node.func.value, node.args[0]
    else:
        return None
    if not ast.unparse(place).endswith(("os.environ", "environment")):
        return None
    word = key.value if isinstance(key, ast.Constant) else ast.unparse(key)
    return word if isinstance(word, str) and re.fullmatch(r"[A-Z][A-Z_0-9]+", word) else None


def test_the_page_has_the_environment_variables_that_the_code_reads() -> None:
    of_tests = {"PAINTER_REAL_DATA"}
    told = [*environment.PAINTERS, *environment.KAGGLES, *environment.TRACKERS, *environment.OTHERS]
    assert len(told) == len(set(told))
    assert set(told) - of_tests == names_read()
    for name in of_tests:
        assert any(name in path.read_text() for path in (ROOT / "tests").rglob("*.py"))


def test_every_variable_of_make_has_a_sentence(texts: dict[str, str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assigned = set(re.findall(r"^([A-Z]+) +\?=", makefile, re.MULTILINE))
    assert {name.strip("`") for name, _, _ in environment.variables(makefile)} == assigned
    for target in re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE):
        assert f"| `make {target}` |" in texts["docs/reference/environment.md"]


# --- The picture of the house


def test_arrows_of_the_picture_say_who_imports_whom() -> None:
    drawn = picture.bare(picture.rooms())
    for name, others in picture.rooms().items():
        assert closure(name, drawn) - {name} >= others
    assert sum(map(len, drawn.values())) < sum(map(len, picture.rooms().values()))


def test_arrows_that_others_say_already_are_left_out() -> None:
    arrows = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set[str]()}
    assert picture.bare(arrows) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


def test_floors_are_ordered_so_that_arrows_do_not_cross() -> None:
    arrows = {"a": {"z"}, "b": {"y"}, "y": set[str](), "z": set[str]()}
    assert picture.ordered([["a", "b"], ["y", "z"]], arrows) == [["a", "b"], ["z", "y"]]


def test_every_room_is_drawn_once_on_the_page_beside_the_others(texts: dict[str, str]) -> None:
    root = ElementTree.fromstring(texts["docs/architecture.svg"])
    named = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "name"]
    assert sorted(map(str, named)) == sorted(map(picture.path_of, picture.rooms()))
    boxes = [
        tuple(float(box.get(key, "nan")) for key in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if str(box.get("class")).startswith("room")
    ]
    height = float(root.get("height", "nan"))
    for number, (x, y, wide, high) in enumerate(boxes):
        assert 0 <= x <= picture.WIDTH - wide
        assert 0 <= y <= height - high
        for other_x, other_y, other_wide, _ in boxes[:number]:
            assert y != other_y or x + wide <= other_x or other_x + other_wide <= x


def test_arrows_lead_down_from_a_foot_to_a_top(texts: dict[str, str]) -> None:
    root = ElementTree.fromstring(texts["docs/architecture.svg"])
    paths = [path.get("d", "") for path in root.iter(f"{SVG}path") if path.get("class") == "arrow"]
    assert len(paths) == sum(map(len, picture.bare(picture.rooms()).values()))
    for path in paths:
        heights = [float(y) for _, y in re.findall(r"([\d.]+),([\d.]+)", path)]
        assert heights == sorted(heights)
        assert heights[0] < heights[-1]


# --- Markdown


def test_markdown_keeps_what_people_wrote() -> None:
    assert plain("2**63 <b> `a*b` x_y") == r"2\*\*63 \<b> `a*b` x_y"
    assert table(["a"], [["x|y\nz"]]) == "| a |\n| --- |\n| x\\|y z |"
    assert link("[data]") == "[[data]](#data)"
    assert link("painter kernel push") == "[painter kernel push](#painter-kernel-push)"


def test_the_version_is_the_same_wherever_it_stands() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    changes = re.findall(
        r"^## (\S+) - ([\d-]+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert project["version"] == __version__
    assert f"\nversion: {__version__}\n" in citation
    assert changes[0][0] == __version__
    assert f"\ndate-released: {changes[0][1]}\n" in citation
