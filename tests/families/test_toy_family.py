"""A new family is one file: `toy_family.py` goes the whole way, and nothing else knows it."""

import ast
import importlib
import json
import re
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import Config, plugins, preset_names, settings_of
from pipeline.core.errors import ConfigError
from pipeline.data.images import open_images
from pipeline.runs.files import read_json
from tests.support.family_desk import FamilyDesk, equal, learned
from tests.support.helpers import fill
from tests.support.kernel_sandbox import run_script
from tests.support.module_graph import ROOT
from tests.support.painter_process import Done

IMAGES = 400
STEPS = IMAGES // 4
TINY = (
    "width=4", "batch_size=4", f"images={IMAGES}", "minutes=none", "log_every=2",
    "sample_every=200", "sample_count=4", "score_every=none", "precision=float32",
    "checkpoint_minutes=0.001",
)  # fmt: skip
"""A training of about a second that saves as often as it may."""
STUDY = """
name = "widths"
preset = "sketch32"
[settings]
batch_size = 4
images = 16
minutes = "none"
score_every = "none"
sample_count = 4
output_size = 64
[grid]
width = [3]
[evaluation]
count = 12
features = "efficientnet-lite0"
"""


class Desk(FamilyDesk):
    """Knows the family by its module's name alone."""

    def train(self, run: str, *settings: str) -> Done:
        words = [word for text in (*TINY, *settings) for word in ("--set", text)]
        return self.painter(
            "train", "--data", "monet", "--run", run, "--preset", "sketch32", *words
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    fill(folder / "monet")
    return Desk(folder, "tests.families.toy_family")


@pytest.fixture(scope="module")
def run(desk: Desk) -> Path:
    """A trained run, its images and their score."""
    done = desk.train("run")
    assert done.code == 0, done.err
    desk.works("generate", "--run", "run", "--count", "12", "--set", "output_size=64")
    desk.works("score", "--run", "run", "--features", "efficientnet-lite0")
    return desk.folder / "run"


def test_its_state_is_its_own(run: Path) -> None:
    state = learned(run)
    assert state["step"] == STEPS
    assert {"generator", "sketcher", "critic", "average", "objective"} < set(state)
    assert {"optimizer_critic", "optimizer_painter", "optimizer_sketcher"} < set(state)
    assert "discriminator" not in state
    assert state["objective"]["output"] != 0
    last = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])
    assert {"loss_critic", "loss_painter", "loss_sketcher", "cycle", "output_real"} < set(last)


def test_killed_in_the_middle_it_resumes_to_the_same_bits(desk: Desk, run: Path) -> None:
    killed = desk.folder / "killed"
    desk.killed(lambda: desk.train("killed"), killed / "stats.jsonl", STEPS // 8)
    assert 0 <= learned(killed)["step"] < STEPS
    done = desk.train("killed")
    assert done.code == 0, done.err
    assert "Resuming at" in (killed / "log.txt").read_text()
    assert equal(learned(killed), learned(run))


def test_image_i_is_painted_of_sketch_i(desk: Desk, run: Path) -> None:
    assert len(open_images(run / "images.zip").names) == 12
    desk.works("generate", "--run", "run", "--count", "3", "--out", "some.zip",
               "--set", "output_size=64")  # fmt: skip
    with (
        zipfile.ZipFile(desk.folder / "some.zip") as some,
        zipfile.ZipFile(run / "images.zip") as all_of_them,
    ):
        contents = [some.read(name) for name in some.namelist()]
        assert contents == [all_of_them.read(name) for name in some.namelist()]
    assert len(set(contents)) == 3


def test_its_images_are_scored_and_reported(desk: Desk, run: Path) -> None:
    score = read_json(run / "score.json")
    assert score["n_generated"] == 12
    assert score["mifid"] > 0
    desk.works("report", "--run", "run")
    page = (run / "report.html").read_text()
    assert all(f"{name} ends at" in page for name in ("critic", "painter", "sketcher"))
    assert "Discriminator outputs" not in page


@pytest.mark.slow  # three new interpreters; that studies call the commands, study/ shows
def test_a_study_compares_its_settings(desk: Desk) -> None:
    (desk.folder / "widths.toml").write_text(STUDY)
    desk.works("study", "widths.toml", "--data", "monet", "--out", "study")
    page = (desk.folder / "study" / "comparison.html").read_text()
    assert "<h3>3</h3>" in page
    assert "sketcher loss" in page


def test_a_kernel_carries_it_along(desk: Desk, tmp_path: Path) -> None:
    settings = ("image_size=32", "width=4", "batch_size=4", "images=8", "score_every=none")
    words = [word for text in settings for word in ("--set", text)]
    desk.works("kernel", "build", "--preset", "sketch32", *words, "--out", "kernel")
    (script,) = (desk.folder / "kernel").glob("*.py")
    text = script.read_text()
    assert "FAMILIES = 'tests.families.toy_family'" in text
    call = "run(SETTINGS, INPUT, WORKING)"
    fewer = f"import submission.archive\nsubmission.archive.MINIMUM_IMAGES = 5\n{call}"
    text = text.replace(call, fewer).replace("'count': 7000", "'count': 5")
    fill(tmp_path / "input" / "competitions" / "gan-getting-started" / "monet_jpg")
    done = run_script(text, tmp_path / "input", tmp_path / "working")
    assert done.returncode == 0, done.stdout
    assert "images.zip: 5 images" in done.stdout
    config = read_json(tmp_path / "working" / "config.json")
    assert config["network"] == {"family": "sketch", "width": 4, "sketch_blocks": 4}


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--run", "run", "--port", "0"),
        ("video", "--run", "run", "--images", "1,2", "--out", "walk.gif"),
        ("mix", "run", "run", "--run", "mixed"),
    ],
)
@pytest.mark.usefixtures("run")
def test_where_noise_is_needed_one_sentence_says_that_it_has_none(
    desk: Desk, command: tuple[str, ...]
) -> None:
    done = desk.painter(*command)
    assert done.code == 2
    assert "Family 'sketch' does not make its images from noise" in done.message


def test_its_settings_are_its_own(desk: Desk) -> None:
    assert (
        "It belongs to sketch"
        in desk.painter(
            "train", "--data", "monet", "--run", "other", "--preset", "demo", "--set", "width=4"
        ).message
    )
    assert (
        "latent_size is 8, and family 'sketch' has no such"
        in desk.train("other", "latent_size=8").message
    )
    assert (
        "loss is 'hinge', and family 'sketch' has no such"
        in desk.train("other", "loss=hinge").message
    )
    assert "width is 0; expected from 1 to 512" in desk.train("other", "width=0").message


# --- How a family from outside becomes known


@pytest.fixture
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Take back what a test makes known."""
    from pipeline.config import schema
    from pipeline.families import registry

    monkeypatch.setattr(schema, "_REGISTERED", dict(schema._REGISTERED))
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    monkeypatch.setattr(plugins, "_imported", set())
    settings_of.cache_clear()
    plugins._declared.cache_clear()
    yield monkeypatch
    settings_of.cache_clear()
    plugins._declared.cache_clear()


def test_without_its_module_s_name_the_family_is_unknown() -> None:
    assert "sketch32" not in preset_names()
    with pytest.raises(
        ConfigError, match=r"family is 'sketch'; expected one of dcgan.*PAINTER_FAM"
    ):
        Config.from_dict({"family": "sketch"})


def test_a_module_that_cannot_be_imported_is_named(
    nothing_from_outside: pytest.MonkeyPatch,
) -> None:
    nothing_from_outside.setenv("PAINTER_FAMILIES", "no_such_module")
    with pytest.raises(ConfigError, match=r"'no_such_module' cannot be imported.*PYTHONPATH"):
        preset_names()


def test_a_module_that_ends_python_as_it_is_imported_is_named(
    tmp_path: Path, nothing_from_outside: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ending_family.py").write_text("import sys\nsys.exit(3)\n")
    nothing_from_outside.syspath_prepend(tmp_path)
    nothing_from_outside.setenv("PAINTER_FAMILIES", "ending_family")
    with pytest.raises(ConfigError, match=r"'ending_family' cannot be imported \(SystemExit: 3\)"):
        preset_names()


@pytest.mark.parametrize("module", ["__main__", "", "no.such", "math", "x y"])
def test_what_has_no_source_cannot_be_carried_along(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)  # as of a script
    with pytest.raises(ConfigError, match=f"source of module '{module}' is not found"):
        plugins.sources(module)


def test_an_installed_package_declares_its_families(
    tmp_path: Path, nothing_from_outside: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed_family.py").write_text(
        "from dataclasses import dataclass, replace\n"
        "from pipeline.config import FamilySettings, NetworkConfig\n"
        "from pipeline.families.dcgan import DCGAN\n"
        "from pipeline.families.registry import register\n\n"
        "@dataclass(frozen=True)\n"
        "class Network(NetworkConfig):\n"
        "    family: str = 'installed'\n"
        "    stairs: int = 3\n\n"
        "register(replace(DCGAN, name='installed', settings=FamilySettings(network=Network)))\n"
    )
    about = tmp_path / "installed_family-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-family\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[painter.families]\ninstalled = installed_family\n")
    nothing_from_outside.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    config = Config.from_dict({"family": "installed", "stairs": 5})
    assert config.values()["stairs"] == 5


def test_a_name_that_is_taken_is_refused(
    tmp_path: Path, nothing_from_outside: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_second_dcgan.py").write_text(
        "from dataclasses import dataclass\n"
        "from pipeline.config import FamilySettings, NetworkConfig, register_settings\n\n"
        "@dataclass(frozen=True)\n"
        "class Network(NetworkConfig):\n"
        "    family: str = 'dcgan'\n\n"
        "register_settings('dcgan', FamilySettings(network=Network))\n"
    )
    nothing_from_outside.syspath_prepend(tmp_path)
    nothing_from_outside.setenv("PAINTER_FAMILIES", "a_second_dcgan")
    with pytest.raises(ConfigError, match="There is a family 'dcgan' already; a_second_dcgan must"):
        preset_names()


# --- The walk through it in the docs


def statements(source: str) -> set[str]:
    """Return the text of every definition and assignment in a source, without its indent."""
    lines = source.splitlines()
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Assign):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            found.add(textwrap.dedent("\n".join(lines[first - 1 : node.end_lineno])))
    return found


def test_the_excerpts_in_the_docs_are_the_family_s_own() -> None:
    text = (ROOT / "docs" / "add-a-family.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    own = statements((ROOT / "tests" / "families" / "toy_family.py").read_text())
    for block in blocks:
        for node in ast.parse(block).body:
            lines = block.splitlines()
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            assert "\n".join(lines[first - 1 : node.end_lineno]) in own, block


@pytest.mark.parametrize("name", ["architecture.md", "add-a-family.md"])
def test_links_and_paths_in_the_docs_lead_somewhere(name: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / "docs" / name).read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (ROOT / "docs" / link).exists(), link
    for path in re.findall(r"`((?:pipeline|submission|kernels|tests)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
