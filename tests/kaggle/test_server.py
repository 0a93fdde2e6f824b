"""The Kaggle on this machine, looked at through Kaggle's real client in a process of its own."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import forks
from tests.support.helpers import encoded, pack, painting
from tests.support.kaggle_server import (
    COMPETITIONS,
    DATASETS,
    EXPIRED_TOKEN,
    KERNELS,
    KEY,
    LOG_STREAM,
    TOKEN,
    USER,
    BreaksAfter,
    Fault,
    Fine,
    KaggleServer,
    LostReply,
    Slow,
    Truncated,
    Unheard,
    as_json,
    basic,
    broken,
    too_many,
    web_page,
)
from tests.support.kaggle_state import COMPETITION, Held, KernelVersion, Really, Refused, Scripted
from tests.support.module_graph import ROOT

NAME = "alice/monet-train"
STATUS = f"{KERNELS}/GetKernelSessionStatus"

PRELUDE = """
import json, sys
from importlib import import_module
from pathlib import Path
import requests
from kaggle.api.kaggle_api_extended import KaggleApi
from tests.support.painter_process import hurry

hurry()
api = KaggleApi()
api.authenticate()
home = Path(sys.argv[1])
seen = {}

def ask(service, method, request, **fields):
    package, _, module = service.partition(".")
    types = import_module(f"kagglesdk.{package}.types.{module}")
    message = getattr(types, request)()
    for name, value in fields.items():
        setattr(message, name, value)
    with api.build_kaggle_client() as client:
        services = getattr(client, package)
        name = module.replace("_service", "_client")
        return getattr(getattr(services, name), method)(message)

def competition(method, request, **fields):
    return ask("competitions.competition_api_service", method, request, **fields)

def kernel(method, request, slug="monet-train", **fields):
    return ask("kernels.kernels_api_service", method, request,
               user_name="alice", kernel_slug=slug, **fields)

def shown(call, *args, **options):
    try:
        result = call(*args, **options)
    except requests.HTTPError as error:
        retry = error.response.headers.get("Retry-After", "")
        return f"{error.response.status_code} {retry} {error}"
    except requests.ConnectionError:
        return "ConnectionError"
    except Exception as error:
        return type(error).__name__
    return result.to_dict() if hasattr(result, "to_dict") else result

def push(title="monet train", text="print(1)", **changes):
    folder = home / "kernel"
    folder.mkdir(exist_ok=True)
    (folder / "script.py").write_text(text)
    metadata = {
        "id": "alice/monet-train", "title": title, "code_file": "script.py",
        "language": "python", "kernel_type": "script", "is_private": True, "enable_gpu": True,
        "enable_internet": False, "machine_shape": "NvidiaTeslaT4",
        "competition_sources": ["gan-getting-started"],
    }
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata | changes))
    return api.kernels_push(str(folder), timeout="3600")

def dataset(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    metadata = {"id": "alice/weights", "title": "weights", "licenses": [{"name": "other"}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata))
    return str(folder)
"""
END = """
(home / "seen.json").write_text(json.dumps(seen))
"""


@pytest.fixture
def kaggle(tmp_path: Path) -> Iterator[KaggleServer]:
    files = {f"monet_jpg/{n}.jpg": encoded(painting(seed=n)) for n in range(3)}
    with KaggleServer() as server:
        server.files = {f"{COMPETITION}.zip": pack(tmp_path / "made.zip", files).read_bytes()}
        yield server


def client(server: KaggleServer, folder: Path, code: str, **variables: str) -> dict[str, Any]:
    """Run `code` with Kaggle's client and return what it puts into `seen`."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    env = server.environment(home, not variables) | variables
    done = forks.run(forks.code, PRELUDE + code + END, str(home), cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads((home / "seen.json").read_text())
    return seen


def images(folder: Path, count: int = 2, side: int = 256) -> bytes:
    files = {f"{n}.jpg": encoded(painting((side, side), n)) for n in range(count)}
    return pack(folder / "images.zip", files).read_bytes()


def pushed(server: KaggleServer, text: str = "print(1)", **changes: object) -> KernelVersion:
    """Push without the client and return the version."""
    request = {
        "slug": NAME, "newTitle": "monet train", "text": text, "language": "python",
        "kernelType": "script", "machineShape": "NvidiaTeslaT4",
        "competitionDataSources": [COMPETITION],
    }  # fmt: skip
    assert not server.save_kernel(request | changes)["error"]
    return server.kernels[NAME].versions[-1]


def finished(run: KernelVersion, seconds: float = 60) -> KernelVersion:
    end = time.monotonic() + seconds
    while not run.finished and time.monotonic() < end:
        time.sleep(0.01)
    assert run.finished, run
    return run


def test_a_kernel_goes_from_its_push_to_the_leaderboard(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    content = images(tmp_path)
    kaggle.runner = Scripted(log=["epoch 1", "epoch 2"], files={"images.zip": content, "a/b": b"x"})
    kaggle.minimum_images = 2
    kaggle.scores = [70.5, 60.25]
    code = """
seen["competition"] = competition(
    "get_competition", "ApiGetCompetitionRequest", competition_name="gan-getting-started").to_dict()
seen["files"] = [f.name for f in api.competition_list_files("gan-getting-started").files]
seen["quota"] = api.quota_view().gpu_quota.total_time_allowed.total_seconds()
seen["push"] = push().to_dict()
seen["states"] = [api.kernels_status("alice/monet-train").status.name for _ in range(3)]
found = kernel("get_kernel", "ApiGetKernelRequest").to_dict()
seen["kernel"] = found
seen["outputs"], _ = api.kernels_output("alice/monet-train", str(home / "out"), page_size=1)
for run in ("run 1", "run 2"):
    seen["submitted"] = api.competition_submit_code(
        "images.zip", run, "gan-getting-started", "alice/monet-train", 1).to_dict()
page = lambda n: [s.to_dict() for s in api.competition_submissions(
    "gan-getting-started", page_number=n, page_size=1)]
seen["pages"] = [page(1), page(2), page(3)]
seen["one"] = competition("get_submission", "ApiGetSubmissionRequest", ref=50000001).to_dict()
seen["limits"] = api.competition_get_submission_limits("gan-getting-started").to_dict()
seen["board"] = [
    (r.team_name, r.score) for r in api.competition_leaderboard_view("gan-getting-started")]
"""
    seen = client(kaggle, tmp_path, code)
    assert seen["competition"]["userHasEntered"]
    assert seen["files"] == [f"monet_jpg/{n}.jpg" for n in range(3)]
    assert seen["quota"] == 108_000
    assert seen["push"]["versionNumber"] == 1
    assert seen["push"]["url"].endswith(f"/code/{NAME}")
    assert kaggle.kernels[NAME].versions[0].request == {
        "slug": NAME, "newTitle": "monet train", "text": "print(1)", "language": "python",
        "kernelType": "script", "competitionDataSources": [COMPETITION], "isPrivate": True,
        "enableGpu": True, "enableInternet": False, "enableTpu": False,
        "sessionTimeoutSeconds": 3600, "machineShape": "NvidiaTeslaT4",
    }  # fmt: skip
    assert seen["states"] == ["QUEUED", "RUNNING", "COMPLETE"]
    assert seen["kernel"]["blob"]["source"] == "print(1)"
    assert seen["kernel"]["metadata"]["ref"] == NAME
    assert seen["kernel"]["metadata"]["machineShape"] == "NvidiaTeslaT4"
    out = tmp_path / "home" / "out"
    assert (out / "images.zip").read_bytes() == content
    assert (out / "a" / "b").read_bytes() == b"x"
    log = json.loads((out / "monet-train.log").read_text())
    assert [(e["stream_name"], e["data"]) for e in log] == [
        ("stdout", "epoch 1\n"), ("stdout", "epoch 2\n"),
    ]  # fmt: skip
    assert seen["submitted"] == {
        "message": f"Successfully submitted to {COMPETITION}", "ref": 50_000_002,
    }  # fmt: skip
    # Newest first; each look at the list counts for all of them.
    assert [[s["description"] for s in page] for page in seen["pages"]] == [
        ["run 2"],
        ["run 1"],
        [],
    ]
    assert "publicScore" in seen["one"]
    assert (seen["one"]["publicScore"], seen["one"]["status"]) == ("70.5", "COMPLETE")
    assert seen["one"]["submittedBy"] == USER
    assert seen["limits"] == {"numToday": 2, "numTotal": 2, "numAllowedNow": 3}
    assert seen["board"] == [["Claude", "41.5"], [kaggle.team, "60.25"], ["Camille", "63.25"]]
    assert kaggle.mutating() == [f"{KERNELS}/SaveKernel"] + 2 * [
        f"{COMPETITIONS}/CreateCodeSubmission"
    ]
    assert kaggle.hosts() == {"localhost"}


def test_what_is_wrong_with_a_push_stands_in_its_reply(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    kaggle.add_dataset("alice/half-done", {}).polls_left = 1
    code = """
seen["other name"] = push(title="another monet").to_dict()
seen["sources"] = push(
    competition_sources=["nowhere"], dataset_sources=["alice/half-done", "bob/nothing"],
    kernel_sources=["bob/nothing"]).to_dict()
seen["shape"] = push(machine_shape="").to_dict()
seen["owner"] = push(id="bob/monet-train").to_dict()
seen["second"] = push().to_dict()
status = lambda **which: shown(
    kernel, "get_kernel_session_status", "ApiGetKernelSessionStatusRequest", **which)
seen["states"] = [status() for _ in range(3)] + [status(version_label="v1")]
seen["unknown"] = [
    status(slug="nobody"), status(version_label="v9"),
    shown(kernel, "get_kernel", "ApiGetKernelRequest", slug="nobody")]
"""
    seen = client(kaggle, tmp_path, code)
    assert seen["other name"]["url"].endswith("/code/alice/another-monet")
    assert seen["sources"]["invalidCompetitionSources"] == ["nowhere"]
    assert seen["sources"]["invalidDatasetSources"] == ["alice/half-done", "bob/nothing"]
    assert seen["sources"]["invalidKernelSources"] == ["bob/nothing"]
    assert "machineShape" in seen["shape"]["error"]
    assert "versionNumber" not in seen["shape"]
    assert "bob" in seen["owner"]["error"]
    assert seen["second"]["versionNumber"] == 2
    # The latest version is meant where none is named.
    assert [s.get("status", "QUEUED") for s in seen["states"]] == [
        "QUEUED", "RUNNING", "COMPLETE", "QUEUED",
    ]  # fmt: skip
    assert [answer[:3] for answer in seen["unknown"]] == ["404"] * 3


def test_a_submission_is_refused_for_every_reason_that_the_site_has(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    kaggle.runner = Scripted(files={"images.zip": images(tmp_path), "small.zip": b"none"}, polls=0)
    pushed(kaggle)
    kaggle.runner = Scripted("ERROR", failure_message="out of memory", polls=0)
    pushed(kaggle)
    kaggle.max_daily_submissions = 2
    kaggle.scored_after = 0
    code = """
def submit(version, name="images.zip"):
    return shown(
        api.competition_submit_code, name, "m", "gan-getting-started", "alice/monet-train", version)
seen["answers"] = [submit(9), submit(2), submit(1, "none.zip"), submit(1), submit(1, "small.zip"),
    submit(1)]
seen["listed"] = [s.to_dict() for s in api.competition_submissions("gan-getting-started")]
seen["failure"] = api.kernels_status("alice/monet-train").failure_message
"""
    seen = client(kaggle, tmp_path, code)
    *refused, first, second, last = seen["answers"]
    assert [answer[:3] for answer in [*refused, last]] == ["400"] * 4
    assert "no version 9" in refused[0]
    assert "is ERROR" in refused[1]
    assert "no file none.zip" in refused[2]
    assert "allowance for today" in last
    assert (first["ref"], second["ref"]) == (50_000_001, 50_000_002)
    assert [s["status"] for s in seen["listed"]] == ["ERROR", "ERROR"]
    assert "could not be read" in seen["listed"][0]["errorDescription"]
    assert "at least 7000 images, found 2" in seen["listed"][1]["errorDescription"]
    assert seen["failure"] == "out of memory"

    kaggle.rules_accepted = False
    with pytest.raises(Refused, match="accept this competition's rules") as refusal:
        kaggle.create_code_submission({"competitionName": COMPETITION})
    assert refusal.value.status == 403


def test_a_private_dataset_is_uploaded_made_and_replaced(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    kaggle.ready_after = 1
    inner = images(tmp_path)
    (tmp_path / "inner.zip").write_bytes(inner)
    # The second transfer fails on the way and is resumed by the client.
    kaggle.faults["blobs/weights.bin"] += [Unheard(), broken(503)]
    code = f"""
inner = Path({str(tmp_path / "inner.zip")!r}).read_bytes()
seen["before"] = shown(api.dataset_status, "alice/weights")
first = dataset(home / "first", {{"weights.bin": b"12345", "inner.zip": inner, "empty.txt": b""}})
seen["made"] = api.dataset_create_new(first, quiet=True).to_dict()
seen["statuses"] = [api.dataset_status("alice/weights") for _ in range(2)]
seen["again"] = ask("datasets.dataset_api_service", "create_dataset", "ApiCreateDatasetRequest",
    owner_slug="alice", slug="weights", title="weights").to_dict()
second = dataset(home / "second", {{"new.txt": b"new"}})
seen["version"] = api.dataset_create_version(second, "notes", quiet=True).to_dict()
seen["statuses"] += [api.dataset_status("alice/weights") for _ in range(2)]
"""
    made: list[dict[str, bytes]] = []
    kaggle.after[f"{DATASETS}/CreateDataset"] = lambda _: made.append(
        kaggle.datasets["alice/weights"].files
    )
    seen = client(kaggle, tmp_path, code)
    assert seen["before"].startswith("404")
    assert (seen["made"]["status"], seen["made"]["ref"]) == ("Ok", "alice/weights")
    assert made[0] == {"weights.bin": b"12345", "inner.zip": inner, "empty.txt": b""}
    assert seen["statuses"] == ["blobs_received", "ready"] * 2
    assert seen["again"]["status"] == "Error"
    assert "already in use" in seen["again"]["error"]
    assert seen["version"]["status"] == "Ok"
    found = kaggle.datasets["alice/weights"]
    assert (found.files, found.version, found.is_private) == ({"new.txt": b"new"}, 2, True)
    assert kaggle.called().count("blobs/weights.bin") == 4
    assert f"{DATASETS}/CreateDatasetVersion" in kaggle.mutating()


def test_the_log_comes_as_it_is_written_and_from_the_beginning_every_time(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    kaggle.runner = Held()
    run = pushed(kaggle)
    run.say("epoch 1\n")
    kaggle.faults[LOG_STREAM].append(BreaksAfter(90))
    arrivals: list[str] = []

    def goes_on(request: object) -> None:
        arrivals.append(run.status)
        if len(arrivals) == 2:
            threading.Timer(0.2, run.say, ["epoch 2\r"]).start()
            threading.Timer(0.4, run.finish).start()

    kaggle.after[LOG_STREAM] = goes_on
    code = """
def follow():
    lines = []
    try:
        for event in api.kernels_logs_stream("alice/monet-train"):
            lines.append(event["data"])
    except requests.exceptions.ChunkedEncodingError:
        lines.append("broken")
    return lines
seen["unfinished"] = api.kernels_output("alice/monet-train", str(home / "out"))[0]
seen["streams"] = [follow(), follow(), follow()]
seen["other"] = shown(lambda: list(api.kernels_logs_stream("alice/nobody")))
"""
    # The first stream breaks in the middle of its second event.
    run.say("between\n")
    seen = client(kaggle, tmp_path, code)
    assert seen["unfinished"] == []
    broke, whole, afterwards = seen["streams"]
    assert broke == ["epoch 1\n", "broken"]
    assert whole == afterwards == ["epoch 1\n", "between\n", "epoch 2\r"]
    assert arrivals[:3] == ["RUNNING", "RUNNING", "COMPLETE"]
    assert seen["other"].startswith("404")


def test_a_scripted_kernel_goes_on_while_its_log_is_watched(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    kaggle.runner = Scripted(log=["one", "two", "three"], polls=4)
    code = """
push()
seen["lines"] = [event["data"] for event in api.kernels_logs_stream("alice/monet-train")]
seen["state"] = api.kernels_status("alice/monet-train").status.name
"""
    seen = client(kaggle, tmp_path, code)
    assert seen == {"lines": ["one\n", "two\n", "three\n"], "state": "COMPLETE"}


def test_every_fault_happens_in_its_turn(kaggle: KaggleServer, tmp_path: Path) -> None:
    faults: list[Fault] = [
        Fine(), too_many("7"), broken(), web_page(), Unheard(), BreaksAfter(5), Truncated(5),
        Slow(0.3), LostReply(), Fine(), broken(502, for_ever=True),
    ]  # fmt: skip
    kaggle.faults[STATUS] += faults
    kaggle.runner = Scripted("ERROR", polls=4)
    pushed(kaggle)
    code = f"""
import time
def status():
    return shown(lambda: api.kernels_status("alice/monet-train").status.name)
times = [time.monotonic()]
seen["answers"] = []
for _ in range({len(faults) + 1}):
    seen["answers"].append(status())
    times.append(time.monotonic())
seen["slow"] = times[8] - times[7]
"""
    seen = client(kaggle, tmp_path, code)
    queued, many, error, page, unheard, broke, cut, slow, lost, last, *for_ever = seen["answers"]
    assert queued == "QUEUED"
    assert many.startswith("429 7 ")
    assert error.startswith("500")
    assert page == cut == "JSONDecodeError"
    assert unheard == lost == "ConnectionError"
    assert broke == "ChunkedEncodingError"
    assert (slow, last) == ("RUNNING", "ERROR")
    assert [answer[:3] for answer in for_ever] == ["502"] * 2
    assert seen["slow"] >= 0.3


def test_a_file_that_breaks_off_is_fetched_to_its_end_and_a_cut_one_looks_whole(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 12_000
    kaggle.runner = Scripted(files={"a/x.bin": content}, polls=0)
    pushed(kaggle)
    kaggle.faults["files/a/x.bin"] += [BreaksAfter(2**20 + 7), Fine(), Truncated(9)]
    code = """
reply = kernel("list_kernel_session_output", "ApiListKernelSessionOutputRequest")
url = reply.files[0].url
api.download_file(requests.get(url, stream=True), str(home / "out" / "x.bin"), None, resume=True)
seen["cut"] = len(requests.get(url).content)
seen["range"] = requests.get(url, headers={"Range": "bytes=3-5"}).content.hex()
seen["changed"] = requests.get(url, headers={"Range": "bytes=3-5", "If-Range": "x"}).status_code
seen["past"] = requests.get(url, headers={"Range": "bytes=99999999-"}).status_code
seen["forged"] = requests.get(url.replace("sign=", "sign=0")).status_code
"""
    seen = client(kaggle, tmp_path, code)
    assert (tmp_path / "home" / "out" / "x.bin").read_bytes() == content
    assert seen == {"cut": 9, "range": "030405", "changed": 200, "past": 416, "forged": 403}
    fetched = [r for r in kaggle.requests if r.name == "files/a/x.bin"]
    assert [r.headers.get("Range") for r in fetched][:2] == [None, f"bytes={2**20}-"]
    assert not any("Authorization" in r.headers for r in fetched)


def test_who_may_call(kaggle: KaggleServer, tmp_path: Path) -> None:
    code = """
seen["user"] = api.config_values.get("username")
seen["limits"] = shown(api.competition_get_submission_limits, "gan-getting-started")
"""
    seen = client(kaggle, tmp_path, code, KAGGLE_API_TOKEN=TOKEN)
    assert (seen["user"], seen["limits"]) == (USER, {"numAllowedNow": 5})
    # With a valid key beside it the client still sends the token, and is refused.
    account = {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY}
    seen = client(kaggle, tmp_path, code, KAGGLE_API_TOKEN=EXPIRED_TOKEN, **account)
    assert seen["limits"].startswith("401")


def test_what_happens_after_a_call_happens_before_its_reply(kaggle: KaggleServer) -> None:
    run = pushed(kaggle)
    kaggle.runner = Scripted(polls=0)
    kaggle.after[STATUS] = lambda request: kaggle.push_elsewhere(NAME)
    reply = call(kaggle, STATUS, userName="alice", kernelSlug="monet-train")
    assert reply == {"status": "QUEUED", "failureMessage": ""}
    assert [v.status for v in kaggle.kernels[NAME].versions] == ["QUEUED", "COMPLETE"]
    assert kaggle.kernels[NAME].versions[1].request == run.request


def call(server: KaggleServer, name: str, **content: object) -> dict[str, Any]:
    """Make one call without the client."""
    request = urllib.request.Request(
        f"{server.url}/api/v1/{name}",
        json.dumps(content).encode(),
        {"Authorization": basic(USER, KEY)},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        found: dict[str, Any] = json.load(reply)
        return found


@pytest.mark.parametrize("address", ["http://example.com/x", "https://www.kaggle.com/x"])
def test_a_request_for_another_host_goes_nowhere_and_fails_the_test(address: str) -> None:
    server = KaggleServer()

    def ask() -> None:
        with server:
            proxies = urllib.request.ProxyHandler({"http": server.url, "https": server.url})
            with pytest.raises(OSError, match="502") as refusal:
                urllib.request.build_opener(proxies).open(address, timeout=10)
            if isinstance(refusal.value, urllib.error.HTTPError):  # it holds the answer's body
                refusal.value.close()

    with pytest.raises(AssertionError, match="requests went to other hosts"):
        ask()
    assert server.foreign_hosts() == {address.split("/")[2]}


def test_a_fault_of_the_server_itself_is_not_swallowed() -> None:
    server = KaggleServer()
    server.calls["broken/Call"] = lambda request: as_json({"result": 1 // 0})

    def ask() -> None:
        with server, pytest.raises(OSError, match="closed connection"):
            call(server, "broken/Call")

    with pytest.raises(ZeroDivisionError):
        ask()


SCRIPT = """
import os, sys, time
from pathlib import Path
inputs, working = Path("/kaggle/input"), Path("/kaggle/working")
files = sorted(p.relative_to(inputs).as_posix() for p in inputs.rglob("*") if p.is_file())
print(*files, sep="\\n")
sys.stderr.write("\\r 1/2\\r 2/2\\n")
(working / "sub").mkdir()
(working / "sub" / "out.txt").write_text("made")
"""


@pytest.mark.parametrize("older", [False, True])
def test_a_kernel_is_really_run_with_its_data(kaggle: KaggleServer, older: bool) -> None:
    kaggle.runner = Really(60)
    kaggle.older_mounts = older
    kaggle.add_dataset("alice/weights", {"w.zip": b"as it is"})
    run = finished(pushed(kaggle, SCRIPT, datasetDataSources=["alice/weights"]))
    assert (run.status, run.failure_message) == ("COMPLETE", ""), run.log
    printed = "".join(e["data"] for e in run.log if e["stream_name"] == "stdout")
    competition, dataset = (
        ("gan-getting-started", "weights") if older
        else ("competitions/gan-getting-started", "datasets/alice/weights")
    )  # fmt: skip
    assert printed.splitlines() == sorted(
        [*(f"{competition}/monet_jpg/{n}.jpg" for n in range(3)), f"{dataset}/w.zip"]
    )
    bar = [e["data"] for e in run.log if e["stream_name"] == "stderr"]
    assert bar == ["\r", " 1/2\r", " 2/2\n"]
    made = run.files["sub/out.txt"]
    assert isinstance(made, Path)
    assert made.read_text() == "made"


def test_a_kernel_that_fails_or_takes_too_long_is_an_error(kaggle: KaggleServer) -> None:
    kaggle.runner = Really(60)
    run = finished(pushed(kaggle, f"{SCRIPT}\nraise SystemExit(3)"))
    assert (run.status, list(run.files)) == ("ERROR", ["sub/out.txt"])
    assert "exit code 3" in run.failure_message
    run = finished(pushed(kaggle, f"{SCRIPT}\ntime.sleep(60)", sessionTimeoutSeconds=1))
    assert "longer than 1 seconds" in run.failure_message
    run = finished(pushed(kaggle, "no paths"))
    assert "could not run the kernel" in run.failure_message


def test_the_end_leaves_no_process_no_thread_and_no_folder() -> None:
    before = set(threading.enumerate())
    with KaggleServer() as server:
        server.runner = Really(60)
        run = pushed(server, f"{SCRIPT}\nprint('in', os.getcwd(), flush=True)\ntime.sleep(60)")
        while not (told := [e["data"] for e in run.log if e["data"].startswith("in ")]):
            time.sleep(0.01)
        folder = Path(told[0].split()[1])
        assert folder.is_dir()
        stream = urllib.request.Request(
            f"{server.url}/api/v1/kernels/{LOG_STREAM}/{NAME}",
            headers={"Authorization": basic(USER, KEY)},
        )
        started = time.monotonic()
        reply = urllib.request.urlopen(stream, timeout=10)
        assert reply.readline().startswith(b"data: {")
    assert time.monotonic() - started < 10
    reply.close()
    assert run.status == "ERROR"
    assert not folder.exists()
    assert set(threading.enumerate()) == before
