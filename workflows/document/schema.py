"""JSON Schema of workflow documents, so that editors complete and check them while somebody types.

The reader (`model.parse_document`) decides; the schema says the same of shapes, and for known node types it adds what
may be typed. It forbids no unknown key: documents of ComfyTavern carry more than is read here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from innkeeper.nodes.definition import DATA_FLOW_TYPES, Input, NodeDefinition
from innkeeper.workflows.document.budget import MAX_MONEY, MAX_TOKENS
from innkeeper.workflows.document.callback import EVENTS
from innkeeper.workflows.document.slot_values import suggested

JsonObject = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
TEXT: JsonObject = {"type": ["string", "null"]}
FLAG: JsonObject = {"type": ["boolean", "null"]}
NUMBER: JsonObject = {"type": ["number", "null"]}
OBJECT: JsonObject = {"type": ["object", "null"]}
MAX_SUGGESTIONS = 50


def document_schema(definitions: Iterable[NodeDefinition] = ()) -> JsonObject:
    """The schema of a stored workflow or an execution payload; node types beyond `definitions` stay allowed."""
    known = sorted(definitions, key=lambda node: node.full_type)
    return {
        "$schema": DIALECT,
        "title": "Innkeeper workflow",
        "description": "A graph of nodes: what POST /api/prompt takes and 'innkeeper run FILE' reads.",
        "type": "object",
        "required": ["nodes"],
        "properties": {
            "$schema": {"type": "string", "description": "Where this schema is, for editors."},
            "id": {**TEXT, "description": "The name under which other workflows refer to it."},
            "workflowId": {**TEXT, "description": "The same as 'id'."},
            "name": {**TEXT, "description": "Shown to people."},
            "description": {"description": "Shown to people."},
            "nodes": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            "edges": {"type": ["array", "null"], "items": {"$ref": "#/$defs/edge"}},
            "interfaceInputs": _map_of("#/$defs/slot", "What a run is started with, by name."),
            "interfaceOutputs": _map_of("#/$defs/slot", "What a run gives, by name."),
            "outputInterfaceMappings": _map_of(
                "#/$defs/mapping", "Which node gives which output; else the edges into core:GroupOutput say so."
            ),
            "inputs": {"description": "Values for this run, by the names of 'interfaceInputs'."},
            "metadata": {**OBJECT, "properties": {"workflowName": {"description": "The same as 'name'."}}},
            "callback": _callback(),
            "budget": _budget(),
        },
        "$defs": {"node": _node(known), "edge": _edge(), "slot": _slot(), "mapping": _mapping()},
    }


def _map_of(ref: str, description: str) -> JsonObject:
    return {"type": ["object", "null"], "additionalProperties": {"$ref": ref}, "description": description}


def _callback() -> JsonObject:
    return {
        **OBJECT,
        "description": "Whom each run of it tells how it goes, by a signed POST.",
        "required": ["url"],
        "properties": {
            "url": {"type": "string", "description": "http or https, without a user name."},
            "secret": {
                "type": ["string", "object", "null"],
                "description": "Signs by Standard Webhooks: 'whsec_' and base64 of 24 to 64 bytes. Stored encrypted.",
            },
            "on": {
                "type": ["array", "null"],
                "items": {"enum": list(EVENTS)},
                "minItems": 1,
                "uniqueItems": True,
                "description": "What it is told of; without it of each end.",
            },
        },
    }


def _budget() -> JsonObject:
    return {
        **OBJECT,
        "description": "The most that each run of it may spend on models; a submission may say another one.",
        "properties": {
            "tokens": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": MAX_TOKENS,
                "multipleOf": 1,
                "description": "Input and output of all requests together.",
            },
            "money": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": MAX_MONEY,
                "description": "In the currency of the accounts, USD unless 'prices.yaml' says another.",
            },
        },
    }


def _node(definitions: list[NodeDefinition]) -> JsonObject:
    types: JsonObject = {"type": "string", "description": "'namespace:Name'; 'innkeeper nodes' lists them."}
    if definitions:
        types["anyOf"] = [{"enum": [node.full_type for node in definitions]}, {"type": "string"}]
    return {
        "type": "object",
        "required": ["id"],
        "anyOf": [{"required": ["fullType"]}, {"required": ["type"]}],
        "properties": {
            "id": {"type": "string", "description": "Names the node in edges, events and results."},
            "type": types,
            "fullType": types,
            "inputs": {**OBJECT, "description": "The same as 'inputValues', and read instead of it."},
            "inputValues": {**OBJECT, "description": "Values of input slots that no edge feeds."},
            "configValues": {**OBJECT, "description": "Settings of the node."},
            "inputConnectionOrders": {
                "type": ["object", "null"],
                "additionalProperties": {"type": ["array", "null"], "items": {"type": "string"}},
                "description": "Of slots that take several edges: ids of edges in the order of the list.",
            },
            "displayName": {**TEXT, "description": "Shown to people."},
            "bypassed": {**FLAG, "description": "Not run; gives on what comes in, where its type says how."},
            "retry": {
                **OBJECT,
                "properties": {
                    "maximumAttempts": {"description": "How often it is tried in all."},
                    "initialSeconds": {"description": "Pause before the second attempt."},
                    "backoff": {"description": "Factor from pause to pause."},
                    "maximumSeconds": {"description": "Longest pause."},
                    "nonRetryable": {"description": "Codes of errors that are not tried again."},
                },
            },
            "timeoutSeconds": {**NUMBER, "description": "Time for one attempt; of a model's stream, of its silence."},
            "totalTimeoutSeconds": {**NUMBER, "description": "Time for all attempts together."},
            "queue": {**TEXT, "description": "Which workers may run it."},
            "continueOnError": {
                **FLAG,
                "description": "When it fails, the run goes on, and what hangs on it runs without its values.",
            },
            "cache": {**FLAG, "description": "May an earlier result with the same inputs be taken?"},
            "position": {"description": "Where editors draw it."},
        },
        "allOf": [rule for node in definitions if (rule := _rule(node))],
    }


def _rule(node: NodeDefinition) -> JsonObject:
    """What a node of this type may have typed in; empty when there is nothing."""
    inputs = {key: slot for key, slot in node.inputs.items() if not slot.hide_handle or slot.config}
    typed = {"properties": {key: _literal(slot) for key, slot in inputs.items()}}
    config = {"properties": {key: _literal(slot) for key, slot in node.config_schema.items()}}
    then = {
        **({"inputValues": typed, "inputs": typed} if inputs else {}),
        **({"configValues": config} if node.config_schema else {}),
    }
    if not then:
        return {}
    is_it = {"enum": [node.full_type]}
    return {
        "if": {"anyOf": [{"properties": {key: is_it}, "required": [key]} for key in ("fullType", "type")]},
        "then": {"properties": then},
    }


def _literal(slot: Input) -> JsonObject:
    """What editors show of a slot. No type: nodes take more than the type says, a number as text for one."""
    words = [slot.data_flow_type.lower(), "a stream" if slot.is_stream else "", "a list of edges" if slot.multi else ""]
    bounds = [f"{name} {slot.config[name]}" for name in ("min", "max") if slot.config.get(name) is not None]
    told = ", ".join(filter(None, [*words, *bounds]))
    shown: JsonObject = {"description": f"{slot.description or slot.display_name or ''} ({told})".strip()}
    if "default" in slot.config and not slot.secret:
        shown["default"] = slot.config["default"]
    if options := suggested(slot)[:MAX_SUGGESTIONS]:
        shown["examples"] = options
    return shown


def _edge() -> JsonObject:
    end = {"type": "string"}
    return {
        "type": "object",
        "allOf": [
            {"anyOf": [{"required": ["sourceNodeId"]}, {"required": ["source"]}]},
            {"anyOf": [{"required": ["targetNodeId"]}, {"required": ["target"]}]},
        ],
        "properties": {
            "id": {**TEXT, "description": "Named by 'inputConnectionOrders'."},
            "source": {**end, "description": "Id of the node that gives."},
            "sourceNodeId": {**end, "description": "The same as 'source', and read instead of it."},
            "sourceHandle": {**TEXT, "description": "Its output slot."},
            "target": {**end, "description": "Id of the node that takes."},
            "targetNodeId": {**end, "description": "The same as 'target', and read instead of it."},
            "targetHandle": {**TEXT, "description": "Its input slot; 'slot__0', 'slot__1' of one that takes several."},
        },
    }


def _slot() -> JsonObject:
    return {
        "type": "object",
        "required": ["dataFlowType"],
        "properties": {
            "key": {"description": "The name under which it stands in the map."},
            "dataFlowType": {"type": "string", "anyOf": [{"enum": list(DATA_FLOW_TYPES)}, {"type": "string"}]},
            "displayName": {**TEXT, "description": "Shown to people."},
            "required": {**FLAG, "description": "A run without a value for it is refused."},
            "multi": FLAG,
            "isStream": {**FLAG, "description": "Its chunks arrive while it runs."},
            "matchCategories": {"type": ["array", "null"], "items": {"type": "string"}},
            "config": {**OBJECT, "properties": {"default": {"description": "Its value when a run names none."}}},
            "min": NUMBER,
            "max": NUMBER,
        },
    }


def _mapping() -> JsonObject:
    return {
        "type": "object",
        "required": ["sourceNodeId", "sourceSlotKey"],
        "properties": {"sourceNodeId": {"type": "string"}, "sourceSlotKey": {"type": "string"}},
    }
