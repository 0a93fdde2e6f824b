"""The report stage, on a run folder made by hand."""

import base64
import io
import itertools
import json
import re
import shutil
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Config, resolve
from pipeline.core.errors import DataError, RunError
from pipeline.data.images import ImageSet
from pipeline.reports.report import write_report
from pipeline.reports.run_pictures import time_lapse
from pipeline.reports.wording import duration
from pipeline.runs.curves import read_stats
from pipeline.runs.files import read_json
from pipeline.scoring.landmarks import PAINTINGS_HASHES

SCORE = {
    "mifid": 83.2719,
    "fid": 41.6,
    "memorization_distance": 0.3121,
    "memorization_penalty": 1.0,
    "n_generated": 7038,
    "n_reference": 300,
    "features": "efficientnet-lite0",
    "comparable_with_leaderboard": False,
    "seconds": 95.2,
    "unreadable": [],
    "nearest": [
        {"image": f"{n}.jpg", "painting": f"monet/p{n}.png", "distance": 0.2 + n / 100}
        for n in range(1, 4)
    ],
}
PAINTINGS = tuple(f"monet/p{n}.png" for n in range(20))
SEEN = (0, 500, 1000, 1500)
HOSTILE = '<img src="https://example.org/x.png" onerror=alert(1)>\'"&.png'


class Page(HTMLParser):
    """Collects start tags with their attributes, and all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(self.source)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def cells(self) -> str:
        """The text with a space between any two elements, such as the cells of a table."""
        return " ".join(re.sub("<[^>]*>", " ", self.source).split())

    def pictures(self, alt: str) -> list[str]:
        return [i["src"] or "" for i in self.named("img") if re.match(alt + r"\b", i["alt"] or "")]


def picture(seed: int, size: tuple[int, int] = (16, 16), kind: str = "PNG") -> bytes:
    generator = np.random.Generator(np.random.Philox(seed))
    pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def grid(seed: int, side: int = 332) -> bytes:
    """Return a grid of samples in few colours, which a GIF takes quickly."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).resize((side, side), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def stats_line(step: int) -> str:
    values = {
        "step": step,
        "images_seen": step * 64,
        "seconds": step * 2.0,
        "loss_d": 1.25,
        "loss_g": 2.5,
        "d_real": 0.75,
        "d_fake_before": 0.25,
        "d_fake_after": 0.125,
        "images_per_second": 32.0,
    }
    return json.dumps(values)


def paintings_set(names: tuple[str, ...] = PAINTINGS) -> ImageSet:
    contents = {name: picture(n) for n, name in enumerate(names)}
    return ImageSet(tuple(sorted(names)), contents.__getitem__, "paintings")


def put_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def put_images(run: Path) -> None:
    with zipfile.ZipFile(run / "images.zip", "w") as archive:
        for n in range(1, 41):
            archive.writestr(f"{n}.jpg", picture(100 + n, kind="JPEG"))


def begin(run: Path) -> Path:
    """Make a run that has just begun: settings and statistics, nothing else."""
    run.mkdir()
    put_json(run / "config.json", Config().to_dict())
    (run / "stats.jsonl").write_text("".join(stats_line(n) + "\n" for n in range(1, 101)))
    return run


def finish(run: Path) -> Path:
    """Add what the later stages make."""
    sitting = {"painter": "0.1.0", "command": ["painter", "train", "--run", "first try"]}
    data = {"path": "data/monet.zip", "count": 300}
    put_json(run / "provenance.json", {"data": data, "sittings": [sitting, sitting]})
    put_json(run / "score.json", SCORE)
    put_images(run)
    (run / "samples").mkdir()
    for seed, seen in enumerate(SEEN):
        (run / "samples" / f"{seen:09d}.png").write_bytes(grid(seed))
    return run


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return begin(tmp_path / "first try")


@pytest.fixture
def run(bare: Path) -> Path:
    return finish(bare)


@pytest.fixture
def quick(run: Path) -> Path:
    """Return a finished run whose statistics are too few for charts, which take longest to draw."""
    (run / "stats.jsonl").write_text(stats_line(1) + "\n")
    shutil.rmtree(run / "samples")
    return run


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Return the page of a finished run, for the tests that only look at it."""
    run = finish(begin(tmp_path_factory.mktemp("report") / "first try"))
    return Page(write_report(run, paintings_set()))


def test_page_loads_nothing(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "srcset", "data", "action", "poster"}:
                assert (value or "").startswith("data:image/"), (tag, name)
            if name.endswith("href"):
                assert (value or "").startswith("#"), (tag, name)
    styles = re.findall(r"<style.*?</style>", page.source, re.DOTALL)
    assert len(styles) == 1
    assert "@import" not in styles[0]
    assert "url(" not in styles[0]
    assert set(re.findall(r"https?://[^\"' ]*", page.source)) == {"http://www.w3.org/2000/svg"}


def test_page_is_written_into_the_run(run: Path) -> None:
    path = write_report(run, paintings_set())
    assert path == run / "report.html"
    assert Page(path).source.startswith("<!doctype html>")
    assert not [p for p in run.iterdir() if p.name.endswith(".partial")]


def test_same_run_makes_the_same_page(run: Path) -> None:
    first = write_report(run, paintings_set()).read_bytes()
    assert write_report(run, paintings_set()).read_bytes() == first


def test_values_are_shown(page: Page) -> None:
    text = page.text
    for shown in (
        "first try",
        "83.27",
        "6,400",  # images seen: 100 steps of 64
        "3 min 20 s",  # 100 steps of 2 s
        "7,038",
        "0.312",
        "1 min 35 s",  # time to score
        "learning_rate",
        "0.0002",
        "normal(0, 1)",
        "data/monet.zip",
        "session 2",
        "painter train --run 'first try'",
        "discriminator 1.25",
        "generator 2.50",
        "D(real images) 0.75",
        "distance 0.210",
    ):
        assert shown in text, shown


def test_the_jump_list_leads_to_every_section(page: Page) -> None:
    sections = [attributes["id"] for attributes in page.named("section")]
    jumps = [(attributes["href"] or "").removeprefix("#") for attributes in page.named("a")]
    assert jumps == sections
    assert sections[0] == "stands-out"


def test_headings_are_in_order(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_what_is_wrong_stands_above_the_pictures_with_what_to_try(quick: Path) -> None:
    numbers = {"near_duplicates": 0.4, "vendi_ratio": 0.5, "copies": 0.0}
    put_json(quick / "score.json", SCORE | numbers)
    page = Page(write_report(quick, paintings_set()))
    assert page.text.index("40.0% of the images") < page.text.index("Training images and generated")
    assert page.text.index("What is wrong") < page.text.index("What to try next")
    assert '<code><span class="whole">--minutes</span></code>' in page.source
    put_json(quick / "score.json", SCORE | numbers | {"near_duplicates": 0.0})
    assert "What is wrong" not in Page(write_report(quick, paintings_set())).text


def test_a_score_of_the_competitions_paintings_has_a_scale(quick: Path) -> None:
    put_json(quick / "provenance.json", {"data": {"content_hash": PAINTINGS_HASHES[0]}})
    interval = {"mifid_interval": [82.9, 83.7]}
    put_json(quick / "score.json", SCORE | interval)
    page = Page(write_report(quick, paintings_set()))
    assert "95% interval 82.90 to 83.70. 7,038 images against 300." in page.text
    assert "this run 83.3 7,038" in page.cells
    assert "monet-dcgan, shipped 105.2 7,000" in page.cells
    assert page.cells.index("the paintings themselves 0.0") < page.cells.index("this run 83.3")


def test_images_with_the_same_nearest_one_stand_together(quick: Path) -> None:
    nearest = [
        {"image": f"{n}.jpg", "painting": f"monet/p{min(n, 10)}.png", "distance": 0.2}
        for n in range(9, 21)
    ]
    put_json(quick / "score.json", SCORE | {"nearest": nearest})
    page = Page(write_report(quick, paintings_set()))
    assert "p10.png is nearest to 11 of them, of which 8 are shown" in page.text
    names = [i["alt"] for i in page.named("img") if (i["alt"] or "").startswith("Training image")]
    assert names[-2:] == ["Training image monet/p10.png", "Training image monet/p9.png"]
    assert page.text.count("distance 0.200") == 1  # the one that stands alone


@pytest.mark.parametrize(
    ("points", "charts", "note"),
    [
        (2, 0, "2 points, the last after 128 images: too few"),
        (19, 2, "Only 19 points"),
    ],
)
def test_curves_of_few_points_say_so(bare: Path, points: int, charts: int, note: str) -> None:
    lines = (bare / "stats.jsonl").read_text().splitlines()[:points]
    (bare / "stats.jsonl").write_text("\n".join(lines) + "\n")
    page = Page(write_report(bare, None))
    assert len(page.named("svg")) == charts
    assert note in page.text
    assert ("Only" in page.text) == (charts > 0 and bool(note))


def test_settings_that_differ_from_the_preset_stand_before_all_of_them(quick: Path) -> None:
    put_json(quick / "config.json", resolve("demo", assignments=["batch_size=32"]).to_dict())
    page = Page(write_report(quick, None))
    assert "batch_ size 32 64" in page.cells
    assert page.cells.index("batch_ size 32 64") < page.cells.index("All settings")
    assert len(page.named("details")) == 2
    put_json(quick / "config.json", resolve("demo").to_dict())
    assert "Those of the preset demo, unchanged." in Page(write_report(quick, None)).text


def test_a_chosen_set_says_where_it_comes_from_and_what_that_gained(quick: Path) -> None:
    source = {"name": "demo", "snapshot": "snapshot.safetensors", "candidates": 90, "chosen": 40}
    judged = {"reference": {"as_they_come": {"last": 0.068}, "chosen": {"last": 0.0456}}}
    by = {"features": "efficientnet-lite0", "layers": ["last"], "reference": {"count": 300}}
    choice = {"candidates": 90, "sources": [source | {"photos": None}], "criterion": by}
    put_json(quick / "images.json", {"choice": choice | {"criterion": by | {"judged": judged}}})
    page = Page(write_report(quick, None))
    assert page.text.index("Where the images come from") < page.text.index("Training images and")
    assert "40 chosen of 90" in page.text
    assert "those it was chosen by last 68 45.6" in page.cells
    assert "which flatters them" in page.text


def test_records_that_lack_something_take_nothing_from_the_page(quick: Path) -> None:
    scores: list[dict[str, Any]] = [
        {"images_seen": 64, "fid": 9.0},
        {"images_seen": 128, "mifid": 250.0, "holdout_fid": None},
        {"images_seen": 192, "mifid": None, "features": "quadrants"},
    ]
    (quick / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in scores))
    source = {"name": "demo", "chosen": 40}
    put_json(quick / "images.json", {"choice": {"sources": [source], "criterion": None}})
    page = Page(write_report(quick, None))
    assert "Validation scores (quadrants)" in page.text
    assert "MiFID" in page.text
    assert "40 mixed as they come" not in page.text
    (quick / "scores.jsonl").write_text(json.dumps(scores[0]) + "\n")
    assert "Validation scores" not in Page(write_report(quick, None)).text


def test_pictures_are_shown(page: Page) -> None:
    # A gallery of 16, and the three nearest pairs.
    assert len(page.pictures("Training image")) == 16 + 3
    assert len(page.pictures("Generated image")) == 16 + 3
    assert len(page.pictures("Samples after")) == len(SEEN)
    for image in page.named("img"):
        assert image["alt"]
        content = base64.b64decode((image["src"] or "").partition(",")[2])
        assert max(Image.open(io.BytesIO(content)).size) <= 272


def test_outputs_that_are_no_probabilities_are_shown_whole(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, Any] = {}

    def chart(name: str, *_: Any, **options: Any) -> str:
        limits[name] = options["limits"]
        return "<svg></svg>"

    monkeypatch.setattr("pipeline.reports.report.line_chart", chart)
    write_report(run, None)
    assert limits["outputs"] == (0.0, 1.0)
    lines = (run / "stats.jsonl").read_text().splitlines()
    settings = json.loads((run / "config.json").read_text())
    settings["training"]["loss"] = "hinge"
    put_json(run / "config.json", settings)
    for value in (0.7, 1.7):  # a mean logit may lie anywhere
        hinge = [json.dumps(json.loads(line) | {"d_real": value}) for line in lines]
        (run / "stats.jsonl").write_text("\n".join(hinge) + "\n")
        write_report(run, None)
        assert limits["outputs"] is None


def test_curves_are_in_the_page(page: Page) -> None:
    labels = [svg["aria-label"] or "" for svg in page.named("svg")]
    assert len(labels) == 2
    assert "generator ends at 2.50" in labels[0]
    named = re.findall(r'\bid="([^"]+)"', page.source)
    assert len(named) == len(set(named))


def test_page_follows_light_and_dark(page: Page) -> None:
    source = page.source
    assert "@media (prefers-color-scheme: dark)" in source
    assert '<meta name="color-scheme" content="light dark">' in source
    dark = source.partition("prefers-color-scheme: dark")[2]
    light = source.partition("prefers-color-scheme: dark")[0]
    for variable in ("--wall", "--ink", "--quiet", "--series-1", "--series-2", "--series-3"):
        assert f"{variable}:" in light
        assert f"{variable}:" in dark


def test_tables_have_headers(page: Page) -> None:
    assert {header["scope"] for header in page.named("th")} == {"col", "row"}


def test_foreign_features_are_called_not_comparable(page: Page) -> None:
    assert "Not comparable with the leaderboard." in page.text
    assert "features of efficientnet-lite0" in page.text


def test_foreign_weights_are_called_not_comparable(quick: Path) -> None:
    put_json(quick / "score.json", {**SCORE, "features": "inception"})
    text = Page(write_report(quick, paintings_set())).text
    assert "Not comparable with the leaderboard." in text
    assert "other weights than the leaderboard's" in text


def test_leaderboard_features_come_without_the_warning(quick: Path) -> None:
    comparable = {"features": "inception", "comparable_with_leaderboard": True}
    put_json(quick / "score.json", {**SCORE, **comparable})
    text = Page(write_report(quick, paintings_set())).text
    assert "Not comparable" not in text
    assert "leave an offset" in text


def test_a_run_that_has_just_begun_names_the_next_commands(bare: Path) -> None:
    page = Page(write_report(bare, paintings_set()))
    assert f"painter score --run '{bare}'" in page.text
    assert f"painter generate --run '{bare}'" in page.text
    assert "No sample grids yet." in page.text
    assert "no provenance.json" in page.text
    assert "none yet" in page.text
    assert not page.pictures("Generated image")
    assert "data:image/gif" not in page.source


def test_images_without_score_are_shown(bare: Path) -> None:
    put_images(bare)
    page = Page(write_report(bare, paintings_set()))
    assert len(page.pictures("Generated image")) == 16
    assert "finds the training image nearest" in page.text


def test_paintings_that_are_gone_are_said_to_be_gone(quick: Path) -> None:
    page = Page(write_report(quick, None))
    assert "not there any more (data/monet.zip)" in page.text
    assert not page.pictures("Training image")
    assert page.text.count("not available") == 3
    assert "p1.png" in page.text


def test_a_painting_that_cannot_be_read_leaves_the_others(quick: Path) -> None:
    whole = paintings_set()
    broken = ImageSet(
        whole.names,
        lambda name: b"no image" if name == "monet/p1.png" else whole.read_bytes(name),
        "paintings",
    )
    page = Page(write_report(quick, broken))
    assert page.text.count("not available") == 1


def test_names_and_settings_are_escaped(quick: Path) -> None:
    put_json(quick / "config.json", {"data": {"image_size": 64, HOSTILE: HOSTILE}})
    put_json(quick / "provenance.json", {"data": {"path": HOSTILE}, "note": [HOSTILE]})
    nearest = [{"image": "1.jpg", "painting": HOSTILE, "distance": 0.1}]
    put_json(quick / "score.json", {**SCORE, "features": HOSTILE, "nearest": nearest})
    for paintings in (paintings_set((HOSTILE, "other.png")), None):
        page = Page(write_report(quick, paintings))
        assert HOSTILE not in page.source
        assert all((i["src"] or "").startswith("data:image/") for i in page.named("img"))
        assert not any("onerror" in attributes for _, attributes in page.tags)
        assert HOSTILE in page.text
    assert (
        len(Page(write_report(quick, paintings_set((HOSTILE, "b.png")))).pictures("Training image"))
        == 3
    )


def test_time_lapse_has_a_frame_for_each_grid(page: Page) -> None:
    source = page.source
    found = re.findall(r'"data:image/gif;base64,([^"]+)"', source)
    assert len(found) == 1
    animation = Image.open(io.BytesIO(base64.b64decode(found[0])))
    assert getattr(animation, "n_frames", 1) == len(SEEN)
    assert animation.info["loop"] == 0
    # Four tiles of 64 pixels with 2 pixels between and round them.
    assert animation.size == (4 * 66 + 2, 4 * 66 + 2)


def test_long_runs_are_thinned_to_first_and_last(bare: Path) -> None:
    (bare / "samples").mkdir()
    for n in range(50):
        (bare / "samples" / f"{n * 100:09d}.png").write_bytes(grid(n, 134))
    page = Page(write_report(bare, None))
    captions = [i["alt"] for i in page.named("img") if (i["alt"] or "").startswith("Samples")]
    assert len(captions) == 8
    assert captions[0] == "Samples after 0 images"
    assert captions[-1] == "Samples after 4,900 images"
    gif = re.findall(r'"data:image/gif;base64,([^"]+)"', page.source)[0]
    assert getattr(Image.open(io.BytesIO(base64.b64decode(gif))), "n_frames", 1) == 32


def test_last_frame_of_the_time_lapse_stays_longest() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    animation = Image.open(io.BytesIO(time_lapse(frames)))
    times = []
    for n in range(3):
        animation.seek(n)
        times.append(animation.info["duration"])
    assert times == [160, 160, 2400]


@pytest.mark.parametrize(("image_size", "side"), [(32, 8 * 34 + 2), (64, 266), (128, 272)])
def test_crop_shows_whole_tiles(bare: Path, image_size: int, side: int) -> None:
    put_json(bare / "config.json", {"data": {"image_size": image_size}})
    (bare / "samples").mkdir()
    whole = 8 * (image_size + 2) + 2
    (bare / "samples" / "000000000.png").write_bytes(grid(1, whole))
    source = Page(write_report(bare, None)).pictures("Samples after")[0]
    size = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).size
    # 128-pixel tiles (522 pixels for four) and 32-pixel tiles (274) shrink to the crop's 272.
    assert size == (min(side, 272), min(side, 272))


def test_other_files_among_the_samples_are_left_alone(run: Path) -> None:
    (run / "samples" / "notes.png").write_bytes(b"no grid")
    assert write_report(run, None).exists()


def test_missing_settings_name_the_command(bare: Path) -> None:
    (bare / "config.json").unlink()
    with pytest.raises(RunError, match=r"config\.json.*painter train"):
        write_report(bare, None)
    assert not (bare / "report.html").exists()


def test_a_run_without_curves_has_a_report_all_the_same(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bare / "stats.jsonl").write_text('{"step": 1')  # stopped before its first line was whole
    assert "Discriminator outputs" not in write_report(bare, None).read_text()
    assert "has no complete line yet" in capsys.readouterr().err
    (bare / "stats.jsonl").unlink()
    assert "Discriminator outputs" not in write_report(bare, None).read_text()
    assert "without curves" in capsys.readouterr().err


def test_a_training_that_diverged_says_so_in_its_report(bare: Path) -> None:
    (bare / "log.txt").write_text(
        "2026-01-01T00:00:00+00:00 Training in float32.\n"
        "2026-01-01T00:00:09+00:00 A loss was not finite by step 25 (loss_d nan). "
        "The checkpoint before it is kept in runs/a. Try a lower learning_rate.\n"
    )
    page = write_report(bare, None).read_text()
    assert "The training broke down" in page
    assert "A loss was not finite by step 25 (loss_d nan)." in page
    assert "The checkpoint before" not in page


@pytest.mark.parametrize("name", ["config.json", "score.json", "provenance.json"])
@pytest.mark.parametrize("content", ["{", "[1]"])
def test_damaged_files_are_named(run: Path, name: str, content: str) -> None:
    (run / name).write_text(content)
    with pytest.raises(RunError, match=name):
        write_report(run, None)


def test_damaged_score_entries_name_the_command(run: Path) -> None:
    put_json(run / "score.json", {**SCORE, "nearest": [{"image": "1.jpg"}]})
    with pytest.raises(RunError, match="painter score"):
        write_report(run, None)


def test_a_damaged_grid_is_named_and_left_out(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "samples" / "000000500.png").write_bytes(b"no grid")
    page = write_report(run, None).read_text()
    assert "Samples after 500 images" not in page
    assert "Samples after" in page
    assert "without the sample grid" in capsys.readouterr().err


def photo_set(count: int) -> ImageSet:
    """Return wide photos, left half black and right half of a colour of their own."""
    contents = {}
    for number in range(count):
        image = Image.new("RGB", (64, 32))
        image.paste((6 * number + 60, 90, 200), (32, 0, 64, 32))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        contents[f"photo_jpg/p{number:02d}.png"] = buffer.getvalue()
    return ImageSet(tuple(contents), contents.__getitem__, "photos")


def test_photos_are_shown_beside_their_translations(quick: Path) -> None:
    photos = photo_set(30)  # of the 40 images the last 10 are of mirror images
    page = Page(write_report(quick, paintings_set(), photos))
    sources = page.pictures("Photo")
    assert len(sources) == len(page.pictures("Translation")) == 24
    names = [i["alt"] for i in page.named("img") if (i["alt"] or "").startswith("Photo ")]
    # 24 of 40, evenly spaced: from image 1 to image 40, which is photo 10's mirror image.
    assert (names[0], names[-1]) == ("Photo photo_jpg/p00.png", "Photo photo_jpg/p09.png")
    left = [
        float(
            np.asarray(Image.open(io.BytesIO(base64.b64decode(s.partition(",")[2]))))[:, :60].mean()
        )
        for s in (sources[0], sources[-1])
    ]
    assert left[0] < 10 < left[1]  # black is on the left, and on the right of a mirror image
    mirrored = [n for n in np.linspace(0, 39, 24).round() if n >= 30]
    assert page.text.count("its mirror image") == len(mirrored)


def test_photos_that_are_gone_are_said_to_be_gone_in_one_line(quick: Path) -> None:
    page = Page(write_report(quick, paintings_set(), f"The photos are not there. {HOSTILE}"))
    assert page.text.count("The photos are not there.") == 1
    assert HOSTILE in page.text
    assert HOSTILE not in page.source
    assert not page.pictures("Photo")
    assert not page.pictures("Translation")


def test_images_from_noise_have_no_photos(page: Page) -> None:
    assert "Photos" not in page.text
    assert "The same noise all through training" in page.text


def test_the_inputs_of_the_samples_are_shown_first(bare: Path) -> None:
    (bare / "samples").mkdir()
    for n in range(9):
        (bare / "samples" / f"{n * 100:09d}.png").write_bytes(grid(n, 266))
    (bare / "samples" / "inputs.jpg").write_bytes(picture(70, (266, 266), "JPEG"))
    page = Page(write_report(bare, None))
    alts = [i["alt"] or "" for i in page.named("img")]
    assert len(page.pictures("Samples after")) == 7
    assert alts.index("Inputs of the samples") < alts.index("Samples after 0 images")
    assert "The same inputs all through training" in page.text


def test_what_a_translation_logs_has_charts_of_its_own(bare: Path) -> None:
    more = {"d_source_real": 0.5, "d_source_fake": 0.25, "cycle": 0.75, "identity": 0.5}
    lines = [json.loads(line) | more for line in (bare / "stats.jsonl").read_text().splitlines()]
    (bare / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = Page(write_report(bare, None))
    labels = [svg["aria-label"] or "" for svg in page.named("svg")]
    assert len(labels) == 4
    assert "D(photos) ends at 0.50; D(translations of real images) ends at 0.25" in labels[2]
    assert "translated there and back ends at 0.75" in labels[3]


def test_damaged_archive_is_named(run: Path) -> None:
    (run / "images.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"images\.zip"):
        write_report(run, None)


@pytest.mark.parametrize("tail", [b'{"step": 4', b'{"step": 4, "note": "\xc3', b"{}"])
def test_a_last_line_that_breaks_off_is_left_out(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "stats.jsonl"
    path.write_bytes("".join(stats_line(n) + "\n" for n in (1, 2, 3)).encode() + tail)
    assert read_stats(path)["step"] == [1, 2, 3]


def test_any_other_broken_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    path.write_text(f'{stats_line(1)}\n{{"step":\n{stats_line(3)}\n')
    with pytest.raises(RunError, match="line 2"):
        read_stats(path)


@pytest.mark.parametrize("content", ["", "\n", '{"step"'])
def test_statistics_without_a_line_are_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "stats.jsonl"
    path.write_text(content)
    with pytest.raises(RunError, match="painter train"):
        read_stats(path)


def test_null_statistics_leave_a_gap(bare: Path) -> None:
    line = stats_line(101).replace('"loss_g": 2.5', '"loss_g": null')
    with (bare / "stats.jsonl").open("a") as file:
        file.write(line + "\n")
    assert "generator 2.50" in Page(write_report(bare, None)).text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (12, "12 s"), (59.7, "1 min 0 s"), (250, "4 min 10 s"), (11520, "3 h 12 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_page_says_nobodys_home_folder(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions noted whole paths, and whoever types them still does."""
    monkeypatch.setenv("HOME", str(tmp_path))
    about = read_json(quick / "provenance.json")
    about["data"]["path"] = str(tmp_path / "data" / "monet")
    about["sittings"][0]["command"] = ["painter", "train", "--data", str(tmp_path / "data")]
    (quick / "provenance.json").write_text(json.dumps(about))
    page = re.sub("</?span[^>]*>", "", write_report(quick, None).read_text())
    assert str(tmp_path) not in page
    assert "painter train --data ~/data" in page
    assert "not there any more (monet)" in page
    assert "painter report --run ~/" in page
