"""`painter runs`: a table of run folders that fits the terminal."""

from pathlib import Path

import pytest

from pipeline.cli import run_command
from pipeline.config import Config
from pipeline.system.storage import write_json

LONG = "runs-whose-folder-has-a-name-that-is-longer-than-a-third-of-the-line"


@pytest.mark.parametrize(("columns", "said"), [(100, ""), (30, "Without room here: ")])
def test_long_names_and_damaged_runs_move_no_numbers(
    tmp_path: Path,
    columns: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in ("a", "broken", LONG):
        write_json(tmp_path / name / "config.json", Config().to_dict())
    (tmp_path / "broken" / "stats.jsonl").write_text("{\n{\n")
    assert run_command(["runs", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].split()[:3] == ["run", "images", "minutes"]
    ends = {line.index(" 0 ") + 2 for line in lines if " 0 " in line}
    assert ends == {lines[0].index("images") + len("images")}
    assert "".join(line.strip() for line in lines).count(LONG) == 1
    assert "is not a line of statistics" in " ".join(printed.split())
    assert said in printed
