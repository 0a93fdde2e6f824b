"""The command line: one click command a stage. Builds a config, calls the stage, prints.

This package and `__main__` are the only modules of `pipeline` that import the competition's
packages. `painter --help`.
"""

from __future__ import annotations

import errno
import os
import signal
import sys

import click

from pipeline import __version__
from pipeline.cli.data import download, explore
from pipeline.cli.demo import demo
from pipeline.cli.doctor import doctor
from pipeline.cli.export import export, mix
from pipeline.cli.failures import disk_message, fail
from pipeline.cli.generate import generate
from pipeline.cli.help import Group
from pipeline.cli.kaggle import kernel, leaderboard
from pipeline.cli.latents import arithmetic, video
from pipeline.cli.package import check, package
from pipeline.cli.presets import presets
from pipeline.cli.runs import report, runs
from pipeline.cli.score import score
from pipeline.cli.service import serve, watch
from pipeline.cli.study import study
from pipeline.cli.submit import submit
from pipeline.cli.train import train
from pipeline.core import interrupts, redaction
from pipeline.core.errors import PainterError, is_out_of_memory
from pipeline.core.text import escape_output
from pipeline.system.console import discard_unwritten, ignore_closed_streams

_WRONG_PATH = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.ENOENT)

COMPLETION = "_PAINTER_COMPLETE"
"""Variable by which a shell asks click what may follow, or for the script that asks so."""


@click.group(
    cls=Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
    example="painter generate --model monet-dcgan --count 100 --out monets",
)
@click.version_option(__version__, prog_name="painter")
def cli() -> None:
    """From paintings to a scored, valid images.zip, and on to the leaderboard.

    The stages, in order: download, explore, train, generate, score, package, report, submit,
    leaderboard. `kernel` trains on Kaggle's GPUs instead. `painter COMMAND --help` has an example,
    the defaults and what is written.
    """


COMMANDS = {
    "Set up": (doctor, demo, presets, download, explore),
    "Make images": (train, watch, generate),
    "Judge them": (score, package, check, report, runs),
    "Kaggle": (kernel, submit, leaderboard),
    "More": (study, mix, export, video, arithmetic, serve),
}
"""All commands under the headings of the help, in the order of the stages."""

for heading, commands in COMMANDS.items():
    cli.add_under(heading, commands)


def main() -> None:
    """Run the command line; turn every known failure into one message and an exit code."""
    if os.environ.get(COMPLETION):
        # click writes bytes, which no redacted stream takes; they are names alone. It exits.
        cli.main(prog_name="painter")
    # Read when torch is loaded: what an Apple GPU lacks runs on the processor, and torch says so.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    ignore_closed_streams()
    escape_output()
    standard_output = sys.stdout
    redaction.redact_output()
    code = run_command(sys.argv[1:])
    discard_unwritten(standard_output)
    # Nothing is left to save: Ctrl+C while Python cleans up ends the process at once.
    signal.signal(signal.SIGINT, lambda *_: os._exit(interrupts.EXIT_CODE))
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command; return its exit code: 0, 1, 2 or 130."""
    redaction.load_credentials(arguments)
    escape_output()
    try:
        result = cli.main(args=arguments, prog_name="painter", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PainterError as error:
        return fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return fail(interrupts.STOPPED_MESSAGE, interrupts.EXIT_CODE)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise  # a bug: its traceback is what a report needs
        return fail("Out of memory. Try a smaller batch_size or fewer images at a time.", 1)
    except OSError as error:
        return fail(disk_message(error), 2 if error.errno in _WRONG_PATH else 1)
    return result if isinstance(result, int) else 0
