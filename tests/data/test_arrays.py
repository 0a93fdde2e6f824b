"""Images kept as arrays: read as they are, or refused with the reason."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.data import images as module
from pipeline.data.arrays import load_array
from pipeline.data.decoding import decode_rgb
from pipeline.data.images import content_hash, load_images, open_images
from pipeline.scoring.features import extract
from tests.support.factories import Hostile
from tests.support.scoring_helpers import QuadrantMeans, noise, quadrant_means

PIXELS = np.stack([noise(seed, 24, 16) for seed in range(12)])


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def test_an_npy_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    array = load_array(saved(tmp_path / "a.npy", PIXELS), 8, 2**30)
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, PIXELS)


@pytest.mark.parametrize("compressed", [True, False])
def test_an_npz_file_gives_its_images(tmp_path: Path, compressed: bool) -> None:
    save = np.savez_compressed if compressed else np.savez
    other = np.zeros(3)
    for names, expected in (
        ({"anything": PIXELS}, PIXELS),
        ({"labels": other, "images": PIXELS}, PIXELS),
        ({"labels": other, "arr_0": PIXELS}, PIXELS),
        ({"arr_0": PIXELS[:1], "images": PIXELS[:2]}, PIXELS[:2]),
    ):
        save(tmp_path / "a.npz", **names)  # type: ignore[arg-type]
        np.testing.assert_array_equal(load_array(tmp_path / "a.npz", 8, 2**30), expected)


def test_the_array_with_images_is_picked_whatever_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros(3), pixels=PIXELS)
    np.testing.assert_array_equal(load_array(path, 8, 2**30), PIXELS)
    assert capsys.readouterr().err == ""
    np.savez(path, photos=PIXELS[:2], paintings=PIXELS[:3])
    assert len(load_array(path, 8, 2**30)) == 2
    assert (
        "the images are those of the array photos. Found: photos (uint8" in capsys.readouterr().err
    )


def test_an_npz_without_images_names_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", labels=np.zeros(3), x=PIXELS.transpose(0, 3, 1, 2))
    with pytest.raises(
        DataError, match=r"labels \(float64, \(3,\)\), x \(uint8, \(12, 3, 16, 24\)\)"
    ):
        load_array(tmp_path / "a.npz", 8, 2**30)


def test_rows_of_features_are_in_the_order_of_the_array(tmp_path: Path) -> None:
    images = open_images(saved(tmp_path / "a.npy", PIXELS))
    found = extract(images, QuadrantMeans(), "a")
    assert found.names[0] == "00.png"
    assert list(found.names) == sorted(found.names)
    np.testing.assert_array_equal(found.values, [quadrant_means(p) for p in PIXELS])
    first = images.subset(images.names[:5])
    np.testing.assert_array_equal(extract(first, QuadrantMeans(), "a").values, found.values[:5])


def test_an_array_can_be_trained_on_and_its_bytes_are_png(tmp_path: Path) -> None:
    images = open_images(saved(tmp_path / "a.npy", PIXELS))
    np.testing.assert_array_equal(decode_rgb(images.read_bytes("03.png")), PIXELS[3])
    assert load_images(images, 16).pixels.shape == (12, 3, 16, 16)


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", PIXELS)
    npy, npz = open_images(saved(tmp_path / "a.npy", PIXELS)), open_images(tmp_path / "a.npz")
    assert content_hash(npy) == content_hash(npz)
    changed = PIXELS.copy()
    changed[3, 2, 1, 0] ^= 1
    assert content_hash(npy) != content_hash(open_images(saved(tmp_path / "b.npy", changed)))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (PIXELS / 255, "holds float64 numbers; expected uint8"),
        (PIXELS.astype(np.int64), "holds int64 numbers"),
        (PIXELS[0], r"shape \(16, 24, 3\); expected uint8 \(N, height, width, 3\)"),
        (PIXELS[..., :1], r"shape \(12, 16, 24, 1\)"),
        (PIXELS.transpose(0, 3, 1, 2), r"Move the colours last: array\.transpose\(0, 2, 3, 1\)"),
        (PIXELS[:, :4], "images of 24x4; each side needs at least 8"),
        (PIXELS[:0], "holds no images"),
        (np.array([{"a": 1}], dtype=object), "without pickled objects"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_is_no_array_of_images_is_refused_with_the_reason(
    tmp_path: Path, array: np.ndarray, reason: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, array)
    with pytest.raises(DataError, match=rf"a\{suffix} .*{reason}"):
        open_images(path)


@pytest.mark.parametrize("form", ["pickle", "npy", "npz"])
def test_a_file_that_would_run_code_is_refused_before_it_does(tmp_path: Path, form: str) -> None:
    path, marker = tmp_path / "a.npy", tmp_path / "marker"
    array = np.array([Hostile(marker)], dtype=object)
    if form == "pickle":
        path.write_bytes(pickle.dumps(Hostile(marker)))
    else:
        path = tmp_path / f"a.{form}"
        (np.save if form == "npy" else np.savez)(path, array)
    with pytest.raises(DataError, match="cannot be read as an array of images"):
        open_images(path)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_whatever_the_damage_the_error_is_of_one_kind(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    (np.save if suffix == ".npy" else np.savez_compressed)(path, PIXELS[:2])
    whole = path.read_bytes()
    numbers = np.random.default_rng(0)
    for cut in (0, 1, 6, 60, 127, 130, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="a"):
            open_images(path)
    messages = []
    for _ in range(200):
        content = bytearray(whole)
        content[int(numbers.integers(min(len(whole), 200)))] = int(numbers.integers(256))
        path.write_bytes(content)
        messages.append(refusal(path))
    assert max(len(m) for m in messages if m is not None) < 500


def refusal(path: Path) -> str | None:
    """Return the message of the DataError, if there is one; any other error is a failure."""
    try:
        open_images(path)
    except DataError as error:
        return str(error)
    return None


def test_an_npz_without_arrays_or_beyond_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(DataError, match="holds no array"):
        open_images(path)
    np.savez(path, PIXELS)
    monkeypatch.setattr(module, "MAX_ARCHIVE_SIZE", 500)
    with pytest.raises(DataError, match=r"would unpack to .* bytes \(at most 500\)"):
        open_images(path)
