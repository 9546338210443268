"""What `innkeeper run` shows of a run: a live tree on a terminal, plain lines elsewhere, or JSON lines."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text
from rich.tree import Tree

from innkeeper.gateway.cli.run_tree import (
    Repetition,
    approve_command,
    bar,
    budget_words,
    error_lines,
    fold,
    next_steps,
    parent_of,
    repetition_of,
    retry_words,
    wait_words,
    warning_lines,
)
from innkeeper.gateway.client import LOG_RESTARTED
from innkeeper.gateway.client.run_view import INTERFACE_NODE, TERMINAL_TYPES, RunView, apply, from_iso

Event = Mapping[str, Any]
PENDING = "pending"
"""Shown of a node that has not begun; the run knows nothing of it."""
ICONS = {
    PENDING: ("○", "dim"),
    "waiting": ("◐", "yellow"),
    "paused": ("◐", "yellow"),
    "running": ("●", "cyan"),
    "interrupting": ("●", "magenta"),
    "complete": ("✓", "green"),
    "error": ("✗", "red"),
    "skipped": ("–", "yellow"),
    "interrupted": ("■", "magenta"),
}
PLAIN_ICONS = {
    PENDING: ".",
    "waiting": "?",
    "running": "*",
    "complete": "+",
    "error": "x",
    "skipped": "-",
    "interrupted": "!",
}
NOTABLE = frozenset({"running", "waiting", "error"})
QUESTIONS = frozenset({"APPROVAL_REQUIRED", "BUDGET_REACHED"})
REPEATED_FACTS = frozenset({"NODE_ERROR", "NODE_WAITING", *QUESTIONS})
TEXT_LINES = 8
LINE_CHARS = 100
KEPT_CHARS = 200_000
MAX_DATA_CHARS = 200
RULE_CHARS = 70
# A model's text must not move the cursor, set the title or ring the bell of the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Text without characters that command a terminal; tabs and line ends stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


class Watched:
    """A run as far as its events tell, with the text of its streams.

    Attributes:
        names: Node id to what it is called in the document, in the document's order.
        texts: Node path to the text streamed in its present epoch.
        repetitions: Paths of nodes that run a graph for many items or rounds.
        asked: Path of a node that waits for an approval to what it asks: `form` and `data`.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.view = RunView()
        self.texts: dict[str, str] = {}
        self.repetitions: set[str] = set()
        self.asked: dict[str, Mapping[str, Any]] = {}
        self.run = ""

    @property
    def status(self) -> str:
        """The run's status, as far as its events tell."""
        if self.view.status == "running" and self.view.activity.only_waits:
            return "waiting"
        return self.view.status or "submitted"

    def is_repeated(self, path: str) -> bool:
        """Does the node run in one item or round of many?"""
        return self._repetition(path) is not None

    def _repetition(self, path: str) -> tuple[str, str] | None:
        return repetition_of(path, self.view.nodes) if "/" in path else None

    def next_steps(self) -> Iterator[str]:
        """What somebody must do before the run goes on."""
        if not self.view.is_final:
            yield from map(clean, next_steps(self.run, self.status, self.view.nodes))

    def apply(self, event: Event) -> None:
        kind, payload = event["type"], event["payload"]
        self.run = payload["promptId"]
        if kind == LOG_RESTARTED:
            self.view, self.texts = RunView(), {}
        elif kind == "NODE_STREAM_RESET":
            self.texts[payload["nodeId"]] = ""
        elif kind == "NODE_YIELD":
            path = payload["sourceNodeId"]
            self.texts[path] = (self.texts.get(path, "") + chunk_text(payload))[-KEPT_CHARS:]
        else:
            apply(self.view, event)
            if kind in QUESTIONS:
                self.asked[payload["nodeId"]] = payload
            elif kind in ("APPROVAL_ANSWERED", "NODE_EXECUTING") or kind in TERMINAL_TYPES:
                self.asked.pop(payload["nodeId"], None)
            if kind == "NODE_EXECUTING" and (found := self._repetition(payload["nodeId"])):
                self.repetitions.add(found[0])
            if kind in TERMINAL_TYPES and payload["nodeId"] in self.texts and self.is_repeated(payload["nodeId"]):
                del self.texts[payload["nodeId"]]  # of thousands of items nobody reads them all again

    def paths(self) -> list[str]:
        """Every node: those of the document in its order, then those that only events told of."""
        return [*self.names, *(path for path in self.view.nodes if path not in self.names)]

    def state(self, path: str) -> Mapping[str, Any]:
        return self.view.nodes.get(path, {})


def chunk_text(payload: Mapping[str, Any]) -> str:
    """The text that one NODE_YIELD adds; a hole in the stream shows as `[...]`."""
    if "gap" in payload:
        return "[...]"
    chunk = payload.get("yieldedContent")
    if not isinstance(chunk, Mapping) or chunk.get("type") != "text_chunk":
        return ""
    content = chunk.get("content")
    return clean(content) if isinstance(content, str) else ""


def node_names(document: Mapping[str, Any]) -> dict[str, str]:
    """Node id to a name for people: the display name, else the type."""
    nodes = document.get("nodes")
    names = {}
    for node in nodes if isinstance(nodes, list) else []:
        if isinstance(node, Mapping) and isinstance(node.get("id"), str):
            name = node.get("displayName") or node.get("fullType") or node.get("type") or ""
            names[node["id"]] = clean(str(name))
    return names


def approval_lines(item: Mapping[str, Any], *, whole: bool = False) -> list[str]:
    """What somebody is asked to approve: the data, and the fields that may be changed. `whole`: nothing is cut."""
    if item.get("kind") == "budget":
        return [clean(budget_words(item))]
    data = item.get("data")
    lines = [f"data: {_shown(data) if whole else _short(data)}"] if data is not None else []
    for slot in item.get("form") or ():
        if isinstance(slot, Mapping):
            words = [str(slot.get("dataFlowType", "")).lower(), "required" if slot.get("required") else ""]
            title = slot.get("displayName") or slot.get("key")
            lines.append(clean(f"--set {slot.get('key')}=...  {title} ({', '.join(filter(None, words))})"))
    return lines


def _shown(value: Any) -> str:
    is_plain = isinstance(value, list) or (isinstance(value, Mapping) and not {"text", "$blob"} & value.keys())
    text = json.dumps(value, ensure_ascii=False) if is_plain else output_text(value)
    return clean(text)


def _short(value: Any) -> str:
    text = _shown(value).replace("\n", " ")
    return text if len(text) <= MAX_DATA_CHARS else f"{text[:MAX_DATA_CHARS]}…"


class View(Protocol):
    """Shows a run while it runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, event: Event) -> None: ...

    def paused(self) -> AbstractContextManager[None]:
        """While a question stands on the terminal."""

    def finish(self, result: Mapping[str, Any]) -> None:
        """Show how it ended, without its outputs; `result` is the run's status as the gateway tells it."""


class _LineView:
    """What views have in common that only write lines: nothing to begin, to end, or to take back."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()


class JsonView(_LineView):
    """One JSON object per line: each event, then one of type RESULT."""

    def show(self, event: Event) -> None:
        self._write(event)

    def finish(self, result: Mapping[str, Any]) -> None:
        self._write({"type": "RESULT", "payload": result})

    def _write(self, item: Mapping[str, Any]) -> None:
        self._console.file.write(json.dumps(item, ensure_ascii=False) + "\n")
        self._console.file.flush()


class PlainView(_LineView):
    """Lines for log files: one per fact, streamed text line by line behind its node's name."""

    def __init__(self, console: Console, names: Mapping[str, str]) -> None:
        super().__init__(console)
        self._watched = Watched(names)
        self._pending: dict[str, str] = {}
        self._voices: set[str] = set()
        self._tenths: dict[str, int] = {}
        self._told: dict[str, list[str]] = {}

    def __exit__(self, *_: object) -> None:
        self._flush()

    def show(self, event: Event) -> None:
        self._watched.apply(event)
        kind, payload = event["type"], event["payload"]
        if kind == "NODE_YIELD":
            self._voices |= {payload["sourceNodeId"]} if chunk_text(payload) else set()
            self._append_text(payload["sourceNodeId"], chunk_text(payload))
        elif kind == "NODE_STREAM_RESET":
            self._reset(payload["nodeId"])
        elif kind == LOG_RESTARTED:
            self._pending.clear()
            self._line("the gateway's log was begun anew: what was shown so far is void")
        elif kind == "EXECUTION_STATUS_UPDATE":
            self._line(f"run {payload['promptId']}: {payload['status']}")
        elif kind == "NODE_PROGRESS":
            self._progress(payload["nodeId"])
        elif kind == "APPROVAL_ANSWERED":
            verdict = "approved" if (payload.get("answer") or {}).get("approved") else "rejected"
            self._line(f"{payload['nodeId']}: {verdict}")
        elif "nodeId" in payload and payload["nodeId"] != INTERFACE_NODE:
            self._fact(kind, payload["nodeId"])

    def finish(self, result: Mapping[str, Any]) -> None:
        self._flush()
        for line in failure_lines(result):
            self._line(line)

    def _reset(self, path: str) -> None:
        """Every retry begins with one; only of a node that has said something there is text to take back."""
        self._pending.pop(path, None)
        if path in self._voices:
            self._voices.discard(path)
            self._line(f"{path}: starts again, its text so far is void")

    def _fact(self, kind: str, path: str) -> None:
        """Of thousands of items only what failed or asks somebody is told; their counts come with the progress."""
        if kind in REPEATED_FACTS or not self._watched.is_repeated(path):
            self._node(path)
        if kind in QUESTIONS:
            asked = self._watched.asked[path]
            for line in approval_lines(asked):
                self._line(f"{path}: {line}")
            self._line(f"{path}: {approve_command(self._watched.run, asked)}")

    def _progress(self, path: str) -> None:
        """Ten lines for a repetition, none for other nodes."""
        progress = self._watched.state(path).get("progress")
        if not progress or not progress.get("max") or path not in self._watched.repetitions:
            return
        tenth = int(10 * progress["value"] / progress["max"])
        if tenth != self._tenths.get(path, 0):
            self._tenths[path] = tenth
            self._line(f"{path}: {progress['value']:g} of {progress['max']:g}")

    def _node(self, path: str) -> None:
        self._flush(path)
        lines = [node_line(self._watched, path), *warning_lines(self._watched.state(path))]
        # A warning, or a stream that begins anew, comes while nothing else of the node has changed.
        earlier = self._told.get(path, [])
        for line in lines:
            if line not in earlier:
                self._line(f"{path}: {line}")
        self._told[path] = lines

    def _append_text(self, path: str, text: str) -> None:
        *lines, rest = (self._pending.get(path, "") + text).split("\n")
        # A long paragraph is shown as it comes too, cut between words.
        head, space, tail = rest.rpartition(" ")
        if len(rest) > LINE_CHARS and space:
            lines, rest = [*lines, head], tail
        for line in lines:
            self._line(f"{path}> {line}")
        self._pending[path] = rest

    def _flush(self, path: str | None = None) -> None:
        for name in [path] if path else list(self._pending):
            if rest := self._pending.pop(name, ""):
                self._line(f"{name}> {rest}")

    def _line(self, text: str) -> None:
        self._console.print(Text(clean(text)), soft_wrap=True)


class QuietView(_LineView):
    """Shows nothing but why a run failed."""

    def show(self, event: Event) -> None:
        pass

    def finish(self, result: Mapping[str, Any]) -> None:
        for line in failure_lines(result):
            self._console.print(Text(line), soft_wrap=True)


class LiveView:
    """A tree of nodes that changes in place, with the end of each streamed text below it."""

    def __init__(self, console: Console, names: Mapping[str, str], title: str) -> None:
        self._console = console
        self._watched = Watched(names)
        self._title = title
        self._begun = time.monotonic()
        self._shows_text = True
        self._live = Live(console=console, get_renderable=self.draw, refresh_per_second=10, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def show(self, event: Event) -> None:
        self._watched.apply(event)

    def finish(self, result: Mapping[str, Any]) -> None:
        self._shows_text = False
        self._live.stop()
        self._console.print(Group(*self._lost_texts(result), *outcome(result)))

    def draw(self) -> RenderableType:
        """What the terminal shows now."""
        watched = self._watched
        elapsed = time.monotonic() - self._begun
        head = Text.assemble((clean(self._title), "bold"), f"  {watched.status}  {elapsed:.1f} s")
        tree = Tree(head)
        self._grow(tree)
        steps = [Text(step, "yellow") for step in watched.next_steps()]
        return Group(tree, *steps, *(self._panels() if self._shows_text else ()))

    def _grow(self, tree: Tree) -> None:
        """All nodes; of a graph that is higher than the terminal, those that run or failed."""
        watched = self._watched
        paths, repetitions = fold(watched.paths(), watched.view.nodes)
        room = max(self._console.height - TEXT_LINES - 6, 5)
        shown = paths
        if len(paths) > room:
            shown = [path for path in paths if watched.state(path).get("status") in NOTABLE][:room]
            ended = sum(path in watched.view.ended for path in paths)
            tree.add(Text(f"{ended} of {len(paths)} nodes have ended", "dim"))
        branches = {"": tree}
        for path in shown:
            self._hang(branches, path, repetitions.get(path))
            for inner in repetitions[path].notable if path in repetitions else ():
                self._hang(branches, inner, None)

    def _hang(self, branches: dict[str, Tree], path: str, repetition: Repetition | None) -> None:
        """Add a node below the nearest one above it."""
        parent = parent_of(path, branches)
        label = node_label(self._watched, path, self._console.encoding, below=parent, repetition=repetition)
        branches[path] = branches[parent].add(label)
        for line in warning_lines(self._watched.state(path)):
            branches[path].add(Text(clean(line), "yellow"))
        for line in approval_lines(self._watched.asked.get(path, {})):
            branches[path].add(Text(line))

    def _panels(self) -> Iterator[RenderableType]:
        """The last lines of the streams that run; of those that ended, none: their text stands in the outputs."""
        running = [path for path in self._watched.texts if self._watched.state(path).get("status") == "running"]
        for path in running[-2:]:
            width = max(self._console.width - 4, 20)
            lines = Text(self._watched.texts[path][-TEXT_LINES * width :]).wrap(self._console, width)
            yield Panel(Text("\n").join(lines[-TEXT_LINES:]), title=escape(clean(path)), title_align="left")

    def _lost_texts(self, result: Mapping[str, Any]) -> Iterator[RenderableType]:
        """Streamed texts that none of the run's outputs repeats."""
        values = [output_text(value) for value in (result.get("outputs") or {}).values()]
        for path, text in self._watched.texts.items():
            if text and not self._watched.is_repeated(path) and not any(text in value for value in values):
                yield Panel(Text(text), title=escape(clean(path)), title_align="left")


def node_label(
    watched: Watched, path: str, encoding: str, *, below: str = "", repetition: Repetition | None = None
) -> Text:
    """One node in the tree: icon, id (behind that of the node it hangs `below`), name, and what there is to say."""
    state = watched.state(path)
    status = state.get("status", PENDING)
    icon, style = ICONS.get(status, ("?", ""))
    fancy = encoding.lower().startswith("utf")
    if not fancy:
        icon = PLAIN_ICONS.get(status, "?")
    said = [node_line(watched, path)]
    if repetition is not None:
        progress = state.get("progress") or {}
        if progress.get("max"):
            said.append(bar(progress["value"], progress["max"], fancy=fancy))
        said.append(repetition.words())
    name = path[len(below) + 1 :] if below else path
    return Text.assemble((f"{icon} ", style), clean(name), "  ", ("  ".join(filter(None, said)), "dim"))


def node_line(watched: Watched, path: str) -> str:
    """Name, status, attempts, progress, time and error of a node in words."""
    state = watched.state(path)
    words = [watched.names.get(path, ""), state.get("status", PENDING), *_facts(state)]
    return "  ".join(word for word in words if word)


def _facts(state: Mapping[str, Any]) -> Iterator[str]:
    if state.get("attempts", 1) > 1:
        yield f"attempt {state['attempts']}"
    progress = state.get("progress")
    if progress and progress.get("max"):
        yield f"{100 * progress['value'] / progress['max']:.0f} %"
    if state.get("startedAt") and state.get("endedAt"):
        yield f"{(from_iso(state['endedAt']) - from_iso(state['startedAt'])) / 1000:.2f} s"
    if isinstance(state.get("wait"), Mapping):
        yield clean(wait_words(state["wait"]))
    yield clean(retry_words(state))
    if state.get("reason") and not state.get("retryAt"):
        yield str(state["reason"])
    for mark in ("cached", "stale", "reused"):
        if state.get(mark):
            yield mark
            break
    if state.get("error"):
        yield clean(str(state["error"].get("message", "")))
        yield from map(clean, error_lines(state))


def outcome(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """How a run ended: its error, if any, and its outputs."""
    for line in failure_lines(result):
        yield Text(line, "red")
    for name, value in (result.get("outputs") or {}).items():
        yield Text(f"{clean(name)} {'─' * max(RULE_CHARS - len(name), 3)}")
        yield Text(output_text(value))


def failure_lines(result: Mapping[str, Any]) -> list[str]:
    """Why a run failed: what stopped it, and each node that failed, once."""
    error = result.get("errorInfo")
    if not isinstance(error, Mapping):
        return []
    message = str(error.get("message", "the run failed"))
    nodes = [node for node in error.get("nodes") or () if isinstance(node, Mapping)]
    told = [f"{node.get('nodeId')}: {node.get('message')} ({node.get('code')})" for node in nodes]
    if len(nodes) == 1 and str(nodes[0].get("message")) in message:
        return [clean(f"error: {told[0]}")]
    return [clean(f"error: {message}"), *(clean(f"  {line}") for line in told)]


def without_chunks(value: Any) -> Any:
    """Of a stream its text, which may be a reference; any other value as it is."""
    is_stream = isinstance(value, Mapping) and set(value) <= {"text", "chunks", "items"} and "text" in value
    return value["text"] if is_stream else value


def output_text(value: Any) -> str:
    """An output for people: texts as they are, a stream as its text, a stored value as preview and address."""
    value = without_chunks(value)
    if isinstance(value, Mapping) and "$blob" in value:
        return clean(f"{value.get('preview', '')}… ({value.get('size')} bytes, {value.get('url', 'stored apart')})")
    return clean(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
