"""Runs a page as a reader would: its files are written, its commands typed, and what they print is compared.

How a page is read, from top to bottom:

    <!-- file: hello.json -->   the code block that follows is written to this file
    ```console                  lines that begin with `$ ` are typed, the others must be printed, in this order
    $ innkeeper up              starts a stack that stays until the end of the page
    # exit code 2               at the end of a command: what it ends with, else 0
    ...                         as a line: left out
    ```console without `$ `     lines that `innkeeper up` prints by now
    <!-- not run: why -->       the code block that follows is only looked at

A command that only looks is typed again for a while when it does not show yet what it should. Times, ids and long
numbers may differ. The port and the process ids that the page shows of `innkeeper up` stand
for the real ones from then on.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

COMMAND_S = 90.0
UP_S = 90.0
STOP_S = 30.0
LOOK_S = 30.0
LOOKS = ("innkeeper approvals", "innkeeper runs", "innkeeper show", "innkeeper status", "innkeeper triggers results")
SHOWN_CHARS = 3_000
DONE = "--done--"

_BLOCK = re.compile(r"^(?:<!-- (file|not run): (.*?) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"#.*\bexit code (\d+)")
_NUMBER = re.compile(r"\b\d{4,}\b")
_UP_NUMBER = re.compile(r"((?:temporal|gateway|worker-\d+) |127\.0\.0\.1:)(\d+)\b")
_CHANGES = (
    (re.compile(r"\b[0-9a-f]{20}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{12}:"), "LOG:"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"), "TIME"),
    (re.compile(r"\b\d+\.\d+ ?s\b"), "SECONDS"),
    (_UP_NUMBER, r"\1NUMBER"),
    (_NUMBER, "NUMBER"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True)
class File:
    """A code block that the reader saves."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that the reader types, and what it prints; an empty one stands for what `innkeeper up` prints."""

    text: str
    output: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        found = _EXIT.search(self.text)
        return int(found[1]) if found else 0


Step = File | Command


def steps_of(page: str) -> Iterator[Step]:
    """What the reader of a page does, in order."""
    for kind, name, language, body in _BLOCK.findall(page):
        if kind == "file":
            yield File(name, body)
        elif kind != "not run" and language == "console":
            yield from commands_of(body)


def commands_of(block: str) -> Iterator[Command]:
    """The commands of one block. A command goes on in the next line after a backslash."""
    text, output = "", list[str]()
    for line in block.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            if text or output:
                yield Command(text, tuple(output))
            text, output = line[2:], []
        elif line.strip():
            output.append(line)
    yield Command(text, tuple(output))


def comparable(line: str) -> str:
    """A line without what differs from time to time."""
    for pattern, word in _CHANGES:
        line = pattern.sub(word, line)
    return line.strip()


def missing(documented: tuple[str, ...], printed: str) -> list[str]:
    """Documented lines that were not printed after the ones before them."""
    rest = iter([comparable(line) for line in printed.splitlines()])
    return [line for line in documented if line.strip() != "..." and comparable(line) not in rest]


def numbers_learned(documented: tuple[str, ...], printed: str) -> dict[str, str]:
    """Ports and process ids of the page to those that stand at their places in what was printed."""
    found = {comparable(line): line for line in printed.splitlines()}
    learned = dict[str, str]()
    for line in documented:
        real = found.get(comparable(line), "")
        pairs = zip(_UP_NUMBER.findall(line), _UP_NUMBER.findall(real), strict=False)
        learned |= {shown: number for (_, shown), (_, number) in pairs}
    return learned


class Session:
    """A shell in an empty folder, and at most one `innkeeper up` beside it.

    Args:
        folder: Where the reader begins.
        makefile: `make TARGET` to the command behind it.

    Attributes:
        known: What a number of the page really is.
    """

    def __init__(self, folder: Path, makefile: Mapping[str, str]) -> None:
        self._makefile = makefile
        self._log = folder.parent / f"{folder.name}-up.log"
        self._up: subprocess.Popen[bytes] | None = None
        self._read = 0
        self.known = dict[str, str]()
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("INNKEEPER_", "PYTEST"))
        }
        self._environment = environment | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "100",
            "INNKEEPER_PORT": "0",
        }
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill_shell()
        self._shell.wait(10)
        for pipe in (self._shell.stdin, self._shell.stdout):
            with contextlib.suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(signal.SIGINT)
            try:
                self._up.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._up.kill()  # its children end with it
                self._up.wait(STOP_S)
                raise

    def do(self, step: Step) -> str:
        """Do what the page says. Raises AssertionError when it goes otherwise than the page says; gives the output."""
        if isinstance(step, File):
            target = self._folder_now() / step.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self.with_known(step.text), "utf-8")
            return ""
        if not step.text:
            return self._await_up(step.output)
        text = self._makefile.get(step.text.split("#")[0].strip(), step.text)
        if text.split()[:2] == ["innkeeper", "up"]:
            return self._start(text, step.output)
        limit = time.monotonic() + (LOOK_S if text.startswith(LOOKS) else 0)
        while True:
            code, printed = self._type(self.with_known(text))
            gone = missing(step.output, printed)
            if (code == step.exit_code and not gone) or time.monotonic() >= limit:
                break
        assert code == step.exit_code, f"$ {text}\nended with {code}:\n{printed[-SHOWN_CHARS:]}"
        assert not gone, f"$ {text}\nprinted\n{printed[-SHOWN_CHARS:]}\nbut not, in this order, {gone}"
        return printed

    def with_known(self, text: str) -> str:
        """The page's text with the real port and process ids."""
        for number in re.findall(r"\bkill (?:-\w+ )?(\d+)", text):
            assert number in self.known, f"{number} is no process that 'innkeeper up' has shown"
        return _NUMBER.sub(lambda found: self.known.get(found[0], found[0]), text)

    def _folder_now(self) -> Path:
        return Path(self._type("pwd")[1].strip())

    def _type(self, command: str) -> tuple[int, str]:
        """Exit code and output of one command; the shell keeps its folder and variables for the next one."""
        shell = self._shell
        assert shell.stdin is not None
        assert shell.stdout is not None
        timer = threading.Timer(COMMAND_S, self._kill_shell)
        timer.start()
        try:
            shell.stdin.write(f"{{ {command}\n}} < /dev/null; printf '\\n{DONE} %d\\n' $?\n")
            shell.stdin.flush()
            lines = list[str]()
            for line in shell.stdout:
                if line.startswith(DONE):
                    return int(line.split()[1]), "".join(lines)
                lines.append(line)
        finally:
            timer.cancel()
        raise AssertionError(
            f"$ {command}\ndid not end within {COMMAND_S:.0f} s, or ended the shell:\n{''.join(lines)}"
        )

    def _kill_shell(self) -> None:
        if self._shell.poll() is None:
            os.killpg(self._shell.pid, signal.SIGKILL)

    def _start(self, command: str, documented: tuple[str, ...]) -> str:
        assert self._up is None, "a page has one stack"
        with self._log.open("wb") as log:
            self._up = subprocess.Popen(
                command.split("#")[0].split(),
                cwd=self._folder_now(),
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        printed = self._await_up(documented or ("...",), until="Next")
        self.known |= numbers_learned(documented, printed)
        return printed

    def _await_up(self, documented: tuple[str, ...], until: str = "") -> str:
        """What `innkeeper up` has printed since the last time, as soon as the documented lines are there."""
        assert self._up is not None, "the page shows lines of 'innkeeper up' before it starts it"
        limit = time.monotonic() + UP_S
        while True:
            printed = self._log.read_text("utf-8", "replace")[self._read :]
            if until in printed and printed.endswith("\n") and not missing(documented, printed):
                self._read += len(printed)
                return printed
            assert self._up.poll() is None, printed
            assert time.monotonic() < limit, f"'innkeeper up' printed\n{printed}\nbut not {documented}"
            time.sleep(0.05)
