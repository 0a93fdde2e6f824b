"""The settings of a run beside its preset's."""

from typing import Any

import pytest

from pipeline.config import load_preset, resolve
from pipeline.reports.run_settings import Changed, difference_to_preset, settings_in

CHANGED = ("batch_size=32", "noise=gamma(2, 1)", "jpeg_quality=75")
RUN = resolve("demo", assignments=CHANGED).to_dict()


def sitting(*words: str) -> dict[str, Any]:
    return {"sittings": [{"command": ["painter", "train", *words]}, {"command": ["other"]}]}


@pytest.mark.parametrize("words", [("--preset", "demo", "--run", "a"), ("--preset=demo",)])
def test_what_differs_from_the_preset_of_the_first_command_is_listed(
    words: tuple[str, ...],
) -> None:
    found = difference_to_preset(RUN, sitting(*words))
    assert found is not None
    assert (found.preset, found.named) == ("demo", True)
    # The quality of JPEGs is the data's, unless somebody says otherwise.
    assert found.changed == (
        Changed("batch_size", "32", "64"),
        Changed("noise", "gamma(2, 1)", "normal(0, 1)"),
    )


@pytest.mark.parametrize("provenance", [None, {}, sitting(), sitting("--preset", "paint256")])
def test_without_a_preset_that_fits_it_is_the_nearest(provenance: dict[str, Any] | None) -> None:
    found = difference_to_preset(RUN, provenance)
    assert found is not None
    assert (found.preset, found.named) == ("demo", False)


def test_settings_that_cannot_be_read_differ_from_nothing() -> None:
    assert difference_to_preset({"data": {"no setting": 1}}, None) is None
    assert difference_to_preset({"network": 3}, None) is None


def test_all_settings_stand_under_their_own_names() -> None:
    config = load_preset("demo")
    assert settings_in(config.to_dict()).keys() == config.values().keys()
    assert settings_in({"loose": 1, "data": {"a": 2}}) == {"a": 2}
