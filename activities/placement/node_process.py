"""Nodes in processes of their own (`placement="process"`): they can be killed, and their memory is bounded.

A process runs one node once. It gets values over a socket, the environment that Python needs, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innkeeper.activities.sanitize import finite_number, printable
from innkeeper.nodes import errors as node_errors
from innkeeper.nodes.child.frames import HEAD, MAX_FRAME_BYTES, STREAM, Json, from_frame, packed, to_frame, unpacked
from innkeeper.nodes.child.main import OFFERED
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import InnkeeperError, InvalidNode, NodeError, NodeMustWait, ProviderError
from innkeeper.nodes.node import NodeContext, Outputs
from innkeeper.nodes.process.child_environment import child_environment
from innkeeper.nodes.traces import PLUGIN_PACKAGE, RemoteFault

STOP_S = 2.0
"""Between SIGTERM and SIGKILL."""
MAX_CALLS = 1_000
"""To services, at once, of one node."""
MAX_LINE_CHARS = 2_000
_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")


@dataclass(frozen=True)
class NodeProgram:
    """Where the code of a node lies."""

    type: str
    mode: str | None
    root: Path
    file: Path
    memory_mb: int | None

    @classmethod
    def of(cls, definition: NodeDefinition, mode: str | None) -> NodeProgram:
        """Raises InvalidNode when it is in no file of a plugin."""
        file = Path(definition.file_path or "")
        roots = [Path(item.__path__[0]) for name, item in list(sys.modules.items()) if _is_plugin_package(name)]
        root = next((root for root in roots if file.is_relative_to(root)), None)
        if root is None:
            message = f"node type {definition.full_type!r} is of no plugin's file, so it cannot run in a process"
            raise InvalidNode(message, code="unknown_node_type")
        return cls(definition.type, mode, root, file, definition.memory_mb)


def _is_plugin_package(name: str) -> bool:
    return name.startswith(PLUGIN_PACKAGE) and "." not in name


class NodeProcesses:
    """Starts a process for each run of a node.

    Args:
        memory_mb: What one process may reserve, unless its node type says otherwise.
    """

    def __init__(self, memory_mb: int = 2_048) -> None:
        self._memory_mb = memory_mb

    def start(
        self, program: NodeProgram, inputs: dict[str, Any], context: NodeContext, *, is_generator: bool
    ) -> AsyncGenerator[Any, None] | Awaitable[Mapping[str, Any]]:
        """Run a node: what it yields, or what it returns."""
        run = _NodeProcess(program, inputs, context, program.memory_mb or self._memory_mb)
        return run.items() if is_generator else run.outputs()


class _NodeProcess:
    def __init__(self, program: NodeProgram, inputs: dict[str, Any], context: NodeContext, memory_mb: int) -> None:
        self._program = program
        self._inputs = inputs
        self._context = context
        self._memory_mb = memory_mb
        self._calls: set[asyncio.Task[None]] = set()

    async def outputs(self) -> Mapping[str, Any]:
        async with contextlib.aclosing(self.items()) as items:
            async for item in items:
                if isinstance(item, Outputs):
                    return item
        return {}

    async def items(self) -> AsyncGenerator[Any, None]:
        """What the node yields; its outputs come last.

        Raises:
            NodeError: The process died (`process_died`). Else what the node raises.
        """
        process, ours = await self._spawn()
        reader, writer = await asyncio.open_connection(sock=ours)
        output = asyncio.create_task(self._log_output(process))
        try:
            writer.write(to_frame(self._begin()))
            async for message in _messages(reader):
                if message["t"] == "item":
                    yield unpacked(message["chunk"])
                elif message["t"] == "done":
                    yield _outputs(unpacked(message["outputs"]))
                    return
                elif message["t"] == "failed":
                    raise rebuilt(message)
                else:
                    self._take(message, writer)
            raise await self._died(process)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidNode(f"the process of the node said what cannot be read: {type(error).__name__}") from None
        finally:
            for call in self._calls:
                call.cancel()
            # The socket last: the process ends at once when it closes, without its node's own clean-up.
            await asyncio.shield(asyncio.ensure_future(_end(process, output, writer)))

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-s", "-B", "-m", "innkeeper.nodes.child.main"),
                *map(str, (theirs.fileno(), os.getpid(), self._memory_mb)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env=child_environment(_ENVIRONMENT, PYTHONUNBUFFERED="1"),
            )
        return process, ours

    def _begin(self) -> Json:
        context, program = self._context, self._program
        streams = {key: value for key, value in self._inputs.items() if _is_stream(value)}
        plain = {key: value for key, value in self._inputs.items() if key not in streams}
        told = {
            name: getattr(context, name)
            for name in ("prompt_id", "node_id", "attempt", "is_last_attempt", "timeout_s", "user_id", "mode_id")
        }
        told |= {"config_values": context.config_values, "plugin_settings": context.plugin_settings}
        return {
            "root": str(program.root),
            "file": str(program.file),
            "type": program.type,
            "mode": program.mode,
            "inputs": packed(plain),
            "streams": {key: len(value) if isinstance(value, list) else None for key, value in streams.items()},
            "context": packed(told),
            "seed": f"{context.prompt_id}/{context.node_id}",
            "log_level": context.logger.getEffectiveLevel(),
        }

    def _take(self, message: Json, writer: asyncio.StreamWriter) -> None:
        match message["t"]:
            case "progress":
                self._context.progress(message["value"], message["max"])
            case "warn":
                self._context.warn(message["code"], message["message"])
            case "log":
                level = finite_number(message["level"]) or logging.INFO
                self._context.logger.log(int(level), "%s", printable(message["text"], MAX_LINE_CHARS))
            case "call" if len(self._calls) >= MAX_CALLS:
                raise ValueError("too many calls at once")
            case "call":
                call = asyncio.create_task(self._answer(message, writer))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
            case _:
                raise ValueError("an unknown message")

    async def _answer(self, message: Json, writer: asyncio.StreamWriter) -> None:
        answer: Json = {"n": message["n"]}
        try:
            frame = to_frame({**answer, "value": packed(await self._called(message))})
        except StopAsyncIteration:
            frame = to_frame({**answer, "end": True})
        except InnkeeperError as error:
            told = {"message": error.message, "code": error.code, "retryable": error.retryable}
            frame = to_frame({**answer, "error": told})
        except Exception as error:
            told = {"message": f"{type(error).__name__} in the worker", "code": "service_failed", "retryable": True}
            frame = to_frame({**answer, "error": told})
        writer.write(frame)
        await writer.drain()

    async def _called(self, message: Json) -> Any:
        service, method, args = message["service"], message["method"], unpacked(message["args"])
        if service == STREAM:
            key, index = args
            found = self._inputs[key]
            return await anext(found[index] if isinstance(found, list) else found)
        if method not in OFFERED.get(service, ()):
            raise InvalidNode(f"there is no service {service}.{method} for a process")
        answer = getattr(getattr(self._context.services, service), method)(*args)
        return await answer if inspect.isawaitable(answer) else answer

    async def _log_output(self, process: asyncio.subprocess.Process) -> None:
        """What the node prints, line by line, in the log of the worker."""
        assert process.stdout is not None  # it was asked for
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the reader's limit: its beginning is gone
                continue
            if not line:
                return
            self._context.logger.info("%s", printable(line.decode(errors="replace").rstrip(), MAX_LINE_CHARS))

    async def _died(self, process: asyncio.subprocess.Process) -> NodeError:
        code = await process.wait()
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"
        message = (
            f"the process of the node {how} before it gave a result; it may reserve {self._memory_mb} MB of memory"
        )
        return NodeError(message, code="process_died")


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[Json]:
    while True:
        try:
            (size,) = HEAD.unpack(await reader.readexactly(HEAD.size))
            if size > MAX_FRAME_BYTES:
                raise InvalidNode(f"the node gave more than {MAX_FRAME_BYTES} bytes at once", code="value_too_large")
            yield from_frame(await reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return


async def _end(process: asyncio.subprocess.Process, output: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
    """Ask the process to end, then kill it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    writer.close()
    # What it has left behind may hold its output open.
    await asyncio.wait({output}, timeout=0.1)
    output.cancel()


def rebuilt(told: Mapping[str, Any]) -> Exception:
    """The error that a node raised in its process, with its class name and that of our own classes it derives from."""
    kinds = [str(kind)[:100] for kind in told["kinds"]]
    message = printable(told["message"])
    where = {"where": printable(told["where"])} if told.get("where") else {}
    if "Exception" not in kinds:
        how = f"called exit({message})" if "SystemExit" in kinds else f"raised {kinds[0]}: {message}"
        text = f"the node {how}; a node ends by returning or by raising an error"
        return NodeError(text, retryable=False, details=where)
    if "code" not in told:
        fault = _fault_class(kinds)(message)
        fault.where, fault.trace = printable(told.get("where") or ""), [printable(line) for line in told["trace"]]
        fault.traceback = printable(told.get("traceback") or "")
        return fault
    details = unpacked(told.get("details") or {})
    if "NodeMustWait" in kinds:
        return NodeMustWait(message, delay_s=finite_number(told.get("delay_s")) or 0, details=details)
    options: dict[str, Any] = {"code": str(told["code"]), "retryable": told["retryable"] is True, "details": details}
    if "ProviderError" in kinds:
        return ProviderError(message, retry_after=finite_number(told.get("retry_after")), **options)
    found = next(
        (vars(node_errors).get(kind) for kind in kinds if kind in ("NodeInputError", "InvalidNode")), NodeError
    )
    error: NodeError = (found or NodeError)(message, **options)
    error.details = {**where, **error.details}
    return error


def _fault_class(kinds: list[str]) -> type[RemoteFault]:
    """A class by the name of the one that was raised, under classes by the names of those it derives from."""
    found: type[RemoteFault] = RemoteFault
    for name in reversed(kinds):
        found = type(name, (found,), {})
    return found


def _outputs(given: Any) -> Any:
    if not isinstance(given, Mapping):
        raise InvalidNode(f"the node gave {type(given).__name__}; expected a mapping of outputs")
    return Outputs(given)


def _is_stream(value: Any) -> bool:
    return any(hasattr(item, "__anext__") for item in (value if isinstance(value, list) else [value]))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
