"""The version of a package comes from the git tag, and one commit gives the same bytes each time."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org")


def built(kind: str, root: Path, target: Path) -> Path:
    code = f"from hatchling.build import build_{kind}; print(build_{kind}({str(target)!r}))"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SETUPTOOLS_SCM", "SOURCE_DATE"))}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.split()[-1]


def version(package: Path) -> str:
    return package.name.removesuffix(".tar.gz").split("-")[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our build settings and little else, as a repository with one commit."""
    root = tmp_path / "project"
    (root / "src" / "innkeeper").mkdir(parents=True)
    (root / "src" / "innkeeper" / "__init__.py").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, root / name)
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "one")):
        subprocess.run([*GIT, *command], cwd=root, check=True)
    return root


def test_tag_is_the_version_and_what_follows_is_before_the_next(project: Path, tmp_path: Path) -> None:
    assert version(built("wheel", project, tmp_path)).startswith("0.1.0.dev")
    subprocess.run([*GIT, "tag", "v3.2.1"], cwd=project, check=True)
    assert version(built("wheel", project, tmp_path)) == "3.2.1"
    subprocess.run([*GIT, "commit", "--quiet", "--allow-empty", "--message", "two"], cwd=project, check=True)
    assert version(built("wheel", project, tmp_path)).startswith("3.2.2.dev1+g")


def test_source_archive_keeps_its_version_and_gives_the_same_wheel(project: Path, tmp_path: Path) -> None:
    subprocess.run([*GIT, "tag", "v3.2.1"], cwd=project, check=True)
    with tarfile.open(built("sdist", project, tmp_path)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    for path in unpacked.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    digests = {
        hashlib.sha256(built("wheel", root, tmp_path / name).read_bytes()).hexdigest()
        for name, root in (("one", project), ("two", unpacked))
    }
    assert len(digests) == 1


def test_copy_without_history_has_a_version(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".git")
    assert version(built("wheel", project, tmp_path)) == "0.1.0.dev0"


def test_wheel_holds_the_page(tmp_path: Path) -> None:
    """Nothing is built for it, so nothing may be left out either."""
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gateway/console").rglob("*.*") if path.is_file()}
    with zipfile.ZipFile(built("wheel", ROOT, tmp_path)) as wheel:
        assert {f"innkeeper/{file}" for file in files} <= set(wheel.namelist())
    assert "gateway/console/index.html" in files
