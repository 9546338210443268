"""Whether what a node gave is what its type declares: the keys of its outputs, and the kinds of their values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from innkeeper.nodes.call import kind_of
from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.errors import InvalidNode
from innkeeper.nodes.spelling import nearest

MISSING_OUTPUT = "missing_output"
UNEXPECTED_TYPE = "unexpected_type"

_FITS: Mapping[str, Callable[[Any], bool]] = {
    "STRING": lambda value: isinstance(value, str),
    "INTEGER": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "FLOAT": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "BOOLEAN": lambda value: isinstance(value, bool),
    "OBJECT": lambda value: isinstance(value, Mapping),
    "ARRAY": lambda value: isinstance(value, list | tuple),
}
"""Of the other types every value is taken: BINARY also travels as text, and wildcards take anything."""


def declared_outputs(
    definition: NodeDefinition, mode_id: str | None, config: Mapping[str, Any]
) -> Mapping[str, Output] | None:
    """The outputs of a node type in one mode; None when its slots are not known beforehand (`dynamic_slots`)."""
    if definition.dynamic_slots:
        return None
    if definition.outputs_of is not None:
        return definition.outputs_of(config)
    mode = definition.modes.get(mode_id) if mode_id else None
    return mode.outputs if mode is not None and mode.outputs else definition.outputs


def check_outputs(
    given: object, declared: Mapping[str, Output] | None, *, may_omit: bool = False
) -> list[dict[str, str]]:
    """Refuse outputs that the node type does not have, or that lack. Gives warnings: `{code, message}`.

    Args:
        given: The batch outputs. Stream outputs come as chunks, so they may be absent.
        declared: As `declared_outputs` gives them.
        may_omit: The node `branches`: an absent output is one that was not chosen.

    Raises:
        InvalidNode: It is no mapping, has an unknown key, or lacks an output that is `required`.
    """
    if not isinstance(given, Mapping):
        raise InvalidNode(f"the node gave {type(given).__name__}; expected a mapping of outputs")
    if declared is None:
        return []
    if problems := [*_unknown(given, declared), *([] if may_omit else _lacking(given, declared))]:
        raise InvalidNode("; ".join(problems))
    absent = [] if may_omit else [key for key, slot in declared.items() if _is_absent(key, slot, given)]
    warnings = [_warning(MISSING_OUTPUT, f"the node gave nothing for output {key!r}") for key in absent]
    for key, value in given.items():
        if not fits(value, declared[key]):
            found = f"{kind_of(value)} ({type(value).__name__})"
            message = f"output {key!r} is declared {declared[key].data_flow_type}; the node gave {found}"
            warnings.append(_warning(UNEXPECTED_TYPE, message))
    return warnings


def fits(value: Any, slot: Output) -> bool:
    """Is the value of the slot's type? None is no value, and fits every slot."""
    if value is None or slot.is_stream or slot.is_wildcard or slot.is_convertible:
        return True
    return slot.data_flow_type not in _FITS or _FITS[slot.data_flow_type](value)


def _unknown(given: Mapping[Any, Any], declared: Mapping[str, Output]) -> list[str]:
    unknown = [key for key in given if key not in declared]
    if not unknown:
        return []
    names = ", ".join(map(repr, declared)) or "none"
    return [
        f"the node gave output {key!r}, which it does not declare{suggestion(key, declared)}; outputs are {names}"
        for key in unknown
    ]


def _lacking(given: Mapping[Any, Any], declared: Mapping[str, Output]) -> list[str]:
    lacking = [repr(key) for key, slot in declared.items() if slot.required and _is_absent(key, slot, given)]
    if not lacking:
        return []
    names = ", ".join(map(repr, given)) or "nothing"
    return [f"the node gave no output {', '.join(lacking)}; it gave {names}"]


def _is_absent(key: str, slot: Output, given: Mapping[Any, Any]) -> bool:
    return key not in given and not slot.is_stream


def suggestion(name: object, known: Collection[str]) -> str:
    """`; did you mean 'x'?` for the known name that is most like this one; empty when none is."""
    meant = nearest(str(name), known)
    return f"; did you mean {meant!r}?" if meant else ""


def _warning(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}
