"""What the author of a node needs, on one page: the context, chunks, and the last word of a stream node."""

from __future__ import annotations

import hashlib
import logging
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import whole_text

ChunkType = Literal[
    "text_chunk",
    "reasoning_chunk",
    "tool_call_chunk",
    "finish_reason_chunk",
    "usage_chunk",
    "error_chunk",
    "custom",
]
USUAL_PRIORITY = 3
PRIORITIES = (1, 5)
"""The first and the last of those that wait for one limit."""
PrefixKind = Literal["none", "trailing", "prefix", "continue_final_message", "partial"]
StructuredKind = Literal["none", "json_object", "json_schema"]
Inputs = dict[str, Any]

MAX_WARNINGS = 20
MAX_WARNING_CHARS = 500
MAX_WARNING_CODE_CHARS = 64
_NOT_IN_CODE = re.compile("[^a-z0-9]+")


@dataclass(frozen=True)
class Chunk:
    """One piece of a node's stream. `extra` fields travel beside `type` and `content`."""

    type: ChunkType
    content: Any
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"type": self.type, "content": self.content, **self.extra}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Chunk:
        extra = {key: value for key, value in data.items() if key not in ("type", "content")}
        return cls(data["type"], data.get("content"), extra)


class Outputs(dict[str, Any]):
    """The batch outputs of a stream node, yielded once, last: a Python generator cannot return a value."""


@dataclass(frozen=True)
class SecretRef:
    """A secret by name, without its value. JSON form: `{"$secret": id}`. Reveal it in the node that spends it."""

    id: str

    def to_json(self) -> dict[str, str]:
        return {"$secret": self.id}


def require_secret(ref: SecretRef | None) -> SecretRef:
    """The reference. Raises NodeInputError for None, which an input or a setting holds that nobody has set."""
    if ref is None:
        raise NodeInputError("there is no secret to reveal: the input or the setting that names it is not set")
    return ref


class Secrets(Protocol):
    """Secrets, as one node run sees them (bound to its user)."""

    async def reveal(self, ref: SecretRef | None, host: str | None = None) -> str:
        """The plain value, for a request to `host`.

        Raises:
            NodeInputError: There is none: the input or setting is not set.
            ResourceError: Unknown, foreign, or not for that host.
        """

    def from_environment(self, name: str) -> SecretRef | None:
        """A reference to an environment value of the operator; None when it is not set or not offered to nodes."""

    def setting(self, name: str) -> str | None:
        """A non-secret environment value offered to nodes (`OPENAI_API_BASE`)."""


class Resources(Protocol):
    """Files by logical path: `user://`, `shared://`, `system://`. All raise ResourceError."""

    async def read_bytes(self, path: str, *, max_bytes: int | None = None) -> bytes: ...

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file whole or not at all; folders on the way are made. Nodes may write below `user://` only."""


class Blobs(Protocol):
    """Large values by content hash. One is kept as long as an output that holds the hash, as a text, is kept."""

    async def put(self, data: bytes) -> str:
        """Store bytes, give back their sha256 in hex."""

    async def get(self, sha256: str) -> bytes:
        """Raises ResourceError when it is not there."""


@dataclass(frozen=True)
class ModelWish:
    """What a node asks of a model: a model by id, or capabilities that one must have."""

    model_id: str = ""
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChannelTraits:
    """How a channel, or one model of it, differs from what its protocol says.

    Attributes:
        headers, query: Sent with every request (Azure's `api-version`, OpenRouter's `X-Title`).
        rename: Parameter to its name there, such as `max_tokens` to `max_completion_tokens`.
        defaults: Parameters that are sent when the request has none of that name.
        drop: Parameters that the model refuses; they are left out.
        prefix: How an answer that broke off is continued there.
        structured: What the model itself can do to keep to a schema.
        think_tags: Text between `<think>` and `</think>` is reasoning.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    prefix: PrefixKind = "none"
    structured: StructuredKind = "none"
    think_tags: bool = False


@dataclass(frozen=True)
class ChatTimes:
    """How long a model may take, in seconds; None has no limit.

    Attributes:
        first: Until the first piece of the answer.
        silence: Between two pieces.
        whole: For all of the answer.
    """

    first: float | None = 600.0
    silence: float | None = 600.0
    whole: float | None = None


@dataclass
class CallTrace:
    """What a call told beside its answer, also when it failed or was cut. Filled in while the call is under way.

    Attributes:
        headers: The provider's `x-ratelimit-*` and `retry-after*` headers, in lower case.
        usage: As `ChatResponse.usage`; the last that was told.
        was_sent: The provider may have got the request: something can have been spent. None where nobody tells.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    usage: Mapping[str, Any] | None = None
    was_sent: bool | None = None


@dataclass(frozen=True)
class ChatRequest:
    """One chat completion. `base_url` and `api_key` name the endpoint; `parameters` are the sampling parameters.

    Attributes:
        wish: Asks a model of the operator's channels; what names an endpoint is then filled in, and what is here of it
            does not count.
        adapter: The protocol that is spoken there.
        channel_id: The operator's channel it goes through, whose address needs no further permission.
        traits: How that channel differs from its protocol.
        prefix: The beginning of the answer, which the model goes on from as `traits.prefix` says.
        response_schema: JSON Schema that the answer shall keep to, where `traits.structured` says the model can.
        priority: Of those that wait for one limit, 1 goes before all others and 5 behind them.
        trace: Gets what the call tells beside its answer; for those between a node and its adapter.
    """

    base_url: str = ""
    model: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    api_key: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    adapter: str = "openai"
    channel_id: str = ""
    wish: ModelWish | None = None
    traits: ChannelTraits = ChannelTraits()
    times: ChatTimes = ChatTimes()
    prefix: str = ""
    response_schema: Mapping[str, Any] | None = None
    priority: int = USUAL_PRIORITY
    trace: CallTrace | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class ChatResponse:
    """The standard response (reference llm 3). `raw_response` is the provider's own answer, as JSON.

    Attributes:
        finish_reason: `stop`, `length`, `tool_calls`, `content_filter`, or the provider's own word.
        usage: `prompt_tokens` (cached ones are part of them), `completion_tokens` (reasoning is part of them),
            `total_tokens`, `prompt_tokens_details.cached_tokens`, `completion_tokens_details.reasoning_tokens`.
        reasoning: What the model thought, where it tells.
        tool_calls: `{id, type: "function", function: {name, arguments}}`, `arguments` a JSON text.
        channel_id: The channel that answered; "" for an address in the graph.
        tried: What did not answer before it: `{channel, model, code, message}` each.
    """

    text: str
    model: str
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    response_id: str | None = None
    choices: tuple[Mapping[str, Any], ...] = ()
    raw_response: Mapping[str, Any] | None = None
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    channel_id: str = ""
    tried: tuple[Mapping[str, Any], ...] = ()


class Llm(Protocol):
    """Language models. Errors are ProviderError with a code of reference llm 5."""

    async def chat(self, request: ChatRequest) -> ChatResponse: ...

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Yields `text_chunk`, `reasoning_chunk`, `tool_call_chunk`, `usage_chunk`, and one last `finish_reason_chunk`
        with `{finish_reason, accumulated_text, usage}` and, where there are any, `reasoning`, `tool_calls`, `model`,
        `response_id`, `channel_id`, `tried`."""


@dataclass(frozen=True)
class Route:
    """One way to ask for an answer: a model at a channel. `adapter` names the protocol that is spoken there."""

    channel_id: str
    model_id: str
    base_url: str
    api_key: SecretRef | None = None
    adapter: str = "openai"
    traits: ChannelTraits = ChannelTraits()


class Channels(Protocol):
    """The operator's language model endpoints."""

    async def routes(self, wish: ModelWish) -> tuple[Route, ...]:
        """The routes that fit, best first (reference llm 4). Raises ProviderError when none does, naming what lacks."""


@dataclass(frozen=True)
class HttpRequest:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout_s: float = 30.0


@dataclass(frozen=True)
class HttpResponse:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Http(Protocol):
    """Requests to where the operator allows them to go."""

    async def request(self, request: HttpRequest) -> HttpResponse:
        """Raises RequestRefused (address), ProviderError (unreachable, too late), ResourceError (answer too large)."""


class Scripts(Protocol):
    """Pure functions in a process of their own, which is killed at their time or memory limit."""

    async def call(
        self, function: str, arguments: Mapping[str, Any], *, data: bytes = b"", timeout_s: float = 10.0
    ) -> Any:
        """Call `module:name` (below `nodes`) with JSON arguments and, if there is any, `data=`; gives its JSON result.

        Raises:
            NodeTimeout: It ran longer than `timeout_s`; not retryable.
            NodeError: It needed more memory than allowed, or died; not retryable.
            InnkeeperError: What the function itself raised, with its class, code, message and details.
        """


@dataclass(frozen=True)
class EmittedEvent:
    """The event of a node: `run` and `node` say whose (`NodeContext.prompt_id` and `node_id`).

    Attributes:
        data: JSON, at most 256,000 bytes of it, without secrets.
    """

    run: str
    node: str
    name: str
    data: Any = None


@dataclass(frozen=True)
class EventReach:
    """What an event has done.

    Attributes:
        started: How many runs triggers have started, or will start.
        woken: How many runs waited for it.
    """

    event_id: str
    started: int
    woken: int


class Events(Protocol):
    """Events for triggers and for runs that wait."""

    async def emit(self, event: EmittedEvent) -> EventReach:
        """Post an event. One node of a run has one event: emitted again, it does nothing again.

        Raises:
            NodeMustWait: The gateway does not take it now.
            NodeError: It refuses the event; or it is not known whether it has it, and trying again will tell.
        """


@dataclass(frozen=True)
class Services:
    """What a node may use of the world outside its inputs."""

    llm: Llm
    secrets: Secrets
    resources: Resources
    blobs: Blobs
    channels: Channels
    http: Http
    scripts: Scripts
    events: Events


@dataclass(frozen=True)
class NodeContext:
    """Everything a node run knows besides its inputs.

    Attributes:
        node_id: The node's path in the run (`outer/inner` inside groups).
        attempt: 1 for the first try.
        is_last_attempt: When this try fails, the node has failed for good.
        timeout_s: The node's own limit in seconds, for what its type counts (`NodeDefinition.timeout_counts`); 0: none.
        plugin_settings: Every option of the `configOptions` of the node's plugin, with the operator's value or its
            default; empty for nodes of no plugin.
        workflow_interface_inputs: What the run or group was given from outside; only for node types with
            `interface_values`.
        random: Seeded by run and path: the same numbers when the node runs again.
        progress: `progress(value, max)` reports how far the node is.
        is_cancelled: Says whether the run was interrupted; long loops without `await` should look.
        warnings: What the node told by `warn` so far: `{"code", "message"}`, oldest first.
    """

    prompt_id: str
    node_id: str
    services: Services
    attempt: int = 1
    is_last_attempt: bool = False
    timeout_s: float = 0.0
    user_id: str = "default_user"
    mode_id: str | None = None
    config_values: Mapping[str, Any] = field(default_factory=dict)
    plugin_settings: Mapping[str, Any] = field(default_factory=dict)
    workflow_interface_inputs: Mapping[str, Any] = field(default_factory=dict)
    random: random.Random = field(default_factory=random.Random)
    progress: Callable[[float, float], None] = lambda value, maximum: None
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger] = field(
        default_factory=lambda: logging.getLogger("innkeeper.node")
    )
    is_cancelled: Callable[[], bool] = lambda: False
    warnings: list[dict[str, str]] = field(default_factory=list)

    def warn(self, code: str, message: str) -> None:
        """Tell the user of something that the node overlooked; the warning is part of the node's result.

        Never raises: a warning must not fail the node. Duplicates, and those after `MAX_WARNINGS`, are dropped.

        Args:
            code: What kind of warning it is, for programs: snake_case, at most `MAX_WARNING_CODE_CHARS`.
            message: What was found and what became of it, without secrets; cut at `MAX_WARNING_CHARS`. Lone
                surrogates become U+FFFD, because no UTF-8 text can hold them.
        """
        warning = {"code": _code(code), "message": _shortened(_printable(message))}
        if len(self.warnings) < MAX_WARNINGS and warning not in self.warnings:
            self.warnings.append(warning)

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt: a provider that knows such a key does not charge a repeated call again."""
        return hashlib.sha256(f"{self.prompt_id}/{self.node_id}".encode()).hexdigest()


def _printable(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # whatever the `__str__` of a node's own class does
        text = type(value).__name__
    return whole_text(text)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_WARNING_CHARS else text[: MAX_WARNING_CHARS - 1] + "\u2026"


def _code(value: object) -> str:
    words = _NOT_IN_CODE.sub("_", _printable(value).lower())
    return words.strip("_")[:MAX_WARNING_CODE_CHARS].strip("_") or "warning"
