"""Keys and passwords where they are not kept secret: a warning for what is typed, an error for what comes later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import Problem
from innkeeper.nodes.json_values import InvalidJson, read_json
from innkeeper.workflows.compiler.literals import WHOLE
from innkeeper.workflows.compiler.resolve import ResolvedNode
from innkeeper.workflows.compiler.secret_names import KEY_HEADER, KEY_NAME, stray_keys
from innkeeper.workflows.compiler.secrets_plan import PARTS, Keys, secret_keys
from innkeeper.workflows.compiler.slots import PlannedInputs
from innkeeper.workflows.plan import SlotKey

_MAX_HEADERS_TEXT = 100_000
_READABLE = "what stands there is not kept secret: it stays readable in the run's history and events"


def readable_secrets(node: ResolvedNode) -> list[Problem]:
    """Warnings for what a document types into slots named `headers` and into addresses. Never with a value."""
    return [
        Problem("readable_secret", f"node {node.id!r}: {what}", level="warning", node=node.id, slot=key)
        for key, value, slots in _typed(node)
        if (slot := slots.get(key)) is not None and not slot.secret
        for what in _found(key, value, slot, _hidden_places(slots))
    ]


def _typed(node: ResolvedNode) -> list[tuple[str, Any, Mapping[str, Input]]]:
    typed = [(key, value, node.inputs) for key, value in node.node.inputs.items()]
    return typed + [(key, value, node.config_schema) for key, value in node.node.config.items()]


def misplaced_secrets(node: ResolvedNode) -> list[Problem]:
    """Secrets under a wrong name, which nobody would read. Never with a value.

    A setting with the name of a secret input (or the other way round) is an error: the run would go on without its key.
    """
    return [*_on_the_wrong_side(node), *_strays(node)]


def _on_the_wrong_side(node: ResolvedNode) -> Iterable[Problem]:
    inputs, settings = _secret_names(node.inputs), _secret_names(node.config_schema)
    for key, value in node.node.config.items():
        if value not in (None, "") and key not in node.config_schema and key in inputs:
            what = f"the setting {key!r} is a secret input; move it from 'configValues' to {inputs[key]} of 'inputs'"
            yield Problem("misplaced_secret", f"node {node.id!r}: {what}", node=node.id, slot=key)
    for key, value in node.node.inputs.items():
        if value not in (None, "") and not node.takes(key) and key in settings:
            what = f"the input {key!r} is a secret setting; move it from 'inputs' to {settings[key]} of 'configValues'"
            yield Problem("misplaced_secret", f"node {node.id!r}: {what}", node=node.id, slot=key)


def _strays(node: ResolvedNode) -> Iterable[Problem]:
    """Of names beside the secret keys that a slot declares."""
    for slot_key, value, slots in _typed(node):
        slot = slots.get(slot_key)
        known = ", ".join(repr(key) for key in slot.secret_keys) if slot else ""
        for name in (
            name for item in (value if isinstance(value, list) else [value]) for name in stray_keys(item, slot)
        ):
            what = f"{name[:50]!r} in {slot_key!r} is not known; did you mean {known}? Its value is left out"
            yield Problem("unknown_key", f"node {node.id!r}: {what}", "warning", node=node.id, slot=slot_key)


def _secret_names(slots: Mapping[str, Input]) -> dict[str, str]:
    """Name to where it belongs, of every secret: whole slots, and keys inside of objects."""
    inner = {name: f"{name!r} of {key!r}" for key, slot in slots.items() for name in slot.secret_keys}
    return inner | {key: repr(key) for key, slot in slots.items() if slot.secret}


def secrets_from_outside(node: ResolvedNode, asked: Mapping[str, Keys]) -> list[Problem]:
    """Errors for secrets that would reach a running graph by an approval or an event, which its history shows.

    Args:
        asked: The secret keys that others take of each output of the node.
    """
    find = _FROM_OUTSIDE.get(node.definition.full_type)
    if find is None or node.node.bypassed:
        return []
    return [
        Problem("secret_from_outside", f"node {node.id!r}: {what}; {_BETTER}", node=node.id, slot=slot)
        for slot, what in find(node, asked)
    ]


def readable_parts(node: ResolvedNode, inputs: PlannedInputs, parts: Mapping[str, Keys]) -> list[Problem]:
    """A warning for items or a state that another node gives, and of which a part goes into a secret slot.

    What is typed there is kept secret.

    Args:
        parts: Inputs of the repeated workflow that take secrets.
    """
    slot = PARTS.get(node.definition.runs_workflow or "", "")
    found = inputs.get(SlotKey(slot))
    if not parts or found is None or not found.feeds:
        return []
    what = f"parts of {slot!r} go into slots that take a secret ({', '.join(map(repr, parts))}). A key that another"
    message = f"node {node.id!r}: {what} node puts there is not kept secret; type it, or give the node a reference"
    return [Problem("readable_secret", message, level="warning", node=node.id, slot=slot)]


_BETTER = (
    "it would stay readable in the run's history. Give the secret when the run is started (an interface input that "
    "feeds the secret slot), or use a channel"
)


def _in_answer(node: ResolvedNode, asked: Mapping[str, Keys]) -> Iterable[tuple[str, str]]:
    if asked.get("answer"):
        yield "answer", "its output 'answer' feeds a slot that takes a secret"
    wanted = {key for slot in ("approved", "rejected", "timeout") for key in asked.get(slot, ())}
    form = node.config.get("form")
    for field in form if isinstance(form, list | tuple) else ():
        key = str(field.get("key"))[:50] if isinstance(field, Mapping) else ""
        if key in wanted or WHOLE in wanted:
            yield "form", f"its field {key!r} feeds a slot that takes a secret"


def _in_event(node: ResolvedNode, asked: Mapping[str, Keys]) -> Iterable[tuple[str, str]]:
    if asked.get("data"):
        yield "data", "the data of an event feeds a slot that takes a secret"


_FROM_OUTSIDE = {"core:Approval": _in_answer, "core:WaitForEvent": _in_event}


def _hidden_places(slots: Mapping[str, Input]) -> str:
    """Where to put a secret of this node instead."""
    hidden = [repr(key) for key, slot in slots.items() if slot.secret]
    hidden += [f"{name!r} of {key!r}" for key, slot in slots.items() for name in slot.secret_keys]
    return f"of this node only {', '.join(hidden)} is kept secret" if hidden else "this node keeps nothing secret"


def _found(key: str, value: Any, slot: Input, hidden: str) -> Iterable[str]:
    if key == "headers":
        for name in _header_names(value):
            yield f"the header {name[:50]!r} looks like a key, and {_READABLE}; {hidden}"
    if "Url" in slot.match_categories:
        for what in _in_address(value):
            yield f"{key!r} holds {what}, and {_READABLE}; {hidden}"
    if secret_keys(slot) and isinstance(value, Mapping):
        for what in _in_address(value.get("base_url")):
            yield f"'base_url' of {key!r} holds {what}, and {_READABLE}; {hidden}"


def _header_names(headers: Any) -> list[str]:
    if isinstance(headers, str) and len(headers) <= _MAX_HEADERS_TEXT:
        try:
            headers = read_json(headers)
        except InvalidJson:
            return []
    if not isinstance(headers, Mapping):
        return []
    return [name for name, value in headers.items() if value not in (None, "") and KEY_HEADER.fullmatch(str(name))]


def _in_address(url: Any) -> Iterable[str]:
    """What in an http(s) address looks like a secret."""
    if not isinstance(url, str) or not url.lstrip().lower().startswith(("http://", "https://")):
        return
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return
    if "@" in parts.netloc:
        yield "a user name or password"
    names = dict.fromkeys(name for name, value in parse_qsl(parts.query) if value and KEY_NAME.fullmatch(name))
    for name in names:
        yield f"the parameter {name[:50]!r}, which looks like a key"
