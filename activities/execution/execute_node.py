"""The activity that runs one node: fence, inputs, the node's own function, outputs, acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from innkeeper.activities.execution.attempt import Attempt, BeganAnew, SecretsOfRun
from innkeeper.activities.execution.heartbeat import EarlierAttempts, Heartbeat
from innkeeper.activities.execution.heartbeat_pace import HeartbeatPace
from innkeeper.activities.execution.memory_budget import MemoryBudget
from innkeeper.activities.execution.node_reports import NodeLog, ProgressReporter
from innkeeper.activities.execution.on_crash import RESTARTED, policy_of, services_of
from innkeeper.activities.execution.output_packer import OutputPacker
from innkeeper.activities.execution.result_cache import ResultCache, Results
from innkeeper.activities.execution.stream import Collected, StreamInputs, StreamOutput
from innkeeper.activities.execution.values import Values, stored_bytes, with_secrets
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.node_attempt import Epoch
from innkeeper.activities.link.pending_answers import Answer
from innkeeper.activities.placement.node_exit import node_exits_as_errors
from innkeeper.activities.placement.node_host import NodeHost, place_of_node, run_here
from innkeeper.activities.placement.node_threads import Warn
from innkeeper.activities.settings import INPUT_ROOM_MB
from innkeeper.nodes.bridge import Gate, bridged_services
from innkeeper.nodes.call import BUDGET_REACHED, EXECUTE_NODE, NodeCall, NodeResult
from innkeeper.nodes.catalogue.plugin_settings import PluginSettings
from innkeeper.nodes.definition import Execute, Input, NodeDefinition
from innkeeper.nodes.errors import InvalidNode, NodeMustWait
from innkeeper.nodes.node import NodeContext, Services
from innkeeper.nodes.output_checks import check_outputs, declared_outputs
from innkeeper.nodes.services.llm.call_gate import CallOrigin
from innkeeper.nodes.services.llm.salvage import needs_no_request

log = logging.getLogger("innkeeper.node")

T = TypeVar("T")


class Catalogue(Protocol):
    def get_node(self, full_type: str) -> NodeDefinition | None: ...


class ServicesFor(Protocol):
    """Composes the services of one node run."""

    def __call__(self, origin: CallOrigin) -> tuple[Services, SecretsOfRun]: ...


def origin_of(call: NodeCall, attempt: int) -> CallOrigin:
    """Whose requests those of this attempt are. `attempt`: as the server counts, from 1."""
    return CallOrigin(call.run, call.path, call.base_attempt + attempt, call.run_user)


Requery = Callable[[str, Iterable[str]], Awaitable[None]]
"""Makes some worker look again at where some nodes of a run stand, so that what was told of them is told once more."""


class _Finished(Exception):
    """The log has this node's outputs already."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        self.outputs = outputs


async def _no_requery(run: str, paths: Iterable[str]) -> None:
    pass


class ExecuteNode:
    """Runs nodes of one catalogue. Holds no state between calls.

    Args:
        services_for: Composes the services of one node run.
        results: What the result cache holds; without it every node runs.
        plugin_settings: Settings of a node's plugin, by full node type; whoever loads plugins anew changes it.
        host: Where nodes run that do not run on the worker's loop.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        services_for: ServicesFor,
        link: GatewayLink,
        values: Values,
        *,
        requery: Requery = _no_requery,
        results: Results | None = None,
        memory_budget: MemoryBudget | None = None,
        plugin_settings: Mapping[str, PluginSettings] | None = None,
        host: NodeHost | None = None,
    ) -> None:
        self._catalogue = catalogue
        self.services_for = services_for
        self._link = link
        self._pace = HeartbeatPace(link.interrupts)
        self._values = values
        self._requery = requery
        self._packer = OutputPacker(values)
        self._cache = ResultCache(results)
        # Not `or {}`: an empty one may be filled later.
        self._plugin_settings = {} if plugin_settings is None else plugin_settings
        self._host = host or NodeHost.of()
        self._memory_budget = memory_budget or MemoryBudget(INPUT_ROOM_MB * 1_000_000)

    @activity.defn(name=EXECUTE_NODE)
    async def execute_node(self, raw: dict[str, Any]) -> dict[str, Any]:
        # Plain objects on the wire: decoding a dataclass by its type hints was measured at 275 us, this at 9.
        call = NodeCall(**raw)
        info = activity.info()
        earlier = EarlierAttempts.of(info.attempt, info.heartbeat_details)
        heartbeat = Heartbeat(earlier, pace=self._pace, run=call.run)
        attempt = Attempt(call, heartbeat, *self.services_for(origin_of(call, info.attempt)))
        heartbeat.start()
        attempt.start()
        try:
            return (await self._run(attempt)).to_wire()
        except asyncio.CancelledError:
            raise self._announced(attempt, attempt.cancelled()) from None
        except NodeMustWait as wait:
            raise self._announced(attempt, attempt.must_wait(wait)) from None
        except ApplicationError:
            raise
        except Exception as error:
            log.debug("node failed", exc_info=True)
            found = attempt.failed(error)
            raise self._announced(attempt, await self._known(attempt, found)) from None
        finally:
            attempt.stop()
            heartbeat.stop()

    async def _known(self, attempt: Attempt, found: ApplicationError) -> BaseException:
        """The end of an attempt, once the log knows of the attempt itself, where somebody else tells how it goes on.

        The run tells that a node is out of budget, on the socket of its own worker, which may be another one.
        """
        try:
            if found.type == BUDGET_REACHED and attempt.is_open:
                await self._link.acknowledged(attempt.open_number)
        except asyncio.CancelledError:
            return attempt.cancelled()
        return found

    def _announced(self, attempt: Attempt, found: BaseException) -> BaseException:
        """How an attempt failed, once it is counted and the log was told whether another one follows."""
        if isinstance(found, ApplicationError) and not attempt.has_waited:
            attempt.heartbeat.count_failure(timed_out=attempt.has_timed_out)
        if (notice := attempt.notice(found)) is not None:
            self._link.retry(attempt.key, notice)
        return found

    async def run_plain(self, attempt: Attempt, home: asyncio.AbstractEventLoop | None = None) -> dict[str, Any]:
        """The packed outputs of a node that neither reads nor gives streams, run here and now.

        `home`: the worker's loop, when this is called in the thread of plugins (`in_shared_thread`).

        Raises:
            InvalidNode: This worker has no such node type. Else what the node raises.
        """
        definition = self._definition(attempt.call)
        execute, slots, settings = _effective(definition, attempt.call)
        inputs = await self._values.resolve_inputs(attempt.call.inputs, attempt.call.multi, slots)
        context = self._context(attempt, settings, home)
        if home is not None:
            answer = await run_here(execute, inputs, context)
        else:
            with node_exits_as_errors():
                answer = self._host.start(definition, execute, inputs, context, warn=self._warner(attempt, context))
                answer = answer if isinstance(answer, AsyncGenerator) else await answer
        if isinstance(answer, AsyncGenerator | Generator):
            raise InvalidNode("an inline node must not yield; use placement 'activity'")
        given = answer or {}
        _check(definition, attempt, given)
        return await self._packer.pack(attempt, given, Collected())

    def shares_thread(self, type: str, mode: str | None) -> bool:
        """Does a node run in the thread that nodes of plugins share?"""
        definition = self._catalogue.get_node(type)
        execute = _function(definition, mode) if definition is not None else None
        return definition is not None and execute is not None and place_of_node(definition, execute) == "shared_thread"

    def in_shared_thread(
        self, work: Coroutine[Any, Any, None], *, name: str, warn: Warn, on_stop: Callable[[], None]
    ) -> Coroutine[Any, Any, None]:
        """Run work of ours that calls nodes there. Raises as `NodeThreads.run`."""
        return self._host.threads.run(work, name=name, warn=warn, exclusive=False, on_stop=on_stop)

    async def _run(self, attempt: Attempt) -> NodeResult:
        async with StreamInputs(self._link, attempt, self._requery) as inputs:
            await inputs.opened()
            while True:
                try:
                    return await self._run_epoch(attempt, inputs)
                except _Finished as finished:
                    return NodeResult(finished.outputs, attempt.number)
                except BeganAnew:
                    attempt.next_generation()

    async def _run_epoch(self, attempt: Attempt, inputs: StreamInputs) -> NodeResult:
        call, key = attempt.call, attempt.key
        forget = self._link.on_fenced(key, attempt.fence)
        try:
            definition = self._catalogue.get_node(call.type)
            is_resumable = definition is not None and definition.stream_resumable and not call.collect_chunks
            resume = inputs.only_origin if is_resumable else None
            attempt.on_crash = policy_of(definition, attempt)
            answer = await self._open(attempt, resume)
            if attempt.is_exhausted and not (attempt.kept and needs_no_request(attempt.kept, attempt.on_crash)):
                raise attempt.exhausted()
            definition = self._definition(call)
            cache_key = self._cache.key(call, definition.version, self._settings_of(call))
            if (cached := await self._cache.get(call, cache_key)) is not None:
                if attempt.kept:
                    raise attempt.begin_anew("the result cache has another answer")
                known = NodeResult(cached.outputs, attempt.number, cached=True, warnings=list(cached.warnings))
                return await self._log_complete(attempt, known)
            output = StreamOutput(self._link, attempt, answer, inputs=inputs, is_resumable=resume is not None)
            async with self._memory_budget.taken(_room_for(call)):
                execution = self._execute(definition, attempt, inputs, output, skip=answer.used)
                may_restart = bool(call.stream_inputs or attempt.kept)
                given = await (_until(attempt.restarted, execution) if may_restart else execution)
                if definition.interface_values:
                    outputs = await self._packer.pack_interface(call, given)
                else:
                    _check(definition, attempt, given)
                    outputs = await self._packer.pack(attempt, given, output.collected)
                del given  # it may be large, and the log may be slow
            await self._cache.put(attempt, cache_key, outputs)
            result = NodeResult(outputs, attempt.number, warnings=attempt.warnings)
            return await self._log_complete(attempt, result, end=bool(call.streams) and not output.collected.ended)
        finally:
            forget()
            self._link.close_stream(key)

    def _definition(self, call: NodeCall) -> NodeDefinition:
        definition = self._catalogue.get_node(call.type)
        if definition is None:
            message = f"this worker has no node type {call.type!r}; install its plugin on every worker, and enable it"
            # Tried again: another worker may have it, and this one may be about to load it.
            raise InvalidNode(message, code="unknown_node_type", retryable=True)
        return definition

    def _settings_of(self, call: NodeCall) -> PluginSettings:
        return self._plugin_settings.get(call.type, {})

    async def _open(self, attempt: Attempt, resume: Epoch | None) -> Answer:
        """Announce the attempt. Later ones ask: an earlier one may be logged, and a provider must not be paid again.

        Raises:
            BeganAnew: It should keep what earlier attempts have sent, but nobody knows what that is.
        """
        if attempt.key.is_first:
            attempt.open_number = self._link.open(attempt.key, attempt.call.type, resume)
            attempt.is_open = True
            return Answer("ok")
        keep = attempt.on_crash != "restart"
        answer = await self._link.ask_open(attempt.key, attempt.call.type, resume, keep=keep)
        if keep and answer.status == "away":
            # What this attempt sent would join what is there, once the gateway takes both.
            raise attempt.begin_anew("the gateway could not be asked for it")
        if answer.status == "finished":
            raise _Finished(answer.outputs or {})
        if answer.status == "fenced":
            attempt.fenced = True
            raise asyncio.CancelledError
        attempt.is_open = True
        attempt.kept = answer.kept
        if attempt.why_anew:
            told = f"the answer that broke off is asked for anew: {attempt.why_anew}"
            attempt.warn(RESTARTED, told)
            self._link.warning(attempt.key, RESTARTED, attempt.warnings[-1]["message"])
        return answer

    async def _log_complete(self, attempt: Attempt, result: NodeResult, *, end: bool = False) -> NodeResult:
        """Wait for the log. An interruption that comes now is too late: what is logged has happened.

        `end`: the node streamed, and its last chunk did not end the stream. Gives the result, and whether it is logged.
        """
        logging_it = asyncio.ensure_future(
            self._link.complete(
                attempt.key,
                result.outputs,
                end=end,
                is_awaited=attempt.call.keep_chunks,
                cached=result.cached,
                warnings=result.warnings,
            )
        )
        while True:
            try:
                with attempt.time.waiting():
                    logged = await asyncio.shield(logging_it)
                break
            except asyncio.CancelledError:
                if attempt.fenced or attempt.is_worker_stopping:
                    # The next attempt asks the log first, and finds what was logged meanwhile.
                    logging_it.cancel()
                    raise
        if attempt.fenced:
            raise asyncio.CancelledError
        return result if logged else replace(result, logged=False)

    async def _execute(
        self, definition: NodeDefinition, attempt: Attempt, streams: StreamInputs, output: StreamOutput, *, skip: int
    ) -> Mapping[str, Any]:
        call = attempt.call
        execute, slots, settings = _effective(definition, call)
        inputs = await self._values.resolve_inputs(call.inputs, call.multi, slots)
        streams.put_into(inputs, slots, skip)
        context = self._context(attempt, settings)
        with node_exits_as_errors():
            answer = self._host.start(definition, execute, inputs, context, warn=self._warner(attempt, context))
            if isinstance(answer, AsyncGenerator):
                return await output.publish_all(answer) or {}
            return await answer or {}

    def _warner(self, attempt: Attempt, context: NodeContext) -> Warn:
        """Tells of a node that blocks: it may take long to end, or never do so."""

        def warn(code: str, message: str) -> None:
            context.warn(code, message)
            self._link.warning(attempt.key, code, message)

        return warn

    def _context(
        self, attempt: Attempt, settings: Mapping[str, Input], home: asyncio.AbstractEventLoop | None = None
    ) -> NodeContext:
        """`home`: the worker's loop, when the node runs in the thread this is called in, which is another one."""
        call = attempt.call
        services = services_of(attempt) if home is None else bridged_services(attempt.services, home, Gate())
        about = {"run": call.run, "node": call.path, "attempt": attempt.number}
        logger = NodeLog(log, about, attempt.secrets.revealed)
        return NodeContext(
            prompt_id=call.run,
            node_id=call.path,
            services=services,
            attempt=attempt.number,
            is_last_attempt=attempt.is_last,
            timeout_s=call.active_timeout_s,
            user_id=call.run_user,
            mode_id=call.mode,
            config_values=with_secrets(call.config, settings),
            plugin_settings=self._settings_of(call),
            # As they travel: core:GroupInput hands them on, and all of them whole may be more than fits.
            workflow_interface_inputs=call.interface_inputs,
            random=random.Random(f"{call.run}/{call.path}"),
            progress=ProgressReporter(self._link, attempt.key, logger, home),
            logger=logger,
            is_cancelled=activity.is_cancelled,
            warnings=attempt.told,
        )


async def _until(restarted: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, or give it up and raise BeganAnew as soon as what it reads begins anew."""
    outer = asyncio.current_task()
    task = asyncio.create_task(work, name=outer.get_name() if outer else None)
    watching = asyncio.create_task(restarted.wait())
    try:
        await asyncio.wait((task, watching), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise BeganAnew
    finally:
        for each in (task, watching):
            each.cancel()
        await asyncio.gather(task, watching, return_exceptions=True)


def _room_for(call: NodeCall) -> int:
    """Bytes of large inputs. A node of a stream never waits for memory: who holds it might wait for the stream."""
    return 0 if call.streams or call.stream_inputs else stored_bytes(call.inputs.values())


def _check(definition: NodeDefinition, attempt: Attempt, given: object) -> None:
    """Hold the outputs of a node against its definition; what is only odd becomes a warning of the node."""
    declared = declared_outputs(definition, attempt.call.mode, attempt.call.config)
    attempt.told += check_outputs(given, declared, may_omit=definition.branches)


def _effective(definition: NodeDefinition, call: NodeCall) -> tuple[Execute, Mapping[str, Input], Mapping[str, Input]]:
    """The function, input slots and settings of a node type in the mode that was planned."""
    mode = definition.modes.get(call.mode) if call.mode else None
    execute = _function(definition, call.mode)
    if execute is None:
        raise InvalidNode(f"node type {call.type!r} has no execute function", code="unknown_node_type")
    slots = mode.inputs if mode and mode.inputs else definition.inputs
    return execute, slots, {**definition.config_schema, **(mode.config_schema if mode else {})}


def _function(definition: NodeDefinition, mode_id: str | None) -> Execute | None:
    mode = definition.modes.get(mode_id) if mode_id else None
    return (mode.execute if mode else None) or definition.execute
