"""Recorded cases of SillyTavern: each file is a list of `{name, input, expected}`.

The folder is `data` beside this file, or `sillytavern` below `VECTORS_DIR` when that has one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Case = dict[str, Any]


def _folder() -> Path:
    given = os.environ.get("VECTORS_DIR")
    if given:
        for place in (Path(given) / "sillytavern", Path(given).parent / "sillytavern", Path(given)):
            if (place / "macros.json").is_file():
                return place
    return Path(__file__).parent / "data"


def load(name: str) -> list[Case]:
    """The cases of `<name>.json`; none when the folder has no such file."""
    file = _folder() / f"{name}.json"
    if not file.is_file():
        return []
    cases: list[Case] = json.loads(file.read_text(encoding="utf-8"))
    return cases


def name_of(case: Case) -> str:
    return str(case["name"])
