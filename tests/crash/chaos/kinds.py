"""The kinds of run that chaos is tried on: their documents, and what must come of them whatever happens."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.crash.slow_model import TEXT, WORDS, SlowModel
from tests.e2e.test_groups import GATE, SINK, Library, group
from tests.e2e.test_repeat import ANY, repeated
from tests.e2e.test_streams import graph, node

Json = dict[str, Any]
STRING, NUMBER = {"dataFlowType": "STRING"}, {"dataFlowType": "INTEGER"}
STREAM = {**STRING, "isStream": True}
RETRY = {"maximumAttempts": 100, "initialSeconds": 0.1, "maximumSeconds": 1.0}
"""Enough that no node is given up, however often its worker dies."""
SUFFIXES = {"first": ".", "second": "!", "beside": "?"}
NEW = "new"
"""What every approval is answered with, and NEWS what every event says."""
NEWS = "news"


@dataclass(frozen=True)
class Plan:
    """One run and what it must come to.

    Attributes:
        document: What is submitted. `baseRun` is added by whoever submits it.
        outputs: Of the run, whole.
        streams: The text of each node's stream, by path.
        ends: Status of nodes at the end, by path; of no others is anything said.
        stream_outputs: The text of each stream output.
        cancel_after_s: It is interrupted so long after its first chunk.
        pauses: It is paused and resumed while it runs.
        cached: Nodes that must come from the result cache.
        warned: Nodes that must have exactly one warning.
        executed: When given, the only nodes that may be executed.
        then: A second run after this one has ended: with what this one finished, or beside it.
        takes_over: This run has the one before as its base.
    """

    kind: str
    document: Json
    status: str = "complete"
    outputs: Json = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    stream_outputs: dict[str, str] = field(default_factory=dict)
    cancel_after_s: float | None = None
    pauses: bool = False
    cached: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    executed: tuple[str, ...] | None = None
    then: Plan | None = None
    takes_over: bool = False


@dataclass(frozen=True)
class Maker:
    """What documents are made of: `trace` is the file in which executions are written down."""

    chance: random.Random
    trace: Path
    model: SlowModel
    seconds: float

    def traced(self, id: str, type: str = "Step", **inputs: Any) -> Json:
        """A node that writes down each of its executions."""
        return node(id, f"chaos-nodes:{type}", file=str(self.trace), **inputs)

    def words(self, id: str, prefix: str) -> tuple[Json, list[str]]:
        """A node that streams for about as long as this maker's runs take, and its words."""
        count = self.chance.randint(40, 120)
        pause = self.chance.uniform(0.3, 1.0) * self.seconds / count
        words = [f"{prefix}{index} " for index in range(count)]
        return self.traced(id, "Words", count=count, pause=pause, prefix=prefix), words


def store_workflows(library: Library, trace: Path) -> None:
    """The workflows that groups and repetitions refer to."""
    step = node("w", "chaos-nodes:Step", file=str(trace), seconds=0.3)
    library.store(
        "work", graph([GATE, step, SINK], "in.item > w.text", "w.text > go.text"), {"item": ANY}, {"text": ANY}
    )
    slow = node("w", "chaos-nodes:Step", file=str(trace), seconds=60.0)
    library.store(
        "slow", graph([GATE, slow, SINK], "in.item > w.text", "w.text > go.text"), {"item": ANY}, {"text": ANY}
    )
    again = node("r", "chaos-nodes:Round", file=str(trace))
    keys = {"n": NUMBER, "most": NUMBER, "text": STRING}
    wires = [f"in.{key} > r.{key}" for key in keys] + [f"r.{key} > go.{key}" for key in (*keys, "more")]
    library.store("round", graph([GATE, again, SINK], *wires), keys, {**keys, "more": {"dataFlowType": "BOOLEAN"}})
    relay = _retried(node("r", "core:StreamSuffixRelay", suffix="<"))
    library.store(
        "relay",
        graph([GATE, relay, SINK], "in.s > r.inputStream", "r.outputStream > go.s"),
        {"s": STREAM},
        {"s": STREAM},
    )
    outer = graph([GATE, group("g", "relay"), SINK], "in.s > g.s", "g.s > go.s")
    library.store("relay2", outer, {"s": STREAM}, {"s": STREAM})
    ask = {**node("ask", "core:Approval"), "configValues": {"form": [{"key": "text", "dataFlowType": "STRING"}]}}
    asks = graph([GATE, ask, SINK], "in.data > ask.data", "ask.approved > go.line")
    library.store("asks", asks, {"data": ANY}, {"line": ANY})


def stream_run(maker: Maker, number: int) -> Plan:
    """say -> first -> second -> all (and the stream output `live`), say -> beside: of words, or of a model."""
    if number % 2:
        api = {"base_url": maker.model.url, "api_key": ""}
        say = _retried(node("say", "core:OpenAI", api_settings=api, prompt="Tell", stream=True))
        words, slot = [WORDS[0], *(f" {word}" for word in WORDS[1:])], "stream_output"
        assert "".join(words) == TEXT
    else:
        say, words = maker.words("say", f"r{number}w")
        slot = "stream"
    relays = [_retried(node(name, "core:StreamSuffixRelay", suffix=suffix)) for name, suffix in SUFFIXES.items()]
    document = graph(
        [say, *relays, _retried(node("all", "core:StreamAggregator"))],
        *(f"say.{slot} > first.inputStream", f"say.{slot} > beside.inputStream"),
        *("first.outputStream > second.inputStream", "second.outputStream > all.input_stream"),
        interfaceOutputs={"live": {"key": "live", "displayName": "Live", **STREAM}, "text": {"key": "text", **STRING}},
        outputInterfaceMappings={
            "live": {"sourceNodeId": "second", "sourceSlotKey": "outputStream"},
            "text": {"sourceNodeId": "all", "sourceSlotKey": "aggregated_text"},
        },
    )
    texts = {
        "say": "".join(words),
        "first": "".join(f"{word}." for word in words),
        "second": "".join(f"{word}.!" for word in words),
        "beside": "".join(f"{word}?" for word in words),
    }
    outputs, live = {"text": texts["second"]}, {"live": texts["second"]}
    ends = dict.fromkeys((*texts, "all"), "complete")
    return Plan("stream", document, outputs=outputs, streams=texts, ends=ends, stream_outputs=live)


def steps_run(maker: Maker, number: int) -> Plan:
    """Activities and inline nodes by turns, through several Temporal histories; some of these runs are paused."""
    pairs = 12
    nodes, wires = [], []
    for i in range(pairs):
        nodes += [maker.traced(f"a{i}"), node(f"i{i}", "core:TextMerge", separator="")]
        wires += [f"a{i}.text > i{i}.text_inputs__0"] + ([f"i{i - 1}.merged_text > a{i}.text"] if i else [])
    text = "".join(f"[a{i}]" for i in range(pairs))
    ends = dict.fromkeys((item["id"] for item in nodes), "complete")
    return Plan("steps", _with_output(nodes, wires, f"i{pairs - 1}.merged_text"), outputs={"all": text}, ends=ends,
                pauses=number % 2 == 0)  # fmt: skip


def warning_run(maker: Maker, number: int) -> Plan:
    """A node that warns, between two that do not."""
    nodes = [maker.traced("a"), maker.traced("b", warn=True, seconds=1.0), maker.traced("c")]
    document = _with_output(nodes, ["a.text > b.text", "b.text > c.text"], "c.text")
    return Plan(
        "warnings", document, outputs={"all": "[a][b][c]"}, ends=dict.fromkeys("abc", "complete"), warned=("b",)
    )


def each_run(maker: Maker, number: int) -> Plan:
    """core:ForEach, four items at once."""
    count = maker.chance.randint(10, 24)
    items = [f"n{number}i{index}" for index in range(count)]
    each = repeated("ForEach", "each", "work", {"items": items}, concurrency=4, resultKey="text")
    ends = {"each": "complete", **{f"each/{index}/w": "complete" for index in range(count)}}
    outputs = {"all": [f"{item}[each/{index}/w]" for index, item in enumerate(items)]}
    return Plan("each", _with_output([each], [], "each.results"), outputs=outputs, ends=ends)


def loop_run(maker: Maker, number: int) -> Plan:
    """core:Loop, one round after the other."""
    rounds = maker.chance.randint(5, 12)
    state = {"n": 0, "most": rounds, "text": ""}
    loop = repeated("Loop", "loop", "round", {"state": state}, conditionKey="more")
    text = "".join(f"{index + 1}," for index in range(rounds))
    result = {"n": rounds, "most": rounds, "text": text, "more": False}
    ends = {"loop": "complete", **{f"loop/{index}/r": "complete" for index in range(rounds)}}
    return Plan("loop", _with_output([loop], [], "loop.state"), outputs={"all": result}, ends=ends)


def group_run(maker: Maker, number: int) -> Plan:
    """A stream through the borders of nested groups, in and out again, live."""
    say, words = maker.words("say", f"g{number}w")
    nodes = [say, group("g", "relay2"), group("h", "relay"), _retried(node("all", "core:StreamAggregator"))]
    wires = ["say.stream > g.s", "g.s > h.s", "h.s > all.input_stream"]
    inner, outer = "".join(f"{word}<" for word in words), "".join(f"{word}<<" for word in words)
    streams = {"say": "".join(words), "g/g/r": inner, "h/r": outer}
    document = _with_output(nodes, wires, "all.aggregated_text")
    return Plan("group", document, outputs={"all": outer}, streams=streams,
                ends=dict.fromkeys((*streams, "g", "g/g", "h", "all"), "complete"))  # fmt: skip


def waiting_run(maker: Maker, number: int) -> Plan:
    """A delay, a wait for an event, approvals at the top and in a group; a step behind each."""
    form = [{"key": "data", "dataFlowType": "STRING"}]
    nodes = [
        node("short", "core:Delay", seconds=maker.chance.uniform(1, 8), value="short"),
        {**node("ask", "core:Approval", data="old"), "configValues": {"form": form}},
        {**node("event", "core:WaitForEvent"), "configValues": {"name": f"news-{number}"}},
        group("g", "asks", data={"text": "old"}),
        *(maker.traced(name) for name in ("after-short", "after-ask", "after-event", "no")),
        node("all", "core:TextMerge", separator="|"),
    ]
    wires = [
        *("short.value > after-short.text", "ask.approved > after-ask.text", "event.data > after-event.text"),
        "ask.rejected > no.text",
        *(f"after-{name}.text > all.text_inputs__{place}" for place, name in enumerate(("short", "ask", "event"))),
    ]
    texts = [f"{text}[after-{name}]" for name, text in (("short", "short"), ("ask", NEW), ("event", NEWS))]
    document = _with_output(nodes, wires, "all.merged_text")
    ends = dict.fromkeys(("short", "ask", "event", "g", "g/ask", "after-short", "after-ask", "all"), "complete")
    return Plan("waits", document, outputs={"all": "|".join(texts)}, ends={**ends, "no": "skipped"})


def rerun_run(maker: Maker, number: int) -> Plan:
    """A run that fails in the middle, and one that takes over what that one finished."""

    def document(*, fails: bool) -> Json:
        nodes = [*(maker.traced(name) for name in "ab"), maker.traced("c", fail=fails), maker.traced("d")]
        nodes += [maker.traced("say", "Words", count=30, prefix="w"), _retried(node("r", "core:StreamSuffixRelay"))]
        wires = [f"{a}.text > {b}.text" for a, b in ("ab", "bc", "cd")]
        return _with_output(nodes, [*wires, "say.stream > r.inputStream"], "d.text")

    done = dict.fromkeys(("a", "b", "say", "r"), "complete")
    again = Plan("rerun", document(fails=False), outputs={"all": "[a][b][c][d]"}, executed=("c", "d"), takes_over=True,
                 ends={**done, "c": "complete", "d": "complete"})  # fmt: skip
    return Plan("failing", document(fails=True), "error", ends={**done, "c": "error", "d": "skipped"}, then=again)


def cached_run(maker: Maker, number: int) -> Plan:
    """Deterministic nodes, asked the same twice: the second run executes none of them."""
    nodes = [maker.traced("a", "SureStep", text=f"n{number}"), maker.traced("b", "SureStep"), maker.traced("c")]
    document = _with_output(nodes, ["a.text > b.text", "b.text > c.text"], "c.text")
    first = Plan("cache", document, outputs={"all": f"n{number}[a][b][c]"}, ends=dict.fromkeys("abc", "complete"))
    return replace(first, then=replace(first, kind="cached", cached=("a", "b"), executed=("c",)))


def interrupted_run(maker: Maker, number: int) -> Plan:
    """Everything that can be under way at once, until it is interrupted."""
    say = maker.traced("say", "Words", count=2000, pause=0.2)
    nodes = [
        *(say, group("g", "relay2"), maker.traced("long", seconds=300.0), maker.traced("behind")),
        node("wait", "core:Delay", seconds=3000),
        {**node("event", "core:WaitForEvent"), "configValues": {"name": "never"}},
        repeated("ForEach", "each", "slow", {"items": list("abcdef")}, concurrency=3),
    ]
    after = maker.chance.uniform(0.0, 10.0)
    wires = ("say.stream > g.s", "long.text > behind.text")
    ends = dict.fromkeys(("say", "g", "long", "wait", "event", "each"), "interrupted")
    return Plan("interrupted", graph(nodes, *wires), "interrupted", ends=ends, cancel_after_s=after)


KINDS: tuple[Callable[[Maker, int], Plan], ...] = (
    *(stream_run, each_run, waiting_run, group_run, loop_run, rerun_run, interrupted_run, stream_run),
    *(steps_run, cached_run, waiting_run, warning_run),
)
"""In this order, again and again."""


def _retried(item: Json) -> Json:
    return {**item, "retry": RETRY}


def _with_output(nodes: list[Json], wires: list[str], source: str) -> Json:
    """A graph whose output `all` is a node's slot."""
    place, slot = source.split(".")
    mapped = {"all": {"sourceNodeId": place, "sourceSlotKey": slot}}
    return graph(nodes, *wires, outputInterfaceMappings=mapped)
