"""The command line that the benchmarks of rows share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar


class Keyed(Protocol):
    @property
    def key(self) -> str: ...


R = TypeVar("R", bound=Keyed)


def parser(module: str, description: str | None, rows: Sequence[Keyed], rounds: int) -> argparse.ArgumentParser:
    """`[--rows a,b] [--rounds N] [file]`; `rounds` is the default."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    made.add_argument("file", nargs="?", type=Path, help="where to write the figures as JSON")
    keys = ", ".join(row.key for row in rows)
    made.add_argument("--rows", type=_rows_of(rows), default=tuple(rows), help=f"{keys} (default: all)")
    made.add_argument("--rounds", type=_rounds, default=rounds, help=f"samples per row and side (default: {rounds})")
    return made


def _rows_of(rows: Sequence[R]) -> Callable[[str], tuple[R, ...]]:
    known = {row.key: row for row in rows}

    def read(text: str) -> tuple[R, ...]:
        keys = [key.strip() for key in text.split(",")]
        unknown = [key for key in keys if key not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no row {unknown[0]!r}; there are {', '.join(known)}")
        return tuple(known[key] for key in keys)

    return read


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds; give 1 or more")
    return int(text)
