"""YAML files of users as JSON values, with the line of each part. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.json_values import MAX_INTEGER, MIN_INTEGER

MAX_BYTES = 256 * 1024
"""The parser takes some seconds for them."""
MAX_DEPTH = 60
MAX_PROBLEMS = 50
_MAP, _SEQ, _STR = (f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str"))
_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_MAX_DIGITS = 21


@dataclass(frozen=True)
class LineProblem:
    """One thing wrong in a file. `line` counts from 1; 0 is the whole file."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


class InvalidFile(InnkeeperError):
    """A file cannot be used as it is. `problems` holds all that was found, by line."""

    code = "usage"

    def __init__(self, name: str, problems: Sequence[LineProblem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))[:MAX_PROBLEMS]
        found = "\n  ".join(map(str, self.problems))
        super().__init__(f"{name!r} cannot be used as it is; correct it and try again:\n  {found}")


@dataclass(frozen=True)
class YamlTree:
    """Plain data, and the line of each part by its path, as `triggers.nightly.schedule.cron` or `secrets[0].env`."""

    name: str
    value: Any
    lines: dict[str, int] = field(default_factory=dict)

    def problem(self, path: str, message: str) -> LineProblem:
        return LineProblem(self.line(path), message)

    def line(self, path: str) -> int:
        """Where it stands, or what it should stand in."""
        above = [known for known in self.lines if path == known or path.startswith((f"{known}.", f"{known}["))]
        return self.lines[max(above, key=len)] if above else 1


def read_yaml(name: str, data: bytes) -> YamlTree:
    """The one document of a file.

    Its plain scalars are those of YAML 1.2, which are those of JSON: `on`, `yes`, `12:30` and `2030-01-31` are texts.
    Aliases, tags and merges are refused: a few lines of aliases can stand for gigabytes.

    Raises:
        InvalidFile: No such YAML, a key that stands twice, too large or too deep.
    """
    if len(data) > MAX_BYTES:
        raise InvalidFile(name, [LineProblem(0, f"it has {len(data)} bytes; at most {MAX_BYTES} are allowed")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(name, [LineProblem(data.count(b"\n", 0, error.start) + 1, "it is not UTF-8")]) from None
    try:
        reader = _Reader(text)
    except yaml.YAMLError as error:
        raise InvalidFile(name, [_problem_of(error, text)]) from None
    if reader.problems:
        raise InvalidFile(name, reader.problems)
    return YamlTree(name, reader.value, reader.lines)


def inside(path: str, key: str | int) -> str:
    """The path of a part of what stands at a path."""
    return f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else key


class _Loader(yaml.SafeLoader):
    """The scalars of YAML 1.2 only; bounded."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs lack its types
        if self.check_event(yaml.AliasEvent):
            raise _refused("aliases ('*name') are not allowed: write it out", mark)
        if self.depth >= MAX_DEPTH:
            raise _refused(f"it is nested more than {MAX_DEPTH} deep", mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.yaml_implicit_resolvers = {}  # those of YAML 1.1
for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]+", list("-+0123456789")),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)


def _refused(problem: str, mark: yaml.Mark | None) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


class _Reader:
    """The value of a text, and the line of each part."""

    def __init__(self, text: str) -> None:
        self.lines: dict[str, int] = {}
        self.problems: list[LineProblem] = []
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        self.value = None if node is None else self._plain(node, "")

    def _plain(self, node: yaml.Node, path: str) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self._plain(item, inside(path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        raise _tag_refused(node)

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refused("a key must be a text", key_node.start_mark)
            # As it is written: `on` and `1` are names like others.
            key, line = _whole(key_node.value, key_node), key_node.start_mark.line + 1
            inner = inside(path, key)
            if key in found:
                self.problems.append(LineProblem(line, f"{inner!r} stands twice"))
            self.lines[inner] = line
            found[key] = self._plain(value_node, inner)
        return found


def _scalar(node: yaml.ScalarNode) -> Any:
    text = _whole(node.value, node)
    if node.tag == _STR:
        return text
    if node.tag == _NULL:
        return None
    if node.tag == _BOOL and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if node.tag in (_INT, _FLOAT):
        return _number(node, text)
    raise _tag_refused(node)


def _number(node: yaml.ScalarNode, text: str) -> int | float:
    try:
        # A long one is refused below; to convert its digits one by one would take the square of their number.
        number = int(text) if node.tag == _INT and len(text) <= _MAX_DIGITS else float(text)
    except ValueError:
        raise _tag_refused(node) from None
    is_whole = isinstance(number, int)
    if not (MIN_INTEGER <= number <= MAX_INTEGER if is_whole else math.isfinite(number) and node.tag == _FLOAT):
        raise _refused("a number is out of range", node.start_mark)
    return number


def _tag_refused(node: yaml.Node) -> yaml.MarkedYAMLError:
    return _refused(f"the tag {node.tag!r} is not allowed here", node.start_mark)


def _whole(text: str, node: yaml.Node) -> str:
    """The text, in which two halves of a character that were written one by one (`"\\ud83d\\ude00"`) are one."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _refused("a text holds half a character", node.start_mark) from None


def _problem_of(error: yaml.YAMLError, text: str) -> LineProblem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return LineProblem(mark.line + 1 if mark else 0, error.problem or error.context or "it is no YAML")
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return LineProblem(line, "it holds a character that YAML does not allow")
    return LineProblem(0, "it is no YAML")
