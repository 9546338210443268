"""What is installed and imported is `innkeeper` alone; no module exists under two names."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import innkeeper

ROOT = Path(__file__).parents[1]
PACKAGES = ("nodes", "workflows", "activities", "gateway")


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_another_project_may_have_packages_of_these_names(tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("HERS = True\n")
    code = (
        "import nodes, workflows, activities, gateway, innkeeper.gateway.app, innkeeper.activities.worker\n"
        "print(nodes.HERS, workflows.HERS, activities.HERS, gateway.HERS)"
    )
    assert python(code, tmp_path).stdout.split() == ["True"] * 4


def test_the_installation_puts_no_other_name_in_the_way(tmp_path: Path) -> None:
    code = (
        "from importlib.util import find_spec\n"
        f"print([name for name in {(*PACKAGES, 'tests')!r} if find_spec(name) is not None])"
    )
    assert python(code, tmp_path).stdout.strip() == "[]"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_under_its_short_name_says_what_to_write(name: str) -> None:
    done = python(f"import {name}", ROOT)
    assert f"write 'innkeeper.{name}' in place of '{name}'" in done.stderr


def test_a_process_has_each_file_of_ours_once(tmp_path: Path) -> None:
    code = (
        "import collections, os, sys\n"
        "import innkeeper.activities.worker, innkeeper.gateway.app, innkeeper.gateway.cli.commands\n"
        "from innkeeper.nodes.catalogue.plugins import load_catalogue\n"
        "load_catalogue(())\n"
        "files = collections.Counter(os.path.realpath(file) for module in list(sys.modules.values())\n"
        "                            if (file := getattr(module, '__file__', None)))\n"
        f"ours = {{file: n for file, n in files.items() if file.startswith({str(ROOT)!r}) and '.venv' not in file}}\n"
        "print(len(ours) > 100, [file for file, n in ours.items() if n > 1])"
    )
    assert python(code, tmp_path).stdout.split() == ["True", "[]"]


def test_every_name_offered_at_the_top_is_there() -> None:
    assert {name for name in innkeeper.__all__ if getattr(innkeeper, name) is None} == set()
    assert innkeeper.NodeDefinition.__module__ == "innkeeper.nodes.definition"
    assert set(innkeeper.__all__) <= set(dir(innkeeper))
    with pytest.raises(AttributeError, match="no attribute 'Node'"):
        innkeeper.Node  # noqa: B018


def test_importing_innkeeper_loads_nothing(tmp_path: Path) -> None:
    code = "import sys, innkeeper; print([name for name in sys.modules if name.startswith('innkeeper.')])"
    assert python(code, tmp_path).stdout.strip() == "[]"


def built(kind: str, root: Path, target: Path) -> Path:
    code = f"from hatchling.build import build_{kind}; print(build_{kind}({str(target)!r}))"
    done = python(code, root)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.split()[-1]


def test_wheel_made_of_a_source_archive_holds_innkeeper_alone_and_all_of_it(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", ROOT, tmp_path)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(built("wheel", unpacked, tmp_path)) as wheel:
        names = wheel.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"innkeeper"}
    for package in PACKAGES:
        files = {file.relative_to(ROOT).as_posix() for file in (ROOT / package).rglob("*.py")}
        assert {f"innkeeper/{file}" for file in files} <= set(names)
    assert "innkeeper/py.typed" in names
