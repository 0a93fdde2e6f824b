"""A kernel as a notebook (.ipynb) to read and change: a cell for each stage, and what it is for.

Takes the kernel's script apart: its settings and its packed sources are cells as they are; in place
of its one call, each stage has a cell, which calls the same function.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernels.bundle import Kernel
from pipeline.config import Config
from pipeline.families.registry import makes_images, takes_photos
from submission.kernel.settings import BENCH, KernelSettings

CELL = "# %%"
"""Starts a cell in the script, as editors know it."""
FOLDED = {
    "_kg_hide-input": True,
    "cellView": "form",
    "jupyter": {"source_hidden": True},
    "tags": ["hide-input"],
}
"""Metadata of a cell whose source is folded: as Kaggle, Colab, JupyterLab and Jupyter Book say."""


@dataclass(frozen=True)
class Stage:
    """A stage of the notebook: why it is done, and the code of its cell."""

    title: str
    why: str
    """In Markdown."""
    code: str
    applies: Callable[[KernelSettings], bool] = lambda settings: True
    """Tells whether a kernel of these settings has this stage."""


def _generates(settings: KernelSettings) -> bool:
    return makes_images(settings.training_config())


def _translates(settings: KernelSettings) -> bool:
    return takes_photos(settings.training_config())


def _from_noise(settings: KernelSettings) -> bool:
    return _generates(settings) and not _translates(settings)


DATA = Stage(
    "Data",
    """\
A generator can only learn what these images hold: few of them, and it begins to copy; many that
differ, and it needs long. On Kaggle they are attached to this notebook. On Colab and elsewhere the
cell fetches them with Kaggle's `kagglehub`: accept the competition's rules on its page first, and
give your Kaggle user name and key (on Colab: the key at the left, as KAGGLE_USERNAME and
KAGGLE_KEY).

The clock of `minutes` starts here: run this cell again to start it anew.""",
    """\
from submission.kernel import notebook, pictures

job = notebook.begin(SETTINGS, INPUT, WORKING)
pictures.show_data(job)""",
)
TRAINING = (
    Stage(
        "Training",
        """\
Two networks learn against each other: the generator makes images of noise, the discriminator tells
them from real ones, and each gets better because the other does. The picture is the newest grid of
samples, always of the same noise: shapes and colours first, strokes later, and if all tiles begin
to look alike, the generator has collapsed.""",
        """\
with pictures.samples_shown(job):
    notebook.train(job)""",
        _from_noise,
    ),
    Stage(
        "Training",
        """\
Nobody painted these photos, so there are no pairs to learn from. The translator must make what the
discriminator takes for a painting, and a second loss keeps it from forgetting what the photo shows.
Two GPUs train a seed each, and the better is kept.""",
        """\
with pictures.samples_shown(job):
    notebook.train(job)""",
        _translates,
    ),
    Stage(
        "Training",
        """\
An upscaler learns from real images: each is made small, and the network paints it large again. A
discriminator sees to it that the result has a painting's detail and is no mere blur.""",
        """\
with pictures.samples_shown(job):
    notebook.train(job)""",
        lambda settings: not _generates(settings),
    ),
    Stage(
        "An upscaler for this generator",
        """\
The generator's images are small, and the competition's are 256 pixels wide. This network learns
to enlarge them with a painting's detail: from real images, and from what this generator makes.""",
        """\
with pictures.samples_shown(job):
    notebook.provide_upscaler(job)""",
        lambda settings: settings.upscaler is not None,
    ),
    Stage(
        "An upscaler",
        """\
The generator's images are small, and the competition's are 256 pixels wide. The attached network
enlarges them with a painting's detail, as it has learned before.""",
        "notebook.provide_upscaler(job)",
        lambda settings: settings.upscaler is None and settings.upscales_by_network,
    ),
    Stage(
        "What the training did",
        """\
The losses of a GAN fall to no minimum: they say how the two networks stand against each other. Look
for balance. A discriminator's loss near 0 means that the generator learns nothing any more; the
samples and the scores tell which images are better.""",
        """\
pictures.show_samples(job)
pictures.show_curves(job)""",
    ),
)
IMAGES = (
    Stage(
        "Images",
        """\
Every image depends on the seed and its own number alone, so the same settings make the same
`images.zip`. Its images are checked for the competition's rules while they are written.""",
        """\
notebook.generate(job)
pictures.show_images(job)""",
        _generates,
    ),
    Stage(
        "Scores",
        """\
MiFID compares the features that a network sees in these images and in the real ones, and punishes
copies; it is the competition's score, and lower is better. Look at the nearest pairs as well: an
image that is a painting again was remembered, not invented.""",
        """\
notebook.score(job)
pictures.show_scores(job)""",
        _generates,
    ),
)
MEASURING = Stage(
    "Measure this machine",
    """\
Trains, generates and scores for a few minutes beside plain loops, and checks what painter promises.
No data is needed.""",
    """\
from pathlib import Path

from submission.kernel.display import show_text
from submission.kernel.entry import run

run(SETTINGS, INPUT, WORKING)
show_text(Path(WORKING, "bench.md").read_text())""",
)
NEXT = """\
## What next

{submitting}Change one setting, run all cells again, and see which of the two scores better. One
training says little: other seeds of the same settings differ by points. To read the code of a
stage, run a cell with its name and two question marks, such as `notebook.train??`.
"""
SUBMITTING = """\
On Kaggle, save this notebook as a version; when that has run, choose `images.zip` among its output
and submit it. """


def as_notebook(kernel: Kernel, settings: KernelSettings) -> str:
    """Return a kernel as a notebook that runs the same stages, from top to bottom.

    The packed sources come before the stages, which need them: in a cell that is shown folded.
    """
    _, *parts = f"\n{kernel.script}".split(f"\n{CELL} ")
    found = {title: code for title, _, code in (part.partition("\n") for part in parts)}
    cells = [
        _markdown(_about(kernel, settings)),
        _markdown(SETTINGS_TEXT),
        _code(found["Settings"]),
        _markdown(PROGRAM_TEXT),
        _code(f"#@title painter's sources, packed\n{found['Program'].strip()}", FOLDED),
    ]
    for stage in stages_of(settings):
        cells += [_markdown(f"## {stage.title}\n\n{stage.why}"), _code(stage.code)]
    if settings.task != BENCH:
        submitting = SUBMITTING if _generates(settings) else ""
        cells.append(_markdown(NEXT.format(submitting=submitting)))
    notebook = {
        "cells": [{"id": f"painter-{i}", **cell} for i, cell in enumerate(cells)],
        "metadata": {
            "accelerator": "GPU",
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1) + "\n"


SETTINGS_TEXT = """\
## Settings

All that decides the result stands here. `minutes` is the limit of the whole notebook; in `config`,
`training` has the batch size, the learning rates and the seed, `network` the networks' widths.
`INPUT` and `WORKING` are Kaggle's folders; elsewhere set `WORKING` to an empty folder of yours."""
PROGRAM_TEXT = """\
## The program

The next cell is folded: it holds painter's sources, packed, checks them and makes them importable.
It needs no network and installs nothing."""


def stages_of(settings: KernelSettings) -> list[Stage]:
    """Return the stages of a kernel, in order."""
    if settings.task == BENCH:
        return [MEASURING]
    return [stage for stage in (DATA, *TRAINING, *IMAGES) if stage.applies(settings)]


def _about(kernel: Kernel, settings: KernelSettings) -> str:
    """Return the first cell: what this notebook does, with which painter."""
    made = (
        f"Made by painter from revision {kernel.git_revision or 'unknown'}; the sources' sha256 is "
        f"`{kernel.bundle_hash[:16]}`."
    )
    if settings.task == BENCH:
        return f"# painter: numbers of this machine\n\n{made}"
    titles = [stage.title.lower() for stage in stages_of(settings)]
    return (
        f"# painter: {_subject(settings.training_config())}\n\n"
        f"From top to bottom: {', '.join(titles)}. Run all cells; with a GPU it is much faster. "
        f"{made}"
    )


def _subject(config: Config) -> str:
    if takes_photos(config):
        return "photos become paintings"
    return "paintings from noise" if makes_images(config) else "an upscaler of paintings"


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code(source: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": metadata or {},
        "outputs": [],
        "source": source.strip() + "\n",
    }
