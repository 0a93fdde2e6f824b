"""Downloads by Kaggle's real client from a Kaggle on this machine, each in its own process."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import run_command
from pipeline.core.errors import KaggleError
from pipeline.kaggle.api import KaggleClient
from submission.rules import MINIMUM_IMAGES
from tests.support import forks
from tests.support.helpers import encoded, pack, painting
from tests.support.kaggle_server import (
    COMPETITIONS,
    DATASETS,
    HTML,
    INTROSPECT,
    KEY,
    USER,
    KaggleServer,
    Reply,
    Truncated,
    Unheard,
    as_json,
    basic,
    broken,
    refusal,
    too_many,
)
from tests.support.module_graph import ROOT
from tests.support.painter_process import hurried

SLUG = "gan-getting-started"
DOWNLOAD = f"{COMPETITIONS}/DownloadDataFiles"
PAGE = Reply(b"<!doctype html><title>Kaggle</title>", headers=HTML)


@pytest.fixture
def kaggle(tmp_path: Path) -> Iterator[KaggleServer]:
    files = {f"monet_jpg/{n}.jpg": encoded(painting(seed=n)) for n in range(3)}
    files |= {f"photo_jpg/{n}.jpg": encoded(painting(seed=9 + n)) for n in range(2)}
    content = pack(tmp_path / "made.zip", files).read_bytes()
    (tmp_path / "made.zip").unlink()
    with KaggleServer() as server:
        server.files = {f"{SLUG}.zip": content, "monet.zip": content}
        yield server


def download(
    server: KaggleServer, folder: Path, source: str = "competition", credentials: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run `painter download` into `folder`/data, and look for the key in all that it leaves."""
    home = folder / "home"
    home.mkdir()
    words = ("download", "--source", source, "--data", str(folder / "data"))
    env = server.environment(home, credentials)
    done = forks.run(hurried, list(words), MINIMUM_IMAGES, None, cwd=ROOT, env=env)
    left = [p.read_bytes() for p in folder.rglob("*") if p.is_file()]
    for secret in (KEY, base64.b64encode(f"{USER}:{KEY}".encode()).decode()):
        assert secret not in done.stdout + done.stderr
        assert not any(secret.encode() in content for content in left)
    return done


def refused(server: KaggleServer, folder: Path, source: str = "competition") -> str:
    """Return the one message of a download that ends with exit code 2 and leaves nothing."""
    return message_of(download(server, folder, source), folder)


def message_of(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    # Progress bars end lines with a carriage return; the message is the last line.
    message = done.stderr.replace("\r", "\n").strip().splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert message.startswith("painter: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [p.name for p in folder.iterdir()] == ["home"]
    return message


CLIENT = f"""
import sys
from pathlib import Path
from pipeline.core.errors import PainterError
from pipeline.core.polling import Clock
from pipeline.kaggle.api import KaggleClient
from submission.rules import MINIMUM_IMAGES
at_once = Clock(sleep=lambda seconds: None)
try:
    KaggleClient(at_once).download_competition({SLUG!r}, Path(sys.argv[1]))
except PainterError as error:
    print(error)
"""


def client_says(environment: dict[str, str], folder: Path) -> str:
    """Return the message of a failing download, without the second that the stage starts in."""
    done = forks.run(forks.code, CLIENT, str(folder), cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout
    return done.stdout


def test_the_competition_arrives_with_its_domains_and_is_not_fetched_twice(
    kaggle: KaggleServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = download(kaggle, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 images (")
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["domains"] == {"monet_jpg": 3, "photo_jpg": 2}
    assert (manifest["source"], manifest["unreadable"]) == ("competition", [])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "home"]
    assert kaggle.called() == [DOWNLOAD, f"files/{SLUG}.zip"]
    assert kaggle.requests[0].json() == {"competitionName": SLUG}
    assert kaggle.requests[0].headers["Authorization"] == basic(USER, KEY)

    # A second call finds all of it and asks nobody.
    arguments = ["download", "--source", "competition", "--data", str(tmp_path / "data")]
    assert run_command(arguments) == 0
    assert "already in" in capsys.readouterr().out
    assert len(kaggle.requests) == 2


def test_a_dataset_arrives_although_the_connection_breaks_on_the_way(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    padding = {"notes.bin": bytes(2 * 2**20)}
    images = {f"{n}.jpg": encoded(painting(seed=n)) for n in range(5)}
    kaggle.files["monet.zip"] = pack(tmp_path / "made.zip", padding | images).read_bytes()
    (tmp_path / "made.zip").unlink()
    kaggle.break_off_after = 2**20 + 1000
    done = download(kaggle, tmp_path, "dataset:alice/monet")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "data" / "manifest.json").read_text())["count"] == 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "home"]
    assert kaggle.requests[0].json() == {"ownerSlug": "alice", "datasetSlug": "monet"}
    assert kaggle.called() == [f"{DATASETS}/DownloadDataset", "files/monet.zip", "files/monet.zip"]
    # The client writes a mebibyte at a time: what it has of the next one is lost.
    assert kaggle.requests[-1].headers["Range"] == f"bytes={2**20}-"


def test_rules_that_were_not_accepted_are_named_with_their_page(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    kaggle.refusals[DOWNLOAD] = refusal(403)
    message = refused(kaggle, tmp_path)
    assert f"Accept the rules on https://www.kaggle.com/competitions/{SLUG}/rules" in message


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "Create a new token: https://www.kaggle.com/settings"),
        (404, f"Look it up: https://www.kaggle.com/competitions/{SLUG}"),
        (429, "Wait a minute"),
        (500, "Call again later"),
    ],
)
def test_every_refusal_names_the_next_step(
    kaggle: KaggleServer, tmp_path: Path, status: int, advice: str
) -> None:
    kaggle.refusals[DOWNLOAD] = refusal(status)
    message = client_says(kaggle.environment(tmp_path), tmp_path / "waiting")
    assert advice in message
    assert f"({status})" in message or f" {status} " in message
    assert not (tmp_path / "waiting").exists()


def test_a_page_behind_the_link_instead_of_a_zip_is_told_apart(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    kaggle.files[f"{SLUG}.zip"] = PAGE.body
    assert "no whole zip" in refused(kaggle, tmp_path)


def test_a_page_instead_of_the_link_is_told_apart(kaggle: KaggleServer, tmp_path: Path) -> None:
    kaggle.refusals[f"{DATASETS}/DownloadDataset"] = PAGE
    assert "no whole zip" in refused(kaggle, tmp_path, "dataset:alice/monet")


def test_without_credentials_the_message_says_how_to_get_some(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    message = message_of(download(kaggle, tmp_path, credentials=False), tmp_path)
    assert "credentials" in message
    assert "https://www.kaggle.com/settings" in message
    assert "--source sample" in message
    assert kaggle.requests == []


def test_a_token_that_kaggle_does_not_know_is_no_credentials(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    environment = kaggle.environment(tmp_path, credentials=False) | {"KAGGLE_API_TOKEN": KEY}
    kaggle.refusals[INTROSPECT] = as_json({"active": False})
    assert "No valid Kaggle credentials" in client_says(environment, tmp_path / "waiting")
    kaggle.refusals[INTROSPECT] = refusal(401)
    assert "(401). Create a new token" in client_says(environment, tmp_path / "waiting")
    assert kaggle.called()[-1] == INTROSPECT


@pytest.mark.parametrize("account", [{}, {"KAGGLE_API_TOKEN": KEY}])
def test_without_a_network_the_message_says_so(tmp_path: Path, account: dict[str, str]) -> None:
    with KaggleServer() as server:
        environment = server.environment(tmp_path) | account
    # The server is gone: nobody listens on its port any more.
    assert "cannot be reached" in client_says(environment, tmp_path / "waiting")


@pytest.mark.parametrize("name", ["monet", "/monet", "alice/", "alice/monet/2"])
def test_a_dataset_is_named_by_owner_and_slug(tmp_path: Path, name: str) -> None:
    client = object.__new__(KaggleClient)  # the name is looked at before account and network
    with pytest.raises(KaggleError, match="OWNER/SLUG"):
        client.download_dataset(name, tmp_path / "waiting")


def test_a_busy_or_broken_site_is_asked_again(kaggle: KaggleServer, tmp_path: Path) -> None:
    kaggle.faults[DOWNLOAD] += [too_many("0"), broken(), Unheard()]
    kaggle.faults[f"files/{SLUG}.zip"] += [broken()]
    client_says(kaggle.environment(tmp_path), tmp_path / "waiting")
    assert (tmp_path / "waiting" / f"{SLUG}.zip").read_bytes() == kaggle.files[f"{SLUG}.zip"]


def test_a_truncated_zip_is_not_unpacked(kaggle: KaggleServer, tmp_path: Path) -> None:
    kaggle.faults[f"files/{SLUG}.zip"].append(Truncated(size=900))
    assert "no whole zip" in refused(kaggle, tmp_path)


def test_rules_that_are_accepted_later_let_the_second_call_through(
    kaggle: KaggleServer, tmp_path: Path
) -> None:
    kaggle.rules_accepted = False
    assert "/rules" in client_says(kaggle.environment(tmp_path), tmp_path / "waiting")
    kaggle.rules_accepted = True
    client_says(kaggle.environment(tmp_path), tmp_path / "waiting")
    assert (tmp_path / "waiting" / f"{SLUG}.zip").exists()
