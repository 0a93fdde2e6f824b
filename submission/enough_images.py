"""What makes enough images for a submission where a run has too few."""

from __future__ import annotations

import shlex

from pipeline.runs.folder import RunFolder
from pipeline.stages.generate import read_generation_record


def how_to_make_enough(run: RunFolder, count: int) -> str:
    """Return the sentence that names the command which makes the images again, and enough.

    Args:
        run: which has too few images for a submission.
        count: how many it needs.
    """
    if run.models.is_dir() and not run.snapshot.exists():
        return f"`painter generate` with its models again, and --count {count}, makes enough."
    command = shlex.join(["painter", "generate", "--run", str(run.path)])
    made = read_generation_record(run)
    if made is not None and made.choice is not None:
        return f"The same `painter generate` with --count {count} makes enough."
    if made is not None and made.photos is not None:  # each photo makes one, and its mirror image
        return f"More photos make more: `{command} --photos FOLDER_OR_ZIP`."
    return f"`{command} --count {count}` makes enough."
