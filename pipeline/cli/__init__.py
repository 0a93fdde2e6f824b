"""The command line, one module a topic. The entry point: it alone imports the other packages."""

from pipeline.cli.app import cli, main, run_command

__all__ = ["cli", "main", "run_command"]
