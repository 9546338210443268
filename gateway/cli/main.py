"""The console script: nothing is imported before Ctrl-C is taken care of; the command line takes a while to load."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still loading ends quietly, too."""
    try:
        from innkeeper.nodes.process.loading import load_for_a_command

        load_for_a_command()
        from innkeeper.gateway.cli.commands import run_and_end as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
