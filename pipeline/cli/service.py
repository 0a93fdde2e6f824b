"""The commands serve and watch: a generator behind HTTP, and a page on a run as it trains.

Each starts a server, and prints where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.cli.help import command
from pipeline.cli.options import (
    configure_threads,
    device_option,
    options,
    run_option,
    snapshot_file,
    snapshot_options,
    threads_option,
)
from pipeline.cli.ranges import WholeRange
from pipeline.core.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])

SERVE_EXTRA = "pip install fastapi uvicorn"
"""What the service needs: the extra `serve`."""


host_option = click.option(
    "--host", default="127.0.0.1", show_default=True, help="0.0.0.0: for other machines."
)

allow_host_option = click.option(
    "--allow-host",
    "allowed",
    metavar="NAME",
    multiple=True,
    help="Answer to this name too, which a proxy passes on to this machine; may be repeated.",
)


def port_option(default: int) -> Callable[[Command], Command]:
    """Return the option --port, of a server that listens at `default`."""
    return click.option(
        "--port",
        type=WholeRange(0, 65535),
        default=default,
        show_default=True,
        help="0 takes a free one.",
    )


@command(
    example="painter serve --model monet-dcgan",
    writes="nothing.",
)
@options(snapshot_options)
@host_option
@allow_host_option
@port_option(8000)
@device_option
@threads_option
def serve(
    host: str, port: int, threads: int | None, allowed: tuple[str, ...], **which: Any
) -> None:
    """Serve a generator: a web page, and an HTTP API.

    Ctrl+C stops it, when what was begun is finished; a second one ends it at once.
    """
    # `which` is what `snapshot_options` ask for, whatever they are.
    path = snapshot_file(**which)
    check_extra_installed("serve")
    from pipeline.service.app import create_app
    from pipeline.service.inference import InferenceService
    from pipeline.service.model import load_model
    from pipeline.service.server import listen, run, url_of
    from pipeline.system.devices import default_device

    with listen(host, port) as listener:
        configure_threads(threads)
        model = load_model(path, default_device())
        app = create_app(InferenceService(model))
        click.echo(f"{model.name} at {url_of(listener)}  (Ctrl+C stops it)")
        run(app, listener, [host, *allowed])


@command(
    example="painter watch --run runs/first --open",
    writes="nothing.",
)
@run_option
@host_option
@allow_host_option
@port_option(8001)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def watch(run_path: Path, host: str, port: int, allowed: tuple[str, ...], open_page: bool) -> None:
    """Watch a run as it trains: curves, samples, scores on a page.

    It reads the run's files and changes none. The run may be finished, or not begun yet. Ctrl+C
    ends the page, not the run.
    """
    check_extra_installed("watch")
    from pipeline.service.server import listen, run, url_of
    from pipeline.service.watch_app import create_watch_app
    from pipeline.service.watched_run import WatchedRun

    with listen(host, port) as listener:
        app = create_watch_app(WatchedRun(run_path))
        click.echo(f"{run_path} at {url_of(listener)}  (Ctrl+C ends the page, not the run)")
        if open_page:
            click.launch(url_of(listener))
        run(app, listener, [host, *allowed])


def check_extra_installed(command: str) -> None:
    """Raise ConfigError unless the web framework is installed."""
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"`painter {command}` needs {' and '.join(missing)}, not installed here. Install the "
            f"extra `serve`: {SERVE_EXTRA}"
        )
