"""A user at a desk: a folder to work in, an account, painter, and a Kaggle on this machine."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run_command
from tests.support.helpers import TINY_RUN, encoded, fill, painting
from tests.support.kaggle_server import EXPIRED_TOKEN, KEY, TOKEN, USER, KaggleServer
from tests.support.kaggle_state import Scripted
from tests.support.painter_process import Done, PainterProcess

MINIMUM = 5
"""Images that a submission needs here; the real number is tested by the whole loop."""
SECRETS = (KEY, TOKEN, EXPIRED_TOKEN, base64.b64encode(f"{USER}:{KEY}".encode()).decode())
RUN = "runs/first"
PUSH = ("kernel", "push", "--no-scorer", "--preset", "demo", "--run", RUN, *TINY_RUN)
NAME = "alice/painter-first"


class Desk:
    """Runs painter in `folder` with the account's environment, and keeps all that it printed."""

    def __init__(self, server: KaggleServer, process: PainterProcess, folder: Path) -> None:
        self.server = server
        self.process = process
        self.folder = folder
        self.home = folder.parent / "home"
        self.home.mkdir()
        folder.mkdir()
        self.extra: dict[str, str] = {}
        self.minimum = MINIMUM
        self.printed = ""

    def painter(self, *args: str, credentials: bool = True) -> Done:
        """Run one command."""
        env = self.server.environment(self.home, credentials) | self.extra
        done = self.process.run(list(args), self.folder, env, self.minimum)
        self.printed += done.out + done.err
        assert "Traceback" not in done.err, done.err
        return done

    def works(self, *args: str) -> str:
        """Run a command that succeeds; return what it printed."""
        done = self.painter(*args)
        assert done.code == 0, done.err
        return done.out

    def fails(self, code: int, *args: str, credentials: bool = True) -> str:
        """Run a command that ends with `code` and one message; return the message."""
        done = self.painter(*args, credentials=credentials)
        assert done.code == code, (done.code, done.out, done.err)
        assert done.message.startswith("painter: ") or "painter: " in done.err, done.err
        return done.err[done.err.rindex("painter: ") :]

    @property
    def run(self) -> Path:
        return self.folder / RUN

    def read(self, name: str) -> dict[str, Any]:
        """Return the JSON object in a file of the desk's folder."""
        content: dict[str, Any] = json.loads((self.folder / name).read_text())
        return content

    def refuse_secrets(self) -> None:
        """Look for the credentials in all that was printed and written."""
        left = [p.read_bytes() for p in self.folder.parent.rglob("*") if p.is_file()]
        for secret in SECRETS:
            assert secret not in self.printed
            assert not any(secret.encode() in content for content in left)
        for version in [v for k in self.server.kernels.values() for v in k.versions]:
            assert not any(secret in version.source for secret in SECRETS)


@pytest.fixture(scope="module")
def painter_process() -> PainterProcess:
    return PainterProcess()


@pytest.fixture
def desk(tmp_path: Path, painter_process: PainterProcess) -> Iterator[Desk]:
    with KaggleServer() as server:
        server.minimum_images = MINIMUM
        server.runner = Scripted(files=output(), log=["paintings: 300", "train 50%"], polls=2)
        desk = Desk(server, painter_process, tmp_path / "desk")
        yield desk
        desk.refuse_secrets()


@cache
def images(count: int = MINIMUM) -> bytes:
    """Return an images.zip."""
    buffer = io.BytesIO()
    content = encoded(painting((256, 256)))
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(1, count + 1):
            archive.writestr(f"{number}.jpg", content)
    return buffer.getvalue()


def output() -> dict[str, bytes | Path]:
    """Return what a kernel that trained leaves in its working folder."""
    from pipeline.config import resolve

    config = resolve("demo", None, [w for w in TINY_RUN if w != "--set"])
    return {
        "config.json": json.dumps(config.to_dict()).encode(),
        "provenance.json": b'{"data": {}, "sittings": []}',
        "log.txt": b"trained\n",
        "samples/000008.png": encoded(painting(), "PNG"),
        "images.zip": images(),
        "score.json": json.dumps({"mifid": 91.25, "features": "inception"}).encode(),
        ".virtual_documents/x": b"Kaggle's own",
        "__notebook__.ipynb": b"{}",
    }


def generated(run: Path, **changes: object) -> dict[str, bytes | Path]:
    """Return what a kernel leaves that generates the images of a run."""
    made = json.loads((run / "images.json").read_text())
    return {"images.zip": images(), "images.json": json.dumps(made | changes).encode()}


def train_here(folder: Path, name: str = RUN) -> Path:
    """Leave in a desk's folder a tiny run that was trained there, its images and a score."""
    fill(folder / "paintings", 3)
    trained = Path(_trained().name)
    run = folder / name
    shutil.copytree(trained / RUN, run)
    provenance = (run / "provenance.json").read_text()
    (run / "provenance.json").write_text(provenance.replace(str(trained), str(folder)))
    return run


@cache
def _trained() -> tempfile.TemporaryDirectory[str]:
    """Train a run as a desk's folder would hold it, once for all desks."""
    folder = tempfile.TemporaryDirectory(prefix="painter-trained-")
    data, run = fill(Path(folder.name) / "paintings", 3), Path(folder.name) / RUN
    train = ["train", "--data", str(data), "--preset", "demo", "--run", str(run), *TINY_RUN]
    assert run_command(train) == 0
    assert run_command(["generate", "--run", str(run), "--count", str(MINIMUM)]) == 0
    score = {"mifid": 88.5, "features": "efficientnet-lite0", "n_generated": MINIMUM}
    (run / "score.json").write_text(json.dumps(score))
    return folder
