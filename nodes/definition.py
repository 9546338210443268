"""A node type as data: slots, modes, bypass behaviour, and the one rule that says which output may feed which input."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

DATA_FLOW_TYPES = (
    "STRING",
    "INTEGER",
    "FLOAT",
    "BOOLEAN",
    "OBJECT",
    "ARRAY",
    "BINARY",
    "WILDCARD",
    "CONVERTIBLE_ANY",
)
Placement = Literal["activity", "inline", "workflow", "thread", "process"]
Required = bool | Callable[[Mapping[str, Any]], bool] | Mapping[str, Any]

TYPED_EMPTY: dict[str, Any] = {"STRING": "", "INTEGER": 0, "FLOAT": 0, "BOOLEAN": False, "ARRAY": [], "OBJECT": {}}
_BEHAVIOUR_CATEGORIES = frozenset({"BehaviorWildcard", "BehaviorConvertible"})


@dataclass(frozen=True)
class _Slot:
    data_flow_type: str
    display_name: str | None = None
    description: str | None = None
    is_stream: bool = False
    match_categories: tuple[str, ...] = ()
    allow_dynamic_type: bool = False
    hide_handle: bool = False

    def __post_init__(self) -> None:
        # The requirement still names two types the editor has since dropped; both stay readable.
        if self.data_flow_type == "STREAM":
            object.__setattr__(self, "data_flow_type", "WILDCARD")
            object.__setattr__(self, "is_stream", True)
        if self.data_flow_type == "CODE":
            object.__setattr__(self, "data_flow_type", "STRING")
            object.__setattr__(self, "match_categories", (*self.match_categories, "Code"))
        object.__setattr__(self, "match_categories", tuple(self.match_categories))

    @property
    def is_wildcard(self) -> bool:
        return self.data_flow_type == "WILDCARD" or "BehaviorWildcard" in self.match_categories

    @property
    def is_convertible(self) -> bool:
        return self.data_flow_type == "CONVERTIBLE_ANY" or "BehaviorConvertible" in self.match_categories

    @property
    def categories(self) -> frozenset[str]:
        """Categories that describe content, without the two behaviour marks."""
        return frozenset(self.match_categories) - _BEHAVIOUR_CATEGORIES

    def _to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"dataFlowType": self.data_flow_type}
        if self.display_name is not None:
            data["displayName"] = self.display_name
        if self.description is not None:
            data["description"] = self.description
        if self.match_categories:
            data["matchCategories"] = list(self.match_categories)
        if self.is_stream:
            data["isStream"] = True
        if self.allow_dynamic_type:
            data["allowDynamicType"] = True
        if self.hide_handle:
            data["hideHandle"] = True
        return data


@dataclass(frozen=True)
class Output(_Slot):
    """An output slot.

    Attributes:
        secret_keys: Inner keys of an object value that hold secret references.
        required: The node fails when it gives nothing for it; else that is only a warning.
    """

    secret_keys: tuple[str, ...] = ()
    required: bool = False

    def to_json(self) -> dict[str, Any]:
        return self._to_json()


@dataclass(frozen=True)
class Input(_Slot):
    """An input slot or a config item.

    Attributes:
        required: A bool, a callable of the config values, or `{"when": {config key: value}}`.
        multi: Accepts several edges and gives the node a list.
        config: `default`, `min`, `max`, `step`, `suggestions`, `multiline`, ... as the editor knows them.
        secret: The whole value is a secret: it travels as `{"$secret": id}`.
        secret_keys: Inner keys of an object value that are secret.
    """

    required: Required = False
    multi: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    actions: tuple[Mapping[str, Any], ...] = ()
    secret: bool = False
    secret_keys: tuple[str, ...] = ()

    def is_required(self, config_values: Mapping[str, Any]) -> bool:
        if callable(self.required):
            return bool(self.required(config_values))
        if isinstance(self.required, Mapping):
            when = self.required.get("when", {})
            return all(config_values.get(key) == value for key, value in when.items())
        return bool(self.required)

    def to_json(self) -> dict[str, Any]:
        data = self._to_json()
        if isinstance(self.required, Mapping):
            data["required"] = dict(self.required)
        elif not callable(self.required):
            data["required"] = self.required
        if self.multi:
            data["multi"] = True
        if self.config:
            data["config"] = dict(self.config)
        if self.actions:
            data["actions"] = [dict(action) for action in self.actions]
        if self.secret:
            data["secret"] = True
        if self.secret_keys:
            data["secretKeys"] = list(self.secret_keys)
        return data


@dataclass(frozen=True)
class Retry:
    """How often and how fast a node is tried again, and after what not.

    Every exception of a node is tried again, unless it says that this will not help (`InnkeeperError.retryable`).

    Attributes:
        maximum_attempts: Counts failures, never waits.
        non_retryable: Error codes, and names of exception classes; a class stands for those derived from it, too.
    """

    maximum_attempts: int = 4
    initial_seconds: float = 1.0
    backoff: float = 2.0
    maximum_seconds: float = 30.0
    non_retryable: tuple[str, ...] = ()


@dataclass(frozen=True)
class BypassBehavior:
    """What a bypassed node gives: `pass_through` {output: input}, then `defaults` {output: value}, then empties.

    `"*"` as an output of `pass_through` stands for those that are not named. `without` lists outputs that give nothing;
    what hangs on one of these does not run when the node `branches`.
    """

    pass_through: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        without = {"without": list(self.without)} if self.without else {}
        return {"passThrough": dict(self.pass_through), "defaults": dict(self.defaults), **without}


def _settings_json(schema: Mapping[str, Input]) -> dict[str, Any]:
    """ComfyTavern's editor takes the label of a setting from its `config`, of a slot from its `displayName`."""
    return {key: _labelled(slot).to_json() for key, slot in schema.items()}


def _labelled(slot: Input) -> Input:
    return slot if slot.display_name is None else replace(slot, config={"label": slot.display_name, **slot.config})


def _bypass_json(behaviour: Literal["mute"] | BypassBehavior) -> str | dict[str, Any]:
    return behaviour if isinstance(behaviour, str) else behaviour.to_json()


# A batch node is `async def execute(inputs, context) -> dict`; a stream node is an async generator
# of `Chunk`s with one last `Outputs` (nodes/node.py). A plain `def`, or a plain generator, runs in a thread.
Execute = Callable[
    [dict[str, Any], Any],
    Awaitable[Mapping[str, Any] | None] | AsyncIterator[Any] | Iterator[Any] | Mapping[str, Any] | None,
]


@dataclass(frozen=True)
class Mode:
    """A variant of a node type with slots of its own, picked by the config value `mode_config_key`.

    Attributes:
        bypass_behavior: What a node bypassed in this mode gives; None takes the node type's.
    """

    id: str
    display_name: str
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    description: str = ""
    config_schema: Mapping[str, Input] = field(default_factory=dict)
    execute: Execute | None = None
    bypass_behavior: Literal["mute"] | BypassBehavior | None = None

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "id": self.id,
            "displayName": self.display_name,
            "description": self.description,
            "inputs": {key: slot.to_json() for key, slot in self.inputs.items()},
            "outputs": {key: slot.to_json() for key, slot in self.outputs.items()},
            "configSchema": _settings_json(self.config_schema),
        }
        if self.bypass_behavior is not None:
            data["bypassBehavior"] = _bypass_json(self.bypass_behavior)
        return data


@dataclass(frozen=True)
class NodeDefinition:
    """A node type. Field names are the requirement's in snake case; JSON uses camelCase.

    Attributes:
        placement: `activity` (cost, side effects, waiting, streams), `inline` (pure, < 20 ms), `workflow` (control),
            `thread` (code that blocks), `process` (code that must be killed, or whose memory is bounded).
        memory_mb: What the process of a node with placement `process` may reserve; None takes the worker's setting.
        retry: None takes the default of the engine (4 attempts, 2 when `side_effects`).
        timeout_s: Time for one attempt, in seconds; None is 300.
        total_timeout_s: Time for all attempts together; None is three times `timeout_s`, or a day for a node that
            counts silence.
        timeout_counts: What `timeout_s` is for: `work`, all of an attempt; `silence`, the time without a chunk, of a
            node that streams what a model says. A whole answer of a model comes at once: then it is all of the time.
        falls_back_to_default_mode: A node whose mode is not set or unknown runs in the default mode. Without it such
            a node has its base slots, and an unknown mode is a problem.
        side_effects: Running it again is visible outside (a paid call, a write).
        is_preview_unsafe: A preview does not run it, as it does not run nodes with side effects (it waits, or asks).
        deterministic: Equal inputs and settings give equal outputs (of one `version`), so the result cache may give
            them again instead of running it. Only worth it for nodes that take longer than reading a file.
        interface_values: The node's outputs are the workflow's interface inputs (core:GroupInput).
        interface_sink: The node only marks interface outputs and must not consume streams (core:GroupOutput).
        runs_workflow: It runs the workflow that its setting `referencedWorkflowId` names: once (`group`), for each
            item (`each`), or again and again (`loop`).
        branches: It gives only some of its outputs; what hangs on the others will not run.
        joins: It runs as soon as one of its sources has given something, instead of waiting for all.
        outputs_of: Its outputs, by its settings; None takes `outputs`.
        serverless: It may run where nothing is kept and nothing is shared: one attempt takes a minute at most, is given
            small values, and needs no file, no stored secret and no model. Only such a node may have the queue
            `innkeeper.serverless`.
        version: Raised when the node's results change for equal inputs.
    """

    type: str
    category: str
    display_name: str
    description: str
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    execute: Execute | None = None
    namespace: str | None = None
    display_names: Mapping[str, str] = field(default_factory=dict)
    config_schema: Mapping[str, Input] = field(default_factory=dict)
    client_script_url: str | None = None
    file_path: str | None = None
    dynamic_slots: bool = False
    bypass_behavior: Literal["mute"] | BypassBehavior | None = None
    modes: Mapping[str, Mode] = field(default_factory=dict)
    default_mode_id: str | None = None
    mode_config_key: str | None = None
    falls_back_to_default_mode: bool = False
    width: int | None = None
    is_ui_node: bool = False
    placement: Placement = "activity"
    queue: str | None = None
    retry: Retry | None = None
    timeout_s: float | None = None
    total_timeout_s: float | None = None
    timeout_counts: Literal["work", "silence"] = "work"
    side_effects: bool = False
    is_preview_unsafe: bool = False
    deterministic: bool = False
    stream_resumable: bool = False
    bypassable: bool = True
    interface_values: bool = False
    interface_sink: bool = False
    runs_workflow: Literal["", "group", "each", "loop"] = ""
    branches: bool = False
    joins: bool = False
    outputs_of: Callable[[Mapping[str, Any]], Mapping[str, Output]] | None = None
    memory_mb: int | None = None
    serverless: bool = False
    version: str = "1"

    @property
    def full_type(self) -> str:
        return f"{self.namespace or 'unknown'}:{self.type}"

    @property
    def runs_not_in_preview(self) -> bool:
        return self.side_effects or self.is_preview_unsafe

    def mode_for(self, config_values: Mapping[str, Any]) -> Mode | None:
        """The mode that config values pick; for an absent or unknown one the default mode if the type falls back."""
        if not self.mode_config_key:
            return None
        chosen = config_values.get(self.mode_config_key)
        found = self.modes.get(chosen) if isinstance(chosen, str) else None
        if found is None and self.falls_back_to_default_mode:
            return self.modes.get(self.default_mode_id or "")
        return found

    def to_json(self) -> dict[str, Any]:
        """The shape of `GET /api/nodes`: no functions, no server paths."""
        data: dict[str, Any] = {
            "type": self.type,
            "namespace": self.namespace,
            "fullType": self.full_type,
            "category": self.category,
            "displayName": self.display_name,
            "description": self.description,
            "inputs": {key: slot.to_json() for key, slot in self.inputs.items()},
            "outputs": {key: slot.to_json() for key, slot in self.outputs.items()},
            "placement": self.placement,
            "version": self.version,
        }
        if self.display_names:
            data["displayNames"] = dict(self.display_names)
        if self.config_schema:
            data["configSchema"] = _settings_json(self.config_schema)
        if self.client_script_url:
            data["clientScriptUrl"] = self.client_script_url
        if self.dynamic_slots:
            data["dynamicSlots"] = True
        if self.width:
            data["width"] = self.width
        if self.is_ui_node:
            data["isUiNode"] = True
        if self.modes:
            data["modes"] = {key: mode.to_json() for key, mode in self.modes.items()}
            data["defaultModeId"] = self.default_mode_id
            data["modeConfigKey"] = self.mode_config_key
        if self.runs_not_in_preview:
            data["isPreviewUnsafe"] = True
        if self.deterministic:
            data["deterministic"] = True
        if self.bypass_behavior is not None:
            data["bypassBehavior"] = _bypass_json(self.bypass_behavior)
        return data

    def with_origin(self, namespace: str, file_path: str | None) -> NodeDefinition:
        return replace(self, namespace=namespace, file_path=file_path or self.file_path)


Conversion = Literal["", "text", "float", "collect_text", "collect_chunks", "one_chunk"]


def conversion(output: Output, input: Input) -> Conversion | None:
    """How a value of `output` becomes one of `input`; None when the two do not fit.

    `""` passes the value as it is, `text` and `float` convert a number (or bool), `collect_*` turns a finished
    stream into a batch value, `one_chunk` a batch value into a stream. Rule: reference workflow-format 4.
    """
    element = _element_conversion(output, input)
    if output.is_stream == input.is_stream:
        return element
    if input.is_stream:
        return "one_chunk" if element is not None else None
    if input.data_flow_type == "ARRAY":
        return "collect_chunks"
    if element is None:
        return None
    takes_text = input.data_flow_type == "STRING" or input.is_wildcard or input.is_convertible
    return "collect_text" if takes_text else None


def compatible(output: Output, input: Input) -> bool:
    """May `output` feed `input`? The one rule for edges, bypass pass-through and the editor."""
    return conversion(output, input) is not None


def _element_conversion(output: Output, input: Input) -> Literal["", "text", "float"] | None:
    if output.is_wildcard or input.is_wildcard or output.is_convertible or input.is_convertible:
        return ""
    source, target = output.data_flow_type, input.data_flow_type
    if source == target:
        return ""
    if source == "INTEGER" and target == "FLOAT":
        return "float"
    if source in ("INTEGER", "FLOAT", "BOOLEAN") and target == "STRING":
        return "text"
    if output.categories & input.categories:
        return ""
    if source == "STRING" and input.categories & {"Code", "ComboOption"}:
        return ""
    if target == "STRING" and output.categories & {"Code", "ComboOption"}:
        return ""
    return None
