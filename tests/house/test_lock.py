"""The locks fit every platform and what pyproject.toml declares; one is part of the other."""

import itertools
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import uv
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.module_graph import ROOT
from tools.install import CUDA, requirements

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
LOCKS = ("requirements.lock", "requirements-dev.lock")
TEXTS = {name: (ROOT / name).read_text() for name in LOCKS}
PYTHONS = ("3.11", "3.13", "3.14")
PLATFORMS = {
    "x86_64-manylinux_2_28": ("linux", "Linux", "x86_64"),
    "aarch64-manylinux_2_28": ("linux", "Linux", "aarch64"),
    "aarch64-apple-darwin": ("darwin", "Darwin", "arm64"),
    "x86_64-pc-windows-msvc": ("win32", "Windows", "AMD64"),
}
"""What uv calls a platform, and the values of its markers."""
ASKED_FOR = {
    ("aarch64-apple-darwin", "3.11"), ("x86_64-pc-windows-msvc", "3.14"),
}  # fmt: skip
"""Where the package index is asked by default, which is not for nothing: the first and the last
Python, and platforms that no other test is run on."""
EVERYWHERE = [
    pytest.param(*place, marks=() if place in ASKED_FOR else pytest.mark.slow)
    for place in itertools.product(PLATFORMS, PYTHONS)
]
UNREACHABLE = ("error sending request", "Failed to fetch", "timed out", "dns error")


def pins(lock: str) -> list[Requirement]:
    """Return the requirements of a lock, without their hashes."""
    lines = (line.removesuffix(" \\") for line in TEXTS[lock].splitlines())
    return [Requirement(line) for line in lines if re.match(r"\w", line)]


def pins_on(platform: str, python: str, lock: str) -> dict[str, str]:
    """Return the version of each package that a lock gives a platform."""
    sys_platform, system, machine = PLATFORMS[platform]
    environment = {name: str(value) for name, value in default_environment().items()} | {
        "sys_platform": sys_platform,
        "platform_system": system,
        "platform_machine": machine,
        "os_name": "nt" if sys_platform == "win32" else "posix",
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    chosen = [p for p in pins(lock) if p.marker is None or p.marker.evaluate(environment)]
    found = {str(canonicalize_name(pin.name)): str(pin.specifier)[2:] for pin in chosen}
    assert len(found) == len(chosen)
    return found


def declared(lock: str) -> list[Requirement]:
    """Return what pyproject.toml asks for, with the extras that a lock holds."""
    extras = re.findall(r"--extra (\w+)", re.sub(r"--extra dev", "", MAKEFILE))
    assert extras
    extras += ["dev"] if lock == "requirements-dev.lock" else []
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][e] for e in extras)]
    return [Requirement(text) for texts in lists for text in texts]


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_lock_keeps_the_declared_ranges_everywhere(platform: str, python: str, lock: str) -> None:
    versions = pins_on(platform, python, lock)
    for requirement in declared(lock):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}, {version} locked"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_everything_with_hashes_and_names_no_index(lock: str) -> None:
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins(lock))
    assert not re.search(r"://|^-", TEXTS[lock], re.MULTILINE)
    blocks = [text for _, text in requirements(TEXTS[lock])]
    assert len(blocks) == len(pins(lock))
    assert all("--hash=sha256:" in block for block in blocks)


def test_developers_have_what_users_have_and_users_nothing_of_theirs() -> None:
    users, developers = (dict(requirements(text)) for text in TEXTS.values())
    bare = {name: re.sub(r" +#.*\n", "", text) for name, text in developers.items()}
    assert {
        name: re.sub(r" +#.*\n", "", text) for name, text in users.items()
    }.items() <= bare.items()
    tools = {Requirement(text).name for text in PROJECT["optional-dependencies"]["dev"]}
    assert not tools & set(users)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_cuda_is_for_linux_alone(platform: str, python: str) -> None:
    locked = pins_on(platform, python, "requirements-dev.lock")
    cuda = {name for name in locked if CUDA.match(name)}
    assert bool(cuda) == ("linux" in platform), cuda


def dry_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask the package index what would be installed; wheels alone, nothing is built."""
    command = [
        uv.find_uv_bin(), "pip", "install", "--dry-run", "--only-binary", ":all:",
        "--target", str(folder), *arguments,
    ]  # fmt: skip
    environment = os.environ | {
        "UV_CACHE_DIR": str(folder.parent / "uv_cache"),
        "UV_HTTP_TIMEOUT": "20",
        "UV_HTTP_RETRIES": "1",
        # The oldest macOS that torch's wheels take; uv supposes an older one.
        "MACOSX_DEPLOYMENT_TARGET": "14.0",
    }
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode and any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip("the package index cannot be reached")
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where nothing is installed; skip without a package index."""
    folder = tmp_path_factory.mktemp("lock") / "target"
    if dry_run(folder, "six").returncode:
        pytest.skip("the package index gives no answer")
    return folder


@pytest.mark.package_index
@pytest.mark.parametrize(("platform", "python"), EVERYWHERE)
def test_every_platform_has_wheels_of_all_that_is_locked(
    folder: Path, platform: str, python: str
) -> None:
    done = dry_run(
        folder, "--python-platform", platform, "--python-version", python,
        "-r", "requirements-dev.lock",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    would = dict(re.findall(r"^ \+ ([\w-]+)==(\S+)$", done.stderr, re.MULTILINE))
    assert would == pins_on(platform, python, "requirements-dev.lock")
