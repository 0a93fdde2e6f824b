"""What Kaggle is told about a kernel: kernel-metadata.json, slugs and titles.

Every field is written out, since the defaults that are documented and those that hold differ:
without `machine_shape` a kernel lands on a P100, which can no longer run the image's torch.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels.bundle import Kernel, as_notebook, build
from pipeline.data.sources import COMPETITION
from pipeline.errors import KaggleError
from pipeline.storage import write_json, write_text
from submission.kernel_entry import KernelSettings

GPU = "NvidiaTeslaT4"
CPU = "None"
"""How Kaggle calls a machine without an accelerator."""
MOST_MINUTES = 290.0
"""A kernel may run 300 minutes; the rest is kept for starting up and handing over the output."""
GRACE_MINUTES = 10.0
"""After so many more minutes Kaggle ends a kernel that has not ended itself."""
LONGEST_SLUG = 50


@dataclass(frozen=True)
class Plan:
    """All that decides what is pushed."""

    slug: str
    settings: KernelSettings
    accelerator: str = GPU
    attach: tuple[str, ...] = ()
    """Further datasets."""
    notebook: bool = False

    @property
    def datasets(self) -> list[str]:
        """Return the datasets to attach."""
        source = self.settings.source
        own = [source.removeprefix("dataset:")] if source.startswith("dataset:") else []
        earlier = [self.settings.attached] if self.settings.attached else []
        return [*own, *earlier, *self.attach]

    @property
    def uses_gpu(self) -> bool:
        """Tell whether the kernel takes GPU time from the week's quota."""
        return self.accelerator != CPU


def slug_of(run: Path, purpose: str = "") -> str:
    """Return the slug of what belongs to a run: `painter-NAME`, and the purpose if there is one.

    A name that is too long, or has other letters, is told apart by a hash.
    """
    ending = f"-{purpose}" if purpose else ""
    given = run.resolve().name
    name = re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-") or "run"
    slug = f"painter-{name}{ending}"
    if len(slug) <= LONGEST_SLUG and given.isascii():
        return slug
    digest = hashlib.sha256(given.encode(errors="surrogateescape")).hexdigest()[:6]
    return f"painter-{name[: LONGEST_SLUG - 16 - len(ending)].rstrip('-')}-{digest}{ending}"


def title_of(slug: str) -> str:
    """Return the title that Kaggle turns into this very slug."""
    return slug.replace("-", " ")


def accelerator_of(name: str) -> str:
    """Return Kaggle's name of a machine.

    Raises:
        KaggleError: for a P100, which the image's torch does not support.
    """
    if name.lower() in ("cpu", "none"):
        return CPU
    if "p100" in name.lower():
        raise KaggleError(
            f"Kaggle's torch no longer runs on a P100. Use --accelerator {GPU}, or cpu."
        )
    return name


def describe(plan: Plan, owner: str) -> dict[str, Any]:
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
        "competition_sources": [COMPETITION],
        "kernel_sources": [],
        "model_sources": [],
        "keywords": [],
        "docker_image_pinning_type": "original",
    }


def code_file(plan: Plan) -> str:
    """Return the name of the kernel's source."""
    return f"{plan.slug}.{'ipynb' if plan.notebook else 'py'}"


def write_kernel(plan: Plan, owner: str, folder: Path) -> Kernel:
    """Write kernel-metadata.json and the source into `folder`; return the kernel."""
    kernel = build(plan.settings)
    source = as_notebook(kernel) if plan.notebook else kernel.script
    write_text(folder / code_file(plan), source)
    write_json(folder / "kernel-metadata.json", describe(plan, owner))
    return kernel


def session_seconds(plan: Plan) -> int:
    """Return after how many seconds Kaggle ends the kernel."""
    return round(60 * (plan.settings.minutes + GRACE_MINUTES))


def refuse_minutes(minutes: float) -> None:
    """Raise KaggleError if a kernel may not run so long."""
    if not 0 < minutes <= MOST_MINUTES:
        raise KaggleError(
            f"A kernel of {minutes:g} minutes cannot be pushed; expected more than 0 and at most "
            f"{MOST_MINUTES:g}: Kaggle ends kernels of this competition after 300."
        )
