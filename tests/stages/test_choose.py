"""Images are chosen from one or several models, and made again from what is written of it."""

import json
import math
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from kernels.regenerate import regeneration_plan
from pipeline.cli import run_command
from pipeline.config import Config, DataConfig, OutputConfig, apply_settings
from pipeline.core.advice import per_cent
from pipeline.core.errors import ConfigError, DataError, RunError, ScoringError
from pipeline.data.decoding import decode_rgb
from pipeline.data.images import ImageSet, open_images
from pipeline.families.registry import build_generator
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, write_snapshot
from pipeline.reports.members import gains_of
from pipeline.reports.run_pictures import translation_pairs
from pipeline.runs.choices import describe_choice, read_choice, recorded_choice
from pipeline.runs.folder import RunFolder
from pipeline.scoring import extractors
from pipeline.scoring import layers as scoring_layers
from pipeline.scoring.extractors import Outputs
from pipeline.scoring.layers import Layered
from pipeline.stages import candidates as stage
from pipeline.stages.candidates import CandidateFeatures, Source, divide, interleaved
from pipeline.stages.choose import Choosing, Wanted, Yardstick, describe_judgement
from pipeline.stages.chosen import begin_mixture, choice_of_images, placed
from pipeline.stages.generate import generate, read_generation_record
from pipeline.stages.translations import translated_photos
from pipeline.system.storage import file_sha256, write_json
from submission import archive
from submission.kernel import entry as kernel_entry
from submission.running_check import RunningCheck, has_passed
from submission.submit import Candidate, prepare
from tests.support.factories import CPU, finished_run, tiny_generator_config
from tests.support.helpers import fill, pack
from tests.support.scoring_helpers import QuadrantMeans, WavesOfMeans

WIDTH = 6
"""Of the twelve numbers of `QuadrantMeans`, the last layer's; the others are the middle's."""
TRANSLATOR: dict[str, Any] = {
    "family": "cyclegan", "image_size": 64, "generator_channels": 4, "discriminator_channels": 4,
}  # fmt: skip


def snapshot_of(config: Config, seed: int) -> Snapshot:
    torch.manual_seed(seed)
    exact = apply_settings(config, {"precision": "float32", "jpeg_quality": 90})
    return Snapshot(build_generator(exact).eval(), exact, 10 * (seed + 1))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two generators from noise, a translator, paintings and photos."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("first", "second")):
        config = tiny_generator_config(output_size=256)
        write_snapshot(folder / f"{name}.safetensors", snapshot_of(config, seed))
    translator = apply_settings(Config(), TRANSLATOR)
    write_snapshot(folder / "photos.safetensors", snapshot_of(translator, 2))
    fill(folder / "monet_jpg", 8, (64, 64))
    fill(folder / "photo_jpg", 4, (64, 72))
    return folder


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "BLOCK", 8)
    monkeypatch.setattr(stage, "BATCH_SIZE", 4)
    monkeypatch.setattr(archive, "MINIMUM_IMAGES", 5)


@pytest.fixture
def extractor(monkeypatch: pytest.MonkeyPatch) -> QuadrantMeans:
    """Return what stands in for networks, also on the command line; it counts what it is asked."""
    made = WavesOfMeans()

    def layered(*_: object) -> Layered:
        return Layered(made, WIDTH)

    monkeypatch.setattr(scoring_layers, "make_layered_extractor", layered)
    return made


def source(place: Path, name: str = "first") -> Source:
    path = place / f"{name}.safetensors"
    snapshot = load_snapshot(path)
    return Source(name, snapshot, path, file_sha256(path), snapshot.config.output)


def yardstick(place: Path, holdout: float = 0.0) -> Yardstick:
    return Yardstick(open_images(place / "monet_jpg"), DataConfig(holdout=holdout))


def features(place: Path, extractor: QuadrantMeans, seed: int = 0, count: int = 20) -> np.ndarray:
    known = CandidateFeatures(source(place), seed, count, extractor)
    return known.compute(source(place).sampler(seed, [CPU]), tqdm(disable=True))


# --- How many of each


@pytest.mark.parametrize(
    ("total", "shares", "most", "parts"),
    [
        (10, [1, 1, 1], [None, None, None], [4, 3, 3]),
        (10, [3, 1], [None, None], [8, 2]),
        (100, [1, 1, 1], [None, 10, None], [45, 10, 45]),
        (100, [1, 1, 8], [None, None, 20], [40, 40, 20]),
        (7, [1], [None], [7]),
        (3, [1e308, 1e308, 1e-320], [None] * 3, [2, 1, 0]),
    ],
)
def test_a_total_is_divided_by_shares_and_what_one_cannot_give_the_others_do(
    total: int, shares: list[float], most: list[int | None], parts: list[int]
) -> None:
    assert divide(total, shares, most) == parts


def test_what_each_part_has_at_least_is_kept() -> None:
    assert divide(11, [6, 6, 2], [None] * 3) == [5, 5, 1]
    assert divide(11, [6, 6, 2], [None] * 3, [4, 4, 2]) == [5, 4, 2]
    assert divide(11, [6, 6, 2], [5, None, 2], [4, 4, 2]) == [5, 4, 2]


def test_more_than_photos_give_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"30 images are wanted, and photos .* make 20 at most"):
        divide(30, [1, 1], [8, 12])


def test_each_first_part_of_a_mix_has_the_same_shares() -> None:
    order = interleaved([20, 10, 5])
    assert sorted(order) == list(range(35))
    for n in (7, 14, 21):
        assert np.histogram(order[:n], [0, 20, 30, 35])[0].tolist() == [
            4 * n // 7,
            2 * n // 7,
            n // 7,
        ]


# --- Features of candidates


def test_features_are_those_of_the_files_that_would_be_written(place: Path, tmp_path: Path) -> None:
    extractor = QuadrantMeans()
    found = features(place, extractor, count=6)
    generate(source(place).sampler(0, [CPU]), 6, tmp_path / "images", OutputConfig(jpeg_quality=90))
    for number, row in enumerate(found, 1):
        pixels = np.asarray(decode_rgb((tmp_path / "images" / f"{number}.jpg").read_bytes()))
        expected = extractor.outputs(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
        # Images of batches of another size may differ by a level of 255 before they are coded.
        np.testing.assert_allclose(row, expected.features.numpy()[0], atol=1)


def test_what_was_computed_is_kept_and_an_interrupted_choice_goes_on(
    place: Path, extractor: QuadrantMeans, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(WavesOfMeans):
        def outputs(self, pixels: torch.Tensor) -> Outputs:
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().outputs(pixels)

    with pytest.raises(KeyboardInterrupt):
        features(place, Interrupted())
    assert CandidateFeatures(source(place), 0, 20, extractor).missing == 12
    whole = features(place, extractor)
    assert len(extractor.batches) == 3
    assert np.array_equal(features(place, extractor), whole)
    assert np.array_equal(features(place, extractor, count=18), whole[:18])
    assert len(extractor.batches) == 3
    assert np.array_equal(features(place, extractor, count=24)[:20], whole)
    assert len(extractor.batches) == 5  # of the last block there were four of eight


def test_other_images_or_other_features_are_not_taken_from_what_was_kept(
    place: Path, extractor: QuadrantMeans
) -> None:
    features(place, extractor)
    assert CandidateFeatures(source(place), 1, 20, extractor).missing == 20
    assert CandidateFeatures(source(place, "second"), 0, 20, extractor).missing == 20
    other = WavesOfMeans("quadrant-means:2")
    assert CandidateFeatures(source(place), 0, 20, other).missing == 20


# --- The choice


def choosing(
    place: Path, extractor: QuadrantMeans, wanted: Wanted, holdout: float = 0.0
) -> Choosing:
    sources = [source(place), source(place, "second")]
    layered = Layered(extractor, WIDTH)
    return Choosing(sources, wanted, yardstick(place, holdout), layered, [CPU])


def test_a_choice_comes_nearer_than_images_as_they_come_and_says_by_what(
    place: Path, extractor: QuadrantMeans
) -> None:
    made = choosing(place, extractor, Wanted(8, 40), holdout=0.5).choose()
    by = made.criterion
    assert by is not None
    assert (by.features, by.layers) == ("quadrant-means", ["last", "middle"])
    assert (by.reference["count"], by.reference["held_out"]) == (4, 4)
    assert set(by.judged) == {"reference", "held_out"}
    found = by.judged["reference"]
    assert sum(found["chosen"].values()) < sum(found["as_they_come"].values())
    assert len(set(made.indices)) == 8
    assert [s.candidates for s in made.sources] == [20, 20]
    assert sum(s.chosen for s in made.sources) == 8
    assert "8 chosen of 40 (first" in describe_choice(made.summary())
    assert "held-out images, by layers: last " in describe_judgement(made)
    again = choosing(place, extractor, Wanted(8, 40), holdout=0.5).choose()
    assert again == made


def test_shares_set_by_hand_are_kept(place: Path, extractor: QuadrantMeans) -> None:
    made = choosing(place, extractor, Wanted(8, 40, shares=(3, 1))).choose()
    assert [(s.candidates, s.chosen) for s in made.sources] == [(30, 6), (10, 2)]


def test_a_set_of_one_image_is_chosen_though_nothing_judges_it(
    place: Path, extractor: QuadrantMeans
) -> None:
    made = choosing(place, extractor, Wanted(1, 8), holdout=0.5).choose()
    assert len(made.indices) == 1
    assert made.criterion is not None
    assert made.criterion.judged == {}
    assert "KID" not in describe_judgement(made)
    assert gains_of(made.summary()) == []
    assert "1 chosen of 8 (first" in describe_choice(made.summary())


def test_each_model_has_as_many_candidates_as_images_of_the_set(place: Path) -> None:
    three = [source(place), source(place, "second"), source(place)]
    wanted = Wanted(10, 11, shares=(6, 6, 2))
    assert (wanted.quotas(three), wanted.counts(three)) == ([4, 4, 2], [5, 4, 2])


def test_images_that_repeat_a_real_one_are_left_out(
    place: Path, extractor: QuadrantMeans, tmp_path: Path
) -> None:
    image = source(place).sampler(0, [CPU])([0])[0]
    fill(tmp_path / "copy", 3, (64, 64))
    Image.fromarray(image).save(tmp_path / "copy" / "x.png")
    layered, only = Layered(extractor, WIDTH), [source(place)]
    for holdout in (0.0, 0.5):  # a copy of a held-out image is one too
        copied = Yardstick(open_images(tmp_path / "copy"), DataConfig(holdout=holdout))
        made = Choosing(only, Wanted(5, 20), copied, layered, [CPU]).choose()
        assert made.criterion is not None
        assert made.criterion.left_out >= 1
        assert 0 not in made.indices
        with pytest.raises(ScoringError, match=r"20 images are to be chosen from \d+ that may be"):
            Choosing(only, Wanted(20, 20), copied, layered, [CPU]).choose()


def test_it_is_estimated_before_it_begins(place: Path, extractor: QuadrantMeans) -> None:
    features(place, extractor)
    told = choosing(place, extractor, Wanted(8, 40)).estimate()
    assert "candidates 40 (first 20, second 20), of which 20 are known already" in told
    assert "minutes: candidates and their features" in told
    assert "in the cache" in told


def test_what_cannot_be_chosen_is_told_at_once(place: Path, extractor: QuadrantMeans) -> None:
    with pytest.raises(ConfigError, match="50 images cannot be chosen from 40"):
        choosing(place, extractor, Wanted(50, 40))
    for shares in ((1,), (1, 0), (1, math.nan), (math.inf, 1)):
        with pytest.raises(ConfigError, match="a number above 0 for each of 2 models"):
            choosing(place, extractor, Wanted(8, 40, shares=shares))
    with pytest.raises(ConfigError, match=r"Of 6 images of 2 models none would be of second"):
        choosing(place, extractor, Wanted(4, 6, shares=(1000, 1)))
    with pytest.raises(ConfigError, match=r"Of 4 images .* none would be of second.* --count"):
        choosing(place, extractor, Wanted(4, 40, shares=(10, 1)))
    with pytest.raises(ConfigError, match=r"Of 1 image of 2 models none would be of second"):
        choosing(place, extractor, Wanted(1, 1))
    with pytest.raises(DataError, match=r"holdout = 0\.1 of 8 images leaves 1 held out"):
        choosing(place, extractor, Wanted(8, 40), holdout=0.1)
    one = Yardstick(open_images(place / "monet_jpg").subset(["0.jpg"]), DataConfig())
    with pytest.raises(DataError, match="has 1 image to come near to; expected at least 2"):
        Choosing([source(place)], Wanted(8, 40), one, Layered(extractor, WIDTH), [CPU])
    assert extractor.batches == []


# --- The command, and the same again in a kernel


def command(place: Path, *more: str, models: tuple[str, ...] = ("first", "photos")) -> list[str]:
    given = [word for name in models for word in ("--snapshot", str(place / f"{name}.safetensors"))]
    if "photos" in models:
        given += ["--photos", str(place / "photo_jpg")]
    return ["generate", *given, *more]


def pixels_in(path: Path) -> list[np.ndarray]:
    with zipfile.ZipFile(path) as files:
        names = sorted(files.namelist(), key=lambda name: int(name.split(".")[0]))
        return [np.asarray(decode_rgb(files.read(name))).astype(int) for name in names]


@pytest.mark.parametrize("mixed", [False, True], ids=["chosen", "as they come"])
def test_a_kernel_makes_the_chosen_images_of_a_mixture_again(
    place: Path, extractor: QuadrantMeans, tmp_path: Path, mixed: bool
) -> None:
    chooses = [] if mixed else ["--choose-from", "16"]
    told = ["--run", str(tmp_path / "mix"), "--count", "6", "--reference", str(place / "monet_jpg")]
    assert run_command(command(place, *chooses, *told)) == 0
    run = RunFolder(tmp_path / "mix")
    plan, attachment = regeneration_plan("alice", run)
    assert {path.name for path in attachment.files} == {
        "choice.json", "1-first.safetensors", "2-photos.safetensors",
    }  # fmt: skip
    dataset = tmp_path / "input" / "datasets" / attachment.name
    dataset.mkdir(parents=True)
    for path in attachment.files:
        shutil.copy(path, dataset)
    competition = tmp_path / "input" / "competitions" / "gan-getting-started"
    shutil.copytree(place / "photo_jpg", competition / "photo_jpg")
    kernel_entry.run(plan.settings.to_dict(), tmp_path / "input", tmp_path / "working")
    there = RunFolder(tmp_path / "working")
    for here, again in zip(pixels_in(run.images), pixels_in(there.images), strict=True):
        assert np.abs(here - again).max() <= 2
    record = read_generation_record(there)
    assert record is not None
    assert record.choice is not None
    assert record.choice == recorded_choice(run)
    assert (record.choice["criterion"] is None) == mixed
    row = prepare(Candidate("alice/mix", 1, there.images, run), "")
    assert row.chosen == describe_choice(record.choice)
    assert ("6 mixed as they come" if mixed else "6 chosen of 16") in row.description
    assert plan.settings.choice == record.choice["sha256"] == file_sha256(there.choice)


def test_a_mixture_holds_the_models_that_were_loaded_or_is_not_begun(
    place: Path, tmp_path: Path
) -> None:
    run, known = RunFolder(tmp_path / "mix"), placed([source(place), source(place, "second")])
    with pytest.raises(RunError, match="was replaced after it was read"):
        begin_mixture(run, [known[0], replace(known[1], sha256="of an earlier one")], None)
    assert not run.path.exists()
    begin_mixture(run, known, None)
    copies = sorted(run.models.glob("*.safetensors"))
    assert [file_sha256(path) for path in copies] == [one.sha256 for one in known]


def test_a_kernel_refuses_another_choice_or_other_photos(
    place: Path, extractor: QuadrantMeans, tmp_path: Path
) -> None:
    assert run_command(command(place, "--run", str(tmp_path / "mix"), "--count", "6")) == 0
    plan, attachment = regeneration_plan("alice", RunFolder(tmp_path / "mix"))
    dataset = tmp_path / "input" / "datasets" / attachment.name
    dataset.mkdir(parents=True)
    for path in attachment.files:
        shutil.copy(path, dataset)
    competition = tmp_path / "input" / "competitions" / "gan-getting-started"
    fill(competition / "photo_jpg", 5, (64, 72))
    settings = plan.settings.to_dict()
    with pytest.raises(DataError, match=r"are not those that images\.zip was made of"):
        kernel_entry.run(settings, tmp_path / "input", tmp_path / "working")
    with pytest.raises(RunError, match="is not the choice that this kernel was pushed for"):
        kernel_entry.run(settings | {"choice": "0" * 64}, tmp_path / "input", tmp_path / "working")
    assert not (tmp_path / "working" / "images.zip").exists()


def test_images_of_one_model_are_chosen_beside_a_file_and_the_choice_with_them(
    place: Path, extractor: QuadrantMeans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--choose-from", "16", "--count", "5", "--reference", str(place / "monet_jpg")]
    target = tmp_path / "best.zip"
    assert run_command(command(place, *told, "--out", str(target), models=("first",))) == 0
    choice = read_choice(tmp_path / "best.zip.choice.json")
    sampler = source(place).sampler(0, [CPU])
    for index, image in zip(choice.indices, pixels_in(target), strict=True):
        # What JPEG at quality 90 does to smooth images: a few levels, and more at single pixels.
        assert np.abs(sampler([index])[0].astype(int) - image).mean() < 4
    said = capsys.readouterr()
    assert "5 chosen of 16 by kernel herding to 8 images in quadrant-means" in said.out
    assert "takes      about" in said.err


@pytest.fixture
def wants_more(place: Path, tmp_path: Path) -> RunFolder:
    """Return a run whose settings say that of two images made one is kept."""
    run = finished_run(tmp_path, options=("--set", "candidates_per_image=2"), count=8) / "run"
    return RunFolder(run)


def test_a_run_whose_settings_say_so_keeps_the_best_of_more(
    wants_more: RunFolder, extractor: QuadrantMeans, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["generate", "--run", str(wants_more.path), "--count", "6"]
    assert run_command(told) == 0
    assert "6 chosen of 12" in capsys.readouterr().out
    assert wants_more.choice.exists()
    for as_they_come in (["--set", "candidates_per_image=1"], ["--upscale", "bicubic"]):
        assert run_command([*told, *as_they_come]) == 0
        assert not wants_more.choice.exists()
    assert run_command([*told, "--choose-from", "9"]) == 0
    assert "6 chosen of 9" in capsys.readouterr().out


def test_without_an_extractor_images_are_taken_as_they_come_which_is_said(
    wants_more: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(extractors.PACKAGES, "efficientnet-lite0", ("not_installed",))
    monkeypatch.setattr(extractors, "cached_weights", lambda: None)
    told = ["generate", "--run", str(wants_more.path), "--count", "6"]
    assert run_command(told) == 0
    assert "taken as they come" in capsys.readouterr().err
    assert not wants_more.choice.exists()


def test_photos_that_are_given_are_taken_in_place_of_the_runs(
    place: Path, extractor: QuadrantMeans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = fill(tmp_path / "others", 6, (64, 72))
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    shutil.copy(place / "photos.safetensors", run.snapshot)
    write_json(run.config, load_snapshot(run.snapshot).config.to_dict())
    told = ["--choose-from", "12", "--count", "5", "--reference", str(place / "monet_jpg")]
    assert run_command(["generate", "--run", str(run.path), "--photos", str(photos), *told]) == 0
    assert "5 chosen of 12" in capsys.readouterr().out
    record = read_choice(run.choice).sources[0].photos
    assert record is not None
    assert record["count"] == 6


def test_a_dry_run_estimates_and_makes_nothing(
    place: Path, extractor: QuadrantMeans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--choose-from", "16", "--count", "5", "--reference", str(place / "monet_jpg")]
    assert run_command(command(place, *told, "--dry-run", "--run", str(tmp_path / "mix"))) == 0
    assert "16 (first 8, photos 8)" in capsys.readouterr().err
    assert not (tmp_path / "mix").exists()


def test_a_mixture_can_be_reported_and_other_models_do_not_replace_it(
    place: Path, extractor: QuadrantMeans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "mix")
    told = ["--run", str(run.path), "--count", "6", "--reference", str(place / "monet_jpg")]
    assert run_command(command(place, *told, "--choose-from", "12")) == 0
    assert run_command(["report", "--run", str(run.path)]) == 0
    page = run.report.read_text()
    assert "6 chosen of 12" in page
    assert "Nothing was trained here" in page
    shown = " ".join(re.sub("<[^>]*>", " ", page).split())
    choice = read_choice(run.choice)
    for name, family, chosen in zip(
        ("first", "photos"), ("dcgan", "cyclegan"), (s.chosen for s in choice.sources), strict=True
    ):
        share = per_cent(chosen / 6)
        assert re.search(rf"{name} {share} {chosen} 6 {family} \S+ ", shown)  # of six candidates
        assert f"{name} ({family})" in shown  # its settings
    assert "network.residual_ blocks" in shown
    assert run.read_data().count == 8
    of_it = ["--name", "both", "--out", str(tmp_path / "models")]
    for wrong in (["generate"], ["export", *of_it], ["export", *of_it, "--format", "onnx"]):
        assert run_command([*wrong, "--run", str(run.path)]) != 0
        assert "is a mixture, in which nothing was trained" in capsys.readouterr().err
    assert run_command(["mix", str(run.path), str(run.path), "--run", str(tmp_path / "two")]) != 0
    assert "is a mixture, in which nothing was trained" in capsys.readouterr().err
    before = file_sha256(run.images)
    assert run_command(command(place, *told, models=("first", "second"))) != 0
    assert "holds another run" in capsys.readouterr().err
    assert file_sha256(run.images) == before


def test_chosen_translations_are_shown_beside_their_photos(
    place: Path, extractor: QuadrantMeans, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "mix")
    told = ["--run", str(run.path), "--count", "9", "--reference", str(place / "monet_jpg")]
    assert run_command(command(place, *told, "--choose-from", "14")) == 0
    photos, places = translated_photos(run)
    assert isinstance(photos, ImageSet)
    assert places is not None
    choice = read_choice(run.choice)
    noise, translator = choice.sources
    # Candidates of the translator come after those of the other; photo 4 on are mirror images.
    chosen = {n: i - noise.candidates for n, i in enumerate(choice.indices, 1)}
    assert places == {n: i for n, i in chosen.items() if i >= 0}
    assert len(places) == translator.chosen > 0
    pairs = translation_pairs(open_images(run.images), photos, places)
    assert pairs is not None
    assert [(p.first.name, p.second.name, bool(p.note)) for p in pairs] == [
        (photos.names[i % 4], f"{n}.jpg", i >= 4) for n, i in sorted(places.items())
    ]
    assert run_command(["report", "--run", str(run.path)]) == 0
    assert run.report.read_text().count('alt="Translation ') == len(places)
    shutil.move(run.choice, tmp_path)
    assert translated_photos(run) == (ANY, None)


def test_chosen_images_are_checked_while_they_are_made(
    place: Path, extractor: QuadrantMeans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "mix")
    told = ["--count", "6", "--reference", str(place / "monet_jpg"), "--choose-from", "12"]
    assert run_command(command(place, *told, "--run", str(run.path))) == 0
    assert has_passed(file_sha256(run.images))
    monkeypatch.setattr(RunningCheck, "find_fault", lambda *_: "not as it should be")
    before = file_sha256(run.images)
    assert run_command(command(place, *told, "--run", str(run.path))) != 0
    assert file_sha256(run.images) == before
    target = tmp_path / "images.zip"
    assert run_command(command(place, *told, "--out", str(target))) != 0
    assert not target.exists()


@pytest.mark.parametrize(
    ("out", "message"), [("monet_jpg", "apart from that"), ("mine.zip", "painter did not write it")]
)
def test_a_choice_replaces_nothing_but_earlier_images(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, message: str
) -> None:
    real = shutil.copytree(place / "monet_jpg", tmp_path / "monet_jpg")
    pack(tmp_path / "mine.zip", {"1.jpg": b"mine"})
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    told = ["--count", "6", "--reference", str(real), "--choose-from", "12"]
    assert run_command(command(place, *told, "--out", str(tmp_path / out))) != 0
    assert message in capsys.readouterr().err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_choice_that_is_refused_leaves_no_folder(
    place: Path, extractor: QuadrantMeans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "mix"
    told = ["--run", str(run), "--count", "6", "--reference", str(place / "monet_jpg")]
    for wrong, message in (
        (["--choose-from", "5"], "6 images cannot be chosen from 5"),
        (["--choose-from", "12", "--holdout", "0.1"], "leaves 1 held out"),
        (["--share", "1"], "a number above 0 for each of 2 models"),
    ):
        assert run_command(command(place, *told, *wrong)) != 0
        assert message in capsys.readouterr().err
        assert not run.exists()


def test_the_choice_beside_each_target_is_its_own(place: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("mix.5", "mix.7", "mix", "mix.zip")):
        told = ["--count", "5", "--seed", str(seed), "--out", str(tmp_path / name)]
        assert run_command(command(place, *told, models=("first", "second"))) == 0
    for seed, name in enumerate(("mix.5", "mix.7", "mix", "mix.zip")):
        assert read_choice(tmp_path / f"{name}.choice.json").seed == seed
    told = ["--count", "2", "--out", str(tmp_path / "mix.zip")]
    assert run_command(command(place, *told, models=("first",))) == 0  # the first, as they come
    assert not (tmp_path / "mix.zip.choice.json").exists()
    assert (tmp_path / "mix.choice.json").exists()


def test_a_choice_that_is_not_that_of_the_images_is_refused(
    place: Path, extractor: QuadrantMeans, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "mix")
    assert run_command(command(place, "--run", str(run.path), "--count", "6")) == 0
    generation = read_generation_record(run)
    assert generation is not None
    assert len(choice_of_images(run, generation).indices) == 6
    model = run.models / "1-first.safetensors"
    content = model.read_bytes()
    model.write_bytes(content[:-1])
    with pytest.raises(RunError, match=r"was made of an earlier .*1-first"):
        regeneration_plan("alice", run)
    model.write_bytes(content)
    changed = json.loads(run.choice.read_text())
    changed["indices"][0] = 1
    run.choice.write_text(json.dumps(changed))
    with pytest.raises(RunError, match="is not that of"):
        regeneration_plan("alice", run)
    changed["indices"][0] = 99
    run.choice.write_text(json.dumps(changed))
    with pytest.raises(RunError, match="an index is not that of a candidate"):
        read_choice(run.choice)


def test_a_choice_of_too_few_for_a_submission_says_how_to_make_enough(
    place: Path, extractor: QuadrantMeans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "mix")
    assert run_command(command(place, "--run", str(run.path), "--count", "6")) == 0
    monkeypatch.setattr("submission.archive.MINIMUM_IMAGES", 7)
    with pytest.raises(RunError, match=r"holds 6 images; .* with its models again"):
        regeneration_plan("alice", run)
    shutil.copy(place / "first.safetensors", run.snapshot)  # chosen of a run's own
    with pytest.raises(RunError, match=r"holds 6 images; .*The same `painter generate` with"):
        regeneration_plan("alice", run)


@pytest.mark.parametrize(
    ("more", "models", "message"),
    [
        (["--choose-from", "9", "--out", "x.zip"], ("first",), "--choose-from needs --reference"),
        (["--out", "x.zip", "--holdout", "0.5"], ("first",), "--holdout goes with --choose-from"),
        (["--out", "x.zip", "--share", "1"], ("first",), "--share goes with several"),
        (["--count", "6"], ("first", "second"), "Give --out FILE.zip"),
        (["--count", "6", "--out", "x.zip", "--class", "a"], ("first", "second"), "--class goes"),
        (["--out", "x.zip", "--run", "r"], ("first", "second"), "not both"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    place: Path,
    more: list[str],
    models: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(command(place, *more, models=models)) != 0
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
