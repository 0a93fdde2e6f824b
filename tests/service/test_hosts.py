"""Names that a server on this machine alone answers to."""

import asyncio
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from pipeline.core.errors import ConfigError
from pipeline.service.hosts import limit_hosts
from pipeline.service.server import listen
from pipeline.service.watch_app import create_watch_app
from pipeline.service.watched_run import WatchedRun
from tests.support import forks
from tests.support.clock import WAIT


def asked(app: FastAPI, host: str) -> httpx.Response:
    """Return the answer of an application to a request for some host."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            return await client.get("/v1/charts", headers={"Host": host})

    with ThreadPoolExecutor(1) as pool:  # in this one the loop of a browser's tests may be running
        return pool.submit(asyncio.run, ask()).result()


def listening(folder: Path, host: str, names: Sequence[str] = ()) -> FastAPI:
    """Return an application as it is when it listens at an address."""
    app = create_watch_app(WatchedRun(folder))
    with listen(host, 0) as listener:
        limit_hosts(app, listener, names)
    return app


def test_a_server_of_this_machine_alone_answers_to_its_own_names(tmp_path: Path) -> None:
    app = listening(tmp_path, "127.0.0.1", ["Hub.example"])
    own = ["localhost.:8001", "App.localhost:8001", "hub.example.", "hub.example:1"]
    own += ["localhost", "LocalHost:8001", "127.0.0.1:8001", "[::1]:8001", "[::1]"]
    for host in (*own, ""):
        assert asked(app, host).status_code == 200, host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8001", "[::2]:1",
                 "evil@localhost", "evil.example:8001:localhost", ":localhost"):  # fmt: skip
        answer = asked(app, host)
        assert answer.status_code == 421, host
        assert "--allow-host" in answer.json()["error"]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("given", "asked_for"),
    [
        ("proxy.example:8443", "proxy.example"),
        ("proxy.example.", "proxy.example:8443"),
        ("[FE80::5]", "[fe80::5]:8443"),
        ("fe80::5", "[fe80::5]"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_a_name_is_taken_as_a_browser_sends_it(tmp_path: Path, given: str, asked_for: str) -> None:
    app = listening(tmp_path, "127.0.0.1", [given])
    assert asked(app, asked_for).status_code == 200
    assert asked(app, "other.example").status_code == 421


@pytest.mark.parametrize("given", ["http://proxy.example", "", ":80", "a..b"])
def test_what_can_be_no_name_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError, match="given by --allow-host, is no name of a machine"):
        listening(tmp_path, "127.0.0.1", [given])


@pytest.mark.parametrize(
    ("host", "other", "status"),
    [("0.0.0.0", "machine.example", 200), ("127.0.0.2", "127.0.0.2:8", 200),
     ("127.0.0.2", "machine.example", 421)],
)  # fmt: skip
def test_where_others_reach_it_it_answers_to_any_name(
    tmp_path: Path, host: str, other: str, status: int
) -> None:
    assert asked(listening(tmp_path, host), other).status_code == status


def test_the_command_takes_names_that_a_proxy_passes_on(tmp_path: Path) -> None:
    words = ("watch", "--run", "run", "--port", "0", "--allow-host", "hub.example")
    process = forks.Process(forks.painter, *words, cwd=tmp_path, env=os.environ)
    assert process.stdout
    url = process.stdout.readline().decode().split()[2]
    found = [
        httpx.get(url, headers={"Host": host}, timeout=WAIT).status_code
        for host in ("evil.example", "hub.example:443")
    ]
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=WAIT)
    assert found == [421, 200]
