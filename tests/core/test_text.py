"""Names that are not UTF-8 become text that every file and page takes."""

import io
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import run_command
from pipeline.core.advice import lines_of_left_out
from pipeline.core.redaction import RedactedStream
from pipeline.core.text import (
    escape_controls,
    escape_output,
    escape_surrogates,
    escape_values,
    one_line,
    show_controls,
)
from pipeline.core.user_warnings import warn_once
from pipeline.system.storage import write_text

LATIN = os.fsdecode(b"caf\xe9")


def test_bytes_that_are_not_utf8_are_shown_as_a_shell_shows_them() -> None:
    assert escape_surrogates(LATIN) == r"caf\xe9"
    assert escape_surrogates("\ud800") == r"\ud800"
    assert escape_surrogates("café 日本 🎨") == "café 日本 🎨"


@given(st.text(st.characters()))
def test_whatever_the_text_it_can_be_written_and_is_left_alone_the_second_time(text: str) -> None:
    shown = escape_surrogates(text)
    shown.encode()
    assert escape_surrogates(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m and \x1b[2Jcleared", "red and cleared"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b\x1b[0m[2J\x9b2J", r"\x1b[2J\x9b2J"),
        ("a\r\nb\u2028c\td", "a  b c\td"),
        ("b\u202ecod\u2069 \u200fx", r"b\u202ecod\u2069 \u200fx"),
        ("café 日本 🎨 عربي", "café 日本 🎨 عربي"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_or_left_out(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_every_string_and_key_of_a_json_value_is_legible() -> None:
    found = escape_values({LATIN: [LATIN, (1, None)], "n": 2.5, "b": True})
    assert found == {r"caf\xe9": [r"caf\xe9", [1, None]], "n": 2.5, "b": True}
    assert json.loads(json.dumps(found)) == found


def test_a_text_file_takes_any_name(tmp_path: Path) -> None:
    write_text(tmp_path / "a", f"{LATIN}\n")
    assert (tmp_path / "a").read_text() == "caf\\xe9\n"


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "caf\\xe9 café"), ("ascii", "caf\\xe9 caf\\xe9")]
)
def test_standard_output_takes_any_name(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    escape_output()
    print(f"{LATIN} café", flush=True)
    assert written.getvalue().decode(encoding) == f"{shown}\n"


def test_a_line_is_said_once_and_a_closed_stream_is_no_reason_to_stop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warn_once(f"once {LATIN}")
    warn_once(f"once {LATIN}")
    assert capsys.readouterr().err == "once caf\\xe9\n"
    monkeypatch.setenv("RANK", "1")
    warn_once("by another rank")
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("RANK")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    warn_once("into nothing")
    monkeypatch.setattr(sys, "stderr", None)
    warn_once("into less")


NASTY = "a\x1b[2J\x1b]0;title\x07\npainter: done\r\x9b1A.jpg"


def test_a_name_neither_steers_a_terminal_nor_passes_for_further_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = r"a\x1b[2J\x1b]0;title\x07\npainter: done\r\x9b1A.jpg"
    assert show_controls(NASTY) == shown
    assert show_controls("a\u202eb\tc") == r"a\u202eb\tc"
    assert lines_of_left_out([f"{NASTY} is damaged"]) == [f"left out: {shown} is damaged"]
    warn_once(f"look at {NASTY}")
    assert capsys.readouterr().err == f"look at {shown}\n"


def test_what_is_printed_keeps_its_lines_and_colours_and_progress_bars() -> None:
    styled, cleared = "\x1b[1mbold\x1b[0m\x1b[34;1mblue", "\r\x1b[Am\x1b[2K\r"
    hidden, erased = "\x1b[?25l", "warning\x1b[K: by a compiler"
    for own in ("one\n\ttwo\n", "\r50%|##", "\n\x1b[A\x1b[A", styled, cleared, hidden, erased):
        assert escape_controls(own) == own
    assert escape_controls("a\x1b[A\x1b[2Jb\x1b[1mc") == r"a\x1b[A\x1b[2Jb" + "\x1b[1mc"


def test_an_error_that_names_a_file_does_not_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a\x07.jpg").write_text("no image")
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", RedactedStream(written))
    assert run_command(["download", "--source", str(data), "--data", str(tmp_path / "b")]) == 2
    assert r"a\x07.jpg cannot be decoded" in written.getvalue()
