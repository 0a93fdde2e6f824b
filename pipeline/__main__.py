"""`python -m pipeline` is the same command as `painter`."""

from pipeline.core.interrupts import end_imports_at_once


def main() -> None:
    """Run the command line; Ctrl+C while it is still being loaded is as clean as later."""
    end_imports_at_once()
    from pipeline import cli

    cli.main()


if __name__ == "__main__":
    main()
