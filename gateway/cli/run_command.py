"""`innkeeper run FILE`: read a document, find a gateway or start one, submit, show the run until it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from innkeeper.gateway.cli.live_view import JsonView, LiveView, PlainView, QuietView, View, node_names
from innkeeper.gateway.cli.results import write_outputs
from innkeeper.gateway.cli.run_ids import find_run
from innkeeper.gateway.cli.signals import Stopping
from innkeeper.gateway.cli.tables import problems_table
from innkeeper.gateway.client import (
    GatewayAway,
    GatewayClient,
    GatewayRefused,
    Version,
    checked_url,
    run_of_stored,
    warnings_of,
)
from innkeeper.gateway.process.data_dir import holder_of, own_default
from innkeeper.gateway.process.http_probe import answers, status_of
from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow, Problem
from innkeeper.nodes.json_values import InvalidJson, read_json
from innkeeper.nodes.process.loading import without_pydantic_plugins
from innkeeper.nodes.process.variables import FALSE_WORDS, TRUE_WORDS
from innkeeper.nodes.services.ownership import ForeignDataDir
from innkeeper.workflows.document.model import DEFAULT_LIMITS, load_json

if TYPE_CHECKING:
    from innkeeper.gateway.process.local_stack import LocalStack

DEFAULT_URL = "http://127.0.0.1:8090"
INTERRUPTED = 130
STARTING_S = 30.0
MAX_VERSIONS = 1_000
"""A workflow keeps no more."""
MAX_VERSION = 2**31 - 1
MAX_NAMED = 20
"""Nodes of one kind that are listed by name."""
QUESTION = "\n[s] stop watching (the run goes on)   [i] interrupt the run   [Enter] go on watching: "
Choice = Literal["stop", "interrupt", "watch"]


class UsageError(InnkeeperError):
    """Options that do not go together."""

    code = "usage"


@dataclass(frozen=True)
class RunOptions:
    """What the user asked for. `data_dir` and `url` are None where the user named none.

    Attributes:
        output: The one output that is wanted on stdout.
        quiet: Show nothing but the outputs.
        version, project: Of a stored workflow: with one of them `file` is the id of one.
    """

    file: Path
    inputs: Sequence[str] = ()
    as_json: bool = False
    detach: bool = False
    data_dir: Path | None = None
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    plugins: tuple[Path, ...] = ()
    output: str | None = None
    quiet: bool = False
    version: str | None = None
    project: str | None = None


# --- the document -------------------------------------------------------------------------------------------------


def read_document(file: Path) -> dict[str, Any]:
    """A workflow file.

    Raises:
        InvalidWorkflow: Not JSON (with line and column), not an object, or over the limits.
    """
    document = load_json(_bytes_of(str(file)))
    if not isinstance(document, dict):
        raise InvalidWorkflow([Problem("invalid_document", "a workflow file holds one JSON object")])
    return document


def _bytes_of(name: str) -> bytes:
    """What a file holds, or stdin by the name `-`; a byte more than a document may have tells that it is too large."""
    try:
        if name == "-":
            return sys.stdin.buffer.read(DEFAULT_LIMITS.max_bytes + 1)
        with Path(name).open("rb") as opened:
            # A device or a pipe may have no end.
            return opened.read(DEFAULT_LIMITS.max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read {name!r} ({reason}): check the path") from error


def parse_inputs(pairs: Sequence[str], document: Mapping[str, Any]) -> dict[str, Any]:
    """`key=value` options as values: JSON where it is JSON, else text. Inputs of type STRING take plain words as text.

    `key=@file` takes what a file holds, `key=-` what comes on stdin.

    Raises:
        UsageError: No `=`, a key that is no input of the document, or a file that cannot be read.
    """
    slots = _input_slots(document)
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key or not _is_text(pair):
            raise UsageError(f"--input {pair!r} is not understood: write --input name=value, in UTF-8")
        if "nodes" in document and key not in slots:
            known = ", ".join(repr(name) for name in slots) or "none"
            raise UsageError(f"the workflow has no input {key!r}: its inputs are {known}")
        values[key] = value_of_argument(content_of(key, text), slots.get(key))
    return values


def content_of(key: str, text: str) -> str:
    """What was typed; of `@file` and `-` what the file or stdin holds. Raises UsageError."""
    if text != "-" and not text.startswith("@"):
        return text
    data = _bytes_of(text.removeprefix("@"))
    if len(data) > DEFAULT_LIMITS.max_bytes:
        raise UsageError(f"{text!r} for input {key!r} has more than {DEFAULT_LIMITS.max_bytes:,} bytes")
    try:
        return data.decode("utf-8-sig").removesuffix("\n")
    except UnicodeDecodeError:
        raise UsageError(f"{text!r} for input {key!r} is no UTF-8 text; 'innkeeper put' uploads other files") from None


def _input_slots(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs a document declares; none where that part of it is malformed, which the gateway tells in full."""
    slots = document.get("interfaceInputs")
    return slots if isinstance(slots, Mapping) else {}


def _is_text(argument: str) -> bool:
    # Bytes of a command line that are no characters come as halves of characters, which JSON does not take.
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def value_of_argument(text: str, slot: Any) -> Any:
    """The value that somebody typed for a slot: JSON where it is JSON, else text."""
    kind = slot.get("dataFlowType") if isinstance(slot, Mapping) else None
    # A title like 1984 is text, if text is what the input takes; and what is plainly meant is true or false.
    if kind == "STRING" and not text.startswith('"'):
        return text
    if kind == "BOOLEAN" and (word := text.strip().lower()) in TRUE_WORDS + FALSE_WORDS:
        return word in TRUE_WORDS
    try:
        return read_json(text)
    except InvalidJson:
        return text


def with_values(document: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document with values for its inputs beside it, where the gateway looks for them."""
    given = document.get("inputs")
    if not values or not isinstance(given, Mapping | None):
        return document
    return {**document, "inputs": {**(given or {}), **values}}


# --- the gateway --------------------------------------------------------------------------------------------------


async def find_gateway(data_dir: Path | None, url: str | None, *, temporary: bool = False) -> str | None:
    """The gateway to use: the one named, else the one of the data directory, else the one at the default address.

    None when there is none and one may be started.

    Args:
        temporary: One that lasts only as long as somebody else's run will do, too.

    Raises:
        GatewayAway: The one that was named does not answer.
        InvalidAddress: What was named is no address.
    """
    if url is not None:
        async with GatewayClient(checked_url(url)) as client:
            if not await client.is_up():
                raise GatewayAway(f"no gateway answers at {url}: check the address, or leave --url away")
            return client.url
    holder = _holder(data_dir)
    # A run of ours cannot rely on a stack that lasts only as long as somebody else's.
    if holder and holder.get("address") and (temporary or not holder.get("temporary")):
        return await _when_up(str(holder["address"]))
    if data_dir is None and await status_of(DEFAULT_URL, "/healthz") == 200:
        return DEFAULT_URL
    return None


def _holder(data_dir: Path | None) -> dict[str, Any] | None:
    """Who holds the data directory. In one that is not the user's another user may wait for prompts and tokens."""
    with contextlib.suppress(ForeignDataDir):
        return holder_of(data_dir or own_default())
    return None


def _is_here(data_dir: Path | None, url: str) -> bool:
    return ((_holder(data_dir) or {}).get("address")) == url


async def need_gateway(data_dir: Path | None, url: str | None) -> str:
    """Like `find_gateway`, where nothing may be started."""
    found = await find_gateway(data_dir, url, temporary=True)
    if found is None:
        raise GatewayAway("no gateway is running here: start one with 'innkeeper up', or name one with --url")
    return found


async def _when_up(address: str) -> str:
    try:
        async with asyncio.timeout(STARTING_S):
            await answers(address, "/healthz")
    except TimeoutError:
        raise GatewayAway(f"the gateway at {address} does not answer: look into its logs, or start it again") from None
    return address


# --- the run ------------------------------------------------------------------------------------------------------


async def run_file(options: RunOptions, console: Console, notes: Console, stopping: Stopping) -> int:
    """Run a file, or a stored workflow by its id, and give the exit code: 0 complete, 1 error or interrupted, 130 after
    Ctrl-C.

    Args:
        console: Takes the outputs; on a terminal the live view of the run, too.
        notes: Takes what is said about it.
    """
    stored = await _stored_document(options)
    document = read_document(options.file) if stored is None else stored
    declared = document.get("interfaceOutputs")
    if options.output is not None and isinstance(declared, Mapping) and options.output not in declared:
        known = ", ".join(map(repr, declared)) or "none"
        raise UsageError(f"the workflow has no output {options.output!r}: its outputs are {known}")
    values = parse_inputs(options.inputs, document)
    body = with_values(document, values) if stored is None else _run_of_stored(options, values)
    return await run_body(options, document, body, console=console, notes=notes, stopping=stopping)


async def _stored_document(options: RunOptions) -> dict[str, Any] | None:
    """The stored workflow that `options.file` is the id of; None when a file is meant, or no gateway can have one.

    Raises:
        UsageError: There is neither a file nor a stored workflow.
        GatewayAway: A version or project was named, and no gateway runs.
    """
    is_named = options.version is not None or options.project is not None
    if not is_named and _is_there(options.file):
        return None
    url = await find_gateway(options.data_dir, options.url)
    if url is None and not is_named:
        return None
    async with GatewayClient(url or await need_gateway(options.data_dir, options.url), options.token) as client:
        try:
            if options.version is not None:
                version = version_of(options.version)
            else:
                version = await _version_to_run(client, str(options.file), options.project)
            return (await client.workflows.get(str(options.file), version, project=options.project)).document
        except GatewayRefused as error:
            if is_named or error.code != "workflow_not_found":
                raise
            raise UsageError(
                f"there is no file {str(options.file)!r}, and {client.url} has no workflow with this id: "
                "check the path, or see 'innkeeper workflows list'"
            ) from None


def _is_there(file: Path) -> bool:
    """May this be a file? What cannot be looked at is one: reading it tells why."""
    try:
        return str(file) == "-" or file.exists()
    except OSError:
        return True


async def _version_to_run(client: GatewayClient, workflow_id: str, project: str | None) -> int:
    """The published version, else the newest that compiles, as runs take it."""
    found = await client.workflows.versions(workflow_id, project=project, limit=MAX_VERSIONS)
    published = [item for item in found if item["published"]]
    sound = [item for item in found if item["valid"]]
    return int((published or sound or found)[0]["version"])


def version_of(text: str) -> Version:
    """A version as it is typed: a number, `latest` or `published`. Raises UsageError."""
    if text == "latest":
        return "latest"
    if text == "published":
        return "published"
    if not text.isdecimal() or not 0 < int(text) <= MAX_VERSION:
        raise UsageError(f"{text!r} is no version: write a number from 1, 'latest' or 'published'")
    return int(text)


def _run_of_stored(options: RunOptions, values: Mapping[str, Any]) -> dict[str, Any]:
    version = None if options.version is None else version_of(options.version)
    return run_of_stored(str(options.file), version=version, project=options.project, inputs=values or None)


async def run_body(
    options: RunOptions,
    document: Mapping[str, Any],
    body: Mapping[str, Any],
    *,
    console: Console,
    notes: Console,
    stopping: Stopping,
) -> int:
    """Submit `body` and show the run; gives the exit code.

    Args:
        document: Says how its nodes are called.
    """
    url = await find_gateway(options.data_dir, options.url)
    if url is not None and options.url is None and not _is_here(options.data_dir, url):
        notes.print(f"using the gateway at {url}, which keeps its data elsewhere", style="dim", highlight=False)
    if url is None and options.detach:
        raise UsageError("--detach needs a gateway that stays: start one with 'innkeeper up' first")
    async with contextlib.AsyncExitStack() as opened:
        is_ours = url is None
        if url is None:
            notes.print("no gateway is running: starting one for this run", style="dim")
            stack = await opened.enter_async_context(_own_stack(options))
            url = stack.url
            for sentence in stack.damages():
                notes.print(f"Damage: {sentence}", highlight=False, markup=False, soft_wrap=True)
        elif options.plugins:
            notes.print(f"--plugins has no effect: the gateway at {url} uses those that it was started with")
        client = await opened.enter_async_context(GatewayClient(url, options.token))
        answer = await client.submit_for_answer(body)
        run_id = str(answer["promptId"])
        if warnings := warnings_of(answer):
            notes.print(problems_table(warnings))
        if "reused" in answer:
            notes.print(takeover_words(answer), style="dim", markup=False, highlight=False)
        if options.detach:
            console.print(json.dumps({"promptId": run_id}) if options.as_json else run_id, soft_wrap=True)
            return 0
        with _view(options, document, run_id, console=console, notes=notes) as view:
            following = _Follow(client, run_id, view, notes=notes, is_ours=is_ours)
            code = await following.until_end(stopping)
        await _give(client, following.result, options, console)
        return code


async def watch_run(run_id: str, options: RunOptions, console: Console, notes: Console, stopping: Stopping) -> int:
    """Show a run that was begun before, from its beginning to its end; gives the exit code of `run_file`."""
    url = await need_gateway(options.data_dir, options.url)
    async with GatewayClient(url, options.token) as client:
        run_id = await find_run(client, run_id)
        await client.status(run_id)  # that there is none is told at once
        with _view(options, {}, run_id, console=console, notes=notes) as view:
            following = _Follow(client, run_id, view, notes=notes, is_ours=False)
            code = await following.until_end(stopping)
        await _give(client, following.result, options, console)
        return code


async def _give(client: GatewayClient, result: Mapping[str, Any] | None, options: RunOptions, console: Console) -> None:
    """Write the outputs, where the view has not shown them."""
    if result is None or options.as_json or _is_live(options, console):
        return
    if options.output is None or result.get("status") == "complete":
        await write_outputs(client, result, options.output, console.file)


def _is_live(options: RunOptions, console: Console) -> bool:
    return console.is_terminal and options.output is None and not options.quiet


def takeover_words(answer: Mapping[str, Any]) -> str:
    """What a run takes over, and what it runs itself, by the answer to its submission."""
    counts = answer.get("counts") or {}
    kinds = (("taken over", "reused"), ("shown as they were", "stale"), ("left out", "leftOut"), ("to run", "runs"))
    told = []
    for words, key in kinds:
        nodes = [str(node) for node in answer.get(key) or ()]
        if nodes or key in ("reused", "runs"):
            more = ", ..." if counts.get(key, 0) > MAX_NAMED else ""
            told.append(f"{words}: {', '.join(nodes[:MAX_NAMED]) or 'nothing'}{more}")
    return "; ".join(told)


def _own_stack(options: RunOptions) -> LocalStack:
    with without_pydantic_plugins():  # only a run that finds no gateway waits for it
        from innkeeper.gateway.process.local_stack import LocalStack, StackOptions

    return LocalStack(StackOptions(options.data_dir or own_default(), plugins=options.plugins, temporary=True))


def _view(options: RunOptions, document: Mapping[str, Any], run_id: str, *, console: Console, notes: Console) -> View:
    if options.as_json:
        return JsonView(console)
    if options.quiet:
        return QuietView(notes)
    names = node_names(document)
    if not _is_live(options, console):
        return PlainView(notes, names)
    return LiveView(console, names, f"{document.get('name') or options.file.stem}  {run_id}")


class _Follow:
    """One run that somebody watches. `result`: how it ended, as the gateway tells it."""

    def __init__(self, client: GatewayClient, run_id: str, view: View, *, notes: Console, is_ours: bool) -> None:
        self._client = client
        self._run_id = run_id
        self._view = view
        self._notes = notes
        self._is_ours = is_ours
        self._interrupt = asyncio.Event()
        self._is_interrupting = False
        self.result: Mapping[str, Any] | None = None

    async def until_end(self, stopping: Stopping) -> int:
        watching = asyncio.create_task(self._watch())
        try:
            with stopping.interrupts(self._interrupt.set):
                while not await self._ended_first(watching):
                    if await self._asked(watching) == "stop":
                        self._say_it_goes_on()
                        return INTERRUPTED
            await watching
        except GatewayAway as error:
            raise GatewayAway(f"{error.message}. The run {self._run_id} is kept") from error
        finally:
            watching.cancel()
        return await self._end()

    async def _watch(self) -> None:
        async for event in self._client.events(self._run_id):
            self._view.show(event)

    async def _ended_first(self, watching: asyncio.Task[None]) -> bool:
        """Wait for the run's end or Ctrl-C; did the run end?"""
        ctrl_c = asyncio.create_task(self._interrupt.wait())
        await asyncio.wait({watching, ctrl_c}, return_when=asyncio.FIRST_COMPLETED)
        ctrl_c.cancel()
        self._interrupt.clear()
        return watching.done()

    async def _asked(self, watching: asyncio.Task[None]) -> Choice:
        with self._view.paused():
            choice = await ask(self._interrupt, watching)
        if choice == "interrupt":
            self._is_interrupting = True
            await self._client.cancel(self._run_id)
            self._notes.print("interrupting the run", style="dim")
        return choice

    def _say_it_goes_on(self) -> None:
        goes_on = "is kept and goes on when 'innkeeper up' runs here" if self._is_ours else "goes on"
        self._notes.print(f"The run {self._run_id} {goes_on}: innkeeper show {self._run_id}", highlight=False)

    async def _end(self) -> int:
        self.result = result = await self._client.status(self._run_id)
        self._view.finish(result)
        if self._is_interrupting:
            return INTERRUPTED
        return 0 if result.get("status") == "complete" else 1


async def ask(ctrl_c: asyncio.Event, watching: asyncio.Future[None]) -> Choice:
    """Ask what Ctrl-C meant. Without a terminal, or with another Ctrl-C, it means: stop watching."""
    if not sys.stdin.isatty():
        return "stop"
    sys.stderr.write(QUESTION)
    sys.stderr.flush()
    line: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    again = asyncio.create_task(ctrl_c.wait())
    events: list[asyncio.Future[Any]] = [line, again, watching]
    with _reading_line(line):
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
    pressed_again = again.done()
    again.cancel()
    if line.done():
        answers: dict[str, Choice] = {"s": "stop", "i": "interrupt"}
        return answers.get(line.result().strip().lower()[:1], "watch")
    return "stop" if pressed_again else "watch"


@contextlib.contextmanager
def _reading_line(line: asyncio.Future[str]) -> Iterator[None]:
    """Give `line` the next line of the terminal. A thread that waits in input() could not be stopped."""
    loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        if not line.done():
            line.set_result(os.read(terminal, 1024).decode(errors="replace"))

    loop.add_reader(terminal, read)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
