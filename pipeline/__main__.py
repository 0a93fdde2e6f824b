"""`python -m pipeline` is the same command as `painter`."""

import sys


def main() -> None:
    """Run the command line; Ctrl+C while it is still being loaded is as clean as later."""
    try:
        from pipeline import cli
    except KeyboardInterrupt:
        sys.stderr.write("painter: Stopped by Ctrl+C before it began.\n")
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
