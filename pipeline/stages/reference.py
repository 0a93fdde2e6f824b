"""The reference of a run: the real images that its own are compared with, or come near to.

Reads provenance and config of a run folder, and images. By default they are those that the run was
trained on, the very same by their content: which of them it held out depends on all their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import DataConfig
from pipeline.core.advice import counted, quoted
from pipeline.core.errors import DataError, PainterError, RunError
from pipeline.core.paths import expand_user
from pipeline.core.user_warnings import warn_once
from pipeline.data.domains import ALL_DOMAINS
from pipeline.data.holdout import split_holdout
from pipeline.data.images import UNREADABLE, ImageSet, combined_hash, image_digests, open_images
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import TrainingData

ADVICE = "Or name them: --reference DIR|ZIP"


@dataclass(frozen=True)
class Reference:
    """Real images that others are compared with."""

    images: ImageSet
    """All of them."""
    config: DataConfig
    """`holdout` and `holdout_seed`: which of them a training has not seen; without it, none."""
    is_own: bool = True
    """Whether they are those that the run was trained on, as far as that is known."""

    @property
    def parts(self) -> tuple[ImageSet, ImageSet | None]:
        """Return the reference, and what is held out, as `split_holdout` does."""
        return split_holdout(self.images, self.config)


def reference_of(run: RunFolder, images: ImageSet | None = None) -> Reference:
    """Return what a run's images are compared with.

    Args:
        run: its holdout applies to the images that it was trained on, and to no others.
        images: given by hand; by default those that it was trained on.

    Raises:
        RunError: if these are gone; or have changed, and the run held some of them out.
        DataError: if they cannot be opened.
    """
    config = run.read_config().data if run.config.exists() else DataConfig()
    if images is None:
        return Reference(_unchanged_images(run, config), config)
    try:
        data = run.read_data()
    except RunError:  # a model that comes with painter, a mixture: there are none of its own
        return Reference(images, replace(config, holdout=0.0))
    if are_training_images(images, data):
        return Reference(images, config)
    return Reference(images, replace(config, holdout=0.0), is_own=False)


def training_images(run: RunFolder) -> ImageSet:
    """Open the images that a run was trained on; a warning says if they have changed since.

    A run without a domain used all images. If the same ones are not where they were, as after a
    training on Kaggle, they are searched under `data`.

    Raises:
        RunError: if they are in neither place.
        DataError: if they cannot be opened.
    """
    images, change = _find(run)
    if change is not None:
        warn_once(change)
    return images


def are_training_images(images: ImageSet, data: TrainingData) -> bool:
    """Tell whether images are the very ones that provenance.json describes.

    The folder of one domain may be given by itself, or among others.
    """
    digests = image_digests(images)
    named = [digests]
    if data.domain:
        named.append({f"{data.domain}/{name}": digest for name, digest in digests.items()})
    if images.domain:
        prefix = f"{images.domain}/"
        named.append({name.removeprefix(prefix): digest for name, digest in digests.items()})
    return data.content_hash in map(combined_hash, named)


def check_unseen(held_out: Sequence[str], earlier: RunFolder, data: TrainingData) -> None:
    """Check that a run which is continued has not been trained on what is held out from now on.

    Which images are held out depends on all their names: with one file more they are others.

    Args:
        held_out: the sha256 of each file that the new run holds out.
        earlier: the run that it continues.
        data: what the new run is trained on.

    Raises:
        RunError: if it has, or if that is not known any more.
    """
    for run in _with_continued(earlier):
        if run.config.exists() and run.read_data().content_hash == data.content_hash:
            return  # held out there too, and looked at when it began
        _check_unseen_by(run, held_out, data)


def _with_continued(run: RunFolder) -> Iterator[RunFolder]:
    """Yield a run, that which it continues, and so on to the first, or to one that is gone."""
    seen: set[Path] = set()
    while (place := run.path.resolve()) not in seen:
        seen.add(place)
        yield run
        origin = run.read_provenance().get("continued_from")
        if origin is None:
            return
        run = RunFolder(expand_user(origin["run"]))


def _check_unseen_by(run: RunFolder, held_out: Sequence[str], data: TrainingData) -> None:
    images, change = None, None
    with suppress(RunError, DataError):
        images, change = _find(run)
    found = "it is not known any more which of them it has been trained on"
    if images is not None and change is None:
        training, _ = split_holdout(images, run.read_config().data)
        seen = set(image_digests(training).values()) - {UNREADABLE}
        count = sum(digest in seen for digest in held_out)
        if not count:
            return
        found = f"it has been trained on {count:,} of them"
    raise RunError(
        f"{data.path} holds other images than those that {run.path} was made with. So others "
        f"are held out, {counted(len(held_out), 'image')}, and {found}: scores against them would "
        "tell nothing. Give the same images, or begin a new run, without --continue-from."
    )


def _unchanged_images(run: RunFolder, config: DataConfig) -> ImageSet:
    """Return the images that a run was trained on; RunError if its holdout of them is unknown."""
    try:
        images, change = _find(run)
    except RunError as error:
        raise RunError(f"{error} {ADVICE}") from None
    if change is not None and config.holdout:
        domain = f" --domain {quoted(images.domain)}" if images.domain else ""
        raise RunError(
            f"{change} Which of them the training has not seen is not known any more. Bring the "
            "same ones to either place, or take all that are there now: --reference "
            f"{quoted(images.label)}{domain}"
        )
    if change is not None:
        warn_once(change)
    return images


def _find(run: RunFolder) -> tuple[ImageSet, str | None]:
    """Return the images that a run was trained on, and in words whether they have changed."""
    data = run.read_data()
    path, domain = Path(data.path), data.domain or ALL_DOMAINS
    for place in (path, *sorted(Path("data").glob("*"))):
        with suppress(PainterError):
            if are_training_images(open_images(place, domain, quiet=True), data):
                return open_images(place, domain), None
    if not path.exists():
        raise RunError(
            f"The training images of {run.path} are neither at {path} nor under data/. Bring the "
            "same ones to either place: `painter download --source SOURCE`."
        )
    images = open_images(path, domain)
    return images, (
        f"{path} holds other images than those that {run.path} was made with ({data.count:,} "
        f"then, {len(images):,} now), and the same are not under data/."
    )
