"""The program `llmkit`, also as `python -m llmkit`, which launchers of several processes use."""

import sys

from llmkit.stopping import stop_at_signals


def main() -> None:
    """Signals count from here on: the imports take longer than many commands."""
    stop_at_signals()
    try:
        from llmkit.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
