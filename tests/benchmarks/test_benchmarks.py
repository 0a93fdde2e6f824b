"""The measurements run, on a few images, and their tables are Markdown."""

import os
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from benchmarks import compare, controls, output, parts, scoring, service
from pipeline.bench.generating import (
    BASELINE,
    ENCODER,
    GENERATOR,
    PAINTER,
    painters_zip,
    plain_check,
    plain_zip,
)
from pipeline.bench.measure import alternating, machine, ratios, table
from pipeline.config import Config, apply_settings
from pipeline.data.images import open_images
from pipeline.families.registry import build_generator
from pipeline.models.snapshot import Snapshot
from pipeline.scoring import extractors
from pipeline.service.inference import InferenceService
from submission.kernel.benchmark import check_zip
from tests.support.factories import CPU
from tests.support.scoring_helpers import QuadrantMeans
from tests.support.service_helpers import serving, tiny_model

TINY = {"image_size": 32, "generator_channels": 4, "latent_size": 4, "output_size": 256}


@pytest.fixture
def snapshot() -> Snapshot:
    return snapshot_of()


def snapshot_of(**changes: object) -> Snapshot:
    config = apply_settings(Config(), TINY | changes)
    return Snapshot(build_generator(config).eval(), config, 0)


def cells(printed: str) -> list[list[str]]:
    """Return the rows of Markdown tables, and see that they are whole."""
    rows = [line.strip("|").split("|") for line in printed.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {4}
    return [[cell.strip() for cell in row] for row in rows]


def test_a_table_has_the_median_the_spread_and_n() -> None:
    found = cells(table("What", "images/s", {"a": [1.0, 3.0, 2.0], "b": [1234.4]}))
    assert found[0] == ["What", "images/s", "least to most", "n"]
    assert found[2:] == [["a", "2", "1 to 3", "3"], ["b", "1,234", "1,234 to 1,234", "1"]]


def test_each_snapshot_is_measured_though_all_have_one_name() -> None:
    paths = [Path("runs/a/best.safetensors"), Path("runs/b/best.safetensors")]
    found = controls.models_by_name(paths)
    assert list(found.values())[-2:] == paths
    assert len(found) > 2


def test_programs_alternate_and_ratios_are_taken_round_by_round() -> None:
    order: list[str] = []

    def program(name: str, value: float) -> float:
        order.append(name)
        return value + len(order)

    found = alternating({n: lambda n=n: program(n, 1.0) for n in "ab"}, 2)  # type: ignore[misc]
    assert order == ["a", "b", "a", "b"]
    assert found == {"a": [2.0, 4.0], "b": [3.0, 5.0]}
    assert ratios(found, "a", "b") == [2 / 3, 4 / 5]


def test_the_machine_is_one_line_with_the_version_of_torch() -> None:
    found = machine(CPU, "bfloat16")
    assert torch.__version__ in found
    assert found.endswith("bfloat16")
    assert "\n" not in found


def test_generating_and_checking_are_measured(
    tmp_path: Path, snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    output.compare_generating(snapshot, 6, 2, tmp_path)
    output.compare_checking(snapshot, 6, 2, tmp_path)
    rows = {row[0]: row for row in cells(capsys.readouterr().out)}
    programs = (BASELINE, PAINTER, GENERATOR, ENCODER)
    assert all(rows[name][3] == "2" for name in programs)
    assert any(name.startswith("painter over plain loop") for name in rows)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


@pytest.mark.parametrize("changes", [{"channels": 1}, {"class_names": ("a", "b")}])
def test_grey_models_and_those_with_classes_are_measured_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object]
) -> None:
    output.compare_generating(snapshot_of(**changes), 2, 1, tmp_path)
    assert "painter over plain loop" in capsys.readouterr().out


def test_a_model_with_an_upscaler_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "load_or_build_snapshot", lambda _: snapshot_of(upscale="learned"))
    monkeypatch.setattr("sys.argv", ["output", "generate"])
    with pytest.raises(SystemExit):
        output.main()
    assert "they do not do the same. Take the snapshot" in capsys.readouterr().err


def test_both_sides_make_as_many_images_of_the_same_form(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    painters_zip(snapshot, 5, tmp_path / "a.zip")
    plain_zip(snapshot, 5, tmp_path / "b.zip")
    for name in ("a.zip", "b.zip"):
        check_zip(tmp_path / name)
        plain_check(tmp_path / name)


def test_each_part_of_generating_is_measured_alone(
    tmp_path: Path,
    snapshot: Snapshot,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "MOST", 6)
    monkeypatch.setattr(parts, "MAX_HELPERS", 0)
    parts.measure_generating(snapshot, 70, 1, tmp_path)
    rows = cells(capsys.readouterr().out)[2:]
    assert [row[0].split(",")[0] for row in rows[:3]] == [
        "painter",
        "painter",
        "its generator alone",
    ]
    assert len(rows) == 9
    with zipfile.ZipFile(tmp_path / "painter.zip") as archive:
        assert len(archive.namelist()) == 70


def test_each_part_of_scoring_is_measured_on_the_same_files(tmp_path: Path) -> None:
    parts.draw_pictures(tmp_path / "generated", 5, 2)
    images = open_images(tmp_path / "generated")
    assert len({images.read_bytes(name) for name in images.names}) == 5
    extractor = QuadrantMeans()
    measured = parts.ScoringParts(images, extractor)
    measured.whole(3)
    assert extractor.batches == [(3, 3, 256, 256)]
    measured.decode(5)
    measured.network(10)
    assert extractor.batches[1:] == [(5, 3, 256, 256)] * 2
    assert "| painter | 2.00000 | +100.0000% |" in parts.distances({"painter": 2, "exact": 1})


def test_tf32_is_allowed_in_a_measurement_alone() -> None:
    seen: list[bool] = []
    parts.with_tf32(lambda _: seen.append(extractors.TF32))(1)
    assert (seen, extractors.TF32) == ([True], False)


def test_both_ways_of_serving_are_measured() -> None:
    model = tiny_model()
    found = {}
    for name, gatherer in (
        (service.PAINTER, None),
        (service.BASELINE, service.UnbatchedQueue(model, 2)),
    ):
        with serving(InferenceService(model, gatherer)) as url:
            host = url.removeprefix("http://").rstrip("/")
            for clients in service.CLIENTS:
                seen = service.load(host, "&format=jpeg", clients, 1, requests=40)
                assert (len(seen.milliseconds), seen.errors) == (40, 0)
                found[name, clients] = [seen, seen]
            assert service.load(host, "&size=1", 2, 1, requests=4).errors == 4
    rows = service.table(found).splitlines()
    assert len(rows) == 3 + 2 * len(service.CLIENTS)
    assert {row.count("|") for row in rows if row} == {9}
    assert "| 0 of 80 |" in rows[-1]
    assert service.ratio_table(found).splitlines()[-1].startswith("| 32 clients |")


# --- Memory


def test_memory_is_in_millions_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (output, scoring):
        monkeypatch.setattr(module, "peak_rss", lambda: 3_000_000)
    monkeypatch.setattr(output, "painters_zip", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["output", "memory"])
    output.main()
    assert float(capsys.readouterr().out) == 3
    monkeypatch.setitem(scoring.PROGRAMS, "painter", lambda *_: lambda: lambda: 0.0)
    assert scoring.measure_one("painter", tmp_path)["memory"] == 3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_the_memory_of_a_server_is_that_of_its_process() -> None:
    own = service.Server("127.0.0.1", os.getpid()).resident
    held = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    # It may grow meanwhile by the pages of a child that starts.
    assert own == pytest.approx(int(held["VmRSS"].split()[0]) * 1024 / 1e6, rel=0.02)


# --- Comparing two trees


def written_by_a_tree(folder: Path, **changes: torch.Tensor) -> Path:
    """Write what `benchmarks.compare` looks at: a run and an image."""
    weights = {"a.weight": torch.arange(4.0), "b": torch.ones(2, 2)} | changes
    for name in ("run", "generated/plain"):
        (folder / name).mkdir(parents=True)
    (folder / "run" / "config.json").write_text("{}")
    (folder / "run" / "stats.jsonl").write_text('{"loss_d": 1.5, "seconds": 3.0}\n')
    safetensors.torch.save_file(weights, folder / "run" / "snapshot.safetensors")
    torch.save({"networks": weights, "step": 2}, folder / "run" / "state.pt")
    (folder / "generated" / "plain" / "1.jpg").write_bytes(b"picture")
    return folder


def test_equal_trees_differ_in_nothing(tmp_path: Path) -> None:
    here, there = (written_by_a_tree(tmp_path / name) for name in ("here", "there"))
    (here / "run" / "stats.jsonl").write_text('{"loss_d": 1.5, "seconds": 9.9}\n')
    assert compare.compare(here, there) == {"run": [], "generated/plain": []}


def test_one_bit_in_any_file_is_a_difference(tmp_path: Path) -> None:
    there = written_by_a_tree(tmp_path / "there")
    weights = torch.arange(4.0)
    weights[3] = torch.nextafter(weights[3], torch.tensor(4.0))
    here = written_by_a_tree(tmp_path / "here", **{"a.weight": weights})
    (here / "run" / "stats.jsonl").write_text('{"loss_d": 1.500001, "seconds": 3.0}\n')
    (here / "generated" / "plain" / "1.jpg").write_bytes(b"Picture")
    (here / "generated" / "plain" / "2.jpg").write_bytes(b"picture")
    assert compare.compare(here, there) == {
        "run": ["run/snapshot.safetensors", "run/state.pt", "run/stats.jsonl"],
        "generated/plain": ["generated/plain/1.jpg", "generated/plain/2.jpg"],
    }


def test_a_state_may_be_arranged_anew_but_lose_nothing(tmp_path: Path) -> None:
    here, there = (written_by_a_tree(tmp_path / name) for name in ("here", "there"))
    state = here / "run" / "state.pt"
    torch.save({"g": [torch.ones(2, 2)], "d": torch.arange(4.0), "more": torch.zeros(1)}, state)
    assert compare.compare(here, there)["run"] == []
    torch.save({"g": [torch.ones(2, 2)]}, state)
    assert compare.compare(here, there)["run"] == ["run/state.pt"]


def test_an_unknown_commit_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no-such-branch"):
        compare.tree_of("no-such-branch", tmp_path)
