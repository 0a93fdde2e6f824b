"""Links are followed, circles are not, and nothing is missing without a word."""

import os
from pathlib import Path

import pytest

from pipeline.data.images import content_hash, open_images
from pipeline.data.listing import list_files
from tests.support.helpers import fill


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    elsewhere, data = fill(tmp_path / "elsewhere", 3), tmp_path / "data"
    (data / "monet_jpg").mkdir(parents=True)
    (data / "photo_jpg").symlink_to(elsewhere)
    (data / "monet_jpg" / "x.jpg").symlink_to(elsewhere / "0.jpg")
    assert open_images(data, "all").names == (
        "monet_jpg/x.jpg", "photo_jpg/0.jpg", "photo_jpg/1.jpg", "photo_jpg/2.jpg",
    )  # fmt: skip
    (tmp_path / "link").symlink_to(elsewhere)
    assert content_hash(open_images(tmp_path / "link")) == content_hash(open_images(elsewhere))


def test_a_circle_of_links_ends_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "a", 2)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "a")
    found = list_files(tmp_path)
    assert sorted(found.files) == ["a/0.jpg", "a/1.jpg", "again/0.jpg", "again/1.jpg"]
    assert sorted(found.loops) == ["a/up", "again/up"]
    assert len(open_images(tmp_path)) == 4
    assert "2 links lead back into a folder that holds them (a" in capsys.readouterr().err


def test_links_that_lead_nowhere_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, 1)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert open_images(tmp_path).names == ("0.jpg",)
    assert "2 links lead nowhere (" in capsys.readouterr().err
    (tmp_path / "itself").unlink()
    assert list_files(tmp_path).problems() == ["1 link leads nowhere (gone.jpg)"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every folder")
def test_a_folder_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    fill(tmp_path / "a", 1)
    (tmp_path / "b").mkdir(mode=0)
    assert list_files(tmp_path).inaccessible == ["b/: Permission denied"]


def test_hidden_folders_are_looked_into_only_if_asked(tmp_path: Path) -> None:
    fill(tmp_path / ".git", 1)
    (tmp_path / ".gitkeep").touch()
    assert list_files(tmp_path).files == [".gitkeep"]
    assert sorted(list_files(tmp_path, hidden=True).files) == [".git/0.jpg", ".gitkeep"]
