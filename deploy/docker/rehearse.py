"""Carries out the Dockerfile without a container engine, and runs the result as Kubernetes would: needs Linux and root.

    python deploy/docker/rehearse.py

Each stage gets an overlay over this machine's root file system, which stands for the base image; RUN lines are run in
it word for word. Then `innkeeper up` runs as process 1 of its own process, mount and network namespaces, as user 10001
without capabilities, on a read-only root, and runs a workflow. Nothing of it is left behind.

What this cannot show: pulling the base image, the layers and their cache, and the engine's own HEALTHCHECK timing.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
USER = 10001
STORY = "examples/story.json"
TOKEN = "rehearsal-token-of-no-value"
INSIDE = """
set -eu
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -o remount,bind,ro {root}
ip link set lo up
exec chroot {root} setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs --bounding-set=-all \\
    --inh-caps=-all env -i {env} innkeeper up --workers 1
"""


@dataclass
class Stage:
    """A file system that a part of the Dockerfile fills: its folder, variables and working directory."""

    name: str
    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Keyword and rest of each instruction, with its lines joined."""
    joined = re.sub(r"\\\n(?:#[^\n]*\n)*", " ", text)
    for line in joined.splitlines():
        if line.strip() and not line.startswith("#"):
            keyword, _, rest = line.partition(" ")
            yield keyword.upper(), rest.strip()


def expanded(text: str, env: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: env.get(found[1], ""), text)


def overlay(folder: Path, name: str) -> Stage:
    """A writable view of this machine's root."""
    parts = {part: folder / name / part for part in ("upper", "work", "root")}
    for part in parts.values():
        part.mkdir(parents=True)
    options = f"lowerdir=/,upperdir={parts['upper']},workdir={parts['work']}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(parts["root"])], check=True)
    # The Python that stands for the base image's may lie in a home directory.
    home = parts["root"] / "root"
    home.chmod(home.stat().st_mode | 0o011)
    python = Path(os.path.realpath(sys.executable)).parent
    return Stage(
        name, parts["root"], {"PATH": f"{python}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    )


def build(folder: Path) -> Stage:
    """Carry out every instruction; gives the last stage."""
    stages: dict[str, Stage] = {}
    stage = Stage("", Path())
    for keyword, rest in instructions(DOCKERFILE.read_text()):
        if keyword == "FROM":
            name = rest.split()[-1] if " AS " in rest else "image"
            stage = stages[name] = overlay(folder, name)
        elif stage.name:
            _carry_out(keyword, rest, stage, stages)
    return stage


def _carry_out(keyword: str, rest: str, stage: Stage, stages: Mapping[str, Stage]) -> None:
    if keyword in ("ARG", "ENV"):
        pairs = (pair.partition("=") for pair in shlex.split(rest))
        stage.env |= {key: expanded(value, stage.env) for key, _, value in pairs}
    elif keyword == "WORKDIR":
        stage.workdir = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif keyword == "COPY":
        _copy(shlex.split(rest), stage, stages)
    elif keyword == "RUN":
        print(f"{stage.name}: RUN {rest[:100]}", flush=True)
        began = time.monotonic()
        command = ["chroot", str(stage.root), "sh", "-euc", f"cd {stage.workdir}\n{rest}"]
        subprocess.run(command, env=stage.env, check=True)
        print(f"{stage.name}: {time.monotonic() - began:.0f} s", flush=True)


def _copy(words: list[str], stage: Stage, stages: Mapping[str, Stage]) -> None:
    options = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
    source, target = (word for word in words if not word.startswith("--"))
    target = str(stage.root) + os.path.normpath(os.path.join(stage.workdir, target))
    if source == ".":
        allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        subprocess.run(["cp", "-a", "--parents", *allowed, target], cwd=ROOT, check=True)
        return
    base = stages[options["from"]].root if "from" in options else ROOT
    subprocess.run(["cp", "-aT", str(base / source.lstrip("/")), target], check=True)
    if "chmod" in options:
        Path(target).chmod(int(options["chmod"], 8))


def no_build_tools(image: Stage) -> list[str]:
    """Programs of the environment that could install or build something."""
    found = (image.root / "opt/innkeeper").rglob("*")
    return sorted({path.name for path in found if re.fullmatch(r"(pip|pip3.*|setuptools|wheel|hatchling)", path.name)})


def run(image: Stage) -> int:
    """Start it, run a workflow in it, stop it. Gives the number of complaints."""
    for place, options in (("tmp", "mode=1777"), ("var/lib/innkeeper", f"mode=0700,uid={USER},gid={USER}")):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(image.root / place)], check=True)
    shutil.copy(ROOT / STORY, image.root / "var/lib/innkeeper/story.json")
    os.chown(image.root / "var/lib/innkeeper/story.json", USER, USER)
    env = {**image.env, "HOME": "/var/lib/innkeeper", "INNKEEPER_ACCESS_TOKEN": TOKEN}
    given = " ".join(shlex.quote(f"{key}={value}") for key, value in env.items() if not key.startswith("PIP_"))
    script = INSIDE.format(root=image.root, user=USER, env=given)
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "sh", "-c", script]
    with subprocess.Popen(command) as up:
        first = _child_of(up.pid)
        inside = ["nsenter", "-t", str(first), "-m", "-n", "-p", "chroot", f"--userspec={USER}:{USER}"]
        inside += [str(image.root), "env", "-i", *shlex.split(given)]
        complaints = _trial(inside)
        os.kill(first, 15)
        began = time.monotonic()
        code = up.wait(60)
        print(f"SIGTERM: exit code {code} after {time.monotonic() - began:.1f} s")
    return complaints + (code != 0)


def _child_of(pid: int) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if found:
            return int(found[0])
        time.sleep(0.05)
    raise RuntimeError("the container's first process did not start")


def _trial(inside: list[str]) -> int:
    deadline = time.monotonic() + 90
    while (asked := subprocess.run([*inside, "innkeeper-healthcheck"], stderr=subprocess.PIPE, text=True)).returncode:
        if time.monotonic() > deadline:
            print(f"it is not healthy after 90 s: exit code {asked.returncode}, {asked.stderr}")
            return 1
        time.sleep(0.5)
    print("healthy")
    ran = subprocess.run([*inside, "innkeeper", "run", "/var/lib/innkeeper/story.json", "--quiet"], timeout=120)
    written = subprocess.run([*inside, "touch", "/opt/innkeeper/x"], capture_output=True)
    if written.returncode == 0:
        print("the root file system is writable")
    return (ran.returncode != 0) + (written.returncode == 0)


def main() -> int:
    """Build, look, run; 0 when nothing is wrong."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        print("not run: it needs Linux and root")
        return 77
    if os.environ.get("REHEARSAL") != "inside":
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__]
        return subprocess.run(command, env={**os.environ, "REHEARSAL": "inside"}).returncode
    with tempfile.TemporaryDirectory() as name:
        # An overlay's upper folder may not be on an overlay itself.
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", name], check=True)
        try:
            image = build(Path(name))
            tools = no_build_tools(image)
            if tools:
                print(f"build tools in the image: {', '.join(tools)}")
            size = sum(path.lstat().st_size for path in (image.root / "opt/innkeeper").rglob("*"))
            print(f"/opt/innkeeper: {size / 1e6:.0f} MB")
            return 1 if run(image) or tools else 0
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", name], check=False)


if __name__ == "__main__":
    sys.exit(main())
