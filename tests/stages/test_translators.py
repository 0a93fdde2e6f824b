"""A translator on the sample data, from the download on: every stage, and what each refuses."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import submission.archive
from pipeline.cli import run_command
from pipeline.data import sources
from pipeline.models.snapshots import load_snapshot
from pipeline.runs.files import read_json
from pipeline.scoring import extractors
from tests.support.factories import contents, train_command
from tests.support.helpers import fill, pack
from tests.support.scoring_helpers import QuadrantMeans

PAINTINGS, PHOTOS = 6, 5
SETTINGS = (
    "image_size=64", "generator_channels=4", "discriminator_channels=4", "batch_size=2", "images=4",
    "minutes=none", "sample_count=4", "score_every=none", "precision=float32", "log_every=1",
)  # fmt: skip
TINY = [word for setting in SETTINGS for word in ("--set", setting)]
"""Options that make a translator's run take about a second; its images have 256 pixels."""


def train(*more: str, data: str = "data/sample", run: str = "run") -> list[str]:
    return ["train", "--data", data, "--run", run, "--preset", "photo2monet", *TINY, *more]


def works(*command: str) -> None:
    assert run_command(list(command)) == 0, command


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size of each image in a folder."""
    found = {}
    for path in folder.glob("[!.]*"):
        with Image.open(path) as image:
            found[path.name] = image.size
    return found


def flat_photos(folder: Path, *sides: int) -> Path:
    """Fill a folder with flat images of these sides, named from 0."""
    folder.mkdir()
    for number, side in enumerate(sides):
        Image.new("RGB", (side, 2 * side), (40 * number, 90, 90)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sample, a translator's run and its images, and one from noise."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sources, "SAMPLE_COUNT", PAINTINGS)
        patch.setattr(sources, "SAMPLE_PHOTOS", PHOTOS)
        works("download", "--source", "sample", "--data", "data/sample")
        works(*train())
        works("generate", "--run", "run")
        works(*train_command(data="data/sample", run="noise"))
    shutil.copytree(folder / "data" / "sample" / "monet_jpg", folder / "paintings")
    (folder / "paintings-alone" / "photo_jpg").mkdir(parents=True)
    shutil.copytree(folder / "paintings", folder / "paintings-alone" / "monet_jpg")
    fill(folder / "others", 3, (70, 90))
    flat_photos(folder / "tiny", 63, 30)
    (folder / "empty").mkdir()
    pack(folder / "mine.zip", {"1.jpg": b"mine"})
    return folder


@pytest.fixture
def desk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that folder, which is the current one."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for record in tmp_path.glob("run/*.json"):  # as if all had been made here
        record.write_text(record.read_text().replace(str(made), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extractors, "make_extractor", lambda *_: QuadrantMeans())
    return tmp_path


# --- The whole way


def test_by_default_there_is_one_image_of_each_photo(made: Path) -> None:
    record = read_json(made / "run" / "images.json")
    assert record["count"] == record["photos"]["count"] == PHOTOS
    assert record["photos"]["path"] == str(made / "data" / "sample")
    assert record["photos"]["domain"] == "photo_jpg"
    about = read_json(made / "run" / "provenance.json")["data"]
    assert (about["domain"], about["count"]) == ("monet_jpg", PAINTINGS)
    assert about["photos"] == record["photos"]


def test_the_grids_stand_beside_the_photos_that_they_are_made_of(made: Path) -> None:
    found = sizes(made / "run" / "samples")
    assert set(found) == {"000000000.png", "000000004.png", "inputs.jpg"}
    assert set(found.values()) == {(2 * 66 + 2, 2 * 66 + 2)}  # four tiles of 64 pixels
    assert not (made / "noise" / "samples" / "inputs.jpg").exists()


def test_its_images_are_packed_checked_scored_reported_and_exported(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submission.archive, "MINIMUM_IMAGES", PHOTOS + 2)
    works("generate", "--run", "run", "--count", str(PHOTOS + 2))
    works("package", "--run", "run")
    works("check", "run/images.zip")
    works("score", "--run", "run", "--features", "efficientnet-lite0")
    works("report", "--run", "run")
    page = (desk / "run" / "report.html").read_text()
    assert page.count('alt="Photo photo_jpg/') == page.count('alt="Translation ') == PHOTOS + 2
    assert page.count("its mirror image") == 2
    score = read_json(desk / "run" / "score.json")
    assert (score["n_generated"], score["n_reference"]) == (PHOTOS + 2, PAINTINGS)
    works("export", "--run", "run", "--name", "mine", "--out", "models")
    capsys.readouterr()
    works("runs", "--folder", ".")
    assert f"{PHOTOS + 2}" in capsys.readouterr().out
    works("generate", "--snapshot", "models/mine/snapshot.safetensors", "--photos", "others",
          "--out", "paintings-of-others")  # fmt: skip
    assert set(sizes(desk / "paintings-of-others").values()) == {(70, 90)}


def test_the_same_command_again_changes_nothing(desk: Path) -> None:
    before = contents(desk / "run")
    works(*train())
    assert contents(desk / "run") == before


def test_a_run_goes_on_from_another_with_paintings_held_out(desk: Path) -> None:
    works(*train("--holdout", "0.34", run="first"))
    works(*train("--holdout", "0.34", "--continue-from", "first", run="second"))
    assert load_snapshot(desk / "second" / "snapshot.safetensors").images_seen == 8
    works("generate", "--run", "second")
    works("score", "--run", "second")
    assert read_json(desk / "second" / "score.json")["holdout"]["n_reference"] == 2


def test_scores_from_other_photos_are_no_history_of_a_run(desk: Path) -> None:
    line = json.dumps({"images_seen": 4, "mifid": 1.0, "n_generated": 5, "features": "f"})
    (desk / "run" / "scores.jsonl").write_text(line + "\n")
    works(*train("--continue-from", "run", run="same"))
    assert (desk / "same" / "scores.jsonl").exists()
    works(*train("--continue-from", "run", "--photos", "others", run="other"))
    other = desk / "other" / "scores.jsonl"
    assert not other.exists() or not other.read_text()


def test_two_folders_of_any_names_are_two_domains(desk: Path) -> None:
    fill(desk / "animals" / "horses", 3, (70, 70))
    fill(desk / "animals" / "zebras", 4, (80, 70))
    words = ("--domain", "zebras", "--photo-domain", "horses")
    works(*train(*words, data="animals", run="striped"))
    works("generate", "--run", "striped")
    assert read_json(desk / "striped" / "images.json")["count"] == 3


STUDY = """
name = "one"
preset = "photo2monet"
[settings]
image_size = 64
generator_channels = 4
discriminator_channels = 4
batch_size = 2
images = 4
minutes = "none"
score_every = "none"
sample_count = 4
[grid]
cycle_weight = [5.0]
[evaluation]
count = 4
features = "efficientnet-lite0"
"""


@pytest.mark.slow  # three new interpreters
def test_a_study_compares_translators(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "one.toml").write_text(STUDY)
    works("study", "one.toml", "--data", "paintings", "--photos", "others", "--out", "study")
    assert "| `5.0` | 1 |" in capsys.readouterr().out
    assert (desk / "study" / "comparison.html").exists()


def test_photos_that_were_moved_away_are_found_or_said_to_be_gone(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move("data/sample", "data/elsewhere")
    works("generate", "--run", "run")
    assert read_json(desk / "run" / "images.json")["photos"]["path"] == str(
        desk / "data" / "elsewhere"
    )
    works("report", "--run", "run")
    assert 'alt="Photo photo_jpg/' in (desk / "run" / "report.html").read_text()
    shutil.move("data/elsewhere", "away")
    capsys.readouterr()
    assert run_command(["generate", "--run", "run"]) == 2
    said = capsys.readouterr().err
    assert "nor under data/. Say where photos are: --photos FOLDER_OR_ZIP." in said
    works("report", "--run", "run")
    assert "The report comes without photos" in capsys.readouterr().err
    page = (desk / "run" / "report.html").read_text()
    assert "The photos that these images are translations of are neither at" in page
    assert 'alt="Photo photo_jpg/' not in page


def test_photos_that_have_changed_are_not_shown_beside_images_of_others(desk: Path) -> None:
    works("generate", "--run", "run", "--photos", "others")
    (desk / "others" / "0.jpg").unlink()
    works("report", "--run", "run")
    assert "or have changed since" in (desk / "run" / "report.html").read_text()


def test_photos_that_could_not_be_used_move_no_other_ones(desk: Path) -> None:
    flat_photos(desk / "some", 63, 80, 90)
    works("generate", "--run", "run", "--photos", "some")
    works("report", "--run", "run")
    page = (desk / "run" / "report.html").read_text()
    assert 'alt="Photo 1.png"' in page
    assert 'alt="Photo 0.png"' not in page


def test_the_dry_run_says_how_many_photos_there_are(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    works(*train("--dry-run", run="new"))
    assert f"photos   {PHOTOS} at 64 pixels, 0.0614 MB in memory" in capsys.readouterr().out
    assert not (desk / "new").exists()


# --- What is refused, each in a sentence

GENERATE = ["generate", "--run", "run", "--out", "out.zip"]
NEW = "new"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (train(data="paintings", run=NEW),
         "'cyclegan' translates photos, and looks for a folder photo_jpg of them: paintings has no "
         "domain 'photo_jpg'"),
        (train(data="paintings-alone", run=NEW), "has no domain 'photo_jpg'; found: monet_jpg."),
        (train("--photos", "empty", run=NEW), "empty holds no images"),
        (train("--photos", "nowhere", run=NEW), "There is no folder or zip nowhere"),
        (train("--photo-domain", "horses", run=NEW),
         "has no domain 'horses'; found: monet_jpg, photo_jpg."),
        (train("--photos", "paintings", data="paintings", run=NEW),
         "6 of the 6 photos in paintings are among the 6 images of paintings"),
        (train("--domain", "all", run=NEW), "5 of the 5 photos in data/sample are among the 11"),
        (train("--photos", "tiny", run=NEW),
         "None of the 2 photos in tiny can be used: 0.png has a side of 63 pixels; it needs at "
         "least 64"),
        (train("--photos", "others"), "photos: 5 from"),
        (train("--generator", "noise", run=NEW),
         "--generator is for training an upscaler; this is family 'cyclegan'."),
        (train("--set", "truncation=0.5", run=NEW),
         "truncation is 0.5, and family 'cyclegan' translates photos"),
        (train("--set", "upscale=bicubic", run=NEW), "upscale is 'bicubic', and family 'cyclegan'"),
        (train("--set", "latent_size=4", run=NEW),
         "latent_size is 4, and family 'cyclegan' has no such thing."),
        (train_command("--photos", "others", data="paintings", run=NEW),
         "family 'dcgan' does not start from any: it is no translator. Leave them out"),
        (["train", "--data", "paintings", "--run", NEW, "--preset", "upscaler64to256",
          "--generator", "run"],
         "--generator translates photos, and a translation has the size of its photo"),
        (["generate", "--snapshot", "run/snapshot.safetensors", "--out", "out.zip"],
         "'cyclegan' translates photos, and there are none. Say where they are: `painter generate"),
        ([*GENERATE, "--count", "11"],
         "count is 11; 5 photos and as many mirror images make 10 at most."),
        (["generate", "--run", "run", "--photos", "others", "--out", "others"], "apart from that"),
        (["generate", "--run", "run", "--photos", "others", "--out", "others/a.zip"],
         "apart from that"),
        (["generate", "--run", "run", "--out", "data"], "holds other files"),
        (["generate", "--run", "run", "--out", "data/sample/a.zip"], "apart from that"),
        (["generate", "--run", "run", "--out", "mine.zip"], "painter did not write it"),
        ([*GENERATE, "--count", "0"], "count is 0; expected at least 1 image."),
        ([*GENERATE, "--photos", "tiny"], "None of the 2 photos in tiny can be used"),
        ([*GENERATE, "--photos", "empty"], "empty holds no images"),
        ([*GENERATE, "--photo-domain", "horses"], "has no domain 'horses'"),
        ([*GENERATE, "--seed", "3"], "--seed would have no effect. Leave --seed out."),
        ([*GENERATE, "--class", "sea"], "--class would have no effect."),
        ([*GENERATE, "--upscale", "bicubic"], "--upscale would have no effect."),
        ([*GENERATE, "--upscaler", "noise"], "--upscaler would have no effect."),
        ([*GENERATE, "--set", "truncation=0.5"], "truncation is 0.5, and family 'cyclegan'"),
        (["generate", "--run", "noise", "--out", "out.zip", "--photos", "others"],
         "family 'dcgan' does not start from any"),
        (["generate", "--run", "noise", "--out", "out.zip", "--upscaler", "run"],
         "--upscaler is a generator of family 'cyclegan'; expected an upscaler"),
        (["video", "--run", "run", "--images", "1,2", "--out", "out.gif"],
         "Family 'cyclegan' translates photos and does not make its images from noise"),
        (["arithmetic", "--run", "run", "--plus", "1", "--out", "out.png"],
         "Family 'cyclegan' translates photos and does not make its images from noise"),
        (["mix", "run", "run", "--run", NEW],
         "Family 'cyclegan' translates photos and does not make its images from noise"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_changes(
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(made)
    before = contents(made)
    assert run_command(command) == 2
    assert sentence in capsys.readouterr().err.rpartition("painter: ")[2]
    assert contents(made) == before
