"""The ledger: whole at any moment, with many processes, and for later versions to read."""

import json
import multiprocessing
from pathlib import Path

import pytest

from pipeline.core.errors import RunError
from submission.ledger import Ledger, Row, tag_of


def row(version: int, **fields: object) -> Row:
    return Row("alice/painter-first", version, "first", "first", "0" * 64, **fields)  # type: ignore[arg-type]  # whatever a test sets


def add(path: Path, version: int) -> None:
    with Ledger(path).transaction() as transaction:
        transaction.rows.append(row(version))
        transaction.save()


def test_no_file_is_an_empty_ledger(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "ledger.json").rows() == []


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    kept = row(3, mifid=88.5, features="inception", ref=7, public_score=78.1, status="COMPLETE")
    with ledger.transaction() as transaction:
        transaction.rows.append(kept)
        transaction.save()
    assert ledger.rows() == [kept]
    with ledger.transaction() as transaction:
        assert transaction.find("alice/painter-first", 3) == kept
        assert transaction.find("alice/painter-first", 4) is None
        assert transaction.find("bob/painter-first", 3) is None


def test_nothing_is_written_without_save(tmp_path: Path) -> None:
    add(tmp_path / "ledger.json", 1)
    with Ledger(tmp_path / "ledger.json").transaction() as transaction:
        transaction.rows.clear()
    assert len(Ledger(tmp_path / "ledger.json").rows()) == 1


def test_processes_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=add, args=(path, number)) for number in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(r.version for r in Ledger(path).rows()) == list(range(12))


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    add(path, 1)
    content = json.loads(path.read_text())
    content["submissions"][0]["later"] = 1
    path.write_text(json.dumps(content))
    assert Ledger(path).rows() == [row(1)]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"submissions": [{}]}',
        '{"submissions": 3}',
        '{"submissions": [{"kernel": 1, "version": 1, "run": "", "description": "", '
        '"images_sha256": ""}]}',
        '{"submissions": [{"kernel": "", "version": 1, "run": "", "description": "", '
        '"images_sha256": "", "submitted": "2026-01-01T00:00:00"}]}',
    ],
)
def test_a_damaged_ledger_is_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ledger.json"
    path.write_text(content)
    with pytest.raises(RunError) as caught, Ledger(path).transaction():
        pass
    assert str(caught.value).count("Move it away") == 1
    assert path.read_text() == content


def test_tags_tell_versions_apart() -> None:
    tags = {tag_of(k, v) for k in ("a/b", "a/c") for v in (1, 11)}
    assert len(tags) == 4
    assert not any(a != b and a.startswith(b) for a in tags for b in tags)
