"""YAML to JSON values; neither aliases nor depth can explode."""

from __future__ import annotations

import json
import math
import re
from typing import Any, ClassVar

import yaml

from innkeeper.nodes.json_values import MAX_DEPTH, MAX_INTEGER, MIN_INTEGER, whole_text
from innkeeper.nodes.tavern.documents import parse_json, refuse_lfs_pointer, too_deep
from innkeeper.nodes.tavern.environment import FormatError

MAX_BYTES = 8 * 1024 * 1024
MAX_YAML_VALUES = 500_000


def load_yaml(data: bytes) -> Any:
    """Read one YAML document (safe types only, the core schema of YAML 1.2) as JSON values; keys become texts.

    Raises:
        FormatError: It is not UTF-8, not YAML, not JSON-like (tags, objects as keys, aliases of themselves), or larger,
            deeper or more unfolded than allowed. The message says where.
    """
    return parse_yaml(_decoded(data))


def load_json_or_yaml(data: bytes, name: str) -> Any:
    """Read a file by the ending of its name: `.yaml` and `.yml` as YAML, everything else as JSON.

    Raises:
        FormatError: As `load_yaml`.
    """
    return load_yaml(data) if name.lower().endswith((".yaml", ".yml")) else parse_json(_decoded(data))


def _decoded(data: bytes) -> str:
    refuse_lfs_pointer(data)
    if len(data) > MAX_BYTES:
        raise FormatError(f"the file has {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"the file is not UTF-8: byte {error.start} cannot be read; save it as UTF-8") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen at run time
    """YAML 1.2's core schema: `on`, `1:30` and dates are text, as in the programs that write these files.

    Merge keys (`<<`) are plain keys: merged lists multiply before anybody could count them.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: function
        for tag, function in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "str", "seq", "map")
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merges nothing, not even keys that are tagged as merge keys."""


def _yaml_integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = node.value
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def _yaml_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(node.value.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _yaml_integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _yaml_float)
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, safe loader only, as JSON: keys become texts.

    Raises:
        FormatError: Not YAML (with line and column), aliases that blow up to more than `MAX_YAML_VALUES` values,
            or a value that JSON does not have.
    """
    try:
        _check_nesting(text)
        value = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in (error.problem or ""):  # libyaml's own limit comes first where it must read far ahead
            raise too_deep() from None
        place = _at_mark(error.problem_mark)
        # What follows the first quote is the file's own text.
        problem = (error.problem or "it cannot be read").split("'")[0].strip()
        raise FormatError(f"not valid YAML{place}: {problem}") from None
    except RecursionError:
        raise too_deep() from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, OverflowError):
        raise FormatError("not valid YAML: it holds characters or values that YAML does not allow") from None
    return _as_json(value, [MAX_YAML_VALUES], MAX_DEPTH)


def _at_mark(mark: Any) -> str:
    return f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _check_nesting(text: str) -> None:
    # Composing recurses in C and would take the process with it; events come one by one.
    open_anchors: list[str | None] = []
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            open_anchors.pop()
        elif isinstance(event, yaml.AliasEvent) and event.anchor in open_anchors:
            raise FormatError(f"not valid YAML{_at_mark(event.start_mark)}: an alias stands for what it is part of")
        if len(open_anchors) > MAX_DEPTH:
            raise too_deep()


def _as_json(value: Any, left: list[int], depth: int) -> Any:
    """A copy with no shared parts. `left` counts down, so that shared parts cannot multiply without end."""
    left[0] -= 1
    if left[0] < 0:
        raise FormatError(f"the YAML has more than {MAX_YAML_VALUES} values, counting each use of an alias")
    if depth < 0:
        raise too_deep()
    if isinstance(value, dict):
        return {_key_text(key): _as_json(item, left, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item, left, depth - 1) for item in value]
    return _scalar(value)


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return whole_text(key)
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    if isinstance(key, int | float):
        return str(key)
    raise FormatError("the YAML has a key that is neither text nor number")


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise FormatError("the YAML holds a number that JSON does not have (infinite, or not a number)")
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if MIN_INTEGER <= value <= MAX_INTEGER else _float_of(value)
    raise FormatError(f"the YAML holds a value of a kind that JSON does not have ({type(value).__name__})")


def _float_of(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise FormatError("the YAML holds a number that is out of range") from None
