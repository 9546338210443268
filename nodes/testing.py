"""For tests of nodes, ours and those of plugin authors: run one node by itself, with services that live in memory.

Example:
    >>> from innkeeper.nodes.library.utilities.text_merge import definition
    >>> run_node(definition, {"text_inputs": ["a", "b"], "separator": "-"})
    {'merged_text': 'a-b'}
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from innkeeper.nodes.bridge import Gate, bridged_context, bridged_inputs
from innkeeper.nodes.catalogue.checks import is_plain
from innkeeper.nodes.definition import Input, NodeDefinition
from innkeeper.nodes.errors import NodeError, NodeInputError, ProviderError, ResourceError
from innkeeper.nodes.node import (
    Channels,
    ChatRequest,
    ChatResponse,
    Chunk,
    EmittedEvent,
    EventReach,
    Events,
    Http,
    HttpRequest,
    HttpResponse,
    Inputs,
    Llm,
    ModelWish,
    NodeContext,
    Outputs,
    Route,
    SecretRef,
    Services,
    require_secret,
)
from innkeeper.nodes.output_checks import check_outputs, declared_outputs
from innkeeper.nodes.services.function_call import call_function, error_of_call, from_json, to_json
from innkeeper.nodes.services.llm.call_gate import CallOrigin, OpenGate
from innkeeper.nodes.services.llm.model_calls import ModelCalls, ModelServices


class MemorySecrets:
    """Secrets of a test. `environment` and `settings` play what the operator offers to nodes."""

    def __init__(self, environment: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or {})
        self._settings = dict(settings or {})
        self._values: dict[str, str] = {}
        self.revealed: list[tuple[str, str | None]] = []

    def hide(self, value: str) -> SecretRef:
        """Store a plain value, as the compiler does with what is typed into a secret slot."""
        ref = SecretRef(f"secret-{len(self._values) + 1}")
        self._values[ref.id] = value
        return ref

    async def reveal(self, ref: SecretRef | None, host: str | None = None) -> str:
        ref = require_secret(ref)
        if ref.id not in self._values:
            raise ResourceError(f"secret {ref.id!r} is unknown")
        self.revealed.append((ref.id, host))
        return self._values[ref.id]

    def from_environment(self, name: str) -> SecretRef | None:
        return self.hide(self._environment[name]) if name in self._environment else None

    def setting(self, name: str) -> str | None:
        return self._settings.get(name)


class MemoryBlobs:
    """Blobs in a dictionary."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        key = hashlib.sha256(data).hexdigest()
        self._data[key] = data
        return key

    async def get(self, sha256: str) -> bytes:
        if sha256 not in self._data:
            raise ResourceError(f"blob {sha256!r} is not stored")
        return self._data[sha256]


class MemoryResources:
    """Files of a test, by logical path."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.files = dict(files or {})

    async def read_bytes(self, path: str, *, max_bytes: int | None = None) -> bytes:
        if path not in self.files:
            raise ResourceError(f"resource {path!r} does not exist; resources are {', '.join(map(repr, self.files))}")
        if max_bytes is not None and len(self.files[path]) > max_bytes:
            raise ResourceError(f"resource {path!r} is larger than {max_bytes} bytes")
        return self.files[path]

    async def write_bytes(self, path: str, data: bytes) -> None:
        if not path.startswith("user://"):
            raise ResourceError(f"the resource path {path!r} is refused: only user:// can be written")
        self.files[path] = data


class MemoryChannels:
    """Routes of a test, given for every wish; `wishes` holds what was asked."""

    def __init__(self, *routes: Route) -> None:
        self._routes = routes
        self.wishes: list[ModelWish] = []

    async def routes(self, wish: ModelWish) -> tuple[Route, ...]:
        self.wishes.append(wish)
        if not self._routes:
            raise ProviderError("no channel is configured", code="not_found_error")
        return self._routes


class ToyHttp:
    """A web of a test: `answer` makes the response; `requests` holds what was asked."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse] | None = None) -> None:
        self._answer = answer or (lambda request: HttpResponse(200, {}, request.body))
        self.requests: list[HttpRequest] = []

    async def request(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return self._answer(request)


class MemoryEvents:
    """Takes the events of a test; `emitted` holds them. Nobody waits for them."""

    def __init__(self) -> None:
        self.emitted: list[EmittedEvent] = []

    async def emit(self, event: EmittedEvent) -> EventReach:
        self.emitted.append(event)
        return EventReach(f"{event.run}/{event.node}", started=0, woken=0)


class DirectScripts:
    """Calls functions in this process, without limits; values go through JSON and errors are told as in a run."""

    async def call(
        self, function: str, arguments: Mapping[str, Any], *, data: bytes = b"", timeout_s: float = 10.0
    ) -> Any:
        try:
            return from_json(to_json(call_function(function, from_json(to_json(dict(arguments))), data)))
        except Exception as error:
            raise error_of_call(function, error) from error


class ToyLlm:
    """A model that answers with the words of the last message reversed, or with what `answer` makes of the request.

    `requests` holds every request it got. An exception from `answer` is raised as the model's error.
    """

    def __init__(self, answer: Callable[[ChatRequest], str] | None = None) -> None:
        self._answer = answer or _reversed_words
        self.requests: list[ChatRequest] = []

    async def chat(self, request: ChatRequest) -> ChatResponse:
        text = self._record_and_answer(request)
        return ChatResponse(text, request.model, finish_reason="stop", usage=_usage(text))

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        text = self._record_and_answer(request)
        for index, word in enumerate(text.split(" ")):
            yield Chunk("text_chunk", word if index == 0 else f" {word}")
        usage = _usage(text)
        yield Chunk("usage_chunk", usage)
        end = {"finish_reason": "stop", "accumulated_text": text, "usage": usage, "model": request.model}
        yield Chunk("finish_reason_chunk", end)

    def _record_and_answer(self, request: ChatRequest) -> str:
        self.requests.append(request)
        return self._answer(request)


def memory_services(
    *,
    llm: Llm | None = None,
    secrets: MemorySecrets | None = None,
    files: Mapping[str, bytes] | None = None,
    channels: Channels | None = None,
    http: Http | None = None,
    events: Events | None = None,
) -> Services:
    """Services that touch nothing outside the test.

    `llm` gets requests as it does in a run: one with a `wish` has the first route filled in, its key revealed.
    """
    secrets, channels = secrets or MemorySecrets(), channels or MemoryChannels()
    shared = ModelServices(llm or ToyLlm(), channels, OpenGate(), b"")
    return Services(
        llm=ModelCalls(shared, secrets, CallOrigin()),
        secrets=secrets,
        resources=MemoryResources(files),
        blobs=MemoryBlobs(),
        channels=channels,
        http=http or ToyHttp(),
        scripts=DirectScripts(),
        events=events or MemoryEvents(),
    )


def run_node(
    definition: NodeDefinition,
    inputs: Mapping[str, Any],
    *,
    config: Mapping[str, Any] | None = None,
    services: Services | None = None,
    interface_inputs: Mapping[str, Any] | None = None,
    plugin_settings: Mapping[str, Any] | None = None,
    warnings: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    """Run a node and give its batch outputs; what it streams is dropped. Not for use in a running event loop.

    Args:
        warnings: Gets what the node tells by `context.warn`, as `{"code", "message"}`.

    Raises:
        NodeInputError: A required slot has neither a value nor a default.
    """
    return collect(
        definition,
        inputs,
        config=config,
        services=services,
        interface_inputs=interface_inputs,
        plugin_settings=plugin_settings,
        warnings=warnings,
    )[1]


def collect(
    definition: NodeDefinition,
    inputs: Mapping[str, Any],
    *,
    config: Mapping[str, Any] | None = None,
    services: Services | None = None,
    interface_inputs: Mapping[str, Any] | None = None,
    plugin_settings: Mapping[str, Any] | None = None,
    warnings: list[dict[str, str]] | None = None,
) -> tuple[list[Chunk], dict[str, Any]]:
    """Run a node and give its chunks and its batch outputs. Not for use in a running event loop."""
    return asyncio.run(
        collect_async(
            definition,
            inputs,
            config=config,
            services=services,
            interface_inputs=interface_inputs,
            plugin_settings=plugin_settings,
            warnings=warnings,
        )
    )


async def collect_async(
    definition: NodeDefinition,
    inputs: Mapping[str, Any],
    *,
    config: Mapping[str, Any] | None = None,
    services: Services | None = None,
    interface_inputs: Mapping[str, Any] | None = None,
    plugin_settings: Mapping[str, Any] | None = None,
    warnings: list[dict[str, str]] | None = None,
) -> tuple[list[Chunk], dict[str, Any]]:
    """`collect` for tests that are coroutines.

    Slots get their values as in a run: given ones, then defaults. Values of secret slots become references, a list
    of chunks in a stream slot becomes a stream. The outputs are held against the definition, as in a run.
    """
    config_values = {**_config_defaults(definition), **(config or {})}
    mode = definition.mode_for(config_values) or definition.modes.get(definition.default_mode_id or "")
    context = NodeContext(
        prompt_id="test-run",
        node_id="node",
        services=services or memory_services(),
        mode_id=mode.id if mode else None,
        config_values=config_values,
        plugin_settings=plugin_settings or {},
        workflow_interface_inputs=interface_inputs or {},
        random=random.Random("test-run/node"),
        warnings=[] if warnings is None else warnings,
    )
    slots = mode.inputs if mode else definition.inputs
    execute = (mode.execute if mode else None) or definition.execute
    if execute is None:
        raise NodeError(f"node type {definition.type!r} has no execute function")
    values = _slot_values(slots, inputs, context)
    # Runs of dynamic slots pass what they are given, as their slots are not in the definition.
    given = {**inputs, **values} if definition.dynamic_slots else values
    chunks, outputs = await (_drain_plain if is_plain(execute) else _drain)(execute, given, context)
    if not definition.interface_values:
        declared = declared_outputs(definition, context.mode_id, config_values)
        context.warnings.extend(check_outputs(outputs, declared, may_omit=definition.branches))
    return chunks, outputs


def text_of(chunks: Sequence[Chunk]) -> str:
    """The text of a stream."""
    return "".join(chunk.content for chunk in chunks if chunk.type == "text_chunk")


async def _drain_plain(execute: Any, inputs: Inputs, context: NodeContext) -> tuple[list[Chunk], dict[str, Any]]:
    """A plain function runs in a thread, as in a worker, and may wait there for its services."""
    home = asyncio.get_running_loop()
    there = bridged_inputs(inputs, home), bridged_context(context, home, Gate())

    def run() -> Any:
        result = execute(*there)
        return list(result) if inspect.isgenerator(result) else result

    result = await asyncio.to_thread(run)
    if isinstance(result, list):
        return await _gathered(_stream_of(result))
    return [], dict(await result if inspect.isawaitable(result) else result or {})


async def _drain(execute: Any, inputs: Inputs, context: NodeContext) -> tuple[list[Chunk], dict[str, Any]]:
    result = execute(inputs, context)
    return ([], dict(await result or {})) if inspect.isawaitable(result) else await _gathered(result)


async def _gathered(items: AsyncIterator[Any]) -> tuple[list[Chunk], dict[str, Any]]:
    chunks: list[Chunk] = []
    outputs: dict[str, Any] | None = None
    async for item in items:
        if outputs is not None:
            raise NodeError("the node yields after its Outputs, which must come last")
        if isinstance(item, Outputs):
            outputs = dict(item)
        elif isinstance(item, Chunk):
            chunks.append(item)
        else:
            raise NodeError(f"the node yields {type(item).__name__}; it may yield Chunk and one last Outputs")
    return chunks, outputs or {}


def _config_defaults(definition: NodeDefinition) -> dict[str, Any]:
    return {key: item.config["default"] for key, item in definition.config_schema.items() if "default" in item.config}


def _slot_values(slots: Mapping[str, Input], inputs: Mapping[str, Any], context: NodeContext) -> Inputs:
    values: Inputs = {}
    missing = []
    for key, slot in slots.items():
        if key in inputs:
            values[key] = _as_in_a_run(slot, inputs[key], context)
        elif "default" in slot.config:
            values[key] = slot.config["default"]
        elif slot.config.get("suggestions"):
            first = slot.config["suggestions"][0]
            values[key] = first["value"] if isinstance(first, Mapping) else first
        elif slot.is_required(context.config_values):
            missing.append(key)
    if missing:
        raise NodeInputError(f"required inputs without a value: {', '.join(map(repr, missing))}")
    return values


def _as_in_a_run(slot: Input, value: Any, context: NodeContext) -> Any:
    if slot.is_stream and isinstance(value, list):
        return _stream_of(value)
    if slot.secret:
        return _hidden(value, context)
    if slot.secret_keys and isinstance(value, Mapping):
        return {key: _hidden(item, context) if key in slot.secret_keys else item for key, item in value.items()}
    return value


def _hidden(value: Any, context: NodeContext) -> Any:
    secrets = context.services.secrets
    return secrets.hide(value) if value and isinstance(value, str) and isinstance(secrets, MemorySecrets) else value


async def _stream_of(chunks: Sequence[Chunk]) -> AsyncIterator[Chunk]:
    for chunk in chunks:
        yield chunk


def _reversed_words(request: ChatRequest) -> str:
    content = request.messages[-1]["content"] if request.messages else ""
    return " ".join(reversed(content.split())) if isinstance(content, str) else ""


def _usage(text: str) -> dict[str, int]:
    return {"prompt_tokens": 0, "completion_tokens": len(text.split()), "total_tokens": len(text.split())}
