"""The activity that runs one node: fence, inputs, the node's own function, outputs, acknowledgement."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.errors import MAX_MESSAGE, failure, redact
from activities.gateway_link import Epoch, GatewayLink
from activities.heartbeat import Heartbeat
from activities.values import Values, with_secrets
from nodes.call import EXECUTE_NODE, NodeCall, NodeResult
from nodes.definition import Execute, Input, NodeDefinition
from nodes.errors import InvalidNode, NodeError, NodeMustWait
from nodes.node import Chunk, NodeContext, Outputs, SecretRef, Secrets, Services

log = logging.getLogger("innkeeper.node")

MAX_COLLECTED_CHARS = 64_000_000
_PROGRESS_S = 0.1


class Catalogue(Protocol):
    def get_node(self, full_type: str) -> NodeDefinition | None: ...


class ServicesFor(Protocol):
    """Composes the services of one node run."""

    def __call__(self, user: str) -> tuple[Services, SecretsOfRun]: ...


class SecretsOfRun(Secrets, Protocol):
    """The secrets of one node run; remembers what it revealed, so that errors can be cleaned of it."""

    revealed: set[str]

    async def seal(self, value: str) -> SecretRef: ...


@dataclass
class _Collected:
    """The chunks of one epoch, put together."""

    count: int = 0
    parts: list[str] = field(default_factory=list)
    chars: int = 0
    items: list[dict[str, Any]] | None = None
    ended: bool = False

    def add(self, chunk: Chunk) -> None:
        self.count += 1
        self.ended = chunk.type in ("finish_reason_chunk", "error_chunk")
        if chunk.type == "text_chunk" and isinstance(chunk.content, str):
            self.parts.append(chunk.content)
            self.chars += len(chunk.content)
        if self.items is not None:
            self.items.append(chunk.to_json())
        if self.chars > MAX_COLLECTED_CHARS:
            raise InvalidNode(
                f"the stream is over the limit of {MAX_COLLECTED_CHARS} characters", code="stream_too_large"
            )


class ExecuteNode:
    """Runs nodes of one catalogue. Holds no state between calls."""

    def __init__(self, catalogue: Catalogue, services_for: ServicesFor, link: GatewayLink, values: Values) -> None:
        self._catalogue = catalogue
        self._services_for = services_for
        self._link = link
        self._values = values

    @activity.defn(name=EXECUTE_NODE)
    async def execute_node(self, call: NodeCall) -> NodeResult:
        info = activity.info()
        beat = Heartbeat(_waits(info.heartbeat_details))
        services, secrets = self._services_for(call.run_user)
        attempt = _Attempt(call, (call.base_attempt + info.attempt, 0), beat, services, secrets)
        beat.start()
        forget = self._link.on_fenced(call.run, call.path, attempt.epoch, attempt.fence)
        try:
            return await self._run(attempt)
        except asyncio.CancelledError:
            raise attempt.end_of_cancelled() from None
        except NodeMustWait as wait:
            raise _waiting(wait, beat, secrets) from None
        except ApplicationError:
            raise
        except (Exception, SystemExit) as error:
            log.debug("node failed", exc_info=True)
            raise failure(
                error if isinstance(error, Exception) else InvalidNode("the node called exit()"),
                attempt=info.attempt,
                last=attempt.failures + 1 >= call.max_failures,
                non_retryable=call.non_retryable,
                secrets=secrets.revealed,
            ) from None
        finally:
            forget()
            beat.stop()
            self._link.close_stream(call.run, call.path, attempt.epoch)

    async def _run(self, attempt: _Attempt) -> NodeResult:
        call, epoch = attempt.call, attempt.epoch
        if epoch == (1, 0):
            self._link.open(call.run, call.path, epoch, call.type)
        else:
            # A later attempt may find that an earlier one was logged: then a provider must not be paid again.
            answer = await self._link.ask_open(call.run, call.path, epoch, call.type)
            if answer.status == "finished":
                return NodeResult(answer.outputs or {}, epoch[0])
            if answer.status == "fenced":
                attempt.fenced = True
                raise asyncio.CancelledError
        if attempt.failures >= call.max_failures:
            raise _exhausted(call, attempt.failures)
        definition = self._catalogue.get_node(call.type)
        if definition is None:
            message = f"this worker has no node type {call.type!r}; install its plugin on every worker"
            raise InvalidNode(message, code="unknown_node_type")
        outputs, collected = await self._execute(definition, attempt)
        end = bool(call.streams) and not collected.ended
        return NodeResult(outputs, epoch[0], await self._log_complete(attempt, outputs, end))

    async def _log_complete(self, attempt: _Attempt, outputs: dict[str, Any], end: bool) -> bool:
        """Wait for the log. An interruption that comes now is too late: what is logged has happened."""
        call = attempt.call
        logging_it = asyncio.ensure_future(self._link.complete(call.run, call.path, attempt.epoch, outputs, end=end))
        while True:
            try:
                logged = await asyncio.shield(logging_it)
                break
            except asyncio.CancelledError:
                if attempt.fenced or attempt.is_worker_stopping:
                    # The next attempt asks the log first, and finds what was logged meanwhile.
                    logging_it.cancel()
                    raise
        if attempt.fenced:
            raise asyncio.CancelledError
        return logged

    async def _execute(self, definition: NodeDefinition, attempt: _Attempt) -> tuple[dict[str, Any], _Collected]:
        call = attempt.call
        execute, slots, settings = _effective(definition, call)
        inputs = await self._values.resolve_inputs(call.inputs, call.multi, slots)
        collected = _Collected(items=[] if call.collect_chunks else None)
        given: Mapping[str, Any] | None = None
        answer = execute(inputs, await self._context(attempt, settings))
        if isinstance(answer, AsyncGenerator):
            given = await self._stream(attempt, answer, collected)
        else:
            given = await answer  # type: ignore[misc]  # a batch node's coroutine
        return await self._pack(attempt, given or {}, collected), collected

    async def _stream(
        self, attempt: _Attempt, items: AsyncGenerator[Any, None], collected: _Collected
    ) -> Mapping[str, Any] | None:
        """Publish a stream node's chunks as they come; gives its batch outputs, if it has any."""
        async with aclosing(items):
            async for item in items:
                if isinstance(item, Outputs):
                    return item
                if not isinstance(item, Chunk):
                    raise InvalidNode(f"the node yielded {type(item).__name__}; yield Chunk, or Outputs last")
                self._publish(attempt, item, collected)
                if item.type == "error_chunk":
                    raise await _error_behind(items, item, attempt)
        return None

    def _publish(self, attempt: _Attempt, chunk: Chunk, collected: _Collected) -> None:
        call, index = attempt.call, collected.count
        data = chunk.to_json()
        if chunk.type == "error_chunk":
            data = redact(data, attempt.secrets.revealed)
        collected.add(chunk)
        attempt.beat.chunks = collected.count
        self._link.chunk(call.run, call.path, attempt.epoch, index, data)

    async def _pack(self, attempt: _Attempt, given: Mapping[str, Any], collected: _Collected) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            raise InvalidNode(
                f"the node gave {type(given).__name__}; expected a mapping of outputs", code="invalid_output"
            )
        call = attempt.call
        outputs = {
            slot: await self._values.pack(slot, value, call.seal.get(slot, ()), attempt.secrets)
            for slot, value in given.items()
            if slot not in call.streams
        }
        for slot in call.streams:
            outputs[slot] = await self._pack_stream(slot, collected)
        return outputs

    async def _pack_stream(self, slot: str, collected: _Collected) -> dict[str, Any]:
        packed: dict[str, Any] = {"text": await self._values.pack(slot, "".join(collected.parts))}
        packed["chunks"] = collected.count
        if collected.items is not None:
            packed["items"] = await self._values.pack(slot, collected.items)
        return packed

    async def _context(self, attempt: _Attempt, settings: Mapping[str, Input]) -> NodeContext:
        call = attempt.call
        interface = {key: await self._values.resolve(value) for key, value in call.interface_inputs.items()}
        return NodeContext(
            prompt_id=call.run,
            node_id=call.path,
            services=attempt.services,
            attempt=attempt.epoch[0],
            user_id=call.run_user,
            mode_id=call.mode,
            config_values=with_secrets(call.config, settings),
            workflow_interface_inputs=interface,
            workflow_interface_outputs=call.interface_outputs,
            random=random.Random(f"{call.run}/{call.path}"),
            progress=self._progress(attempt),
            logger=log,
            is_cancelled=activity.is_cancelled,
        )

    def _progress(self, attempt: _Attempt) -> Any:
        last = 0.0
        loop = asyncio.get_running_loop()

        def progress(value: float, maximum: float) -> None:
            nonlocal last
            now = time.monotonic()
            if value >= maximum or now - last >= _PROGRESS_S:
                last = now
                # A node may call this from a thread of its own.
                loop.call_soon_threadsafe(
                    self._link.progress, attempt.call.run, attempt.call.path, attempt.epoch, value, maximum
                )

        return progress


class _Attempt:
    """One try of one node."""

    def __init__(
        self, call: NodeCall, epoch: Epoch, beat: Heartbeat, services: Services, secrets: SecretsOfRun
    ) -> None:
        self.call = call
        self.epoch = epoch
        self.beat = beat
        self.services = services
        self.secrets = secrets
        self.failures = epoch[0] - call.base_attempt - 1 - beat.waits
        self.fenced = False
        self._task = asyncio.current_task()

    @property
    def is_worker_stopping(self) -> bool:
        details = activity.cancellation_details()
        return details is not None and details.worker_shutdown and not details.cancel_requested

    def fence(self) -> None:
        """The log has a newer attempt: stop at once, before another call to a provider."""
        self.fenced = True
        if self._task is not None:
            self._task.cancel()

    def end_of_cancelled(self) -> BaseException:
        """What a cancelled attempt reports: interruption as such, a fence or a stopping worker as a try that waits."""
        if self.fenced:
            return _again("another attempt of this node is running", self.beat, code="fenced")
        if self.is_worker_stopping:
            return _again("the worker was stopped", self.beat, code="worker_stopped")
        return asyncio.CancelledError()


def _again(message: str, beat: Heartbeat, *, code: str, delay_s: float = 0.1) -> ApplicationError:
    """A failure that is none: tried again after `delay_s` and counted as a wait."""
    beat.count_wait()
    return ApplicationError(
        message,
        {"retryable": True},
        type=code,
        next_retry_delay=timedelta(seconds=delay_s),
        category=ApplicationErrorCategory.BENIGN,
    )


def _waiting(wait: NodeMustWait, beat: Heartbeat, secrets: SecretsOfRun) -> ApplicationError:
    return _again(
        redact(wait.message, secrets.revealed)[:MAX_MESSAGE], beat, code=wait.code, delay_s=max(wait.delay_s, 0.01)
    )


def _exhausted(call: NodeCall, failures: int) -> ApplicationError:
    message = f"node {call.path!r} was given up: {failures} attempts ended without a word (killed or timed out)"
    details = {"attempt": failures, "retryable": False}
    return ApplicationError(message, details, type="attempts_exhausted", non_retryable=True)


def _waits(details: Sequence[Any]) -> int:
    last = details[-1] if details else None
    return int(last.get("waits", 0)) if isinstance(last, dict) else 0


def _effective(definition: NodeDefinition, call: NodeCall) -> tuple[Execute, Mapping[str, Input], Mapping[str, Input]]:
    """The function, input slots and settings of a node type in the mode that was planned."""
    mode = definition.modes.get(call.mode) if call.mode else None
    execute = (mode.execute if mode else None) or definition.execute
    if execute is None:
        raise InvalidNode(f"node type {call.type!r} has no execute function", code="unknown_node_type")
    slots = mode.inputs if mode and mode.inputs else definition.inputs
    return execute, slots, {**definition.config_schema, **(mode.config_schema if mode else {})}


async def _error_behind(items: AsyncGenerator[Any, None], chunk: Chunk, attempt: _Attempt) -> NodeError:
    """Why a stream ended with an error chunk: the exception the node raises next, else what the chunk says."""
    with contextlib.suppress(StopAsyncIteration):
        await anext(items)
    content = redact(chunk.content, attempt.secrets.revealed)
    if not isinstance(content, Mapping):
        return NodeError(str(content), retryable=False)
    details = {key: content[key] for key in ("code", "type") if key in content}
    message = str(content.get("message", "the stream ended with an error"))
    return NodeError(message, code=str(content.get("code") or "node_failed"), details=details, retryable=False)
