"""The imports of the code keep to the tables of docs/structure.md."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.docs.pages import DOCS, ROOT, table_rows

TEXT = (DOCS / "structure.md").read_text()
PACKAGES = ("nodes", "workflows", "activities", "gateway")


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def rules() -> dict[str, list[str]]:
    """Folder or file to what it must not import: folders, files, or other packages."""
    rows = [*table_rows(TEXT, "Packages"), *table_rows(TEXT, "Rooms")]
    return {place_of(quoted(folder)[0]): quoted(forbidden) for folder, _, forbidden in rows}


def place_of(name: str) -> str:
    """The path of a folder or file, also where it is named as a module."""
    return path_of(name) if name.startswith("innkeeper.") else name


def exceptions() -> set[tuple[str, str]]:
    rows = table_rows(TEXT, "Exceptions")
    return {(file, target) for files, targets, _ in rows for file in quoted(files) for target in quoted(targets)}


@cache
def imported(file: Path) -> frozenset[str]:
    """What a file imports: paths of our files and folders, names of other packages."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return frozenset(map(path_of, names))


@cache
def path_of(name: str) -> str:
    parts = name.split(".")
    if parts[0] != "innkeeper" or len(parts) == 1:
        return parts[0]
    for length in range(len(parts), 1, -1):
        path = "/".join(parts[1:length])
        if (ROOT / f"{path}.py").is_file():
            return f"{path}.py"
        if (ROOT / path).is_dir():
            return f"{path}/"
    return parts[0]


def is_within(path: str, place: str) -> bool:
    return path == place or (place.endswith("/") and path.startswith(place))


def test_no_file_imports_what_its_folder_must_not() -> None:
    allowed = exceptions()
    files = [file for name in PACKAGES for file in (ROOT / name).rglob("*.py")]
    found = {
        (source, target)
        for file in files
        for source in [str(file.relative_to(ROOT))]
        for folder, forbidden in rules().items()
        if is_within(source, folder)
        for target in imported(file)
        for place in forbidden
        if is_within(target, place)
        and not any(source == file_ and is_within(target, place_) for file_, place_ in allowed)
    }
    assert found == set()


def test_the_check_sees_what_is_there() -> None:
    """It can fail: the composition root of a worker imports the engine, which the table allows to it alone."""
    assert "workflows/engine/all_workflows.py" in imported(ROOT / "activities" / "worker.py")
    assert ("activities/worker.py", "workflows/") in exceptions()


def test_every_room_has_a_row() -> None:
    rooms = {f"{name}/{path.name}/" for name in PACKAGES for path in (ROOT / name).iterdir() if path.is_dir()}
    rooms = {room for room in rooms if any((ROOT / room).glob("*.py"))}
    assert rooms - rules().keys() == set()
