"""Models for other programs: what `painter export --format onnx` writes, and that it runs."""

import importlib.util
import json
import re
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.cli import run_command
from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError, WorkFailed
from pipeline.families.registry import build_generator, make_sampler
from pipeline.models import onnx_file
from pipeline.models.onnx_file import TOLERANCE, check_packages, write_onnx
from pipeline.models.shipped import model_names
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, save_snapshot, write_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.stages import onnx_export
from pipeline.stages.card_header import Publication, card_header
from pipeline.stages.onnx_card import OnnxFile, onnx_card
from pipeline.stages.onnx_export import JOINED, run_snapshot
from pipeline.system.storage import file_sha256, write_bytes, write_json
from tests.support.factories import CPU, TINY

SCORE = {
    "mifid": 120.5, "fid": 120.5, "kid": 0.05, "features": "efficientnet-lite0",
    "n_generated": 1500,
}  # fmt: skip

SMALL_CUT: dict[str, Any] = {"family": "cut", "image_size": 64, "generator_channels": 4}


def untrained(settings: dict[str, Any]) -> Snapshot:
    torch.manual_seed(0)
    config = apply_settings(Config(), {"precision": "float32", **settings})
    return Snapshot(build_generator(config).eval(), config, 0)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the snapshot of a generator with two classes and an upscaler, 32 to 64 pixels."""
    path = tmp_path_factory.mktemp("snapshot") / "snapshot.safetensors"
    generator = untrained(
        TINY | {"family": "fully-connected", "class_names": ("a", "b"), "output_size": 64}
    )
    upscaler = untrained({
        "family": "upscaler", "image_size": 64, "latent_size": 4, "upscale_factor": 2,
        "generator_channels": 4, "residual_blocks": 0,
    })  # fmt: skip
    save_snapshot(path, generator.generator, generator.config, 0, SCORE, upscaler)
    return path


@pytest.fixture(scope="module")
def exported(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the exported model: one trace of torch's exporter for all tests."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    out = tmp_path_factory.mktemp("models")
    words = ["export", "--snapshot", str(snapshot), "--name", "tiny", "--out", str(out)]
    more = ["--joined", "--license", "cc-by-4.0", "--dataset", "me/paintings"]
    assert run_command([*words, "--format", "onnx", *more]) == 0
    return out / "tiny"


def test_a_model_is_its_network_its_examples_and_a_card(exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == {
        JOINED, JOINED.replace(".onnx", ".npz"), "README.md",
    }  # fmt: skip
    assert [path.name for path in exported.parent.iterdir()] == ["tiny"]


def test_the_file_makes_torchs_images_of_any_number_of_inputs(exported: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported / JOINED)
    with np.load((exported / JOINED).with_suffix(".npz")) as saved:
        examples = dict(saved)
    expected = examples.pop("images")
    assert list(examples) == [given.name for given in session.get_inputs()]
    assert expected.shape == (2, 3, 64, 64)
    for count in (1, 2, 6):
        feed = {
            name: np.resize(array, (count, *array.shape[1:])) for name, array in examples.items()
        }
        (images,) = session.run(None, feed)
        # Sums of some hundred products of numbers about 1, in float32: some 1e-6.
        assert np.abs(images - np.resize(expected, images.shape)).max() < 1e-5
    assert session.get_inputs()[0].shape == ["batch", 4]
    assert session.get_outputs()[0].shape == ["batch", 3, 64, 64]


def test_the_file_says_what_it_takes_and_nothing_of_this_machine(exported: Path) -> None:
    import onnx

    model = onnx.load(exported / JOINED)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert (about["name"], about["license"]) == ("tiny", "cc-by-4.0")
    assert about["range"] == "images in [-1, 1]"
    assert json.loads(about["tensor label"])["meaning"] == "class, int64: 0 a, 1 b"
    assert json.loads(about["tensor z"])["axes"] == ["batch", 4]
    assert str(Path(__file__).parents[2]).encode() not in (exported / JOINED).read_bytes()
    assert b"stack_trace" not in (exported / JOINED).read_bytes()


def program_of(card: Path) -> str:
    found = re.search(r"```python\n(.*?)```", card.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_the_program_on_the_card_makes_painters_images(
    exported: Path, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = program_of(exported / "README.md")
    assert len(program.splitlines()) < 30
    with chdir(exported), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "save", lambda image, name: made.append(np.asarray(image)))
        made: list[np.ndarray] = []
        exec(program, {})  # it is our own
    painters = make_sampler(load_snapshot(snapshot), 0, CPU)([0, 1, 2, 3])
    assert len(made) == 4
    # One level where a value lies between two.
    assert np.abs(np.stack(made).astype(int) - np.stack(painters)).max() <= 1


def test_the_card_has_a_header_that_hubs_read(exported: Path) -> None:
    cards = pytest.importorskip("huggingface_hub")
    card = cards.ModelCard.load(exported / "README.md")
    data = card.data
    assert (data.license, data.library_name, data.datasets) == (
        "cc-by-4.0", "onnx", ["me/paintings"],
    )  # fmt: skip
    assert data.pipeline_tag == "unconditional-image-generation"
    assert {"painter", "onnx", "fully-connected"} <= set(data.tags)
    values = {result.metric_type: result.metric_value for result in data.eval_results}
    assert values == {"mifid": 120.5, "fid": 120.5, "kid": 0.05}
    for wanted in ("# tiny", "input `label`", "batch × 3 × 64 × 64", "| KID | 0.0500 |"):
        assert wanted in card.text, wanted


def test_a_header_without_licence_data_and_score_leaves_them_out() -> None:
    header = card_header("tiny", Publication(), "image-to-image", "onnx", None)
    assert set(re.findall(r"^([\w-]+):", header, re.MULTILINE)) == {
        "library_name", "pipeline_tag", "tags",
    }  # fmt: skip


# --- Cards of other models


def card_of(snapshot: Snapshot, join: bool = False, reverse: bool = False) -> str:
    files = [
        OnnxFile(name, network, 1_000_000, 1e-6)
        for name, network in onnx_export._networks(snapshot, join).items()
    ]
    return onnx_card("tiny", snapshot.config, files, Publication(), snapshot.score, reverse)


def test_two_files_are_run_one_after_the_other(snapshot: Path) -> None:
    text = card_of(load_snapshot(snapshot))
    lines = ["generator.onnx", "small_images = images", "upscaler.onnx"]
    places = [text.index(line, text.index("```python")) for line in lines]
    assert places == sorted(places)
    assert "range(4)" in text


def test_the_program_resizes_as_the_model_is_set_and_makes_grey_rgb() -> None:
    text = card_of(untrained(TINY | {"channels": 1, "output_size": 64, "upscale": "bicubic"}))
    assert "image.repeat(3, 0)" in text
    assert ".resize((64, 64), Image.Resampling.BICUBIC)" in text
    assert "None: these images have not been scored." in text


@pytest.mark.parametrize("join", [False, True], ids=["two files", "joined"])
def test_the_program_resizes_what_an_upscaler_leaves_small(snapshot: Path, join: bool) -> None:
    loaded = load_snapshot(snapshot)
    larger = replace(loaded, config=apply_settings(loaded.config, {"output_size": 256}))
    resize = ".resize((256, 256), Image.Resampling.BICUBIC)"
    assert (resize in card_of(larger, join), ".resize" in card_of(loaded, join)) == (True, False)


def test_a_translator_and_an_upscaler_read_images() -> None:
    photos = card_of(untrained(SMALL_CUT))
    assert 'pipeline_tag: "image-to-image"' in photos
    assert "multiples of 4" in photos
    assert "np.stack([read(photo, 64) for photo in photos])" in photos
    assert "seed" not in photos.partition("```python")[2]
    assert "how a photo looks" in photos
    back = card_of(untrained(SMALL_CUT), reverse=True)
    assert "how a photo looks" not in back
    upscaler = card_of(untrained({"family": "upscaler", "image_size": 64, "latent_size": 16}))
    assert "`upscaler.onnx` | input `noise`" in upscaler
    assert "adds texture to small images" in upscaler


# --- The score of a run


@pytest.mark.parametrize("count", ["many", None, 1500])
def test_a_card_says_any_count_of_scored_images(count: object) -> None:
    loaded = replace(untrained(TINY), score=SCORE | {"n_generated": count})
    counted = "1,500" if count == 1500 else "an unknown number of"
    assert f"`efficientnet-lite0`, {counted} generated images" in card_of(loaded)


@pytest.mark.parametrize("same", [True, False])
def test_a_runs_score_counts_if_its_images_are_of_this_snapshot(tmp_path: Path, same: bool) -> None:
    run = RunFolder(tmp_path)
    snapshot = replace(untrained(TINY), score={"mifid": 99.0})
    write_snapshot(run.snapshot, snapshot)
    write_bytes(run.images, b"images")
    of = file_sha256(run.snapshot) if same else "of another"
    write_json(run.score, SCORE | {"images_sha256": file_sha256(run.images)})
    write_json(run.generation_record, {
        "images_sha256": file_sha256(run.images), "snapshot_sha256": of, "count": 1, "seed": 0,
        "output": {}, "wanted_class": None,
    })  # fmt: skip
    score = run_snapshot(run).score
    assert score is not None
    assert score["mifid"] == (120.5 if same else 99.0)


# --- Refusals


def test_a_file_that_makes_other_images_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.setattr(onnx_file, "_traced", lambda network: onnx.ModelProto())
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    monkeypatch.setattr(onnx_file, "_largest_difference", lambda *_: 2 * TOLERANCE)
    with pytest.raises(WorkFailed, match=r"other images in onnxruntime.*0\.002"):
        onnx_export.export_onnx(untrained(TINY), "tiny", tmp_path, Publication())
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(onnx_file, "_largest_difference", lambda *_: float("nan"))
    (network,) = onnx_export._networks(untrained(TINY), False).values()
    with pytest.raises(WorkFailed, match="differ by nan"):
        write_onnx(tmp_path / "generator.onnx", network, {})


def test_a_missing_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install onnx onnxscript onnxruntime"):
        check_packages()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "paint256"], "made of a run"),
        (["--run", "run"], "Name the model"),
        (["--run", "run", "--name", "a", "--joined"], "goes with --format onnx"),
        (["--run", "run", "--name", "a", "--public"], "goes with --push"),
        (["--model", "paint256", "--format", "onnx", "--weights", "8-bit"], "32-bit weights"),
        (["--model", "paint256", "--format", "onnx", "--reverse"], "of a run"),
        (["--format", "onnx", "--name", "a"], "either --run DIR or --snapshot FILE or --model"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["export", *words, "--out", str(tmp_path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_a_model_without_an_upscaler_has_nothing_to_join() -> None:
    with pytest.raises(ConfigError, match="this model has no upscaler"):
        onnx_export._networks(untrained(TINY), join=True)


@pytest.mark.slow  # half a minute a model: torch's exporter at full size
@pytest.mark.parametrize("name", model_names())
def test_every_shipped_model_is_exported(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    words = ["export", "--model", name, "--format", "onnx", "--out", str(tmp_path)]
    assert run_command(words) == 0  # which compares with torch
    assert 'license: "mit"' in (tmp_path / name / "README.md").read_text()
