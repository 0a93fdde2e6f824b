"""Settings are strict, and every way to give them means the same."""

import json
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import (
    Config,
    all_settings,
    apply_settings,
    change_output,
    differences,
    family_names,
    family_settings,
    load_preset,
    parse_assignment,
    preset_names,
    read_toml,
    resolve,
    settings_of,
)
from pipeline.config.about import without_about
from pipeline.config.sections import DataConfig, NetworkConfig
from pipeline.core.errors import ConfigError
from pipeline.families.dcgan import DcganNetwork
from pipeline.families.fastgan.settings import FastganNetwork, FastganTraining
from pipeline.families.noise.settings import PlainData, PlainTraining
from pipeline.families.upscaler.settings import UpscalerData, UpscalerNetwork, UpscalerTraining


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_has_a_budget(name: str) -> None:
    budget = load_preset(name).budget
    assert (budget.images, budget.epochs, budget.minutes) != (None, None, None)


def test_an_unknown_preset_lists_those_that_exist() -> None:
    with pytest.raises(
        ConfigError, match=r"no preset 'monet'.*dcgan64, demo, faces64, monet-dcgan, monet64"
    ):
        load_preset("monet")


def test_names_of_settings_are_unique_over_the_sections() -> None:
    for family in family_names():
        sections = family_settings(family).sections().values()
        assert sum(len(fields(s)) for s in sections) == len(settings_of(family))


def test_a_setting_is_in_one_section_whatever_the_family() -> None:
    for name, families in all_settings().items():
        assert len({settings_of(family)[name].section for family in families}) == 1


def test_what_a_family_does_not_know_does_not_exist_for_it() -> None:
    upscaler = apply_settings(Config(), {"family": "upscaler", "latent_size": 16})
    assert "kernel_size" not in upscaler.to_dict()["network"]
    for value in (4, 5):  # also at what is another family's default
        with pytest.raises(ConfigError, match=r"'upscaler' has no such thing.* to dcgan"):
            apply_settings(upscaler, {"kernel_size": value})


@pytest.mark.parametrize(
    ("family", "classes"),
    [
        ("dcgan", (PlainData, DcganNetwork, PlainTraining)),
        ("fastgan", (DataConfig, FastganNetwork, FastganTraining)),
        ("upscaler", (UpscalerData, UpscalerNetwork, UpscalerTraining)),
    ],
)
def test_the_sections_are_the_family_s(family: str, classes: tuple[type, ...]) -> None:
    config = apply_settings(Config(), {"family": family, "latent_size": 16})
    assert (type(config.data), type(config.network), type(config.training)) == classes
    with pytest.raises(TypeError, match=r"\[network\] of family"):
        replace(config, network=NetworkConfig(family))


def test_another_family_keeps_what_both_know() -> None:
    wide = apply_settings(Config(), {"generator_channels": 96, "batch_size": 8})
    dense = apply_settings(wide, {"family": "dense-start"})
    assert (dense.values()["generator_channels"], dense.training.batch_size) == (96, 8)
    with pytest.raises(ConfigError, match="kernel_size is 5, and family 'fastgan'"):
        apply_settings(apply_settings(Config(), {"kernel_size": 5}), {"family": "fastgan"})


def test_another_family_has_its_own_defaults() -> None:
    for family in family_names():
        needed = {"latent_size": 16} if family == "upscaler" else {}
        found = apply_settings(Config(), {"family": family, **needed}).values()
        defaults = {name: setting.default for name, setting in settings_of(family).items()}
        assert found == defaults | needed, family


def test_what_an_earlier_version_wrote_of_other_families_is_dropped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sections = {"network": {"family": "fastgan", "kernel_size": 4, "residual_blocks": 5}}
    assert Config.from_saved(sections) == apply_settings(Config(), {"family": "fastgan"})
    assert capsys.readouterr().err == ""
    sections["network"]["residual_blocks"] = 7
    assert Config.from_saved(sections) == apply_settings(Config(), {"family": "fastgan"})
    assert "without effect: residual_blocks=7" in capsys.readouterr().err
    assert Config.from_saved(sections, quiet=True).family == "fastgan"
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match="has no such thing"):
        Config.from_dict(sections)
    with pytest.raises(ConfigError, match="no setting 'blocks'"):
        Config.from_saved({"network": {"blocks": 5}})


@pytest.mark.parametrize("family", [[], ["dcgan"], 5, "gan"])
def test_what_is_no_family_is_refused_wherever_it_stands(family: Any, tmp_path: Path) -> None:
    said = r"family is .*; expected one of dcgan"
    (tmp_path / "a.toml").write_text(f"family = {json.dumps(family)}")
    with pytest.raises(ConfigError, match=said):
        apply_settings(Config(), {"family": family})
    with pytest.raises(ConfigError, match=said):
        Config.from_saved({"network": {"family": family}})
    with pytest.raises(ConfigError, match=said):
        resolve("demo", tmp_path / "a.toml")


def test_flat_and_sectioned_toml_and_assignments_mean_the_same(tmp_path: Path) -> None:
    flat, sectioned = tmp_path / "flat.toml", tmp_path / "sectioned.toml"
    flat.write_text("batch_size = 8\nimage_size = 32\n")
    sectioned.write_text("[training]\nbatch_size = 8\n[data]\nimage_size = 32\n")
    by_hand = resolve("demo", None, ["batch_size=8", "data.image_size=32"])
    assert resolve("demo", flat) == resolve("demo", sectioned) == by_hand
    assert (by_hand.training.batch_size, by_hand.data.image_size) == (8, 32)


def test_later_ways_win_over_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("batch_size = 8\nbeta1 = 0.3\n")
    config = resolve("demo", file, ["batch_size=16"])
    assert (config.training.batch_size, config.training.beta1) == (16, 0.3)
    assert config.network == load_preset("demo").network


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"batchsize": 8}, "Did you mean 'batch_size'"),
        ({"training": {"learning_rat": 0.1}}, "Did you mean 'learning_rate'"),
        ({"trainning": {"seed": 1}}, "Did you mean 'training'"),
        ({"data": {"batch_size": 8}}, "no setting 'batch_size'"),
        ({"zzzzzz": 1}, "Settings: "),
    ],
)
def test_an_unknown_name_is_refused_and_the_nearest_named(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.from_dict(sections)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", "many"), ("batch_size", 8.5), ("batch_size", True), ("batch_size", None),
        ("horizontal_flip", 1), ("learning_rate", "fast"), ("noise", 3), ("images", 1.5),
        ("beta1", [0.5]),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .*expected"):
        apply_settings(Config(), {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", 48), ("batch_size", 1), ("seed", -1), ("learning_rate", 0.0),
        ("learning_rate", float("nan")), ("beta1", 1.0), ("real_label", 1.2), ("minutes", 0.0),
        ("minutes", float("nan")), ("minutes", float("inf")), ("images", 0), ("noise", "pink"),
        ("precision", "float8"), ("jpeg_quality", 0), ("upscale", "nearest"), ("log_every", 0),
        ("chroma_subsampling", "4:1:1"), ("latent_size", 0), ("family", "vae"),
        ("checkpoint_minutes", float("nan")),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .*expected"):
        apply_settings(Config(), {name: value})


def test_whole_numbers_serve_as_fractions_and_none_lifts_a_limit() -> None:
    config = apply_settings(Config(), {"minutes": 3, "epochs": "none"})
    assert config.budget.minutes == 3.0
    assert isinstance(config.budget.minutes, float)
    assert config.budget.epochs is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch_size=32", ("batch_size", 32)),
        ("learning_rate=2e-4", ("learning_rate", 2e-4)),
        ("horizontal_flip=false", ("horizontal_flip", False)),
        ("noise=uniform(-1, 1)", ("noise", "uniform(-1, 1)")),
        ('upscale="bicubic"', ("upscale", "bicubic")),
        ("training.seed=4", ("seed", 4)),
    ],
)
def test_assignments_are_toml_values_or_plain_text(text: str, expected: tuple[str, Any]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize(
    ("name", "literal", "message"),
    [
        ("holdout_seed", "9" * 23, r"beyond 2\*\*63 - 1"),
        ("seed", "1" * 5000, r"beyond 2\*\*63 - 1"),
        ("seed", "0x" + "f" * 5000, r"beyond 2\*\*63 - 1"),
        ("seed", "[0x" + "f" * 5000 + "]", r"beyond 2\*\*63 - 1"),
        ("learning_rate", "1" * 400, r"beyond 2\*\*63 - 1"),
        ("images", "1" * 330, r"beyond 2\*\*63 - 1"),
        ("epochs", "1e308", r"epochs is 1e\+308; expected above 0, at most 1e18"),
        ("seed", "[" * 5000 + "]" * 5000, "too deep in each other"),
        ("seed", "{a" + ".a" * 3000 + " = 1}", "too deep in each other"),
    ],
    ids=lambda value: value[:20],
)
def test_numbers_beyond_all_bounds_are_refused_in_words(
    tmp_path: Path, name: str, literal: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as assigned:
        resolve("dcgan64", None, [f"{name}={literal}"])
    path = tmp_path / "a.toml"
    path.write_text(f"{name} = {literal}\n")
    with pytest.raises(ConfigError, match=message) as read:
        resolve("dcgan64", path)
    assert max(len(str(error.value)) for error in (assigned, read)) < 300


def test_settings_that_a_program_gives_are_bounded_too() -> None:
    for name, value in (("holdout_seed", 2**63), ("seed", 2**63), ("learning_rate", 10**400)):
        with pytest.raises(ConfigError, match=f"{name} is "):
            apply_settings(Config(), {name: value})


def test_text_with_a_line_break_is_no_second_value() -> None:
    assert parse_assignment("tracker=1\nother=2") == ("tracker", "1\nother=2")


def test_an_assignment_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_assignment("batch_size")


def test_files_that_are_missing_or_not_toml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no config file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("batch_size = = 3")
    with pytest.raises(ConfigError, match="not a TOML file"):
        read_toml(tmp_path / "bad.toml")


def test_differences_name_setting_old_and_new() -> None:
    changed = apply_settings(Config(), {"beta1": 0.0, "minutes": 5.0})
    assert differences(Config(), changed) == ["beta1: 0.5 in the run, 0.0 now"]


@given(
    seed=st.integers(0, 2**63 - 1),
    batch=st.integers(2, 65536),
    rate=st.floats(1e-9, 1),
    minutes=st.none() | st.floats(1e-3, 1e6),
)
def test_config_json_gives_the_same_config_back(
    seed: int, batch: int, rate: float, minutes: float | None
) -> None:
    settings = {"seed": seed, "batch_size": batch, "learning_rate": rate, "minutes": minutes}
    config = apply_settings(Config(), settings)
    assert Config.from_dict(config.to_dict()) == config


def test_presets_hold_only_settings() -> None:
    folder = Path(__file__).parents[2] / "pipeline" / "config" / "presets"
    for path in folder.glob("*.toml"):
        for section, values in without_about(tomllib.loads(path.read_text())).items():
            known = settings_of(load_preset(path.stem).family)
            assert all(known[name].section == section for name in values), path


def test_an_old_spelling_means_the_setting_of_today_and_says_so_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = resolve("paint64", None, ["redrawing_weight=2.5"])
    assert config.values()["reconstruction_weight"] == 2.5
    assert resolve("paint64", None, ["training.redrawing_weight=2.5"]) == config
    assert capsys.readouterr().err.count("is called reconstruction_weight now") == 1


def test_an_old_spelling_is_no_way_round_what_may_not_change_after_training() -> None:
    config = load_preset("paint64")
    for spelling in ("redrawing_weight", "reconstruction_weight"):
        with pytest.raises(ConfigError, match="reconstruction_weight cannot change after training"):
            change_output(config, [f"{spelling}=2.5"])


def test_saved_old_spellings_load_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    sections = resolve("paint64").to_dict()
    sections["training"]["redrawing_weight"] = sections["training"].pop("reconstruction_weight")
    assert Config.from_saved(sections) == resolve("paint64")
    assert capsys.readouterr().err == ""


def test_a_setting_under_both_its_names_is_refused() -> None:
    both = {"redrawing_weight": 1.0, "reconstruction_weight": 2.0}
    for settings in (both, dict(reversed(both.items()))):
        with pytest.raises(ConfigError, match="reconstruction_weight is given twice"):
            Config.from_dict({"network": {"family": "fastgan"}, "training": settings})


@pytest.mark.parametrize("order", [1, -1])
def test_a_setting_by_itself_and_in_its_section_is_refused(tmp_path: Path, order: int) -> None:
    path = tmp_path / "a.toml"
    path.write_text("batch_size = 32\n[training]\nbatch_size = 128\n")
    with pytest.raises(ConfigError, match="batch_size is given twice"):
        resolve("dcgan64", path)
    both = {"training": {"batch_size": 128}, "batch_size": 32}
    with pytest.raises(ConfigError, match="batch_size is given twice"):
        Config.from_dict(dict(list(both.items())[::order]))


def test_of_two_assignments_of_a_setting_the_latter_counts_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = ["beta1=0.25", "training.beta1=0.75", "seed=3", "seed=3"]
    config = resolve("dcgan64", None, texts)
    assert (config.training.beta1, config.training.seed) == (0.75, 3)
    said = capsys.readouterr().err
    assert said == "beta1 is set to 0.25 and then to 0.75: the latter counts.\n"


def test_a_byte_order_mark_before_toml_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("batch_size = 32\n", encoding="utf-8-sig")
    assert resolve("dcgan64", path).training.batch_size == 32
