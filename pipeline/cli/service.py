"""The command serve: a generator behind HTTP.

Finds the snapshot, starts the service, prints where it is.
"""

from __future__ import annotations

from typing import Any

import click

from pipeline.cli.options import (
    configure_threads,
    device_option,
    options,
    snapshot_file,
    snapshot_options,
    threads_option,
)
from pipeline.core.errors import ConfigError

SERVE_EXTRA = "pip install fastapi uvicorn"
"""What the service needs: the extra `serve`."""


@click.command()
@options(snapshot_options)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: for other machines.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes a free one.",
)
@device_option
@threads_option
def serve(host: str, port: int, threads: int | None, **which: Any) -> None:
    """Serve a generator: a web page, and an HTTP API.

    Ctrl+C stops it, when what was begun is finished.
    """
    # `which` is what `snapshot_options` ask for, whatever they are.
    path = snapshot_file(**which)
    check_extra_installed()
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
        run(app, listener)


def check_extra_installed() -> None:
    """Raise ConfigError unless the web framework is installed."""
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"`painter serve` needs {' and '.join(missing)}, not installed here. Install the extra "
            f"`serve`: {SERVE_EXTRA}"
        )
