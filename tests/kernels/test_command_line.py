"""Kaggle's own command line takes what `painter kernel build` writes, from push to submission."""

import json
import sys
import zipfile

import pytest

from tests.support import forks
from tests.support.helpers import TINY_RUN
from tests.support.kaggle_desk import NAME, PUSH, Desk, desk, images, output, painter_process
from tests.support.kaggle_server import KERNELS, Instead, as_json
from tests.support.kaggle_state import Scripted

__all__ = ["desk", "painter_process"]  # fixtures

BUILT = "alice/painter-demo"
BUILD = ("kernel", "build", "--preset", "demo", "--out", "made", *TINY_RUN)


def command_line(words: list[str]) -> None:
    """Be `kaggle`, Kaggle's own command."""
    sys.argv = ["kaggle", *words]
    from kaggle.cli import main

    main()


def kaggle(desk: Desk, *words: str) -> str:
    """Run Kaggle's own command in the desk's folder; return what it printed."""
    env = desk.server.environment(desk.home)
    done = forks.run(command_line, list(words), cwd=desk.folder, env=env)
    assert done.returncode == 0, done.stderr
    desk.printed += done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", [(), ("--notebook",)])
def test_a_built_kernel_is_pushed_fetched_and_submitted(desk: Desk, kind: tuple[str, ...]) -> None:
    desk.server.runner = Scripted(files=output(), log=["trained"], polls=0)
    desk.works(*BUILD, *kind)
    assert "Kernel version 1 successfully pushed" in kaggle(desk, "kernels", "push", "-p", "made")
    assert "complete" in kaggle(desk, "kernels", "status", BUILT).lower()
    kaggle(desk, "kernels", "output", BUILT, "-p", "out")
    assert (desk.folder / "out/images.zip").read_bytes() == images()
    assert json.loads((desk.folder / "out/score.json").read_text())["mifid"] == 91.25
    with zipfile.ZipFile(desk.folder / "out/images.zip") as archive:
        assert archive.testzip() is None
    words = ("-k", BUILT, "-f", "images.zip", "-v", "1", "-m", "by hand")
    shown = kaggle(desk, "competitions", "submit", "gan-getting-started", *words)
    assert "Successfully submitted" in shown
    (submission,) = desk.server.submissions
    assert submission.fields["description"] == "by hand"
    assert submission.content == images()


def test_it_sends_what_painter_sends(desk: Desk) -> None:
    desk.works(*BUILD)
    refusal = as_json({"ref": "", "url": "", "error": "No GPU for you"})
    desk.server.faults[f"{KERNELS}/SaveKernel"].append(Instead(refusal))
    refused = kaggle(desk, "kernels", "push", "-p", "made")  # and yet ends with 0
    assert "Kernel push error: No GPU for you" in refused
    kaggle(desk, "kernels", "push", "-p", "made", "-t", "1800")
    desk.works(*PUSH)
    (by_hand,), (by_painter,) = (desk.server.kernels[name].versions for name in (BUILT, NAME))
    own = {"slug", "newTitle", "text", "sessionTimeoutSeconds"}
    assert by_hand.request["sessionTimeoutSeconds"] == 1800
    assert by_hand.request.keys() == by_painter.request.keys()
    shared = by_hand.request.keys() - own
    assert {k: by_hand.request[k] for k in shared} == {k: by_painter.request[k] for k in shared}
