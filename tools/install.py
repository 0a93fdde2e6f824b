"""`make setup`: the locked packages into .venv, with the torch that suits the machine, and painter.

The lock has hashes, and torch in it is the package index's: on Linux that comes with 4 GB of CUDA.
The wheels without CUDA lie on an index of their own and have other hashes, so they are installed
beside the hashed file, in the versions that it names.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

TORCH = ("torch", "torchvision")
CUDA = re.compile(r"cuda|nvidia|triton")
"""How the packages begin that only torch with CUDA needs."""
CARDS = Path("/proc/driver/nvidia/gpus")
"""Where the driver of an NVIDIA card lists those that it found."""
ANSWER_SECONDS = 5
"""How long an index may take to say what it has."""
WITH_CUDA = "3.2 GB to download and 6 GB on disk"
WITHOUT_CUDA = "0.4 GB to download and 1.3 GB on disk"


class Target(NamedTuple):
    """A virtual environment, and what installs into it."""

    venv: Path
    uv: str | None
    """The program, or None for pip."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.venv / "bin" / "python"

    def install(self, *arguments: str) -> None:
        """Install without dependencies: the lock has them all."""
        if self.uv:
            command = [self.uv, "pip", "install", "--python", str(self.python)]
        else:
            command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check"]
        subprocess.run([*command, "--no-deps", *arguments], check=True)

    def uninstall(self, names: Sequence[str]) -> None:
        """Remove packages."""
        if self.uv:
            command = [self.uv, "pip", "uninstall", "--python", str(self.python)]
        else:
            command = [str(self.python), "-m", "pip", "uninstall", "--yes", "--quiet"]
        subprocess.run([*command, *names], check=True)

    def installed(self) -> dict[str, str]:
        """Return the version of each package in the environment's own folder."""
        infos = self.venv.glob("lib/python*/site-packages/*.dist-info")
        pairs = (info.name.removesuffix(".dist-info").partition("-") for info in infos)
        return {name.lower().replace("_", "-"): version for name, _, version in pairs}


def requirements(lock: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each package of a lock, and its lines: version, marker and hashes."""
    for block in re.findall(r"^\w.*\n(?:[ ].*\n)*", lock, re.MULTILINE):
        yield re.split(r"[^\w.-]", block, maxsplit=1)[0], block


def without_torch(lock: str) -> str:
    """Return the lock without torch, torchvision and what only torch with CUDA needs."""
    kept = (text for name, text in requirements(lock) if name not in TORCH and not CUDA.match(name))
    return "".join(kept)


def has_nvidia_card() -> bool:
    """Whether the driver of an NVIDIA card runs here, and has one."""
    if any(CARDS.glob("*")):
        return True
    program = shutil.which("nvidia-smi") or "/usr/lib/wsl/lib/nvidia-smi"  # where WSL has it
    try:
        done = subprocess.run([program, "-L"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"GPU" in done.stdout


def cpu_wheels(index: str, lock: str) -> list[str]:
    """Return `torch==2.14.1+cpu` and the like: the lock's versions, as an index has them.

    Raises:
        OSError: The index gives no answer.
        LookupError: It has no such wheel for this Python and processor.
    """
    return [_wheel(index, name, _locked(name, lock)) for name in TORCH]


def _locked(name: str, lock: str) -> str:
    (version,) = re.findall(rf"^{name}==([\w.]+)", lock, re.MULTILINE)
    return str(version)


def _has_locked(installed: dict[str, str], lock: str) -> bool:
    public = {name: version.partition("+")[0] for name, version in installed.items()}
    return all(public.get(name) == _locked(name, lock) for name in TORCH)


def _wheel(index: str, name: str, version: str) -> str:
    address = f"{index.rstrip('/')}/{name}/"
    with urllib.request.urlopen(address, timeout=ANSWER_SECONDS) as answer:
        page = answer.read().decode()
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheel = re.search(
        rf"\b{name}-{re.escape(version)}((?:\+|%2B)[\w.]+)?-(?:{python}|py3)-"
        rf"[\w.-]*(?:{platform.machine()}|any)\.whl",
        page,
    )
    if wheel is None:
        raise LookupError(f"{address} has no {name} {version} for {python}, {platform.machine()}")
    return f"{name}=={version}{(wheel[1] or '').replace('%2B', '+')}"


def choose_wheels(torch: str, index: str, lock: str, installed: dict[str, str]) -> list[str]:
    """Return which wheels of torch come from the index of those without CUDA: none, or all.

    `torch` is cpu, cuda or auto: the kind that is installed, or else what suits the machine. Only
    for Linux do the two differ.

    Raises:
        SystemExit: They were asked for, or are installed, and the index has none.
    """
    if torch == "auto" and "torch" in installed:
        torch = "cpu" if "+cpu" in installed["torch"] else "cuda"
    if platform.system() != "Linux" or torch == "cuda":
        return []
    if torch == "auto" and has_nvidia_card():
        print("An NVIDIA card was found: torch with CUDA.", flush=True)
        return []
    if "+cpu" in installed.get("torch", "") and _has_locked(installed, lock):
        return [f"{name}=={installed[name]}" for name in TORCH]
    try:
        wheels = cpu_wheels(index, lock)
    except (OSError, LookupError) as error:
        reason = error if isinstance(error, LookupError) else f"{index}: {_cause(error)}"
        if torch == "cpu":
            sys.exit(
                f"No torch without CUDA: {reason}. WHEELS=URL names another index of such "
                "wheels, and TORCH=cuda takes the other kind."
            )
        print(f"No torch without CUDA ({reason}), so the one with it.", flush=True)
        return []
    print(f"Torch without CUDA, from {index}. TORCH=cuda takes the other.", flush=True)
    return wheels


def _cause(error: OSError) -> object:
    return getattr(error, "reason", error)  # urllib's names its own kind first


def install_locked(target: Target, lock: str, wheels: Sequence[str], index: str) -> None:
    """Install what a lock names, with torch from another index if wheels of it are given.

    Raises:
        subprocess.CalledProcessError: The installer failed, and said why.
    """
    installed = target.installed()
    if stale := superseded(installed, bool(wheels)):
        target.uninstall(stale)
    if not installed.get("torch") or stale:
        size = WITHOUT_CUDA if wheels or platform.system() != "Linux" else WITH_CUDA
        print(f"About {size}. The first time it takes minutes.", flush=True)
    if wheels:
        target.install("--default-index" if target.uv else "--index-url", index, *wheels)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(without_torch(lock) if wheels else lock)
        file.flush()
        target.install("--require-hashes", "--requirement", file.name)


def superseded(installed: dict[str, str], without_cuda: bool) -> list[str]:
    """Return the installed packages that stand in the way of the other kind of torch.

    To an installer 2.14.1+cpu is a 2.14.1, and so would stay where 2.14.1 is asked for.
    """
    differs = ("+cpu" in installed.get("torch", "")) != without_cuda
    other = [name for name in TORCH if name in installed and differs]
    return other + sorted(name for name in installed if without_cuda and CUDA.match(name))


def make_environment(target: Target) -> None:
    """Make the virtual environment, or mend one whose making was interrupted.

    Raises:
        SystemExit: This Python cannot, and there is no uv.
    """
    done = subprocess.run([sys.executable, "-m", "venv", str(target.venv)], check=False)
    if done.returncode and target.uv:  # Debian's Python can without pip alone, and uv brings one
        command = [target.uv, "venv", "--seed", "--allow-existing", "--python", sys.executable]
        done = subprocess.run([*command, str(target.venv)], check=False)
    if done.returncode:
        sys.exit(
            f"{sys.executable} could not make {target.venv}. On Debian and Ubuntu: apt install "
            "python3-venv. With uv installed it is not needed."
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Install a lock and the checkout in the current folder."""
    parser = argparse.ArgumentParser(prog="tools.install", description=__doc__)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--torch", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--wheels", required=True, help="index of torch's wheels without CUDA")
    parser.add_argument("--uv", default="uv", help="installs if it is there; empty: pip does")
    given = parser.parse_args(arguments)
    target = Target(given.venv, shutil.which(given.uv) if given.uv else None)
    lock = given.lock.read_text()
    try:
        make_environment(target)
        wheels = choose_wheels(given.torch, given.wheels, lock, target.installed())
        for stamp in given.venv.glob(".*ready"):  # make's, which do not hold until all is installed
            stamp.unlink()
        install_locked(target, lock, wheels, given.wheels)
        target.install("--editable", ".")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on: what was downloaded whole is kept.")
    except subprocess.CalledProcessError as error:
        other = " UV= (nothing) takes pip." if target.uv else ""
        sys.exit(
            f"\n{Path(error.cmd[0]).name} ended with {error.returncode}; it says why above. "
            f"The same command goes on: what was downloaded whole is kept.{other}"
        )


if __name__ == "__main__":
    main()
