"""A kernel's metadata: kernel-metadata.json, slugs and titles.

Every field is written out, since the defaults that are documented and those that hold differ:
without `machine_shape` a kernel lands on a P100, which can no longer run the image's torch.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernels.bundle import Kernel, build
from kernels.notebook import as_notebook
from pipeline.core.errors import KaggleError
from pipeline.data.sources import COMPETITION
from pipeline.system.storage import write_json, write_text
from submission.kernel.settings import BENCH, DATASET, KernelSettings

METADATA = "kernel-metadata.json"
GPU = "NvidiaTeslaT4"
CPU = "None"
"""Kaggle's name of a machine without an accelerator."""
MACHINES = {
    "cpu": CPU,
    "t4": GPU,
    "l4": "NvidiaL4",
    "l4x1": "NvidiaL4X1",
    "a100": "NvidiaTeslaA100",
    "h100": "NvidiaH100",
    "rtx-pro-6000": "NvidiaRtxPro6000",
}
"""Kaggle's name of each machine that painter can use, by a short one.

As in the documentation of Kaggle's client (docs/kernels.md, September 2026). Most are lent to the
participants of certain competitions only: Kaggle then refuses the push.
"""
GPUS = {GPU: 2, CPU: 1, "NvidiaL4X1": 1}
"""How many devices a machine has that may train, where that is known."""
_ALIASES = {"none": "cpu", "gpu": "t4", "t4x2": "t4", "gpu t4 x2": "t4"}
MAX_MINUTES = 290.0
"""A kernel may run 300 minutes; the rest is kept for starting up and handing over the output."""
GRACE_MINUTES = 10.0
"""After so many more minutes Kaggle ends a kernel that has not ended itself."""
MAX_SLUG_LENGTH = 50
_LIKE_A_SLUG = re.compile(r"-(images|state|snapshot|[0-9a-f]{6})$")
"""Ends a name that another name's slug, with its purpose or its hash, could be."""


@dataclass(frozen=True)
class KernelPlan:
    """All that decides what is pushed."""

    slug: str
    settings: KernelSettings
    accelerator: str = GPU
    attach: tuple[str, ...] = ()
    """Further datasets."""
    notebook: bool = False
    scored: bool = False
    """Whether the account's scorer is to be attached as it is pushed."""

    def with_dataset(self, name: str) -> KernelPlan:
        """Return the plan with one dataset more, OWNER/SLUG."""
        return replace(self, attach=tuple(dict.fromkeys([*self.attach, name])))

    @property
    def datasets(self) -> list[str]:
        """Return the datasets to attach."""
        settings = self.settings
        sources = (settings.source, settings.photos or settings.source)
        own = [s.removeprefix(DATASET) for s in dict.fromkeys(sources) if s.startswith(DATASET)]
        uploaded = (settings.attached, settings.attached_upscaler, settings.generator)
        return [*own, *(name for name in uploaded if name is not None), *self.attach]

    @property
    def uses_gpu(self) -> bool:
        """Tell whether the kernel takes GPU time from the week's quota."""
        return self.accelerator != CPU

    @property
    def trains_seeds(self) -> bool:
        """Tell whether the kernel may train several seeds, one on each GPU."""
        return self.settings.trains_seeds and has_several_gpus(self.accelerator)


def has_several_gpus(accelerator: str) -> bool:
    """Tell whether a machine, by Kaggle's name, may have more than one GPU."""
    return GPUS.get(accelerator) != 1


def slug_of(run: Path, purpose: str = "") -> str:
    """Return the slug of what belongs to a run: `painter-NAME`, and the purpose if there is one.

    Names that differ have slugs that differ: one that is too long, has anything but small letters,
    digits and single hyphens, or could be another's slug, gets a hash.
    """
    ending = f"-{purpose}" if purpose else ""
    given = run.resolve().name
    name = re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-") or "run"
    slug = f"painter-{name}{ending}"
    if len(slug) <= MAX_SLUG_LENGTH and given == name and not _LIKE_A_SLUG.search(given):
        return slug
    digest = hashlib.sha256(given.encode(errors="surrogateescape")).hexdigest()[:6]
    return f"painter-{name[: MAX_SLUG_LENGTH - 16 - len(ending)].rstrip('-')}-{digest}{ending}"


def title_of(slug: str) -> str:
    """Return the title that Kaggle turns into this very slug."""
    return slug.replace("-", " ")


def accelerator_of(name: str) -> str:
    """Return Kaggle's name of a machine.

    Args:
        name: Kaggle's own or a short one, whatever its case, spaces and hyphens.

    Raises:
        KaggleError: for a name that is not known, which Kaggle may take for another machine; for
            a P100, which is retired; for a TPU.
    """
    plain = _plain(name)
    known = {_plain(k): full for short, full in MACHINES.items() for k in (short, full)}
    known |= {_plain(k): MACHINES[short] for k, short in _ALIASES.items()}
    if plain in known:
        return known[plain]
    if "p100" in plain:
        raise KaggleError(
            "Kaggle has retired the P100, and its torch no longer runs on one. Use --accelerator "
            f"{GPU} (two T4s), or cpu."
        )
    if "tpu" in plain:
        raise KaggleError(
            "painter computes on GPUs and CPUs, and has no way to use a TPU. Use --accelerator "
            f"{GPU} (two T4s), or cpu."
        )
    close = difflib.get_close_matches(plain, known, 1)
    # One sign more or less of a short name is another machine: only long ones are guessed.
    hint = f" Did you mean {known[close[0]]}?" if close and len(plain) > 5 else ""
    raise KaggleError(
        f"No accelerator on Kaggle is known as {name!r}.{hint} Known are: "
        + ", ".join(f"{short} ({full})" for short, full in MACHINES.items())
        + "."
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())


def describe(plan: KernelPlan, owner: str) -> dict[str, Any]:
    """Return the content of kernel-metadata.json."""
    return {
        "id": f"{owner}/{plan.slug}",
        "title": title_of(plan.slug),
        "code_file": code_file(plan),
        "language": "python",
        "kernel_type": "notebook" if plan.notebook else "script",
        "is_private": True,
        "enable_gpu": plan.uses_gpu,
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": plan.accelerator,
        "dataset_sources": plan.datasets,
        "competition_sources": [] if plan.settings.task == BENCH else [COMPETITION],
        "kernel_sources": [],
        "model_sources": [],
        "keywords": [],
        "docker_image_pinning_type": "original",
    }


def code_file(plan: KernelPlan) -> str:
    """Return the name of the kernel's source."""
    return f"{plan.slug}.{'ipynb' if plan.notebook else 'py'}"


def write_kernel(plan: KernelPlan, owner: str, folder: Path, origin: str = "") -> Kernel:
    """Write kernel-metadata.json and the source into `folder`; return the kernel.

    `origin` marks the folder that pushes it, as `kernels.source.origin_of` gives it.
    """
    kernel = build(plan.settings, origin)
    source = as_notebook(kernel, plan.settings) if plan.notebook else kernel.script
    write_text(folder / code_file(plan), source)
    write_json(folder / METADATA, describe(plan, owner))
    return kernel


def session_timeout(plan: KernelPlan) -> int:
    """Return after how many seconds Kaggle ends the kernel."""
    return round(60 * (plan.settings.minutes + GRACE_MINUTES))


def check_minutes(minutes: float) -> None:
    """Raise KaggleError if a kernel may not run so long."""
    if not 0 < minutes <= MAX_MINUTES:
        raise KaggleError(
            f"A kernel of {minutes:g} minutes cannot be pushed; expected more than 0 and at most "
            f"{MAX_MINUTES:g}: Kaggle ends kernels of this competition after 300."
        )
