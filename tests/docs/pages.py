"""Reading the pages of docs/: their lines outside tables and code, and their named JSON examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_JSON = re.compile(r"(?:^<!-- (?:example|file): ([\w./-]+) -->\n)?^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that are neither table rows nor code."""
    without_code = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    return ((n, line) for n, line in enumerate(without_code.split("\n"), 1) if not line.startswith("|"))


def code_blocks(text: str, language: str) -> list[str]:
    return [body for found, body in _FENCE.findall(text) if found == language]


def json_blocks() -> Iterator[tuple[Path, str, str]]:
    """Page, name (of an example or a file, else `""`) and text of every JSON block."""
    for page in PAGES:
        for found in _JSON.finditer(page.read_text()):
            yield page, found[1] or "", found[2]


def examples() -> dict[str, Any]:
    """Name to what each JSON block says."""
    return {name: orjson.loads(body) for _, name, body in json_blocks()}


def table_rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.split("\n") if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]
