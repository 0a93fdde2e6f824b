"""A page's address, or a name in another form, is understood as the source that it names."""

import pytest

from pipeline.data.sources import COMPETITION
from pipeline.kaggle.names import did_you_mean, parse_dataset_name, parse_source

SITE = "https://www.kaggle.com"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (f"{SITE}/competitions/gan-getting-started", "competition"),
        (f"{SITE}/competitions/gan-getting-started/data?select=monet_jpg", "competition"),
        (f"{SITE}/c/gan-getting-started/", "competition"),
        ("gan-getting-started", "competition"),
        ("competitions/gan-getting-started", "competition"),
        ("competition:gan-getting-started", "competition"),
        ("Competition", "competition"),
        (" sample ", "sample"),
        (f"{SITE}/datasets/alice/monet-2", "dataset:alice/monet-2"),
        ("http://kaggle.com/datasets/alice/monet/data#top", "dataset:alice/monet"),
        ("www.kaggle.com/alice/monet", "dataset:alice/monet"),
        (f"dataset:{SITE}/datasets/alice/monet", "dataset:alice/monet"),
        ("alice/monet", "dataset:alice/monet"),
        ("datasets/alice/monet", "dataset:alice/monet"),
        ("Dataset: alice/monet", "dataset:alice/monet"),
        ("dataset:alice/monet/versions/3", "dataset:alice/monet"),
        (f"{SITE}/competitions/titanic", None),
        (f"{SITE}/code/alice/monet", None),
        (f"{SITE}/datasets/alice", None),
        ("https://example.org/alice/monet", None),
        ("pictures/of/monet", None),
        ("/tmp/monet", None),
        ("../monet", None),
        ("monet", None),
        ("", None),
    ],
)
def test_what_names_a_source_in_another_form_is_understood(given: str, meant: str | None) -> None:
    assert parse_source(given, COMPETITION) == meant
    if meant is None or meant.startswith("dataset:"):
        assert parse_dataset_name(given) == (meant.removeprefix("dataset:") if meant else None)


def test_the_question_ends_a_message() -> None:
    assert did_you_mean("x") == " Did you mean x?"
    assert did_you_mean(None) == ""
