"""`make setup` takes the torch that suits the machine: tried with tiny wheels on a local index."""

import base64
import functools
import hashlib
import http.server
import re
import subprocess
import threading
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pip
import pytest
import uv

from tools import install
from tools.install import Target, choose_wheels, install_locked, superseded, without_torch

UNREACHABLE = "http://127.0.0.1:9/cpu"
"""The port of `discard`, where nobody listens: refused at once."""
LOCKED = {"torch": "9.1", "torchvision": "0.9", "nvidia-cublas": "13.0", "brush": "1.0"}


def write_wheel(index: Path, name: str, version: str) -> str:
    """Put an installable package without content on an index; return the SHA-256 of its file."""
    folder = index / name
    folder.mkdir(parents=True)
    stem = f"{name.replace('-', '_')}-{version}"
    files = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={digest(text)},{len(text)}\n" for path, text in files.items())
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    href = wheel.name.replace("+", "%2B")
    (folder / "index.html").write_text(f'<a href="{href}">{wheel.name}</a>')
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def digest(text: str) -> str:
    """Return what a wheel's RECORD says of a file."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Indexes:
    """A package index, one of torch without CUDA, and a lock of what the first has."""

    def __init__(self, folder: Path, address: str) -> None:
        hashes = {n: write_wheel(folder / "all", n, version) for n, version in LOCKED.items()}
        for name in install.TORCH:
            write_wheel(folder / "cpu", name, f"{LOCKED[name]}+cpu")
        self.all, self.cpu = f"{address}/all", f"{address}/cpu"
        self.lock = "# made by hand\n" + "".join(
            f"{name}=={LOCKED[name]} ; os_name != 'x' \\\n    --hash=sha256:{sha}\n    # via x\n"
            for name, sha in hashes.items()
        )


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexes]:
    folder = tmp_path_factory.mktemp("indexes")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Indexes(folder, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, indexes: Indexes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux without an NVIDIA card, whose installers ask the local index alone."""
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(install, "CARDS", tmp_path / "gpus")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    write_smi(tmp_path, "exit 9")
    monkeypatch.setenv("UV_DEFAULT_INDEX", indexes.all)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PIP_INDEX_URL", indexes.all)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


def write_smi(folder: Path, does: str) -> None:
    """Put an nvidia-smi in front of the machine's own."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """An environment without pip, for uv."""
    venv.create(tmp_path / "venv", symlinks=True)
    return Target(tmp_path / "venv", uv.find_uv_bin())


def set_up(target: Target, indexes: Indexes, torch: str = "auto") -> dict[str, str]:
    """Do what `make setup TORCH=...` does with an environment; return what is in it then."""
    wheels = choose_wheels(torch, indexes.cpu, indexes.lock, target.installed())
    install_locked(target, indexes.lock, wheels, indexes.cpu)
    return target.installed()


WITHOUT = {"torch": "9.1+cpu", "torchvision": "0.9+cpu", "brush": "1.0"}


def test_without_a_card_torch_is_the_one_without_cuda_and_one_kind_replaces_the_other(
    target: Target, indexes: Indexes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set_up(target, indexes) == WITHOUT
    assert "without CUDA, from http://127.0.0.1" in capsys.readouterr().out
    assert set_up(target, indexes, "cuda") == LOCKED
    assert set_up(target, indexes) == LOCKED, "what is there stays, unless another is asked for"
    assert set_up(target, indexes, "cpu") == WITHOUT
    offline = choose_wheels("auto", UNREACHABLE, indexes.lock, WITHOUT)
    assert offline == ["torch==9.1+cpu", "torchvision==0.9+cpu"]
    with pytest.raises(SystemExit, match="TORCH=cuda takes the other kind"):
        choose_wheels(
            "auto", UNREACHABLE, indexes.lock.replace("torch==9.1", "torch==9.2"), WITHOUT
        )


def test_pip_installs_what_is_locked_where_there_is_no_uv(target: Target, indexes: Indexes) -> None:
    (site,) = target.venv.glob("lib/python*/site-packages")
    (site / "pip.pth").write_text(str(Path(pip.__file__).parents[1]))
    install_locked(target._replace(uv=None), indexes.lock, [], "")
    assert target.installed() == LOCKED


def test_what_is_not_what_was_locked_is_refused(target: Target, indexes: Indexes) -> None:
    forged = re.sub(r"sha256:\w{8}", "sha256:00000000", indexes.lock)
    with pytest.raises(subprocess.CalledProcessError):
        install_locked(target, forged, [], "")
    assert target.installed() == {}


def test_where_no_index_of_cpu_wheels_answers_torch_is_what_is_there(
    indexes: Indexes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose_wheels("auto", UNREACHABLE, indexes.lock, {}) == []
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith(f"No torch without CUDA ({UNREACHABLE}: ")
    with pytest.raises(SystemExit, match=r"No torch without CUDA.*WHEELS=URL"):
        choose_wheels("cpu", UNREACHABLE, indexes.lock, {})


def test_an_index_without_the_locked_version_is_passed_over(
    indexes: Indexes, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = indexes.lock.replace("torchvision==0.9", "torchvision==0.10")
    assert choose_wheels("auto", indexes.cpu, newer, {}) == []
    assert "/cpu/torchvision/ has no torchvision 0.10 for cp3" in capsys.readouterr().out


@pytest.mark.parametrize("seen_by", ["driver", "nvidia-smi"])
def test_with_a_card_torch_comes_with_cuda(seen_by: str, indexes: Indexes, tmp_path: Path) -> None:
    if seen_by == "driver":
        (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    else:
        write_smi(tmp_path, "echo 'GPU 0: NVIDIA H100 (UUID: GPU-0)'")
    assert choose_wheels("auto", indexes.cpu, indexes.lock, {}) == []
    assert len(choose_wheels("cpu", indexes.cpu, indexes.lock, {})) == 2


def test_beyond_linux_there_is_one_torch_and_no_index_is_asked(
    indexes: Indexes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert choose_wheels("cpu", UNREACHABLE, indexes.lock, {}) == []


def test_the_locks_are_split_in_torch_with_its_cuda_and_the_rest(indexes: Indexes) -> None:
    assert [name for name, _ in install.requirements(without_torch(indexes.lock))] == ["brush"]
    installed = {"torch": "9.1", "torchvision": "0.9", "triton": "3.8", "brush": "1.0"}
    assert superseded(installed, without_cuda=True) == ["torch", "torchvision", "triton"]
    assert superseded(installed, without_cuda=False) == []
    assert superseded(WITHOUT, without_cuda=False) == ["torch", "torchvision"]
    assert superseded(WITHOUT | {"torchvision": "0.9"}, without_cuda=True) == []
