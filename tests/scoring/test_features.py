"""Image sets to feature matrices, and the cache of them."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.core.errors import DataError
from pipeline.data.images import open_images
from pipeline.scoring import features
from pipeline.scoring.extractors import CPU_BATCH, MultiDeviceExtractor, Outputs
from pipeline.scoring.features import Features, cached_extract, extract
from tests.support.factories import Hostile
from tests.support.helpers import pack
from tests.support.scoring_helpers import (
    QuadrantMeans,
    noise,
    png,
    quadrant_means,
    write_folder,
)

PIXELS = {f"{i}.png": noise(i) for i in range(3)}
FILES = {name: png(pixels) for name, pixels in PIXELS.items()}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("PAINTER_CACHE", str(folder))
    return folder


def assert_same(a: Features, b: Features) -> None:
    np.testing.assert_array_equal(a.values, b.values)
    assert a.values.dtype == b.values.dtype
    assert (a.names, a.unreadable) == (b.names, b.unreadable)


def test_a_folder_and_a_zip_give_the_same_rows_in_the_order_of_names(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", FILES)
    archive = pack(tmp_path / "a.zip", dict(reversed(FILES.items())))
    found = extract(open_images(folder), QuadrantMeans(), "a")
    assert found.names == ("0.png", "1.png", "2.png")
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, [quadrant_means(p) for p in PIXELS.values()])
    assert_same(extract(open_images(archive), QuadrantMeans(), "a"), found)


def test_unreadable_images_are_listed_with_their_reason_and_left_out(tmp_path: Path) -> None:
    files = {**FILES, "0a.png": b"no image", "9.jpg": b"", "tiny.png": png(noise(0, 4, 4))}
    found = extract(open_images(write_folder(tmp_path / "a", files)), QuadrantMeans(), "a")
    assert found.names == tuple(FILES)
    assert len(found.values) == 3
    assert [line.split()[0] for line in found.unreadable] == ["0a.png", "9.jpg", "tiny.png"]
    assert "4x4" in found.unreadable[2]


def test_when_nothing_is_readable_the_first_reason_is_given(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", {"a.png": b"no image", "b.png": b""})
    with pytest.raises(DataError, match=r"None of the 2 .*a\.png cannot be decoded"):
        extract(open_images(folder), QuadrantMeans(), "a")


def test_images_of_mixed_sizes_keep_their_order(tmp_path: Path) -> None:
    sizes = [(16, 16), (16, 16), (8, 24), (24, 8), (16, 16), (8, 24)]
    pixels = {f"{i}.png": noise(i, *size) for i, size in enumerate(sizes)}
    folder = write_folder(tmp_path / "a", {name: png(p) for name, p in pixels.items()})
    extractor = QuadrantMeans()
    found = extract(open_images(folder), extractor, "a")
    np.testing.assert_array_equal(found.values, [quadrant_means(p) for p in pixels.values()])
    # Neighbours of one size go together: (N, 3, height, width).
    assert extractor.batches == [
        (2, 3, 16, 16),
        (1, 3, 24, 8),
        (1, 3, 8, 24),
        (1, 3, 16, 16),
        (1, 3, 24, 8),
    ]


def test_many_images_go_through_in_batches_and_chunks(tmp_path: Path) -> None:
    pixels = {f"{i:03}.png": noise(i, 8, 8) for i in range(64 + CPU_BATCH + 1)}
    folder = write_folder(tmp_path / "a", {name: png(p) for name, p in pixels.items()})
    extractor = QuadrantMeans()
    found = extract(open_images(folder), extractor, "a")
    assert found.names == tuple(pixels)
    np.testing.assert_array_equal(found.values, [quadrant_means(p) for p in pixels.values()])
    assert max(shape[0] for shape in extractor.batches) == CPU_BATCH


def test_small_images_go_in_larger_batches_where_a_device_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BATCH_BYTES", 30 * 8 * 8 * 3)
    sizes = [8] * 64 + [16] * 40  # of the large ones 7 would fit, and at least 16 go together
    pixels = {f"{i:03}.png": noise(i, size, size) for i, size in enumerate(sizes)}
    folder = write_folder(tmp_path / "a", {name: png(p) for name, p in pixels.items()})
    large = QuadrantMeans()
    large.batch_size = 50
    found = extract(open_images(folder), large, "a")
    np.testing.assert_array_equal(found.values, [quadrant_means(p) for p in pixels.values()])
    assert [shape[0] for shape in large.batches] == [30, 30, 4, 16, 16, 8]


def test_rows_stay_in_order_with_several_batches_on_one_device(tmp_path: Path) -> None:
    class FirstIsLast(QuadrantMeans):
        """Computes its first batch while the second one passes it."""

        replicas = 2
        second = threading.Event()

        def outputs(self, pixels: torch.Tensor) -> Outputs:
            found = super().outputs(pixels)
            if len(self.batches) == 1:
                assert self.second.wait(30)
            self.second.set()
            return found

    pixels = {f"{i:03}.png": noise(i, 8, 8) for i in range(4 * CPU_BATCH + 1)}
    folder = write_folder(tmp_path / "a", {name: png(p) for name, p in pixels.items()})
    found = extract(open_images(folder), FirstIsLast(), "a")
    assert found.names == tuple(pixels)
    np.testing.assert_array_equal(found.values, [quadrant_means(p) for p in pixels.values()])


class TakesTime(QuadrantMeans):
    """Answers its first batch last: not before another device has answered."""

    answered = threading.Event()

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        if self.identity == "slow" and not self.batches:
            assert self.answered.wait(30)
        found = super().outputs(pixels)
        if self.identity != "slow":
            self.answered.set()
        return found


def test_several_devices_share_the_batches_and_rows_stay_in_order(tmp_path: Path) -> None:
    pixels = {f"{i:03}.png": noise(i, 8, 8) for i in range(6 * CPU_BATCH + 1)}
    folder = write_folder(tmp_path / "a", {name: png(p) for name, p in pixels.items()})
    devices = [TakesTime("slow"), TakesTime("fast")]
    found = extract(open_images(folder), MultiDeviceExtractor(devices), "a")
    assert found.names == tuple(pixels)
    np.testing.assert_array_equal(found.values, [quadrant_means(p) for p in pixels.values()])
    assert all(device.batches for device in devices)
    assert sum(shape[0] for device in devices for shape in device.batches) == len(pixels)


def test_each_device_computes_as_many_batches_at_a_time_as_it_takes() -> None:
    devices = [QuadrantMeans(), QuadrantMeans()]
    for device in devices:
        device.replicas = 2
    both = MultiDeviceExtractor(devices)
    assert both.replicas == 4
    # Two batches on one device wait for none on the other.
    assert [both._free.get() for _ in range(4)] == [*devices, *devices]


def test_an_error_on_one_of_several_devices_surfaces(tmp_path: Path) -> None:
    class Broken(QuadrantMeans):
        def outputs(self, pixels: torch.Tensor) -> Outputs:
            raise RuntimeError("out of memory")

    pair = MultiDeviceExtractor([Broken(), Broken()])
    with pytest.raises(RuntimeError, match="out of memory"):
        extract(open_images(write_folder(tmp_path / "a", FILES)), pair, "a")


# The cache.


def test_the_second_time_nothing_is_computed(tmp_path: Path) -> None:
    files = {**FILES, "broken.png": b"no image", "größe.png": png(noise(9))}
    images = open_images(write_folder(tmp_path / "a", files))
    first = cached_extract(images, QuadrantMeans(), "a")
    again = QuadrantMeans()
    assert_same(cached_extract(images, again, "a"), first)
    assert again.batches == []
    assert first.names == (*FILES, "größe.png")
    assert len(first.unreadable) == 1


def test_a_renamed_folder_or_a_zip_of_it_hits_the_cache(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", FILES)
    first = cached_extract(open_images(folder), QuadrantMeans(), "a")
    renamed = folder.rename(tmp_path / "b")
    archive = pack(tmp_path / "c.zip", FILES)
    again = QuadrantMeans()
    for path in (renamed, archive):
        assert_same(cached_extract(open_images(path), again, "b"), first)
    assert again.batches == []


def test_a_changed_image_misses_the_cache(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", FILES)
    first = cached_extract(open_images(folder), QuadrantMeans(), "a")
    changed = PIXELS["1.png"].copy()
    changed[0, 0, 0] ^= 255
    (folder / "1.png").write_bytes(png(changed))
    again = QuadrantMeans()
    second = cached_extract(open_images(folder), again, "a")
    assert again.batches == [(3, 3, 16, 16)]
    assert (second.values != first.values).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("change", ["one byte", "one more", "one less", "a name"])
def test_any_change_of_the_files_misses_the_cache(tmp_path: Path, change: str) -> None:
    folder = write_folder(tmp_path / "a", FILES)
    cached_extract(open_images(folder), QuadrantMeans(), "a")
    match change:
        case "one byte":  # after the end of the picture: the pixels are the same
            (folder / "2.png").write_bytes(FILES["2.png"] + b"\0")
        case "one more":
            (folder / "3.png").write_bytes(FILES["2.png"])
        case "one less":
            (folder / "2.png").unlink()
        case "a name":
            (folder / "2.png").rename(folder / "3.png")
    again = QuadrantMeans()
    found = cached_extract(open_images(folder), again, "a")
    assert len(again.batches) == 1
    assert_same(found, extract(open_images(folder), QuadrantMeans(), "a"))


def test_another_extractor_misses_the_cache(tmp_path: Path) -> None:
    images = open_images(write_folder(tmp_path / "a", FILES))
    cached_extract(images, QuadrantMeans("quadrant-means:1"), "a")
    other = QuadrantMeans("quadrant-means:2")
    cached_extract(images, other, "a")
    assert len(other.batches) == 1


def unknown_compression(whole: bytes) -> bytes:
    """Change the method of the first entry in the zip's directory to one that nobody knows."""
    at = whole.index(b"PK\x01\x02") + 10
    return whole[:at] + b"\x63" + whole[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"not an archive",
    "half": lambda whole: whole[: len(whole) // 2],
    "one byte": lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
    "unknown compression": unknown_compression,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_file_is_replaced(tmp_path: Path, cache: Path, damage: str) -> None:
    images = open_images(write_folder(tmp_path / "a", FILES))
    first = cached_extract(images, QuadrantMeans(), "a")
    (file,) = (cache / "features").iterdir()
    whole = file.read_bytes()
    damaged = DAMAGES[damage](whole)
    assert damaged != whole
    file.write_bytes(damaged)
    again, third = QuadrantMeans(), QuadrantMeans()
    assert_same(cached_extract(images, again, "a"), first)
    assert len(again.batches) == 1
    assert_same(cached_extract(images, third, "a"), first)
    assert third.batches == []
    assert list((cache / "features").iterdir()) == [file]


def test_a_cache_file_that_would_run_code_is_not_unpickled(tmp_path: Path, cache: Path) -> None:
    images = open_images(write_folder(tmp_path / "a", FILES))
    first = cached_extract(images, QuadrantMeans(), "a")
    (file,) = (cache / "features").iterdir()
    marker = tmp_path / "marker"
    with file.open("wb") as target:
        np.savez(target, values=np.array([Hostile(marker)]), names=[""], unreadable=[""])
    assert_same(cached_extract(images, QuadrantMeans(), "a"), first)
    assert not marker.exists()


class WithLogits(QuadrantMeans):
    """Gives the features doubled as logits."""

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        features = super().outputs(pixels).features
        return Outputs(features, 2 * features)


def test_logits_are_kept_beside_the_features(tmp_path: Path) -> None:
    images = open_images(write_folder(tmp_path / "a", FILES))
    first = cached_extract(images, WithLogits(), "a")
    again = WithLogits()
    second = cached_extract(images, again, "a")
    assert again.batches == []
    for found in (first, second):
        assert found.logits is not None
        assert found.logits.dtype == np.float32
        np.testing.assert_array_equal(found.logits, 2 * found.values)


def test_without_logits_there_are_none_from_the_cache_either(tmp_path: Path) -> None:
    images = open_images(write_folder(tmp_path / "a", FILES))
    assert cached_extract(images, QuadrantMeans(), "a").logits is None
    assert cached_extract(images, QuadrantMeans(), "a").logits is None


def test_a_cache_file_of_before_there_were_logits_is_made_again(
    tmp_path: Path, cache: Path
) -> None:
    images = open_images(write_folder(tmp_path / "a", FILES))
    first = cached_extract(images, WithLogits(), "a")
    (file,) = (cache / "features").iterdir()
    np.savez(file, values=first.values, names=first.names, unreadable=np.array([], dtype=str))
    again = WithLogits()
    assert cached_extract(images, again, "a").logits is not None
    assert len(again.batches) == 1
