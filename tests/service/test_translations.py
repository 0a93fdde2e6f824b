"""Photos over HTTP: their paintings, what is refused, and what clients that leave cost."""

import io
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace

import httpx
import numpy as np
import pytest
from PIL import Image

from pipeline.families.registry import make_sampler
from pipeline.models.snapshots import save_snapshot
from pipeline.service import uploads
from pipeline.service.admission import Capacity
from pipeline.service.inference import InferenceService
from pipeline.service.model import TranslatorModel, load_model
from pipeline.service.photos import LARGE_PIXELS, Photo, PhotoQueue
from pipeline.service.queries import MAX_PIXELS
from tests.support.clock import WAIT, until
from tests.support.factories import CPU, image_set
from tests.support.helpers import encoded, painting
from tests.support.service_helpers import (
    serving,
    tiny_model,
    tiny_translator,
    tiny_translator_snapshot,
)

PATH = "/v1/translations"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(InferenceService(tiny_translator())) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=WAIT) as made:
        yield made


def turned(photo: Image.Image) -> bytes:
    """Return a PNG that lies on its side, and an EXIF orientation that puts it upright."""
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter clockwise
    return encoded(photo.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


def half_transparent(size: tuple[int, int]) -> bytes:
    photo = painting(size).convert("RGBA")
    photo.putalpha(painting(size, 1).convert("L"))
    return encoded(photo, "PNG")


def pixels_of(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def png_of(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that says that it is large, as a decompression bomb does."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    return socket.create_connection((host, int(port)), timeout=WAIT)


def head(length: int | None) -> bytes:
    """Return the beginning of a request whose body has a length, or comes in chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST {PATH} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n".encode()


class Studio:
    """A translator whose paintings are photos, that can be held back, and counts."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.count = 0

    def __call__(self, photo: np.ndarray) -> np.ndarray:
        self.count += 1
        self.begun.set()
        assert self.go.wait(WAIT)
        return photo


# --- What is answered


@pytest.mark.parametrize(
    "photo",
    [
        encoded(painting((64, 64)), "PNG"),
        encoded(painting((131, 90)), "JPEG"),
        encoded(painting((257, 65)), "WEBP", lossless=True),
        encoded(painting((200, 130)).convert("L"), "TIFF"),
        turned(painting((160, 96))),
        half_transparent((128, 128)),
        encoded(painting((1100, 1000)), "PNG"),  # in tiles
    ],
    ids=["square", "jpeg", "flat", "grey", "turned", "transparent", "large"],
)
def test_a_painting_is_that_of_generate(client: httpx.Client, photo: bytes) -> None:
    photos = image_set({"a.png": photo})
    snapshot = tiny_translator_snapshot()
    for size in (None, 96):
        answer = client.post(PATH, content=photo, params={} if size is None else {"size": size})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        output = replace(snapshot.config.output, output_size=size or 64)
        expected = make_sampler(snapshot, 0, CPU, output, photos=photos, keep_size=size is None)
        # The server's threads are fewer than this one's: sums in another order may round otherwise.
        found, wanted = pixels_of(answer.content).astype(int), expected([0])[0]
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize(("kind", "name"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_a_painting_comes_in_the_format_that_is_asked_for(
    client: httpx.Client, kind: str, name: str
) -> None:
    answer = client.post(PATH, content=encoded(painting((90, 70))), params={"format": kind})
    assert answer.headers["content-type"] == f"image/{kind}"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"].startswith('inline; filename="tiny.')
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == (name, (90, 70))


def test_the_same_photo_gives_the_same_bytes_alone_and_in_a_crowd(client: httpx.Client) -> None:
    photos = [encoded(painting((64 + 10 * n, 80), n)) for n in range(6)]
    alone = [client.post(PATH, content=photo).content for photo in photos]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda photo: client.post(PATH, content=photo), photos * 4))
    assert [answer.content for answer in together] == alone * 4


def test_a_photo_may_come_in_chunks_and_as_any_kind_of_body(client: httpx.Client) -> None:
    photo = encoded(painting((70, 70)))
    whole = client.post(PATH, content=photo)
    chunks = (photo[i : i + 100] for i in range(0, len(photo), 100))
    kind = {"Content-Type": "application/x-www-form-urlencoded"}  # what curl says by itself
    assert client.post(PATH, content=chunks).content == whole.content
    assert client.post(PATH, content=photo, headers=kind).content == whole.content


def test_a_translator_tells_what_it_is_and_its_limits(client: httpx.Client) -> None:
    about = client.get("/v1/model").json()
    assert (about["name"], about["takes_photos"]) == ("tiny", True)
    assert about["formats"] == ["png", "jpeg", "webp"]
    assert about["limits"] == {
        "upload_bytes": 2**25, "pixels": 2**24, "longest_side": 16_383, "shortest_side": 64,
        "size": 1024,
    }  # fmt: skip
    assert not {"noise", "classes"} & about.keys()


def test_a_snapshot_of_a_translator_is_served_as_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("run") / "mine.safetensors"
    snapshot = tiny_translator_snapshot()
    save_snapshot(file, snapshot.generator, snapshot.config, 5)
    model = load_model(file, CPU)
    assert isinstance(model, TranslatorModel)
    assert (model.name, model.about()["images_seen"]) == ("mine", 5)


# --- What is refused


def test_each_kind_of_model_has_its_own_routes_and_says_why_not_the_others(
    client: httpx.Client,
) -> None:
    for path in ("/v1/images", "/v1/grid", "/v1/interpolation"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "This is a translator" in answer.json()["error"]
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {PATH, "/v1/model", "/healthz"}
    with (
        serving(InferenceService(tiny_model())) as noise,
        httpx.Client(base_url=noise, timeout=WAIT) as other,
    ):
        answer = other.post(PATH, content=encoded(painting((64, 64))))
        assert answer.status_code == 404
        assert "makes images from noise" in answer.json()["error"]
        assert PATH not in other.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 422, "The body is empty"),
        (b"hello", 415, "no image of a kind that is read here: JPEG, PNG"),
        (encoded(painting((63, 200)), "PNG"), 422, "63x200; each side needs at least 64 pixels"),
        (encoded(painting((200, 200)))[:9000], 422, "cannot be decoded"),
        (png_of(100, 100), 422, "cannot be decoded"),
        (png_of(5000, 4000), 413, "5000x4000, 20.0 million pixels; at most 16.8 million"),
        (png_of(60_000, 60_000), 413, "60000x60000, 3,600 million pixels"),
        (png_of(20_000, 100), 413, "20000x100; a side has at most 16,383 pixels"),
        (encoded(Image.new("F", (90, 90)), "TIFF"), 422, "pixels of mode F"),
    ],
    ids=["empty", "text", "small", "cut", "no pixels", "large", "bomb", "long", "heights"],
)
def test_what_is_no_photo_is_refused_with_a_reason(
    client: httpx.Client, content: bytes, status: int, words: str
) -> None:
    answer = client.post(PATH, content=content)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "parameters"}
    assert words in answer.json()["error"]
    assert client.get("/healthz").json() == {
        "status": "ok", "in_progress": 0, "waiting_bytes": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "words"),
    [("size=7", "size"), ("size=1025", "size"), ("format=gif", "format"), ("seed=1", "'seed'"),
     ("size=64&size=65", "more than once")],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_by_name(client: httpx.Client, query: str, words: str) -> None:
    answer = client.post(f"{PATH}?{query}", content=encoded(painting((64, 64))))
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_forms_and_compressed_bodies_are_told_how_to_send_a_photo(client: httpx.Client) -> None:
    form = client.post(PATH, files={"photo": encoded(painting((64, 64)))})
    zipped = client.post(PATH, content=b"x", headers={"Content-Encoding": "gzip"})
    for answer in (form, zipped):
        assert answer.status_code == 415
        assert "curl --data-binary @photo.jpg" in answer.json()["error"]
    other = client.get(PATH)
    assert (other.status_code, other.headers["allow"]) == (405, "POST")


def test_a_photo_that_says_it_is_too_large_is_refused_before_it_comes(url: str) -> None:
    with connect(url) as sender:
        sender.sendall(head(10**12))
        assert sender.recv(12) == b"HTTP/1.1 413"


def test_a_body_without_end_is_refused_at_the_limit(
    url: str, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOAD_BYTES", 2**20)
    chunk = f"{2**16:x}\r\n".encode() + bytes(2**16) + b"\r\n"
    with connect(url) as sender:
        sender.sendall(head(None))
        for _ in range(17):  # one more than fit
            sender.sendall(chunk)
        assert sender.recv(12) == b"HTTP/1.1 413"
        with suppress(ConnectionError):  # the rest is thrown away
            sender.sendall(chunk)
    until(lambda: client.get("/healthz").json()["waiting_bytes"] == 0)


def test_a_photo_that_does_not_arrive_is_not_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "UPLOAD_TIMEOUT", 0.2)
    with connect(url) as sender:
        sender.sendall(head(1000) + b"only this")
        assert sender.recv(12) == b"HTTP/1.1 408"


# --- How much at once


def test_a_busy_translator_answers_429_and_later_200() -> None:
    studio = Studio()
    service = InferenceService(tiny_translator(), PhotoQueue(studio), Capacity(max_images=2))
    photo = encoded(painting((64, 64)))
    with (
        serving(service) as url,
        httpx.Client(base_url=url, timeout=WAIT) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        begun = [pool.submit(client.post, PATH, content=photo) for _ in range(2)]
        until(lambda: service.capacity.images == 2)
        answer = client.post(PATH, content=photo)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert "2 images are being made" in answer.json()["error"]
        studio.go.set()
        assert [future.result().status_code for future in begun] == [200, 200]
        assert client.post(PATH, content=photo).status_code == 200
    assert (service.capacity.images, service.capacity.bytes) == (0, 0)


def test_photos_count_while_they_come_and_until_their_paintings_are_taken() -> None:
    studio = Studio()
    service = InferenceService(tiny_translator(), PhotoQueue(studio), Capacity(max_bytes=10**6))
    photo = encoded(painting((64, 64)), "PNG")
    with serving(service) as url, httpx.Client(base_url=url, timeout=WAIT) as client:
        with connect(url) as sender:
            sender.sendall(head(400_000))
            until(lambda: service.capacity.bytes == 400_000)
            assert client.post(PATH, content=bytes(310_000)).status_code == 429
        until(lambda: service.capacity.bytes == 0)  # that one has left
        with connect(url) as sender:
            sender.sendall(head(len(photo)) + photo)
            assert studio.begun.wait(WAIT)
            assert service.capacity.bytes > len(photo) + 3 * 64 * 64
            studio.go.set()
            assert sender.recv(12) == b"HTTP/1.1 200"
        until(lambda: service.capacity.bytes == 0)


def test_the_largest_photo_finds_room_when_there_is_little_else() -> None:
    capacity = Capacity()
    with capacity.hold(uploads.MAX_UPLOAD_BYTES), capacity.reserve(1, 3 * MAX_PIXELS):
        assert capacity.bytes == 2**25 + 3 * 2**24


def test_the_photos_of_clients_that_have_left_are_not_translated(
    capfd: pytest.CaptureFixture[str],
) -> None:
    studio = Studio()
    service = InferenceService(tiny_translator(), PhotoQueue(studio))
    photo = encoded(painting((64, 64)))
    with serving(service) as url:
        with ExitStack() as clients:
            for _ in range(8):
                client = clients.enter_context(connect(url))
                client.sendall(head(len(photo)) + photo)
            until(lambda: service.capacity.images == 8)
            assert studio.begun.wait(WAIT)
        until(lambda: service.capacity.images == 0)
        studio.go.set()
        assert httpx.post(f"{url}v1/translations", content=photo, timeout=WAIT).status_code == 200
    assert studio.count == 2  # the one that was begun, and the last
    assert "Traceback" not in capfd.readouterr().err


def test_a_large_photo_keeps_no_small_one_waiting_and_is_alone() -> None:
    large_begun, go = threading.Event(), threading.Event()
    at_once: list[int] = []
    large = 0

    def translate(photo: np.ndarray) -> np.ndarray:
        nonlocal large
        if photo.shape[0] * photo.shape[1] > LARGE_PIXELS:
            large += 1
            at_once.append(large)
            large_begun.set()
            assert go.wait(WAIT)
            large -= 1
        return photo

    def photo_of(width: int, height: int) -> Photo:
        return Photo(encoded(painting((width, height))), width, height, None)

    queue = PhotoQueue(translate)
    both = [queue.submit(photo_of(1100, 1000)) for _ in range(2)]
    assert large_begun.wait(WAIT)
    assert queue.submit(photo_of(70, 64)).result(WAIT).shape == (64, 70, 3)
    go.set()
    assert [one.result(WAIT).shape for one in both] == [(1000, 1100, 3)] * 2
    queue.close()
    assert at_once == [1, 1]


def test_a_failure_of_the_work_is_told_as_such(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory")

    service = InferenceService(tiny_translator(), PhotoQueue(broken))
    with serving(service) as url:
        answer = httpx.post(f"{url}v1/translations", content=encoded(painting((64, 64))))
        assert answer.status_code == 500
        assert "could not be made" in answer.json()["error"]
        assert "out of memory" not in answer.text
    assert "out of memory" in capfd.readouterr().err
    assert service.capacity.bytes == 0
