"""The service over HTTP, through clients as they are: a real server, on a port of this machine."""

import io
import json
import os
import signal
import socket
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import util
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image

from pipeline.cli import run_command
from pipeline.core.errors import ConfigError
from pipeline.models.snapshots import save_snapshot
from pipeline.service.admission import Capacity
from pipeline.service.inference import InferenceService
from pipeline.service.model import NoiseModel
from pipeline.service.pages import HEADERS
from pipeline.service.server import listen, url_of
from tests.support import forks
from tests.support.module_graph import ROOT
from tests.support.service_helpers import Held, serving, tiny_model, tiny_snapshot


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(InferenceService(tiny_model())) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as made:
        yield made


def problem(answer: httpx.Response) -> dict[str, Any]:
    """Return the body of a refusal, and see that it is one."""
    body: dict[str, Any] = answer.json()
    assert set(body) == {"error", "parameters"}
    assert body["error"]
    return body


# --- What is answered


def test_the_defaults_make_one_png(url: str) -> None:
    with urllib.request.urlopen(f"{url}v1/images", timeout=60) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        content = answer.read()
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("PNG", (32, 32))


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("images?format=jpeg&seed=3", "image/jpeg"),
        ("images?format=webp&size=64", "image/webp"),
        ("images?count=2", "application/zip"),
        ("grid?rows=2&columns=2", "image/png"),
        ("interpolation?frames_per_step=3", "image/gif"),
        ("interpolation?frames_per_step=3&format=sheet", "image/jpeg"),
    ],
)
def test_each_route_answers_with_its_kind_of_file(
    client: httpx.Client, path: str, media_type: str
) -> None:
    answer = client.get(f"/v1/{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == media_type
    if media_type.startswith("image/"):
        with Image.open(io.BytesIO(answer.content)) as image:
            image.load()


def test_a_walk_comes_as_mp4_where_the_encoder_is(client: httpx.Client) -> None:
    pytest.importorskip("imageio_ffmpeg")
    answer = client.get("/v1/interpolation?format=mp4&frames_per_step=3")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    assert answer.content[4:8] == b"ftyp"


def test_the_model_and_the_health_are_told(client: httpx.Client) -> None:
    about = client.get("/v1/model").json()
    assert (about["name"], about["noise"], about["output_size"]) == ("tiny", "normal(0, 1)", 32)
    assert about["limits"]["images"] == 64
    assert client.get("/healthz").json() == {
        "status": "ok", "in_progress": 0, "waiting_bytes": 0,
    }  # fmt: skip


def test_a_name_that_is_not_utf8_is_told_as_a_shell_shows_it() -> None:
    name = os.fsdecode(b"caf\xe9")
    model = NoiseModel(tiny_snapshot(), name, "0" * 64, torch.device("cpu"))
    with serving(InferenceService(model)) as url:
        assert httpx.get(f"{url}v1/model").json()["name"] == r"caf\xe9"
        answer = httpx.get(f"{url}v1/images", timeout=60)
    assert answer.headers["content-disposition"] == 'inline; filename="caf-seed0-1.png"'


def test_the_same_request_gives_the_same_bytes_alone_and_in_a_crowd(client: httpx.Client) -> None:
    paths = [f"/v1/images?seed={seed}&images={number}" for seed in (0, 5) for number in range(1, 9)]
    paths += ["/v1/images?count=5", "/v1/grid?rows=2&columns=5", "/v1/interpolation?images=1,4"]
    alone = {path: client.get(path).content for path in paths}
    assert len(set(alone.values())) == len(paths)
    crowd = paths * 4
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(client.get, crowd))
    for path, answer in zip(crowd, together, strict=True):
        assert answer.status_code == 200
        assert answer.content == alone[path], path


def test_an_image_is_the_same_alone_and_in_a_zip(client: httpx.Client) -> None:
    with zipfile.ZipFile(io.BytesIO(client.get("/v1/images?first=3&count=4").content)) as archive:
        assert archive.namelist() == ["3.png", "4.png", "5.png", "6.png"]
        assert archive.read("5.png") == client.get("/v1/images?images=5").content


def test_what_a_client_has_is_not_made_again(client: httpx.Client) -> None:
    first = client.get("/v1/images?seed=1")
    tag = first.headers["etag"]
    again = client.get("/v1/images?seed=1", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get("/v1/images?seed=2", headers={"If-None-Match": tag})
    assert other.status_code == 200
    page = client.get("/")
    known = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert known.status_code == 304


@pytest.mark.parametrize("path", ["/", "/docs", "/page/page.js", "/v1/model", "/nowhere"])
def test_every_answer_forbids_what_it_does_not_need(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in headers["content-security-policy"]


# --- What is refused


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("seed=-1", "seed"),
        ("seed=1.5", "seed"),
        ("seed=9223372036854775808", "seed"),
        ("seed=", "seed"),
        ("seed=1&seed=2", "more than once"),
        ("count=0", "count"),
        ("count=65", "count"),
        ("count=20&size=1024", "at this size it holds 16"),
        ("first=0", "first"),
        ("images=0", "images"),
        ("images=1,,2", "images"),
        ("images=3,4,3", "names an image twice"),
        ("images=3&count=2", "either images, or first and count"),
        ("truncation=nan", "truncation"),
        ("truncation=-0.1", "truncation"),
        ("noise=salt(0, 1)", "normal(mean, deviation)"),
        ("noise=normal(0, -1)", "out of range"),
        ("class=sea", "trained without classes"),
        ("size=7", "size"),
        ("size=100000", "size"),
        ("format=bmp", "'png', 'jpeg' or 'webp'"),
        ("sede=1", "no parameter 'sede'"),
        ("%ff=%00", "no parameter"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client: httpx.Client, query: str, words: str) -> None:
    answer = client.get(f"/v1/images?{query}")
    assert answer.status_code == 422
    assert "None" not in answer.json()["error"]
    assert words in problem(answer)["error"]


@pytest.mark.parametrize(
    "query",
    ["images=1", "images=1,2,3,4,5,6,7,8,9", "frames_per_step=60&images=1,2,3,4", "fps=0",
     "size=513", "loop=perhaps", "format=png", "format=mp4&size=33"],
)  # fmt: skip
def test_a_walk_that_cannot_be_is_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/v1/interpolation?{query}")
    assert answer.status_code == 422
    problem(answer)


def test_other_paths_and_methods_are_refused_as_json(client: httpx.Client) -> None:
    assert "no /v2" in problem(client.get("/v2"))["error"]
    answer = client.post("/v1/images", content=b"x" * 1000)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    problem(answer)


def test_a_failure_of_the_work_is_told_as_such_and_the_service_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    held = Held(side=0)  # pixels that no filter can enlarge
    held.release()
    with serving(InferenceService(tiny_model(), held)) as url, httpx.Client(base_url=url) as client:
        answer = client.get("/v1/images")
        assert answer.status_code == 500
        assert "could not be made" in problem(answer)["error"]
        assert client.get("/healthz").json()["in_progress"] == 0
    assert "Traceback" in capfd.readouterr().err


def test_a_full_queue_answers_429_and_later_200() -> None:
    held = Held()
    with (
        serving(InferenceService(tiny_model(), held, Capacity(max_images=3))) as url,
        httpx.Client(base_url=url, timeout=60) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        begun = [pool.submit(client.get, f"/v1/images?count={n}") for n in (1, 2)]
        held.wait_for(2)
        answer = client.get("/v1/images")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert "3 images are being made" in problem(answer)["error"]
        assert client.get("/healthz").json()["in_progress"] == 3
        held.release()
        assert [future.result().status_code for future in begun] == [200, 200]
        assert client.get("/v1/images").status_code == 200
        assert client.get("/healthz").json()["in_progress"] == 0


# --- Starting and stopping

STOPPED_IN_THE_MIDDLE = """
import sys, threading
from pipeline.service.app import create_app
from pipeline.service.server import listen, run, url_of
from pipeline.service.inference import InferenceService
from tests.support.service_helpers import Held, tiny_model

held = Held()

def talk():
    held.wait_for(1)
    print("begun", flush=True)
    open(sys.argv[1]).read()  # a pipe, until its other end is closed
    held.release()

with listen("127.0.0.1", 0) as listener:
    app = create_app(InferenceService(tiny_model(), held))
    print(url_of(listener), flush=True)
    threading.Thread(target=talk, daemon=True).start()
    run(app, listener)
print("stopped", flush=True)
"""


def wait_until_closed(url: str) -> None:
    """Return when nothing can connect any more."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=60).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # it closed in the middle of this one
            continue


def test_sigterm_finishes_what_was_begun(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go on")
    words = (STOPPED_IN_THE_MIDDLE, str(tmp_path / "go on"))
    process = forks.Process(forks.code, *words, cwd=ROOT, env=os.environ)
    assert process.stdout
    url = process.stdout.readline().decode().strip()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.get, f"{url}v1/images", timeout=60)
        assert process.stdout.readline() == b"begun\n"
        os.kill(process.pid, signal.SIGTERM)
        wait_until_closed(url)
        assert not asked.done()
        (tmp_path / "go on").write_bytes(b"")
        answer = asked.result()
    out, err = process.communicate(timeout=60)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert (process.returncode, out, err) == (0, b"stopped\n", b"")


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    made = tiny_snapshot()
    save_snapshot(tmp_path / "tiny.safetensors", made.generator, made.config, 5)
    return tmp_path / "tiny.safetensors"


def test_the_command_says_where_it_is_serves_and_ends_with_ctrl_c(snapshot: Path) -> None:
    words = ("serve", "--snapshot", str(snapshot), "--port", "0")
    process = forks.Process(forks.painter, *words, cwd=snapshot.parent, env=os.environ)
    assert process.stdout
    said = process.stdout.readline().decode()
    assert said.startswith("tiny at http://127.0.0.1:")
    url = said.split()[2]
    assert httpx.get(f"{url}v1/model", timeout=60).json()["images_seen"] == 5
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == b"threads: 1 thread, as OMP_NUM_THREADS says\n"


def test_a_taken_port_is_one_clear_message(
    snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert run_command(["serve", "--snapshot", str(snapshot), "--port", port]) == 2
        assert url_of(taken) == f"http://127.0.0.1:{port}/"
    error = capsys.readouterr().err
    assert f"port {port}" in error
    assert "--port" in error


def test_no_two_servers_share_a_port_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    # Stand-ins: with this option two servers of Linux share a port as with that one on Windows,
    monkeypatch.setattr(socket, "SO_REUSEADDR", socket.SO_REUSEPORT)
    # and this one can be seen to have been asked for.
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        with listen("127.0.0.1", 0) as taken:
            assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            with pytest.raises(ConfigError, match="Choose another"):
                listen("127.0.0.1", taken.getsockname()[1])


def test_a_host_that_is_not_this_machine_is_refused(
    snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 192.0.2.0/24 is kept for documentation (RFC 5737): no machine has it.
    command = ["serve", "--snapshot", str(snapshot), "--host", "192.0.2.1", "--port", "0"]
    assert run_command(command) == 2
    assert "192.0.2.1" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["a..b", ".", "a" * 70, "caf\udce9"])
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="--host"):
        listen(host, 0)


@pytest.mark.parametrize("arguments", [[], ["--run", "a", "--snapshot", "b"]])
def test_serve_needs_one_generator(arguments: list[str]) -> None:
    assert run_command(["serve", *arguments]) == 2


def test_without_the_extra_the_message_says_what_to_install(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda n: None if n == "uvicorn" else real(n))
    assert run_command(["serve", "--snapshot", str(snapshot)]) == 2
    error = capsys.readouterr().err
    assert "needs uvicorn" in error
    assert "pip install fastapi uvicorn" in error


def test_a_damaged_snapshot_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.safetensors").write_text(json.dumps({"no": "tensors"}))
    assert run_command(["serve", "--snapshot", str(tmp_path / "a.safetensors")]) == 2
    assert "not a safetensors snapshot" in capsys.readouterr().err
