"""The check of images that could be submitted, while the command line has them made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.stages.generate import GenerationRecord
    from submission.running_check import RunningCheck


def check_of_submission(target: Path, count: int, size: int | None) -> RunningCheck | None:
    """Return what checks the images while they are made, if they could be submitted as a zip.

    Args:
        target: where the images go.
        count: how many.
        size: side of all images in pixels; None if each has its own.
    """
    from pipeline.system.image_writers import is_zip_name
    from submission.archive import may_be_submitted
    from submission.rules import IMAGE_SIZE
    from submission.running_check import RunningCheck

    if not is_zip_name(target) or not may_be_submitted(count) or (size, size) != IMAGE_SIZE:
        return None
    return RunningCheck(target)


def remember_check(made: GenerationRecord, check: RunningCheck | None) -> None:
    """Remember that images which were just made have passed the check, if there was one."""
    from submission.running_check import remember_passed

    if check is not None:
        remember_passed(made.images_sha256)
