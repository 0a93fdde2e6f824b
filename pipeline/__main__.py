"""`python -m pipeline` is the same command as `painter`."""

from pipeline.core.interrupts import exit_when_import_interrupted


def main() -> None:
    """Run the command line; Ctrl+C while it is still being loaded is as clean as later."""
    exit_when_import_interrupted()
    from pipeline import cli

    cli.main()


if __name__ == "__main__":
    main()
