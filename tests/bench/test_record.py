"""A benchmark of all parts: what it leaves, whatever fails."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.bench import scoring
from pipeline.bench.record import JSON, MARKDOWN
from pipeline.bench.scoring import EXACT, FAST, StandInInception, measure_scoring, repeated
from pipeline.bench.settings import PARTS, BenchmarkSettings
from pipeline.bench.training import RecipeSpeed, as_plain
from pipeline.core.errors import WorkFailed
from pipeline.scoring.extractors import Extractor
from submission.kernel import benchmark
from submission.kernel.benchmark import from_noise, measure
from tests.support.benchmark_helpers import TINY_BENCHMARK
from tests.support.factories import CPU
from tests.support.helpers import fill
from tests.support.scoring_helpers import QuadrantMeans

COMPARISON = {
    "title": "Work", "unit": "images/s", "values": {"painter": [3.0]}, "ratios": {}, "notes": [],
}  # fmt: skip
RESULTS: dict[str, Any] = {
    "training": [],
    "generating": COMPARISON,
    "scoring": COMPARISON,
    "checks": [{"name": "it is so", "holds": None, "found": "one device"}],
}


class Answers:
    """Replies with a result for each part, or fails."""

    def __init__(self, failing: tuple[str, ...], seen: list[tuple[str, float]]) -> None:
        self.failing, self.seen = failing, seen

    def call(self, method: str, *arguments: Any, limit: float = 0) -> Any:
        self.seen.append((method, limit))
        json.dumps(arguments)
        if method in self.failing:
            raise WorkFailed(f"{method} failed: no memory")
        return RESULTS[method]

    def close(self) -> None:
        self.seen.append(("closed", 0))


@pytest.fixture(autouse=True)
def _drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "draw", fill)


def answers(*failing: str) -> tuple[Callable[[], Answers], list[tuple[str, float]]]:
    seen: list[tuple[str, float]] = []
    return lambda: Answers(failing, seen), seen


def test_each_part_is_written_down_with_the_machine_and_the_settings(tmp_path: Path) -> None:
    settings = BenchmarkSettings.from_dict(TINY_BENCHMARK | {"minutes": 2})
    start, seen = answers()
    measure(settings, tmp_path, tmp_path, start=start)
    found = json.loads((tmp_path / JSON).read_text())
    assert BenchmarkSettings.from_dict(found["settings"]) == settings
    assert found["machine"]["torch"] == torch.__version__
    assert {name: part["result"] for name, part in found["parts"].items()} == RESULTS
    assert [name for name, _ in seen] == [w for part in PARTS for w in (part, "closed")]
    # A part is ended after twice its time and four minutes more.
    assert dict(seen)["training"] == pytest.approx(2 * 0.6 * 120 + 240)
    text = (tmp_path / MARKDOWN).read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Training", "## Generating", "## Scoring", "## What holds here",
    ]  # fmt: skip
    assert "| painter | 3 | 3 to 3 | 1 |" in text
    assert "| it is so | not there | one device |" in text


def test_a_part_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    start, _ = answers("training", "checks")
    settings = BenchmarkSettings.from_dict(TINY_BENCHMARK)
    record = measure(settings, tmp_path, tmp_path, start=start)
    assert [p.error is None for p in record.parts.values()] == [False, True, True, False]
    assert "## Training\n\nNot measured: training failed: no memory" in record.markdown()


def test_a_training_that_is_cut_off_leaves_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, _ = answers("training")
    had = RecipeSpeed("monet64", 64, 64, "images", error="too slow")
    known = tmp_path / "training.json"
    known.write_text(json.dumps({"known": [as_plain(had)]}))
    monkeypatch.setattr(benchmark, "so_far", lambda part, drawn: known)
    settings = BenchmarkSettings.from_dict(TINY_BENCHMARK | {"parts": ["training"]})
    shown = measure(settings, tmp_path, tmp_path, start=start).markdown()
    assert "`monet64`, batch 64 was not measured: too slow" in shown
    assert shown.endswith("Not measured: training failed: no memory\n")


def test_a_benchmark_of_which_nothing_is_left_fails(tmp_path: Path) -> None:
    start, _ = answers(*PARTS)
    settings = BenchmarkSettings.from_dict(TINY_BENCHMARK)
    with pytest.raises(WorkFailed, match=r"No part of the benchmark ended well: see .*bench\.md"):
        measure(settings, tmp_path, tmp_path, start=start)
    assert (tmp_path / JSON).exists()


def test_nothing_begins_after_the_deadline(tmp_path: Path) -> None:
    start, seen = answers()
    settings = BenchmarkSettings.from_dict(TINY_BENCHMARK)
    with pytest.raises(WorkFailed):
        measure(settings, tmp_path, tmp_path, time.monotonic() - 1, start)
    assert seen == []
    assert "no time was left" in (tmp_path / MARKDOWN).read_text()


def test_what_starts_from_noise_is_the_first_recipe_that_does() -> None:
    settings = BenchmarkSettings(recipes={"photo2monet": 2, "paint256": 3})
    assert from_noise(settings).training.batch_size == 3
    alone = BenchmarkSettings(recipes={"photo2monet": 2}, changes={"image_size": 128})
    assert from_noise(alone).data.image_size == 128


# --- Scoring


def test_extracting_is_measured_on_images_that_come_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = QuadrantMeans()

    def extractors(*_: Any) -> tuple[dict[str, Extractor], str]:
        return {EXACT: network, FAST: network}, "means"

    monkeypatch.setattr(scoring, "extractors", extractors)
    drawn = fill(tmp_path / "drawn", 3)
    found = measure_scoring(drawn, tmp_path, [CPU], 0.001, 2, smallest=4, rows=20)
    assert {name: len(values) for name, values in found.values.items()} == {EXACT: 2, FAST: 2}
    assert found.notes[0] == "means: painter --exact in float32, painter in float32."
    files = sorted(drawn.iterdir())
    images = repeated(files, 7)
    assert [images.read_bytes(name) for name in images.names[:4]] == [
        files[index].read_bytes() for index in (0, 1, 2, 0)
    ]


def test_where_torch_fidelity_is_missing_another_inception_stands_in() -> None:
    extractor = StandInInception(CPU, "float32")
    image = np.full((64, 64, 3), 200, np.uint8)
    pixels = torch.from_numpy(np.stack([image, image // 2])).permute(0, 3, 1, 2)
    features = extractor.outputs(pixels).features
    assert features.shape == (2, scoring.FEATURES)
    assert torch.isfinite(features).all()
    assert not torch.equal(features[0], features[1])
