"""What a notebook's cells call beside the stages: data from elsewhere, pictures, charts."""

import re
import sys
import types
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from pipeline.core.errors import DataError
from submission import archive
from submission.kernel import display, notebook, pictures
from submission.kernel.entry import upscaler_run
from submission.kernel.inputs import find_dataset, find_source
from submission.kernel.line_chart import MAX_POINTS, line_chart, ticks
from submission.kernel.notebook import ON_KAGGLE, begin, find_inputs
from submission.kernel.settings import KernelSettings
from tests.support.clock import until
from tests.support.helpers import fill
from tests.support.kernel_sandbox import tiny

# --- Data from elsewhere

COMPETITION = "gan-getting-started"
OTHER = "dataset:alice/art"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a downloader in place of kagglehub; return what it is asked for, as it is asked."""
    asked: list[str] = []

    def download(name: str) -> str:
        asked.append(name)
        fill(tmp_path / "hub" / name / "versions" / "1" / "monet_jpg")
        return str(tmp_path / "hub" / name / "versions" / "1")

    module = types.ModuleType("kagglehub")
    monkeypatch.setattr(module, "competition_download", download, raising=False)
    monkeypatch.setattr(module, "dataset_download", download, raising=False)
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return asked


def test_what_is_missing_is_fetched_and_lies_where_kaggle_mounts_it(
    tmp_path: Path, hub: list[str]
) -> None:
    settings = tiny(attached="alice/state", source=OTHER)
    fill(tmp_path / "input" / "art")
    found = find_inputs(settings, tmp_path / "input", tmp_path / "scratch")
    assert hub == ["alice/state"]
    assert (find_source(found, OTHER) / "0.jpg").exists()
    assert (find_dataset(found, "alice/state") / "monet_jpg").is_dir()


def test_the_competition_is_fetched_and_trained_on(
    tmp_path: Path, hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MINIMUM_IMAGES", 5)
    job = begin(tiny(count=5).to_dict(), tmp_path / "none", tmp_path / "working")
    notebook.train(job)
    assert hub == [COMPETITION]
    assert job.run.snapshot.exists()
    assert not upscaler_run(job.run).path.exists()


def test_on_kaggle_and_where_all_is_there_nothing_is_fetched(
    tmp_path: Path, hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "input" / COMPETITION / "monet_jpg")
    assert find_inputs(tiny(), tmp_path / "input", tmp_path / "scratch") == tmp_path / "input"
    monkeypatch.setenv(ON_KAGGLE, "Batch")
    assert find_inputs(tiny(), tmp_path / "none", tmp_path / "scratch") == tmp_path / "none"
    assert hub == []


def test_without_a_downloader_the_message_says_where_data_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    message = rf"lacks competition, and kagglehub.*pip install kagglehub.*INPUT.*{COMPETITION}/"
    with pytest.raises(DataError, match=message):
        begin(tiny().to_dict(), tmp_path / "none", tmp_path / "working")


def test_every_source_is_looked_for_once() -> None:
    settings = KernelSettings("generate", attached="alice/run", source=OTHER, photos="competition")
    assert notebook._sources(settings) == [OTHER, "competition", "dataset:alice/run"]


# --- Pictures


def test_without_a_notebook_a_line_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    display.show_picture(Image.new("RGB", (20, 10)), "A title:")
    display.show_text("**text**")
    display.show_chart("<svg/>")
    expected = ["A title:", "(a picture of 20x10)", "**text**", "(a chart)"]
    assert capsys.readouterr().out.splitlines() == expected


class Handle:
    """A place in a notebook's output, which knows what it has shown."""

    def __init__(self) -> None:
        self.shown: list[bytes] = []

    def display(self, data: bytes, display_id: bool = False) -> "Handle":
        assert display_id
        self.shown.append(data)
        return self

    def update(self, data: bytes) -> None:
        self.shown.append(data)


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """Put a notebook's display in place of what is not installed."""
    found = Handle()
    module = types.SimpleNamespace(display=found.display, Image=lambda data: data)
    monkeypatch.setattr(display, "_module", lambda: module)
    return found


def grid(run: Path, seen: int, colour: str) -> bytes:
    """Write a sample grid; return what is shown of it."""
    folder = run / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (8, 8), colour)
    picture.save(folder / f"{seen:09d}.png")
    return display.jpeg(picture)


def test_each_new_grid_takes_the_place_of_the_one_before(tmp_path: Path, handle: Handle) -> None:
    with display.newest_shown(pictures._newest_grid(tmp_path), seconds=0.001):
        expected = [grid(tmp_path / "seed-1", 0, "red")]
        until(lambda: len(handle.shown) == 1)
        (tmp_path / "samples").mkdir()
        (tmp_path / "samples" / "000000004.png").write_bytes(b"not yet a picture")
        expected.append(grid(tmp_path, 8, "blue"))
        until(lambda: len(handle.shown) == 2)
    assert handle.shown == expected


def test_the_last_grid_is_shown_when_the_training_ends_or_fails(
    tmp_path: Path, handle: Handle
) -> None:
    def fail() -> None:
        with display.newest_shown(pictures._newest_grid(tmp_path), seconds=600):
            grid(tmp_path, 16, "green")
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fail()
    assert handle.shown == [grid(tmp_path, 16, "green")]


def test_a_picture_that_cannot_be_made_stops_nothing(handle: Handle) -> None:
    def fail() -> Image.Image:
        raise OSError("gone")

    with display.newest_shown(fail, seconds=600):
        pass
    assert handle.shown == []


# --- Charts


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([3.0, 47.0], [0, 10, 20, 30, 40, 50]),
        ([-1.5, 0.5], [-1.5, -1.0, -0.5, 0.0, 0.5]),
    ],
)
def test_ticks_are_round_and_hold_all_values(values: list[float], expected: list[float]) -> None:
    assert ticks(values) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 5.0, -0.003, 1e9])
def test_one_value_has_ticks_round_it(value: float) -> None:
    found = ticks([value, value])
    assert 3 <= len(found) <= 7
    assert found[0] <= value <= found[-1]


def test_a_curve_goes_from_corner_to_corner_without_what_is_not_finite() -> None:
    x, y = [0.0, 50.0, 100.0], [0.0, float("nan"), 10.0]
    svg = line_chart("Losses <1>", "images seen", x, {"generator": y})
    assert svg is not None
    found = ElementTree.fromstring(svg)
    (line,) = found.iter("{http://www.w3.org/2000/svg}polyline")
    assert line.attrib["points"] == "64.0,202.0 704.0,30.0"
    texts = [text.text for text in found.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Losses <1>", "images seen", "generator"} <= set(texts)


def test_many_points_are_averaged_and_too_few_draw_nothing() -> None:
    many = [float(i) for i in range(10 * MAX_POINTS)]
    svg = line_chart("a", "x", many, {"b": many})
    assert svg is not None
    assert len(re.findall(r"\d,\d", svg.partition("polyline")[2])) <= MAX_POINTS
    assert line_chart("a", "x", [1.0], {"b": [1.0]}) is None
    assert line_chart("a", "x", [], {}) is None
