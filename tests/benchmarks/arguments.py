"""The command line that the benchmarks share, and how they begin and end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from innkeeper.gateway.cli.signals import Stopping
from innkeeper.nodes.errors import InnkeeperError
from tests.benchmarks.report import WIDTH


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """`[--rounds N] [file]`."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    made.add_argument("file", nargs="?", type=Path, help="where to write the figures as JSON")
    made.add_argument("--rounds", type=_rounds, help="samples per row and side (default: of each row its own number)")
    return made


def add_keys(
    made: argparse.ArgumentParser, name: str, families: Mapping[str, Sequence[str]], default: str | None = None
) -> None:
    """An option `name` that takes keys, or names of families of keys, with commas between; default: all keys."""
    known = {key: (key,) for keys in families.values() for key in keys}
    words = {**known, **{family: tuple(keys) for family, keys in families.items()}}
    made.add_argument(
        f"--{name}",
        type=_keys_of(name, words),
        default=tuple(known) if default is None else default,
        help=f"{', '.join(words)} (default: {default or 'all'})",
    )


def _keys_of(name: str, words: Mapping[str, Sequence[str]]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        asked = [word.strip() for word in text.split(",")]
        unknown = [word for word in asked if word not in words]
        if unknown:
            what = name.removesuffix("s")
            raise argparse.ArgumentTypeError(f"no {what} {unknown[0]!r}; there are {', '.join(words)}")
        return tuple(dict.fromkeys(key for word in asked for key in words[word]))

    return read


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds; give 1 or more")
    return int(text)


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def say(text: str) -> None:
    """One line of progress."""
    print(f"... {text}", file=sys.stderr, flush=True)


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run it to its exit code; on Ctrl-C and SIGTERM everything that was started is stopped first."""
    try:
        return Stopping().run(work)
    except InnkeeperError as error:
        print(error.message, file=sys.stderr)
        return 1
