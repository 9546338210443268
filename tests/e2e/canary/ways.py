"""Where a key gets in, and where it could come out: the table, and the graphs made of it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.e2e.canary.search import CORE
from tests.e2e.test_streams import Json, graph, node

FAILING = ("error", "foreign_error", "chain", "details", "code", "long_error", "error_chunk")
"""Of the ways out below: those that end the node."""
STREAMS = ("two_chunks", "single_letters", "custom_chunk", "tool_call", "finish_chunk", "error_chunk")
LOGS = ("log", "log_extra", "own_log", "traceback", "stdout", "stderr")
OUTPUTS = ("text", "object", "json_text", "in_url", "large", "bytes", "slot_name", "echo", "cached")
SAID = ("warning", "long_warning", "progress", "wait", "retry")
ALL = (*FAILING[:-1], *STREAMS, *LOGS, *OUTPUTS, *SAID)
FEW = ("error", "details", "two_chunks", "finish_chunk", "log", "own_log", "text", "large", "echo", "retry")

PLUGIN = {
    "typed": ALL,
    "setting": ALL,
    "interface": FEW,
    "wired": FEW,
    "environment": FEW,
    "group": FEW,
    "item": FEW,
    "item_object": ("answer", "stream"),
    "state": FEW,
    "stored": FEW,
    "saved": FEW,
    "rerun": FEW,
}
"""Where a key gets in, to the ways out of the nodes of a plugin that it is tried with."""
CORE_NODES = {
    "slot": ("answer", "stream", "template", "extract"),
    "object": ("answer", "stream", "chat", "refused", "refused_stream"),
    "environment": ("answer",),
    "channel": ("answer", "stream", "data"),
    "own_channel": ("answer", "stream"),
    "header": ("body", "status", "redirect"),
    "interface": ("answer",),
    "wired": ("answer",),
    "group": ("answer",),
    "each": ("answer",),
    "approval": ("answer",),
    "bypassed": ("output",),
}
"""The same for the built-in nodes."""
UNUSED = ("misspelt_input", "unknown_setting", "misspelt_key")
"""Keys under names that nobody reads: they are left out, with a warning."""
REFUSED = {
    "approval_form": "secret_from_outside",
    "approval_answer": "secret_from_outside",
    "event": "secret_from_outside",
    "wrong_side": "misplaced_secret",
    "reference": "invalid_secret_reference",
    "text_reference": "invalid_secret_reference",
    "foreign_reference": "unknown_secret",
    "foreign_text_reference": "unknown_secret",
    "other_host": "secret_refused",
    "laundered": "secret_refused",
}
"""Ways in that are refused, with the code that says so."""
CALLBACK = ("secret", "query", "stored_secret")
"""What is secret about those whom a run tells how it goes."""
READABLE = ("user_in_url", "user_in_base_url", "query_parameter", "plain_header")
"""Where a key stays readable, which a warning says. It must not get into logs, all the same."""
OPEN_KEY = "opencanary-51d0a7"
"""The key that is typed there."""


@dataclass(frozen=True)
class Way:
    entry: str
    out: str

    @property
    def node(self) -> str:
        return f"{self.entry}-{self.out}"


def all_ways() -> list[Way]:
    tables = (
        *(PLUGIN, CORE_NODES, dict.fromkeys(("unused",), UNUSED), {"refused": tuple(REFUSED)}),
        {"callback": CALLBACK},
    )
    ways = [Way(entry, out) for table in tables for entry, outs in table.items() for out in outs]
    return ways + [Way("readable", out) for out in READABLE]


ENTRIES = tuple(dict.fromkeys((*PLUGIN, *CORE_NODES, "unused", "refused", "callback")))


def key_of(entry: str) -> str:
    """Each entry has a key of its own: what one node was shown must not help to hide another's."""
    return f"{CORE}{ENTRIES.index(entry):02}!"


CHANNEL_KEY = key_of("own_channel").replace(" ", "_")
"""Of a channel that a user makes, which takes no key with blanks. Its beginning and its end are found all the same."""


def signing_secret() -> str:
    """A secret that signs, and whose key is one of ours."""
    return f"whsec_{base64.b64encode(key_of('callback').encode()).decode()}"


def callback_to(url: str, *, key_in_query: bool) -> Json:
    query = f"?key={quote(key_of('callback'), safe='')}" if key_in_query else ""
    return {"url": f"{url}/hook{query}", "secret": signing_secret()}


def host_of(url: str) -> str:
    return url.split("/")[2]


def in_parts(key: str) -> list[str]:
    """A key that only a node puts together. What is typed into a slot that takes no secret stays readable."""
    return [key[:4], key[4:-6], key[-6:]]


def leaks(entry: str, outs: Iterable[str], url: str, *, is_setting: bool = False, **inputs: Any) -> list[Json]:
    """Nodes of the plugin, one for each way out. What fails does not end the run."""
    made = []
    for out in outs:
        type = "Flow" if out in STREAMS else "Leak"
        item = node(f"{entry}-{out}", f"canary:{type}", how=out, host=host_of(url), url=url, **inputs)
        retry = {"maximumAttempts": 2 if out == "retry" else 1, "initialSeconds": 0.05}
        item |= {"retry": retry, "continueOnError": True}
        item |= {"configValues": {"token": key_of(entry)}} if is_setting else {}
        made.append(item | ({"cache": True} if out == "cached" else {}))
    return made


def ask(id: str, settings: Any = None, kind: str = "OpenAI", **inputs: Any) -> Json:
    said = {"user_input": "x", "system_prompt": ""} if kind == "OpenAIChat" else {"prompt": "x"}
    return node(id, f"core:{kind}", **said, **({"api_settings": settings} if settings else {}), **inputs)


def settings_of(entry: str, url: str) -> Json:
    return {"base_url": url, "api_key": key_of(entry)}


def repeating(id: str, type: str, workflow: str, config: Json | None = None, /, **inputs: Any) -> Json:
    return {**node(id, f"core:{type}", **inputs), "configValues": {"referencedWorkflowId": workflow, **(config or {})}}


def plugin_graph(url: str) -> Json:
    """The nodes of the plugin, with keys that get in by every entry but `stored`, `saved` and `rerun`."""
    parts = in_parts(key_of("wired"))
    nodes = [
        *leaks("typed", PLUGIN["typed"], url, key=key_of("typed")),
        *leaks("setting", PLUGIN["setting"], url, is_setting=True),
        *leaks("environment", PLUGIN["environment"], url),
        node("in", "core:GroupInput"),
        *leaks("interface", PLUGIN["interface"], url),
        node("joined", "core:TextMerge", text_inputs=parts, separator=""),
        *leaks("wired", PLUGIN["wired"], url),
        repeating("group", "NodeGroup", "leaks-group", key=key_of("group")),
        repeating("item", "ForEach", "leaks-item", {"itemKey": "key"}, items=[key_of("item")]),
        repeating("item_object", "ForEach", "asks", {"itemKey": "to"}, items=[settings_of("item_object", url)]),
        repeating("state", "Loop", "leaks-state", {"conditionKey": "again"}, state={"key": key_of("state")}),
    ]
    edges = [f"in.key > {item['id']}.key" for item in nodes if item["id"].startswith("interface-")]
    edges += [f"joined.merged_text > {item['id']}.key" for item in nodes if item["id"].startswith("wired-")]
    return graph(nodes, *edges, interfaceInputs=interface())


def interface() -> Json:
    return {"key": {"key": "key", "dataFlowType": "STRING", "config": {"default": ""}}}


def stored_workflows(url: str) -> dict[str, tuple[Json, Json, Json]]:
    """Id to document, interface inputs and outputs of the workflows that are repeated, or run by their id."""
    text = {"dataFlowType": "STRING"}
    gate, sink = node("in", "core:GroupInput"), node("go", "core:GroupOutput")
    found: dict[str, tuple[Json, Json, Json]] = {}
    for entry in ("group", "item", "state"):
        nodes = leaks(entry, PLUGIN[entry], url)
        edges = [f"in.key > {item['id']}.key" for item in nodes]
        # The condition of the loop: an empty text is false.
        nodes += [node("end", "core:TextMerge", text_inputs=[""])]
        document = graph([gate, *nodes, sink], *edges, f"{entry}-text.told > go.told", "end.merged_text > go.again")
        found[f"leaks-{entry}"] = (document, {"key": text}, {"told": {"dataFlowType": "WILDCARD"}, "again": text})
    asks = graph(
        [gate, ask("item_object-answer"), ask("item_object-stream", stream=True), sink],
        "in.to > item_object-answer.api_settings", "in.to > item_object-stream.api_settings",
        "item_object-answer.response > go.told",
    )  # fmt: skip
    found["asks"] = (asks, {"to": {"dataFlowType": "OBJECT"}}, {"told": text})
    found["stored"] = (graph(leaks("stored", PLUGIN["stored"], url, key=key_of("stored"))), {}, {})
    found["saved"] = (graph(leaks("saved", PLUGIN["saved"], url, key=key_of("saved"))), {}, {})
    inner = graph(
        [gate, node("set", "core:APISettings"), ask("ask"), sink],
        "in.key > set.api_key", "in.url > set.base_url", "set.api_settings > ask.api_settings",
        "ask.response > go.text",
    )  # fmt: skip
    found["inner"] = (inner, {"key": text, "url": text, "item": text}, {"text": text})
    return found


def core_graph(url: str) -> Json:
    """The built-in nodes that spend keys, or are handed what holds one; servers repeat the key."""
    generic = {"messages": [{"role": "user", "content": "x"}], "activated_model_id": "m"}
    header, once = f"Bearer {key_of('header')}", {"retry": {"maximumAttempts": 1}}
    parts = in_parts(key_of("wired"))
    nodes = [
        node("slot", "core:APISettings", **settings_of("slot", url)),
        ask("slot-answer"),
        ask("slot-stream", stream=True),
        node("slot-template", "core:Template", template="{{ api_key }} of {{ base_url }}"),
        {**node("slot-extract", "core:JsonExtract", expression="@"), "cache": True},
        ask("object-answer", settings_of("object", url)),
        ask("object-stream", settings_of("object", url), stream=True),
        ask("object-chat", settings_of("object", url), kind="OpenAIChat"),
        {**ask("object-refused", settings_of("object", f"{url}/broken")), **once},
        {**ask("object-refused_stream", settings_of("object", f"{url}/broken"), stream=True), **once},
        node("env", "core:APISettings", base_url=url, use_env_vars=True),
        ask("environment-answer"),
        node("channel-answer", "core:GenericLlmRequest", **generic),
        node("channel-stream", "core:GenericLlmRequest", stream=True, **generic),
        node("own_channel-answer", "core:GenericLlmRequest", **generic | {"activated_model_id": "own"}),
        node("own_channel-stream", "core:GenericLlmRequest", stream=True, **generic | {"activated_model_id": "own"}),
        # The answer is no JSON: it is kept in the error.
        node("channel-data", "core:GenericLlmRequest", responseSchema={"type": "object"}, **generic),
        node("header-body", "core:HttpRequest", url=f"{url}/web", authorization=header),
        node("header-redirect", "core:HttpRequest", url=f"{url}/redirect", authorization=header),
        {
            **node("header-status", "core:HttpRequest", url=f"{url}/broken", authorization=header),
            "configValues": {"failOnError": True},
            **once,
        },
        node("in", "core:GroupInput"),
        node("interface", "core:APISettings", base_url=url),
        ask("interface-answer"),
        node("joined", "core:TextMerge", text_inputs=parts, separator=""),
        node("wired", "core:APISettings", base_url=url),
        ask("wired-answer"),
        repeating("group-answer", "NodeGroup", "inner", key=key_of("group"), url=url),
        repeating("each-answer", "ForEach", "inner", items=["a", "b"], key=key_of("each"), url=url),
        {**node("bypassed-output", "core:APISettings", **settings_of("bypassed", url)), "bypassed": True},
        node("approval", "core:Approval", data=settings_of("approval", url)),
        ask("approval-answer"),
        # Nobody takes these.
        node("unused-misspelt_input", "core:APISettings", base_url=url, apiKey=key_of("unused")),
        {
            **node("unused-unknown_setting", "core:TextMerge", text_inputs=["x"]),
            "configValues": {"token": key_of("unused")},
        },
        ask("unused-misspelt_key", {"base_url": url, "apiKey": key_of("unused")}),
    ]
    edges = (
        "slot.api_settings > slot-answer.api_settings",
        "slot.api_settings > slot-stream.api_settings",
        "slot.api_settings > slot-template.values",
        "slot.api_settings > slot-extract.data",
        "env.api_settings > environment-answer.api_settings",
        "in.key > interface.api_key",
        "interface.api_settings > interface-answer.api_settings",
        "joined.merged_text > wired.api_key",
        "wired.api_settings > wired-answer.api_settings",
        "approval.approved > approval-answer.api_settings",
    )
    outputs = {
        name: {"sourceNodeId": source, "sourceSlotKey": slot}
        for name, (source, slot) in {
            "text": ("slot-answer", "response"), "stream": ("slot-stream", "stream_output"),
            "raw": ("channel-answer", "response"), "web": ("header-body", "json"),
            "history": ("object-chat", "history"),
        }.items()
    }  # fmt: skip
    declared = {name: {"key": name, "dataFlowType": "WILDCARD"} for name in outputs}
    return graph(nodes, *edges, interfaceInputs=interface(), interfaceOutputs=declared, outputInterfaceMappings=outputs)


def rerun_graph(url: str) -> Json:
    nodes = [node("in", "core:GroupInput"), *leaks("rerun", PLUGIN["rerun"], url)]
    return graph(nodes, *(f"in.key > {item['id']}.key" for item in nodes[1:]), interfaceInputs=interface())


def refused_graphs(url: str, evil: str, stored: Json) -> dict[str, Json]:
    """What must not run at all. `stored`: the reference of a key that is for another host."""
    key = key_of("refused")
    fields = [{"key": "api_key", "dataFlowType": "STRING"}]
    late = node("late", "core:Approval", data={"base_url": url})
    asking = graph([{**late, "configValues": {"form": fields}}, ask("n")], "late.approved > n.api_settings")
    answer = graph([late, ask("n")], "late.answer > n.api_settings")
    event = {**node("late", "core:WaitForEvent"), "configValues": {"name": "key"}}
    wrong = {**node("n", "core:APISettings", base_url=url), "configValues": {"api_key": key}}
    return {
        "approval_form": asking,
        "approval_answer": answer,
        "event": graph([event, ask("n")], "late.data > n.api_settings"),
        "wrong_side": graph([wrong]),
        "reference": graph([ask("n", {"base_url": url, "api_key": {"$secret": key}})]),
        "text_reference": graph([ask("n", {"base_url": url, "api_key": f"$secret:{key}"})]),
        "foreign_text_reference": graph([ask("n", {"base_url": url, "api_key": f"$secret:{'0' * 64}"})]),
        "foreign_reference": graph([ask("n", {"base_url": url, "api_key": {"$secret": "0" * 64}})]),
        "other_host": graph([ask("n", {"base_url": evil, "api_key": stored})]),
    }


def laundering(url: str, evil: str) -> Json:
    """A graph that takes the key's reference apart and puts it beside an address of its own."""
    template = '{"base_url": "' + evil + '", "api_key": {{ api_key | tojson }}}'
    nodes = [
        node("slot", "core:APISettings", **settings_of("refused", url)),
        node("apart", "core:Template", template=template),
        node("together", "core:JsonExtract", expression="@"),
        ask("thief"),
    ]
    edges = ("slot.api_settings > apart.values", "apart.text > together.data", "together.value > thief.api_settings")
    return graph(nodes, *edges)


def readable_graph(url: str) -> Json:
    """Keys where they stay readable: in addresses and plain headers. The server refuses all of them."""
    with_user = url.replace("://", f"://me:{OPEN_KEY}@")
    broken = {"configValues": {"failOnError": True}, "retry": {"maximumAttempts": 1}, "continueOnError": True}
    nodes = [
        {**node("user_in_url", "core:HttpRequest", url=f"{with_user}/broken"), **broken},
        {**ask("user_in_base_url", {"base_url": f"{with_user}/broken", "api_key": ""}), **broken},
        {**node("query_parameter", "core:HttpRequest", url=f"{url}/broken?api_key={OPEN_KEY}"), **broken},
        {**node("plain_header", "core:HttpRequest", url=f"{url}/broken", headers={"X-Api-Key": OPEN_KEY}), **broken},
    ]
    return graph(nodes)
