"""Parameters in OpenAI's words, which graphs use for all models, as other protocols need them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import ChatRequest


def renamed(given: Mapping[str, Any], names: Mapping[str, str], *, left_out: Collection[str] = ()) -> dict[str, Any]:
    """The parameters under the names of a protocol.

    Null is left out: it means that nothing is asked for. A parameter under the protocol's own name wins over another
    one that is renamed to it.
    """
    found = {names.get(key, key): value for key, value in given.items() if value is not None and key not in left_out}
    own = {key: given[key] for key in set(names.values()) if given.get(key) is not None}
    return found | own


def stop_list(value: Any) -> Any:
    """Texts at which the answer ends, as a list."""
    return [value] if isinstance(value, str) else value


def one_answer_only(given: Mapping[str, Any], protocol: str) -> None:
    """Raises NodeInputError when several answers are asked for."""
    if given.get("n") not in (None, 1):
        raise NodeInputError(f"the parameter 'n' must be 1: the protocol {protocol!r} gives one answer")


def function_of(tool: Any) -> Mapping[str, Any] | None:
    """The function of a tool in OpenAI's form; None for a tool in the provider's own form."""
    function = tool.get("function") if isinstance(tool, Mapping) and tool.get("type") == "function" else None
    return function if isinstance(function, Mapping) else None


def tool_choice_of(given: Mapping[str, Any]) -> tuple[str, str]:
    """`auto`, `none`, `required` or `function`, and the name of the function; "" when it is none of OpenAI's forms."""
    choice = given.get("tool_choice")
    if isinstance(choice, str):
        return choice, ""
    function = choice.get("function") if isinstance(choice, Mapping) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return ("function", name) if isinstance(name, str) else ("", "")


def schema_asked(ask: ChatRequest, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema that the provider shall hold the model to: of the parameters, else of the request where it can."""
    wanted = given.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        holder = wanted.get("json_schema")
        schema = holder.get("schema") if isinstance(holder, Mapping) else wanted.get("schema")
        if isinstance(schema, Mapping):
            return schema
    return ask.response_schema if ask.traits.structured == "json_schema" else None


def wants_json(ask: ChatRequest, given: Mapping[str, Any]) -> bool:
    """Whether the answer shall be JSON of any form."""
    wanted = given.get("response_format")
    asked = isinstance(wanted, Mapping) and wanted.get("type") == "json_object"
    return asked or (ask.response_schema is not None and ask.traits.structured == "json_object")
