"""Study files: points, labels and folders; what is wrong is refused with what was expected."""

import math
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ConfigError
from pipeline.families.noise.settings import NormedNetwork
from pipeline.families.upscaler.settings import UpscalerNetwork
from pipeline.study.plan import Dimension
from pipeline.study.reading import load_study, read_plan, with_changes
from pipeline.study.search import search_point
from pipeline.study.shipped import study_names
from pipeline.study.upscalers import factor_of, upscaler_config, upscaler_folder

UPSCALER = {"preset": "upscaler64to256", "minutes": 7}
GRID: dict[str, Any] = {
    "name": "a",
    "preset": "demo",
    "seeds": [3, 4],
    "settings": {"images": 64},
    "grid": {"noise": ["normal(0, 1)", "uniform(-1, 1)"], "batch_size": [8, 16]},
}


def test_a_grid_has_every_combination_with_every_seed() -> None:
    plan = read_plan(GRID)
    assert len(plan.grid) == 8
    assert plan.grid[1].label == "noise=normal(0, 1), batch_size=16"
    assert [p.seed for p in plan.grid] == [3] * 4 + [4] * 4
    config = plan.config(plan.grid[7])
    assert (config.values()["noise"], config.training.batch_size) == ("uniform(-1, 1)", 16)
    assert (config.training.seed, config.budget.images) == (4, 64)
    assert len({plan.folder(p) for p in plan.grid}) == 8


def test_a_single_setting_is_labelled_by_its_value_and_signs_make_other_folders() -> None:
    laws = ["normal(-1, 1)", "normal(1, 1)"]
    plan = read_plan(GRID | {"grid": {"noise": laws}, "seeds": [0]})
    assert [p.label for p in plan.grid] == laws
    folders = [plan.folder(p) for p in plan.grid]
    assert len(set(folders)) == 2
    assert all(f.startswith("normal-1-1-0-") for f in folders)


def test_a_point_keeps_its_folder_when_others_come_and_go() -> None:
    fewer = read_plan(GRID | {"grid": {"noise": ["normal(0, 1)"]}, "seeds": [3]})
    more = read_plan(GRID | {"grid": {"noise": ["gamma(2, 1)", "normal(0, 1)"]}})
    assert fewer.folder(fewer.grid[0]) in {more.folder(p) for p in more.grid}
    assert fewer.digest != more.digest
    other = read_plan(GRID | {"settings": {"images": 65}, "seeds": [3]})
    assert other.folder(other.grid[0]) not in {more.folder(p) for p in more.grid}


def test_points_may_continue_one_another() -> None:
    entries = [{"label": "first", "epochs": 3}, {"label": "more", "continues": "first"}]
    plan = read_plan({"name": "a", "preset": "demo", "points": entries})
    assert [(p.label, p.continues) for p in plan.grid] == [("first", None), ("more", "first")]
    assert plan.grid[0].parameters == {"point": "first", "seed": 0}


def test_a_search_draws_from_choices_and_ranges() -> None:
    ranges = {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}, "batch_size": [8, 16]}
    plan = read_plan({"name": "a", "preset": "demo", "search": ranges, "trials": 3})
    assert plan.search["learning_rate"] == Dimension(low=1e-5, high=1e-3, log=True)
    assert plan.search["batch_size"] == Dimension(choices=(8, 16))
    assert plan.grid == ()


@pytest.mark.parametrize("name", study_names())
def test_shipped_studies_can_be_read(name: str) -> None:
    plan = load_study(name)
    assert plan.name == name
    assert plan.run_count > 1
    assert plan.description


def test_noise_has_the_seven_settings_of_its_authors() -> None:
    plan = load_study("noise")
    laws = [p.label for p in plan.grid if p.seed == 0]
    assert laws == [
        "uniform(-1, 1)", "normal(0, 1)", "gamma(2, 1)",
        "normal(-1, 1)", "normal(1, 1)", "normal(0, 0.1)", "normal(0, 10)",
    ]  # fmt: skip
    config = plan.config(plan.grid[0])
    assert config.budget.images == 400 * config.training.batch_size
    assert len(plan.seeds) == 3


def test_three_trainings_on_faces_continue_with_other_rates() -> None:
    plan = load_study("faces-three-trainings")
    assert [p.continues for p in plan.grid] == [None, "150 epochs", "50 more"]
    rates = [
        (v["discriminator_learning_rate"], v["learning_rate"], v["epochs"])
        for v in (plan.config(point).values() for point in plan.grid)
    ]
    assert rates == [(1e-4, 3e-4, 150.0), (1e-4, 3e-4, 50.0), (5e-5, 2e-3, 200.0)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nmae": "x"}, "A study has no 'nmae'"),
        ({"name": "a b"}, "name is 'a b'"),
        ({"preset": 3}, "A study needs preset"),
        ({"preset": "monet"}, "There is no preset 'monet'"),
        ({"seeds": []}, "seeds is"),
        ({"seeds": [0.5]}, "seeds is"),
        ({"settings": {"batchsize": 3}}, "Did you mean 'batch_size'"),
        ({"settings": {"seed": 3}}, "sets seed itself"),
        ({"grid": {}}, r"\[grid\] is empty"),
        ({"grid": {"noise": "normal(0, 1)"}}, "expected a list of values"),
        ({"grid": {"noise": ["normal(0, -1)"]}}, "noise is"),
        ({"grid": {"colour": [1]}}, "There is no setting 'colour'"),
        ({"search": {"beta1": [0.5]}}, "one of them; found"),
        ({"evaluation": {"count": 1}}, "at least 2 images"),
        ({"evaluation": {"features": "vgg"}}, "inception or efficientnet-lite0"),
        ({"evaluation": {"criterion": "recall"}}, "criterion is 'recall'"),
        ({"evaluation": {"counts": 7}}, "has no 'counts'"),
        ({"evaluation": {"count": "many"}}, "count is 'many'"),
        ({"seeds": 3}, "seeds is 3"),
        ({"seeds": [0, 1, 0]}, r"seeds is \[0, 1, 0\]; expected each number once"),
        ({"grid": {"beta1": [0.5, 0.9, 0.5]}}, "beta1 is .*; expected each value once"),
        ({"grid": {"diffaugment": [[], []]}}, "diffaugment is .*; expected each value once"),
        ({"grid": ["noise"]}, r"grid is \['noise'\]; expected a table, \[grid\]"),
        ({"settings": 5}, r"settings is 5; expected a table, \[settings\]"),
        ({"evaluation": 5}, r"evaluation is 5; expected a table"),
        ({"upscaler": "x"}, r"upscaler is 'x'; expected a table"),
        ({"questions": [5]}, r"questions is \[5\]; expected tables, .* \[\[questions\]\]"),
        ({"trials": 3}, r"and a \[search\]"),
        (
            {"questions": [{"claim": "x", "measure": "fid", "lower": [], "higher": []}]},
            r"lower is \[\]",
        ),
        ({"questions": [{"claim": "x"}]}, "lacks measure, lower, higher"),
        (
            {"questions": [{"claim": 5, "measure": "fid", "lower": [], "higher": []}]},
            "claim is 5; expected a sentence",
        ),
        (
            {"questions": [{"claim": "x", "measure": "y", "lower": [], "higher": []}]},
            "measure is 'y'",
        ),
        (
            {"questions": [{"claim": "x", "measure": ["fid"], "lower": [], "higher": []}]},
            r"measure is \['fid'\]",
        ),
        (
            {"questions": [{"claim": "x", "measure": "fid", "lower": [["z"]], "higher": []}]},
            r"names \['z'\]",
        ),
        (
            {"questions": [{"claim": "x", "measure": "fid", "lower": ["z"], "higher": []}]},
            "names 'z'",
        ),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_plan(GRID | changes)


@pytest.mark.parametrize(
    "dimension",
    [
        [], {}, 3, {"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}, {"low": 1},
        {"low": 1, "high": "b"}, {"low": True, "high": 8}, {"low": 1, "high": math.inf},
        {"low": 8, "high": 16, "log": "yes"},
    ],
)  # fmt: skip
def test_wrong_ranges_are_refused(dimension: Any) -> None:
    with pytest.raises(ConfigError, match=r"\[search\] batch_size is"):
        read_plan({"name": "a", "preset": "demo", "search": {"batch_size": dimension}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {}}, "search is empty; expected at least one setting"),
        ({"search": ["batch_size"]}, r"expected a table, \[search\]"),
        ({"trials": 0}, "trials is 0; expected 1 or more"),
        ({"reduction": 1}, "reduction is 1; expected 2 or more"),
        ({"first": [{"beta1": 0.5}]}, "expected a value for each of batch_size"),
        ({"first": [{"batch_size": 9}]}, "first has batch_size = 9; expected one of 8, 16"),
        ({"first": [8]}, "first has 8"),
        ({"search": {"r1": {"on": {"r1_weight": -1.0}}}}, "r1_weight is -1.0"),
        ({"search": {"r1": {"on": {"r1_wait": 1.0}}}}, "no setting 'r1_wait'"),
        ({"evaluation": {"criterion": "holdout_kid"}}, "nothing is held out: set holdout"),
        ({"upscaler": {"minutes": 1}}, r"\[upscaler\] needs a preset"),
        ({"upscaler": {"preset": "demo"}}, "'demo', which is no upscaler's"),
        ({"upscaler": UPSCALER | {"residual_blocks": 99}}, "residual_blocks is 99"),
        ({"trials": "x"}, "trials is 'x'; expected a number"),
        ({"pruning": 1}, "pruning is 1; expected true or false"),
        ({"evaluation": {"criterion": "kid"}}, "set pruning = false"),
        ({"search": {"learning_rate": {"low": 0.1, "high": 5.0}}}, "learning_rate is 5.0"),
        ({"search": {"noise": ["normal(0, 1)", "normal(0, 0)"]}}, "noise is"),
    ],
)
def test_wrong_searches_are_refused_before_anything_runs(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_plan({"name": "a", "preset": "demo", "search": {"batch_size": [8, 16]}} | changes)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "points is empty; expected at least one"),
        (["a"], r"points is \['a'\]; expected tables, each begun by \[\[points\]\]"),
        ([{"epochs": 3}], "needs a label"),
        ([{"label": "a"}, {"label": "a"}], "needs a label of its own"),
        ([{"label": "a", "continues": "b"}], "no point before it"),
        ([{"label": "a", "epoch": 3}], "There is no setting 'epoch'"),
        (
            [{"label": "a"}, {"label": "b", "continues": "a", "batch_size": 8}],
            "cannot change batch_size",
        ),
    ],
)
def test_wrong_points_are_refused(entries: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_plan({"name": "a", "preset": "demo", "points": entries})


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no study nois.*faces-three-trainings, noise"):
        load_study("nois")
    broken = tmp_path / "a.toml"
    for content in (b"name = ", b"name = '\xe9'", b"seeds = " + b"9" * 5000, b"a = " + b"[" * 5000):
        broken.write_bytes(content)
        with pytest.raises(ConfigError, match=r"a\.toml is not a TOML file"):
            load_study(str(broken))


def test_a_byte_order_mark_before_a_study_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    text = "name = 'a'\npreset = 'demo'\n[grid]\nbeta1 = [0.5]\n"
    path.write_text(text, encoding="utf-8-sig")
    assert load_study(str(path)).name == "a"


def test_an_upscaler_is_refused_since_its_images_cannot_be_scored() -> None:
    plan = {"name": "a", "preset": "upscaler64to256", "grid": {"learning_rate": [1e-4]}}
    with pytest.raises(ConfigError, match="makes no images of its own"):
        read_plan(plan)


# --- Searches whose points differ in size, whose settings belong together, with further seeds

SIZES = {
    "name": "a",
    "preset": "monet64aug",
    "trials": 9,
    "seeds": [3, 4, 5],
    "reduction": 3,
    "settings": {"holdout": 0.25},
    "search": {
        "image_size": [64, 128, 256],
        "r1": {
            "none": {"discriminator_norm": "batch", "r1_weight": 0.0},
            "full": {"discriminator_norm": "layer", "r1_weight": 1.0},
        },
    },
    "evaluation": {"criterion": "holdout_kid"},
    "upscaler": UPSCALER,
}


def test_settings_that_belong_together_are_drawn_by_a_name() -> None:
    plan = read_plan(SIZES)
    point = search_point(plan, {"image_size": 64, "r1": "full"}, 3)
    assert point.label == "image_size=64, r1=full"
    config = plan.config(point)
    assert isinstance(config.network, NormedNetwork)
    assert config.network.discriminator_norm == "layer"
    assert plan.run_count == 9 + 3 + 1


def test_every_size_has_an_upscaler_trained_on_what_the_points_are_trained_on() -> None:
    plan = read_plan(SIZES)
    points = [search_point(plan, {"image_size": s, "r1": "none"}, 3) for s in (64, 128, 256)]
    assert [factor_of(plan, point) for point in points] == [4, 2, None]
    config = upscaler_config(plan, 2)
    assert isinstance(config.network, UpscalerNetwork)
    assert config.network.upscale_factor == 2
    assert (config.data.holdout, config.training.seed, config.budget.minutes) == (0.25, 3, 7)
    other = read_plan(SIZES | {"settings": {"holdout": 0.5}})
    assert upscaler_folder(other, 2) != upscaler_folder(plan, 2) != upscaler_folder(plan, 4)
    plain = read_plan(SIZES | {"upscaler": {}})
    assert factor_of(plain, points[0]) is None
    assert plain.folder(points[0]) != plan.folder(points[0])  # its images are others


def test_a_study_is_run_with_less_of_everything() -> None:
    plan = with_changes(read_plan(SIZES), {"minutes": 2, "batch_size": 8}, 4, 60, "inception")
    assert (plan.trials, plan.evaluation.count) == (4, 60)
    assert plan.settings == {"holdout": 0.25, "minutes": 2, "batch_size": 8}
    assert upscaler_config(plan, 4).budget.minutes == 2


@pytest.mark.parametrize(
    ("plan", "settings", "points", "message"),
    [
        (SIZES, {"image_size": 64}, None, "points differ in image_size: leave that out"),
        (SIZES, {"r1_weight": 0.5}, None, "points differ in r1_weight"),
        (SIZES, {"holdout": 0.0}, None, "nothing is held out"),
        (SIZES, {"batchsize": 4}, None, "Did you mean 'batch_size'"),
        (GRID, {}, 3, r"--points goes with a \[search\]; a has its points written out"),
    ],
)
def test_changes_that_do_not_fit_the_study_are_refused(
    plan: dict[str, Any], settings: dict[str, Any], points: int | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        with_changes(read_plan(plan), settings, points)
