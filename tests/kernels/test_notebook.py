"""A kernel as a notebook: it runs from top to bottom, does what the script does, and shows it."""

import ast
import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch_fidelity
from PIL import Image

from kernels.bundle import Kernel, build
from kernels.notebook import as_notebook, stages_of
from pipeline.bench.scoring import write_random_inception
from pipeline.config import apply_settings, resolve
from pipeline.runs.files import read_json
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import file_sha256
from submission import archive
from submission.kernel.settings import KernelSettings
from tests.support.helpers import fill
from tests.support.helpers import pack as pack_zip
from tests.support.kernel_sandbox import (
    CALL,
    FEWER_IMAGES,
    FEWEST,
    LEFT,
    TINY,
    code_of,
    run_script,
    tiny,
)
from tests.support.notebook_reader import Shown, read_shown, recording
from tests.support.scoring_helpers import batch

FIRST_STAGE = "from submission.kernel import notebook, pictures"


@dataclass(frozen=True)
class NotebookRun:
    """A notebook's run in the sandbox, with all that scoring needs among its inputs."""

    printed: str
    run: RunFolder
    shown: list[Shown]
    script: str

    def pictures(self) -> list[Image.Image]:
        return [
            Image.open(io.BytesIO(base64.b64decode(shown.data)))
            for shown in self.shown
            if shown.kind == "Image"
        ]


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return build(tiny())


@pytest.fixture(scope="module")
def notebook_run(tmp_path_factory: pytest.TempPathFactory) -> NotebookRun:
    folder = tmp_path_factory.mktemp("notebook")
    fill(folder / "input" / "gan-getting-started" / "monet_jpg")
    tools = folder / "input" / "datasets" / "alice" / "scorer"
    tools.mkdir(parents=True)
    drawn = batch(*range(4))
    write_random_inception(tools / "weights-inception-2015-12-05-6726825d.pth", drawn)
    package = Path(torch_fidelity.__file__).parent
    wheel = {f"torch_fidelity/{p.name}": p.read_bytes() for p in package.glob("*.py")}
    pack_zip(tools / "torch_fidelity-0.4.0-py3-none-any.whl", wheel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "MINIMUM_IMAGES", FEWEST)
        config = apply_settings(resolve("demo"), TINY | {"log_every": 1}).to_dict()
        settings = tiny(config=config, count=FEWEST)
        kernel = build(settings)
    notebook = code_of(as_notebook(kernel, settings))
    assert notebook.count(FIRST_STAGE) == 1
    code = notebook.replace(FIRST_STAGE, f"{FEWER_IMAGES}\n{FIRST_STAGE}")
    shown = folder / "shown"
    done = run_script(recording(shown) + code, folder / "input", folder / "working")
    assert done.returncode == 0, done.stdout
    run = RunFolder(folder / "working")
    return NotebookRun(done.stdout, run, read_shown(shown), kernel.script)


def test_its_cells_leave_what_the_script_leaves(notebook_run: NotebookRun, tmp_path: Path) -> None:
    run = notebook_run.run
    assert {path.name for path in run.path.iterdir()} == LEFT | {"score.json"}
    script = notebook_run.script.replace(CALL, f"{FEWER_IMAGES}\n{CALL}")
    scripted = RunFolder(tmp_path / "working")
    paintings = fill(tmp_path / "input" / "gan-getting-started" / "monet_jpg")
    done = run_script(script, paintings.parents[1], scripted.path)
    assert done.returncode == 0, done.stdout
    assert {path.name for path in scripted.path.iterdir()} == LEFT
    assert file_sha256(run.images) == file_sha256(scripted.images)


def test_it_is_scored_with_what_travels_in_a_dataset(notebook_run: NotebookRun) -> None:
    result = read_json(notebook_run.run.score)
    assert (result["n_generated"], result["n_reference"]) == (5, 4)
    assert result["comparable_with_leaderboard"] is False  # by the hash of these weights
    assert f"score: MiFID {result['mifid']:.2f}" in notebook_run.printed


def test_it_shows_the_paintings_samples_images_and_the_nearest(notebook_run: NotebookRun) -> None:
    paintings, newest, first_to_last, images, nearest = notebook_run.pictures()
    assert paintings.width == images.width == 8 * 132 + 4
    with Image.open(notebook_run.run.samples / "000000008.png") as last:
        assert newest.size == last.size
    assert first_to_last.width % (260 + 4) == 4
    assert nearest.height == 2 * (128 + 4 + 16) + 4
    titles = ["4 training images", "Samples of working", "5 generated images", "come nearest to a"]
    places = [notebook_run.printed.index(title) for title in titles]
    assert places == sorted(places)


def test_it_shows_curves_and_what_each_score_means(notebook_run: NotebookRun) -> None:
    charts = [shown.data for shown in notebook_run.shown if shown.kind == "SVG"]
    for chart in charts:
        assert ElementTree.fromstring(chart).tag.endswith("svg")
    assert any("generator" in chart and "discriminator" in chart for chart in charts)
    (table,) = [shown.data for shown in notebook_run.shown if shown.kind == "Markdown"]
    value = read_json(notebook_run.run.score)["mifid"]
    assert f"| MiFID | {value:.2f}" in table
    assert "lower is better" in table


def test_it_reads_top_to_bottom_with_the_packed_sources_folded(kernel: Kernel) -> None:
    assert as_notebook(kernel, tiny()) == as_notebook(build(tiny()), tiny())
    notebook = json.loads(as_notebook(kernel, tiny()))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    settings, program, *stages = code
    assert len(stages) == len(stages_of(tiny())) == 5
    for cell in code:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        assert cells[cells.index(cell) - 1]["cell_type"] == "markdown"
    found = ast.parse(settings["source"]).body[0]
    assert isinstance(found, ast.Assign)
    assert KernelSettings.from_dict(ast.literal_eval(found.value)) == tiny()
    folded = [c for c in code if c["metadata"].get("jupyter", {}).get("source_hidden")]
    assert folded == [program]
    assert len(program["source"]) > 100_000
    for cell in stages:
        assert len(cell["source"].splitlines()) <= 6


PRESETS = {
    "demo": ["Data", "Training", "What the training did", "Images", "Scores"],
    "photo2monet": ["Data", "Training", "What the training did", "Images", "Scores"],
    "upscaler64to256": ["Data", "Training", "What the training did"],
}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_recipe_has_the_cells_of_its_own_stages(preset: str) -> None:
    settings = KernelSettings("train", resolve(preset).to_dict())
    assert [stage.title for stage in stages_of(settings)] == PRESETS[preset]


def test_a_generator_with_an_upscaler_has_a_cell_for_each() -> None:
    upscaler = resolve("upscaler64to256").to_dict()
    generator = apply_settings(resolve("demo"), TINY | {"image_size": 64}).to_dict()
    settings = KernelSettings("train", generator, upscaler=upscaler, upscaler_minutes=1.0)
    titles = [stage.title for stage in stages_of(settings)]
    assert titles[1:3] == ["Training", "An upscaler for this generator"]


def test_a_notebook_that_measures_needs_no_data() -> None:
    settings = KernelSettings("bench", minutes=10)
    notebook = as_notebook(build(settings), settings)
    assert [stage.title for stage in stages_of(settings)] == ["Measure this machine"]
    assert "show_data" not in notebook
    compile(code_of(notebook), "notebook", "exec")


def test_it_passes_jupyters_own_check(kernel: Kernel) -> None:
    nbformat: Any = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.reads(as_notebook(kernel, tiny()), as_version=4))
