"""The console script, and `python -m tellapart`: a first Ctrl-C may come while the command line is still imported."""

import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        from tellapart.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
