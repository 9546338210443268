"""The reference page of the command line, made of the commands themselves.

`python -m innkeeper.gateway.cli.command_reference` prints it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from innkeeper.gateway.cli.commands import GROUPS, NAMES, command_line
from innkeeper.gateway.cli.markdown import code, paragraph, table

_HEAD = """# Command line

Every command of `innkeeper`. This page is the output of `python -m innkeeper.gateway.cli.command_reference`;
`innkeeper COMMAND --help` says the same of one command.

| exit code | means |
|---|---|
| 0 | it is done |
| 1 | the run failed, or the gateway refused |
| 2 | the workflow or the options are invalid; nothing was started |
| 3 | no gateway can be reached |
| 4 | a plan was shown and not carried out (`triggers apply`) |
| 130 | stopped by Ctrl-C |

| everywhere | |
|---|---|
| a run | its id, the beginning of its id, or `last` |
| which gateway | `--url`, else `INNKEEPER_URL`, else the one that runs on the data directory |
| access token | `INNKEEPER_ACCESS_TOKEN`: command lines are seen by other users of the machine |
| stdout and stderr | outputs go to stdout, progress and errors to stderr |
| `--json` | the same for programs; `run`, `rerun` and `watch` print one object a line |
| completion | `innkeeper --install-completion` |

What the variables mean: [settings.md](settings.md). What a workflow file holds:
[workflow-format.md](workflow-format.md).
"""
_EXAMPLE = re.compile(r"^Example: (.*)$", re.MULTILINE)
_KINDS = {"str": "text", "int": "whole number", "integer": "whole number", "float": "number"}
_NEXT_EXAMPLE = ", or innkeeper "


class Parameter(Protocol):
    """What is read of an argument or option; typer brings its classes along under a private name."""

    param_type_name: str
    name: str | None
    opts: Sequence[str]
    secondary_opts: Sequence[str]
    required: bool
    default: object
    envvar: str | Sequence[str] | None
    help: str | None
    type: Any
    multiple: bool
    nargs: int
    show_default: bool | str


class Command(Protocol):
    """A command with its parameters in order."""

    help: str | None
    params: Sequence[Parameter]

    def make_context(self, name: str, arguments: list[str]) -> AbstractContextManager[Any]:
        """The command with its arguments read. Raises what the command line would tell its user."""


def commands() -> Mapping[str, Command]:
    """Every command by its name; those of a group by both words, as `workflows list`."""
    found: dict[str, Command] = {}
    for name, command in command_line().commands.items():
        inner = getattr(command, "commands", {})
        if not inner or getattr(command, "invoke_without_command", False):
            found[name] = command  # type: ignore[assignment]  # its class is in a private module
        found |= {f"{name} {word}": below for word, below in inner.items()}
    return found


def typed(words: Sequence[str]) -> tuple[str, Command, list[str]]:
    """Which command is meant by the words behind `innkeeper`: its name, itself, and its arguments.

    Raises:
        KeyError: There is none.
    """
    known = commands()
    length = 2 if " ".join(words[:2]) in known else 1
    name = " ".join(words[:length])
    return name, known[name], list(words[length:])


def command_page() -> str:
    """The whole page, by the groups of `--help`."""
    found = commands()
    names = {title: [_name_of(function) for function in functions] for title, functions in GROUPS.items()}
    index = table(("group", "commands"), ((title, _links(group)) for title, group in names.items()))
    sections = (
        "\n".join((f"## {title}\n", *(command_section(name, found[name]) for name in group)))
        for title, group in names.items()
    )
    return "\n".join((_HEAD, index, *sections))


def command_section(name: str, command: Command) -> str:
    """One command, under a heading of its own."""
    told = command.help or ""
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name != "argument"]
    blocks = [f"### innkeeper {name}\n"]
    blocks += [paragraph(text) for text in _EXAMPLE.sub("", told).split("\n\n") if text.strip()]
    if found := examples_of(command):
        blocks.append("```console\n" + "".join(f"$ {line}\n" for line in found) + "```\n")
    blocks.append(table(("argument", "takes", "meaning"), map(_argument_row, arguments)))
    blocks.append(table(("option", "takes", "default", "environment", "meaning"), map(_option_row, options)))
    return "\n".join(block for block in blocks if block)


def examples_of(command: Command) -> list[str]:
    """The command lines that its help gives as examples."""
    return [
        line if line.startswith("innkeeper ") else f"innkeeper {line}"
        for found in _EXAMPLE.findall(command.help or "")
        for line in found.split(_NEXT_EXAMPLE)
    ]


def words_of(example: str) -> list[str]:
    """Name and arguments of an example, without what the shell takes for itself."""
    words = shlex.split(example)[1:]
    return words[: words.index(">")] if ">" in words else words


def _name_of(function: Callable[..., None]) -> str:
    return NAMES.get(function) or function.__name__.replace("_", "-")


def _links(names: Sequence[str]) -> str:
    return ", ".join(f"[{name}](#innkeeper-{name.replace(' ', '-')})" for name in names)


def _argument_row(item: Parameter) -> tuple[str, ...]:
    name = str(item.name).upper()
    return code(name if item.required else f"[{name}]"), _takes(item), item.help or ""


def _option_row(item: Parameter) -> tuple[str, ...]:
    names = ", ".join(code(text) for text in (*item.opts, *item.secondary_opts))
    variable = code(item.envvar) if isinstance(item.envvar, str) else ""
    return names, _takes(item), _default(item), variable, item.help or ""


def _takes(item: Parameter) -> str:
    """What stands behind an option: nothing behind a flag."""
    kind = item.type
    if kind.name == "boolean":
        return ""
    if choices := getattr(kind, "choices", None):
        words = ", ".join(code(str(choice)) for choice in choices)
    else:
        bounds = (("min", getattr(kind, "min", None)), ("max", getattr(kind, "max", None)))
        limits = [f"{name} {bound}" for name, bound in bounds if bound is not None]
        name = str(kind.name).removesuffix(" range")
        words = ", ".join((_KINDS.get(name, name), *limits))
    several = "; several times" if item.multiple else ", one or more" if item.nargs == -1 else ""
    return f"{words}{several}"


def _default(item: Parameter) -> str:
    if isinstance(item.show_default, str):
        return code(item.show_default)
    if item.default in (None, False, ()) or not item.show_default:
        return ""
    return "on" if item.default is True else code(str(item.default))


if __name__ == "__main__":
    print(command_page(), end="")
