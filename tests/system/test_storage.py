"""Files are whole or absent."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.system.filesystem import make_folder, resolve_new_folder, resolve_target
from pipeline.system.image_writers import FolderImageWriter, ZipImageWriter, open_image_writer
from pipeline.system.storage import atomic_file, atomic_folder, write_json, write_text
from tests.support.leftovers import name_by_a_process_that_is_gone


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*"))


def break_off(path: Path) -> None:
    """Begin to write a file, then stop as Ctrl+C does."""
    with atomic_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt


def break_off_folder(path: Path) -> None:
    """Begin to fill a folder, then stop as Ctrl+C does."""
    with atomic_folder(path) as folder:
        (folder / "new.jpg").write_bytes(b"new")
        raise KeyboardInterrupt


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    with atomic_file(target) as file:
        file.write(b"half")
        assert not target.exists()
        file.write(b" and half")
    assert target.read_bytes() == b"half and half"
    assert names(tmp_path) == ["a.txt", "deep"]


def test_a_failure_leaves_the_earlier_file_and_no_other(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "earlier")
    with pytest.raises(KeyboardInterrupt):
        break_off(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "earlier"
    assert names(tmp_path) == ["a.txt"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from pipeline.system.image_writers import ZipImageWriter
from pipeline.system.storage import write_bytes
# The kernel itself refuses to let a file grow, as a full disk does.
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
for attempt in (
    lambda: write_bytes(folder / "a.bin", b"x" * 5000),
    lambda: fill_zip(folder / "images.zip"),
):
    def fill_zip(path):
        with ZipImageWriter(path) as writer:
            for n in range(100):
                writer.add(f"{n}.jpg", b"x" * 100)
    try:
        attempt()
    except OSError as error:
        print("refused", error.errno)
"""


def test_a_full_disk_leaves_the_earlier_files_and_nothing_half_written(tmp_path: Path) -> None:
    for name in ("a.bin", "images.zip"):
        (tmp_path / name).write_bytes(b"earlier")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.count("refused") == 2
    assert done.stderr == ""
    assert names(tmp_path) == ["a.bin", "images.zip"]
    assert {(tmp_path / n).read_bytes() for n in names(tmp_path)} == {b"earlier"}


def test_a_folder_is_replaced_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    (target / "old.jpg").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        break_off_folder(target)
    assert names(tmp_path) == ["data", "old.jpg"]
    with atomic_folder(target) as folder:
        (folder / "new.jpg").write_bytes(b"new")
    assert names(tmp_path) == ["data", "new.jpg"]


def test_what_an_interrupted_call_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    stale = name_by_a_process_that_is_gone(tmp_path / "data")
    stale.mkdir()
    (stale / "stale.jpg").write_bytes(b"stale")
    name_by_a_process_that_is_gone(tmp_path / "data", "aside_name").mkdir()
    with atomic_folder(tmp_path / "data") as folder:
        (folder / "new.jpg").write_bytes(b"new")
    assert names(tmp_path) == ["data", "new.jpg"]


def test_a_folder_is_whole_at_every_moment_of_its_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with atomic_folder(tmp_path / "data") as folder:
        (folder / "old.jpg").write_bytes(b"old")
    seen = []

    def stopped(path: Path, **options: bool) -> None:
        seen.append(names(path))
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "data") as folder:
        (folder / "new.jpg").write_bytes(b"new")
    # What is removed is the earlier folder under a hidden name; the new one is in place.
    assert seen == [["old.jpg"]]
    assert names(tmp_path / "data") == ["new.jpg"]


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_folder_that_nothing_can_lie_beside_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="by its own name"), atomic_folder(Path(name)):
        pass


def test_nan_never_reaches_a_json_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "score.json", {"fid": float("nan")})
    assert names(tmp_path) == []


def test_a_zip_is_stored_dated_alike_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        with ZipImageWriter(tmp_path / name) as writer:
            writer.add("1.jpg", b"x" * 100)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        (entry,) = archive.infolist()
    assert entry.compress_type == zipfile.ZIP_STORED
    assert entry.date_time == (1980, 1, 1, 0, 0, 0)


def test_the_name_decides_between_zip_and_folder(tmp_path: Path) -> None:
    assert isinstance(open_image_writer(tmp_path / "a.ZIP"), ZipImageWriter)
    assert isinstance(open_image_writer(tmp_path / "a"), FolderImageWriter)


def test_a_folder_of_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"already holds other files.*thesis\.tex"):
        open_image_writer(tmp_path)
    with pytest.raises(DataError, match="is a file"):
        open_image_writer(tmp_path / "thesis.tex")
    assert names(tmp_path) == ["thesis.tex"]


def write_folder(path: Path) -> None:
    with atomic_folder(path) as folder:
        (folder / "new.jpg").write_bytes(b"new")


@pytest.mark.parametrize("there", [True, False])
def test_where_a_link_leads_is_replaced_and_the_link_stays(tmp_path: Path, there: bool) -> None:
    disk, here = tmp_path / "disk", tmp_path / "here"
    for folder in (disk, here):
        folder.mkdir()
    if there:
        (disk / "data").mkdir()
        (disk / "data" / "old.jpg").write_bytes(b"old")
        write_text(disk / "a.txt", "earlier")
    for name in ("data", "a.txt"):
        (here / name).symlink_to(Path("..") / "disk" / name)
    write_folder(here / "data")
    write_text(here / "a.txt", "new")
    assert names(disk) == ["a.txt", "data", "new.jpg"]
    assert (disk / "a.txt").read_text() == "new"
    assert names(here) == ["a.txt", "data"]  # a link's own folder is not searched
    assert all(path.is_symlink() for path in here.iterdir())


def test_a_folder_is_made_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "runs")
    make_folder(tmp_path / "runs" / "first")
    make_folder(tmp_path / "runs")
    assert names(tmp_path / "disk") == ["first", "runs"]


@pytest.mark.parametrize("write", [write_folder, make_folder, lambda path: write_text(path, "new")])
@pytest.mark.parametrize("leads", ["gone/deeper", "link"])
def test_a_link_that_leads_nowhere_is_refused(
    tmp_path: Path, write: Callable[[Path], None], leads: str
) -> None:
    (tmp_path / "link").symlink_to(leads)
    with pytest.raises(DataError, match=rf"link to {leads}, which leads nowhere"):
        write(tmp_path / "link")
    assert names(tmp_path) == ["link"]


def test_a_link_that_was_left_behind_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    write_text(tmp_path / "disk" / "mine.txt", "mine")
    (tmp_path / "data").mkdir()
    left = name_by_a_process_that_is_gone(tmp_path / "data", "aside_name")
    left.symlink_to(tmp_path / "disk")
    write_folder(tmp_path / "data")
    assert names(tmp_path) == ["data", "disk", "mine.txt", "new.jpg"]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that shows another one of the same disk, or skip."""
    folder, other = tmp_path / "the disk", tmp_path / "other"
    for path in (folder, other):
        path.mkdir()
    command = ["mount", "--bind", str(other), str(folder)]
    tried = shutil.which("mount") and subprocess.run(command, capture_output=True, check=False)
    if not tried or tried.returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("table", [True, False])
def test_a_mount_point_is_not_replaced(
    mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: bool
) -> None:
    if not table:  # as on systems without one: the rename at the end is what fails
        monkeypatch.setattr("pipeline.system.filesystem.MOUNTS", tmp_path / "none")
    (tmp_path / "link").symlink_to(mounted)
    for path in (mounted, tmp_path / "link"):
        with pytest.raises(DataError, match=r"is a mount point.*such as .*/painter"):
            write_folder(path)
    write_folder(mounted / "painter")
    assert names(tmp_path / "other") == ["new.jpg", "painter"]
    assert not list(tmp_path.glob(".*"))


def test_another_disk_is_refused_before_anything_is_made() -> None:
    with pytest.raises(DataError, match="/proc is a mount point"):
        resolve_target(Path("/proc"))


@pytest.mark.parametrize("name", ["x.tar.gz", "x.PNG", "x.7z", "x.npz"])
def test_a_name_that_promises_another_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"not into a .* file. Choose a name ending in \.zip"):
        open_image_writer(tmp_path / name)
    with pytest.raises(DataError, match="Choose a name without that ending"):
        resolve_new_folder(tmp_path / name)
    (tmp_path / name).mkdir()  # a folder that is there shows what is meant
    assert isinstance(open_image_writer(tmp_path / name), FolderImageWriter)
    assert resolve_new_folder(tmp_path / name) == tmp_path / name


def test_a_folder_set_aside_by_a_killed_process_comes_back(tmp_path: Path) -> None:
    aside = name_by_a_process_that_is_gone(tmp_path / "data", "aside_name")
    aside.mkdir()
    (aside / "painting.jpg").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        break_off_folder(tmp_path / "data")
    assert (tmp_path / "data" / "painting.jpg").read_bytes() == b"old"


def test_a_folder_that_was_set_aside_comes_back_at_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "painting.jpg").write_bytes(b"old")
    rename, renamed = Path.rename, []

    def stopped(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "data")
    assert names(tmp_path) == ["data", "painting.jpg"]
