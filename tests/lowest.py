"""Prints the lowest versions that `pyproject.toml` allows, as constraints for pip: `make lowest` installs them."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^\]]*\])?[>=]=(?P<version>[\w.]+)")


def lowest(pyproject: str) -> Iterator[str]:
    """`name==version` of each dependency, extras included: the lowest, or only, version in `pyproject` (TOML text).

    Raises:
        ValueError: A dependency has no lower bound, so nobody would know whether old versions work.
    """
    project = tomllib.loads(pyproject)["project"]
    for text in chain(project["dependencies"], *project["optional-dependencies"].values()):
        found = _REQUIREMENT.match(text)
        if found is not None:
            yield f"{found['name']}=={found['version']}"
        elif not text.startswith(project["name"]):
            raise ValueError(f"the dependency {text!r} has no lower bound")


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lowest(Path("pyproject.toml").read_text("utf-8")))
