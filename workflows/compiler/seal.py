"""Documents as they are saved: every secret that was typed into one becomes the text `$secret:id`. Pure.

A document that is saved may be a draft: nodes of unknown types, edges to nowhere, cycles, values of the wrong kind. So
nothing is refused here. Where a secret may stand is asked of the rules by which the compiler seals a plan; what these
do not reach (unknown types, names that nobody reads) is judged by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from innkeeper.nodes.call import SECRET_TEXT, is_secret_id, secret_reference
from innkeeper.nodes.definition import Input, NodeDefinition
from innkeeper.workflows.compiler.draft_flow import DraftFlows
from innkeeper.workflows.compiler.groups import LoadWorkflow
from innkeeper.workflows.compiler.literals import NOWHERE, WHOLE, Literals, Place, SecretValue
from innkeeper.workflows.compiler.resolve import REFERENCE, Catalogue, ResolvedNode
from innkeeper.workflows.compiler.secret_hosts import host_beside, host_of_node
from innkeeper.workflows.compiler.secret_names import KEY_HEADER, KEY_NAME, stray_keys, without_strays
from innkeeper.workflows.compiler.secrets_plan import PARTS, Keys, secret_keys
from innkeeper.workflows.document.callback import CALLBACK
from innkeeper.workflows.document.model import EDGE_KEYS, read_draft

JsonObject = dict[str, Any]

MIN_COPY_CHARS = 8
"""A typed secret of at least this length is looked for in the rest of the document: a shorter one may be a word."""
_INPUT_MAPS = ("inputs", "inputValues")
_SETTINGS = "configValues"
_SNAPSHOT = "groupInterface"
_MASKED = "***"
_STRUCTURE: Mapping[str, frozenset[str]] = {
    "": frozenset({"id", "workflowId", "outputInterfaceMappings"}),
    "nodes": frozenset({"id", "type", "fullType", "inputConnectionOrders"}),
    "edges": EDGE_KEYS,
    "interfaceInputs": frozenset({"key", "dataFlowType", "matchCategories"}),
    "interfaceOutputs": frozenset({"key", "dataFlowType", "matchCategories"}),
}
"""Fields that hold the graph together, by what they are fields of: they are no copies of a secret."""


@dataclass(frozen=True)
class Sealed:
    """A document without typed secrets, and what must be stored before it is.

    Attributes:
        secrets: The secrets that were typed into it.
        references: Ids of all stored secrets that it refers to, those of `secrets` included: who saves it keeps them.
    """

    document: JsonObject
    secrets: tuple[SecretValue, ...] = ()
    references: frozenset[str] = frozenset()


def seal_document(
    document: JsonObject,
    catalogue: Catalogue,
    load: LoadWorkflow | None = None,
    *,
    secret_id: Callable[[str], str],
    owner: str = "default_user",
) -> Sealed:
    """Replace each secret that was typed into a document by the text `$secret:id`; all else stays as it is.

    Sealing again changes nothing. A reference without an id (it may be a key in the wrong form) is masked, so that the
    document cannot run before the key is typed again. Raises nothing, whatever is found.

    Args:
        document: Any JSON object, as `load_json` reads it.
        load: Finds the workflows that groups and repetitions refer to.
        secret_id: Names a secret's value, in 64 hexadecimal digits; equal values should get equal names.
        owner: User to whom the secrets belong.
    """
    draft = read_draft(document)
    literals = _TextLiterals(secret_id, owner)
    flows = DraftFlows(draft, catalogue, load)
    sealed = _Sealing(flows, literals).document(document, [node.id for node in draft.nodes])
    references: set[str] = set()
    sealed = _with_copies(sealed, literals.copies(), references)
    return Sealed(sealed, tuple(literals.secrets.values()), frozenset(references))


@dataclass
class _TextLiterals(Literals):
    """Seals with texts instead of objects, and leaves valid references in the form they have."""

    masked: set[str] = field(default_factory=set)

    def copies(self) -> Mapping[str, str]:
        """Texts that may stand in other places of the document, too, and what replaces them there."""
        found = dict.fromkeys(self.masked, _MASKED)
        found |= {SECRET_TEXT + text: SECRET_TEXT + _MASKED for text in self.masked}
        found |= {secret.value: SECRET_TEXT + secret.id for secret in self.secrets.values()}
        return {text: replaced for text, replaced in found.items() if len(text) >= MIN_COPY_CHARS}

    def seal(self, value: Any, keys: Keys, place: Place) -> Any:
        """Names beside the secret keys of an object that look like misspelt ones are sealed, too."""
        if not keys or WHOLE in keys or not isinstance(value, Mapping):
            return super().seal(value, keys, place)
        if secret_reference(value) is not None:
            return self._seal_one(value, place)
        strays = stray_keys(value, Input("OBJECT", secret_keys=keys))
        return super().seal(value, (*keys, *strays), place)

    def _reference_to(self, secret: str) -> str:
        return SECRET_TEXT + secret

    def _referred(self, value: Any, secret: str, place: Place) -> Any:
        if is_secret_id(secret) or secret in ("", _MASKED):
            return value
        self.masked.add(secret)
        return SECRET_TEXT + _MASKED if isinstance(value, str) else {"$secret": _MASKED}


class _Sealing:
    """Seals one document, place by place."""

    def __init__(self, flows: DraftFlows, literals: Literals) -> None:
        self._flows = flows
        self._literals = literals
        self._declared: dict[str, _Declared] = {}

    def document(self, raw: JsonObject, ids: Iterable[str]) -> JsonObject:
        """Args: `ids` are those of the draft's nodes, in the order of `nodes`."""
        sealed = dict(raw)
        keys = self._flows.interface_keys
        if isinstance(nodes := raw.get("nodes"), list):
            sealed["nodes"] = [self._node(item, node_id) for item, node_id in zip(nodes, ids, strict=True)]
        elif "nodes" in raw:
            sealed["nodes"] = self._by_name(nodes, NOWHERE)
        if "interfaceInputs" in raw:
            sealed["interfaceInputs"] = self._slots(raw["interfaceInputs"], keys)
        if isinstance(inputs := raw.get("inputs"), Mapping):
            sealed["inputs"] = {
                key: self._literals.seal(item, keys.get(key, ()), NOWHERE) for key, item in inputs.items()
            }
        if isinstance(callback := raw.get(CALLBACK), Mapping):
            # The address beside it, by which the secret is bound, is its own `url`.
            sealed[CALLBACK] = self._literals.seal(callback, ("secret",), NOWHERE)
        return sealed

    def _node(self, raw: Any, node_id: str) -> Any:
        if not isinstance(raw, Mapping):
            return self._by_name(raw, NOWHERE)
        node = self._flows.graph.nodes.get(node_id)
        sealed = {key: self._field(key, value, node) for key, value in raw.items()}
        if isinstance(data := sealed.get("data"), Mapping):
            sealed["data"] = {key: self._editor_field(key, value, node) for key, value in data.items()}
        return sealed

    def _field(self, key: str, value: Any, node: ResolvedNode | None) -> Any:
        if key == _SNAPSHOT:
            return self._snapshot(value, node)
        if key not in (*_INPUT_MAPS, _SETTINGS):
            return value
        if node is None or not isinstance(value, Mapping):
            return self._by_name(value, NOWHERE)
        place = Place(node.id, host=host_of_node(node, self._flows.graph.inputs[node.id]))
        seal = self._setting if key == _SETTINGS else self._input
        return {name: seal(name, item, node, replace(place, slot=name)) for name, item in value.items()}

    def _editor_field(self, key: str, value: Any, node: ResolvedNode | None) -> Any:
        """A field of `data`, where editors keep values bare, or inside a copy of the slot."""
        if key not in _INPUT_MAPS or not isinstance(value, Mapping):
            return self._field(key, value, node)
        copies = {name: item for name, item in value.items() if isinstance(item, Mapping) and "dataFlowType" in item}
        keys = {
            name: self._flows.secret_keys(node, name) if node and node.takes(name) else _keys_by_name(name)
            for name in copies
        }
        bare = self._field(key, {name: item for name, item in value.items() if name not in copies}, node)
        sealed = {**self._slots(copies, keys), **bare}
        return {name: sealed[name] for name in value}

    # --- values of a node -----------------------------------------------------------------------------------------

    def _input(self, name: str, value: Any, node: ResolvedNode, place: Place) -> Any:
        if not node.takes(name):
            return self._unread(name, value, self._declared_by(node).inputs, place, node)
        parts = self._flows.secret_parts(node) if name == PARTS.get(node.definition.runs_workflow) else {}
        if parts:
            value = self._parts(value, parts, node, place)
        keys = self._flows.secret_keys(node, name)
        if isinstance(value, list) and self._flows.is_multi(node, name):
            return [self._value(item, keys, node.inputs.get(name), place) for item in value]
        return self._value(value, keys, node.inputs.get(name), place)

    def _setting(self, name: str, value: Any, node: ResolvedNode, place: Place) -> Any:
        if name == _SNAPSHOT and name not in node.config_schema:
            return self._snapshot(value, node)
        if name in (node.definition.mode_config_key, REFERENCE):
            return value
        slot = node.config_schema.get(name)
        if slot is None:
            return self._unread(name, value, self._declared_by(node).settings, place, node)
        return self._value(value, secret_keys(slot), slot, place)

    def _value(self, value: Any, keys: Keys, slot: Input | None, place: Place) -> Any:
        # Of what is sealed whole the compiler drops misspelt names first.
        is_whole = WHOLE in keys or not isinstance(value, Mapping)
        return self._literals.seal(without_strays(value, slot) if keys and is_whole else value, keys, place)

    def _parts(self, value: Any, parts: Mapping[str, Keys], node: ResolvedNode, place: Place) -> Any:
        if isinstance(value, list) or (isinstance(value, Mapping) and node.definition.runs_workflow == "loop"):
            return self._literals.seal_parts(value, parts, place)
        return self._literals.seal(value, (WHOLE,), place)

    def _unread(self, name: str, value: Any, slots: Mapping[str, Input], place: Place, node: ResolvedNode) -> Any:
        """A value that no slot takes: of another mode, on the wrong side of the node, or under a wrong name."""
        if name in slots:
            return self._value(value, secret_keys(slots[name]), slots[name], place)
        if name in self._declared_by(node).secret_names:
            return self._literals.seal(value, (WHOLE,), place)
        return self._by_name({name: value}, place)[name]

    def _declared_by(self, node: ResolvedNode) -> _Declared:
        kind = node.definition.full_type
        if kind not in self._declared:
            self._declared[kind] = _Declared.of(node.definition)
        return self._declared[kind]

    # --- values of slots, and values that only their names tell of ----------------------------------------------------

    def _snapshot(self, value: Any, node: ResolvedNode | None) -> Any:
        """What an editor keeps of the interface of the workflow that a node runs, with the defaults of its inputs."""
        if not isinstance(value, Mapping) or not isinstance(inputs := value.get("inputs"), Mapping):
            return value
        known = self._flows.inner_keys(node) if node else None
        keys = {name: _keys_by_name(name) for name in inputs} if known is None else known
        return {**value, "inputs": self._slots(inputs, keys)}

    def _slots(self, slots: Any, keys: Mapping[str, Keys]) -> Any:
        """Interface slots with their values sealed. What is not a map of slots stays."""
        if not isinstance(slots, Mapping):
            return slots
        return {key: self._slot(key, slot, keys.get(key, ())) for key, slot in slots.items()}

    def _slot(self, key: str, slot: Any, keys: Keys) -> Any:
        if not keys or not isinstance(slot, Mapping):
            return slot
        place = Place(slot=key)
        sealed = {
            name: self._literals.seal(item, keys, place) if name == "value" else item for name, item in slot.items()
        }
        if isinstance(config := slot.get("config"), Mapping) and "default" in config:
            sealed["config"] = {**config, "default": self._literals.seal(config["default"], keys, place)}
        return sealed

    def _by_name(self, value: Any, place: Place, *, is_item: bool = False) -> Any:
        """The value with everything sealed that stands under a name of a key.

        In the objects of a list a plain `key` is left: that is how fields of forms and pairs are named.
        """
        if isinstance(value, list):
            return [self._by_name(item, place, is_item=True) for item in value]
        if not isinstance(value, Mapping):
            return value
        inside = replace(place, host=host_beside(value) or place.host)
        return {
            name: self._literals.seal(item, (WHOLE,), inside)
            if _keys_by_name(name) and isinstance(item, str | list | Mapping) and not (is_item and name == "key")
            else self._by_name(item, inside)
            for name, item in value.items()
        }


@dataclass(frozen=True)
class _Declared:
    """All slots and settings of a node type, whatever its mode; of two with one name the one that is secret.

    Attributes:
        secret_names: Names of secret slots and settings, and of secret keys inside them.
    """

    inputs: Mapping[str, Input]
    settings: Mapping[str, Input]
    secret_names: frozenset[str]

    @classmethod
    def of(cls, definition: NodeDefinition) -> _Declared:
        modes = definition.modes.values()
        inputs = _merged([definition.inputs, *(mode.inputs for mode in modes)])
        settings = _merged([definition.config_schema, *(mode.config_schema for mode in modes)])
        secret = [(name, slot) for slots in (inputs, settings) for name, slot in slots.items() if secret_keys(slot)]
        names = {name for name, slot in secret if slot.secret} | {key for _, slot in secret for key in slot.secret_keys}
        return cls(inputs, settings, frozenset(names))


def _merged(maps: Iterable[Mapping[str, Input]]) -> dict[str, Input]:
    found: dict[str, Input] = {}
    for slots in maps:
        for name, slot in slots.items():
            if name not in found or (secret_keys(slot) and not secret_keys(found[name])):
                found[name] = slot
    return found


def _keys_by_name(name: str) -> Keys:
    return (WHOLE,) if KEY_NAME.fullmatch(name) or KEY_HEADER.fullmatch(name) else ()


# --- copies of typed secrets ------------------------------------------------------------------------------------------


def _with_copies(document: JsonObject, copies: Mapping[str, str], references: set[str]) -> JsonObject:
    """The document with copies of typed secrets replaced, wherever they are a whole text. Adds to `references`."""

    def walk(value: Any, structure: frozenset[str] = frozenset()) -> Any:
        if isinstance(value, str):
            found = copies.get(value, value)
            if is_secret_id(reference := secret_reference(found)):
                references.add(str(reference))
            return found
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, Mapping):
            if is_secret_id(reference := secret_reference(value)):
                references.add(str(reference))
            return {key: item if key in structure else walk(item) for key, item in value.items()}
        return value

    def part(key: str, value: Any) -> Any:
        structure = _STRUCTURE.get(key)
        if key in _STRUCTURE[""] or structure is None:
            return value if key in _STRUCTURE[""] else walk(value)
        if isinstance(value, list):
            return [walk(item, structure) for item in value]
        if isinstance(value, Mapping):
            return {name: walk(item, structure) for name, item in value.items()}
        return walk(value)

    return {key: part(key, value) for key, value in document.items()}
