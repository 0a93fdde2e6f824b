"""What Kaggle's replies say, gaps included."""

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.core.errors import KaggleError, KaggleUnsure
from pipeline.kaggle import responses
from pipeline.kaggle.records import KernelSource, LeaderboardRow, PushedKernel, Quota

NOON = datetime(2026, 11, 21, 12)  # noqa: DTZ001 - as the client gives them


def push_reply(**fields: Any) -> SimpleNamespace:
    kinds = ("competition_sources", "dataset_sources", "kernel_sources", "model_sources", "tags")
    reply: dict[str, Any] = {f"invalid_{kind}": [] for kind in kinds}
    about = {"error": "", "version_number": 3, "url": "https://x/code/alice/other", "ref": ""}
    return SimpleNamespace(**{**reply, **about, **fields})


@pytest.mark.parametrize(
    ("text", "number"),
    [("78.1", 78.1), ("", None), ("soon", None), ("nan", None), ("inf", None), (None, None)],
)
def test_a_score_is_a_finite_number_or_none(text: str, number: float | None) -> None:
    assert responses.parse_number(text) == number


def test_times_without_a_zone_mean_utc() -> None:
    assert responses.as_utc(None) is None
    assert responses.as_utc(NOON) == NOON.replace(tzinfo=UTC)
    elsewhere = NOON.replace(tzinfo=timezone(timedelta(hours=2)))
    assert responses.as_utc(elsewhere) == elsewhere


@pytest.mark.parametrize(
    ("log", "text"),
    [
        ("", ""),
        ('[{"data": "one\\n"}, {"data": null}, {}, 7, {"data": "two"}]', "one\ntwo"),
        ("no JSON", "no JSON"),
    ],
)
def test_a_log_is_the_text_of_its_events(log: str, text: str) -> None:
    assert responses.parse_log(log) == text


def test_teams_without_a_score_have_no_place() -> None:
    team = SimpleNamespace(team_name="A", score="55.5", submission_date=NOON)
    assert responses.leaderboard_row(team) == LeaderboardRow("A", 55.5, NOON.replace(tzinfo=UTC))
    assert responses.leaderboard_row(SimpleNamespace(score="")) is None


def test_texts_of_strangers_hold_nothing_that_a_terminal_obeys() -> None:
    evil, shown = "A\x1b[2J\u202eB\nC", r"A\u202eB C"
    team = SimpleNamespace(team_name=evil, score="55.5", submission_date=None)
    row = responses.leaderboard_row(team)
    assert row is not None
    assert row.team == shown
    ended = SimpleNamespace(status=SimpleNamespace(name="ERROR"), failure_message=evil)
    assert responses.kernel_status(ended).failure == shown
    texts = dict.fromkeys(("error_description", "description", "file_name", "team_name"), evil)
    submitted = SimpleNamespace(ref=1, status=ended.status, public_score="", date=None, **texts)
    found = responses.submission(submitted)
    assert [found.error, found.description, found.file_name, found.team] == [shown] * 4
    with pytest.raises(KaggleError) as refused:
        responses.pushed_kernel(push_reply(error=evil), "alice/wanted")
    assert str(refused.value).endswith(shown)


def test_time_that_is_reserved_is_spent() -> None:
    hour = timedelta(hours=1)
    gpu = SimpleNamespace(total_time_allowed=30 * hour, time_used=None, time_reserved=2 * hour)
    found = responses.quota(SimpleNamespace(gpu_quota=gpu, quota_refresh_time=None))
    assert found == Quota(120, 1800, None)
    gpu.total_time_allowed = None
    assert responses.quota(SimpleNamespace(gpu_quota=gpu)) is None
    assert responses.quota(SimpleNamespace(gpu_quota=None)) is None


def test_a_version_without_a_source_has_an_empty_one() -> None:
    assert responses.kernel_source(SimpleNamespace(blob=None), 2) == KernelSource(2, "")
    blob = SimpleNamespace(source="print()")
    assert responses.kernel_source(SimpleNamespace(blob=blob), 2) == KernelSource(2, "print()")


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "alice/other"),
        ({"url": "", "ref": "/code/alice/third/"}, "alice/third"),
        ({"url": "", "ref": ""}, "alice/wanted"),
    ],
)
def test_the_reply_names_the_kernel(fields: dict[str, str], name: str) -> None:
    reply = push_reply(**fields)
    assert responses.pushed_kernel(reply, "alice/wanted") == PushedKernel(name, 3, reply.url)


def test_what_was_left_out_is_told_with_advice() -> None:
    reply = push_reply(invalid_dataset_sources=["alice/a", "alice/b"], invalid_tags=["x"])
    found = responses.pushed_kernel(reply, "alice/wanted").missing
    assert found == (
        "datasets alice/a, alice/b (is it there, ready, and yours to see?); tags x (leave it out)"
    )
    reply.version_number = 0
    with pytest.raises(KaggleError, match="could not attach to alice/wanted: datasets"):
        responses.pushed_kernel(reply, "alice/wanted")


def test_a_push_is_refused_or_of_unknown_outcome() -> None:
    with pytest.raises(KaggleError, match="refused the kernel alice/wanted: too many"):
        responses.pushed_kernel(push_reply(error="too many"), "alice/wanted")
    with pytest.raises(KaggleUnsure, match="no version number"):
        responses.pushed_kernel(push_reply(version_number=None), "alice/wanted")
