"""Node types and plugins."""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, OPEN, Count, FreeObject, JsonValue
from innkeeper.gateway.api.models.documents import DataFlowType

Placement = TypeAliasType("Placement", Literal["activity", "inline", "workflow", "thread", "process"])
Mute = TypeAliasType("Mute", Literal["mute"])


@with_config(CLOSED)
class OutputSlot(TypedDict):
    dataFlowType: DataFlowType
    displayName: NotRequired[str]
    description: NotRequired[str]
    matchCategories: NotRequired[list[str]]
    isStream: NotRequired[bool]
    allowDynamicType: NotRequired[bool]
    hideHandle: NotRequired[bool]


@with_config(CLOSED)
class InputSlot(OutputSlot):
    """An input slot, or a setting of a node type."""

    required: NotRequired[bool | FreeObject]
    """`{"when": {setting: value}}` requires it for these settings. Absent: it depends on the settings otherwise."""
    multi: NotRequired[bool]
    """Takes several edges and gives the node a list."""
    config: NotRequired[FreeObject]
    """For the editor: `default`, `min`, `max`, `suggestions`, `multiline` and the like."""
    actions: NotRequired[list[FreeObject]]
    secret: NotRequired[bool]
    secretKeys: NotRequired[list[str]]
    """Keys inside the value that are secret."""


@with_config(CLOSED)
class BypassBehavior(TypedDict):
    """What a bypassed node gives: inputs passed through, then defaults, then empty values."""

    passThrough: dict[str, str]
    """Output to input; `*` stands for all others."""
    defaults: FreeObject
    without: NotRequired[list[str]]
    """Outputs that give nothing."""


@with_config(CLOSED)
class NodeMode(TypedDict):
    """A variant of a node type with slots of its own."""

    id: str
    displayName: str
    description: str
    inputs: dict[str, InputSlot]
    outputs: dict[str, OutputSlot]
    configSchema: dict[str, InputSlot]
    bypassBehavior: NotRequired[Mute | BypassBehavior]


@with_config(CLOSED)
class NodeType(TypedDict):
    """A node type."""

    type: str
    namespace: str
    fullType: str
    """`namespace:type`."""
    category: str
    displayName: str
    description: str
    inputs: dict[str, InputSlot]
    outputs: dict[str, OutputSlot]
    placement: Placement
    version: str
    """Raised when the node's results change for equal inputs."""
    displayNames: NotRequired[dict[str, str]]
    """Language to name."""
    configSchema: NotRequired[dict[str, InputSlot]]
    clientScriptUrl: NotRequired[str]
    dynamicSlots: NotRequired[bool]
    width: NotRequired[int]
    isUiNode: NotRequired[bool]
    modes: NotRequired[dict[str, NodeMode]]
    defaultModeId: NotRequired[str | None]
    modeConfigKey: NotRequired[str | None]
    """The setting that picks the mode."""
    isPreviewUnsafe: NotRequired[bool]
    """A preview does not run it."""
    deterministic: NotRequired[bool]
    bypassBehavior: NotRequired[Mute | BypassBehavior]


@with_config(CLOSED)
class PluginFileError(TypedDict):
    file: str
    """Relative to the plugin's folder."""
    reason: str


@with_config(CLOSED)
class PluginFrontend(TypedDict):
    """What the editor loads of a plugin."""

    entryUrl: str
    """The script; relative to the gateway's address, as `styleUrls`."""
    styleUrls: list[str]


@with_config(CLOSED)
class PluginOptionChoice(TypedDict):
    label: str
    value: JsonValue


@with_config(CLOSED)
class PluginOption(TypedDict):
    """One setting of a plugin, as `plugin.yaml` declares it."""

    key: str
    type: str
    label: str
    description: NotRequired[str | None]
    defaultValue: NotRequired[JsonValue]
    category: NotRequired[str | None]
    categoryKey: NotRequired[str | None]
    options: NotRequired[list[PluginOptionChoice]]
    min: NotRequired[float | None]
    max: NotRequired[float | None]
    step: NotRequired[float | None]
    storeName: NotRequired[str | None]
    buttonText: NotRequired[str | None]
    disabled: NotRequired[bool]
    secret: NotRequired[bool]
    """Stored encrypted, and masked when it is read."""


@with_config(CLOSED)
class PluginProtocol(TypedDict):
    """A protocol of language models that a plugin adds."""

    id: str
    """What channels give as their `adapterType`."""
    name: str


@with_config(CLOSED)
class Plugin(TypedDict):
    """A plugin, or why it was not loaded."""

    name: str
    displayName: str
    """Its name, when `plugin.yaml` cannot be used."""
    version: str
    isEnabled: bool
    """False: somebody has turned it off."""
    loaded: bool
    nodes: list[str]
    """Full types that it registered."""
    configOptions: list[PluginOption]
    description: NotRequired[str]
    frontend: NotRequired[PluginFrontend]
    """Of a plugin that is loaded and has one."""
    adapters: NotRequired[list[PluginProtocol]]
    file: NotRequired[str]
    """The first file that failed, relative to the plugin's folder."""
    reason: NotRequired[str]
    errors: NotRequired[list[PluginFileError]]
    warnings: NotRequired[list[str]]


@with_config(CLOSED)
class NodesReloaded(TypedDict):
    success: Literal[True]
    message: str
    """What was loaded, what was not, and which workers are behind."""
    count: Count


@with_config(CLOSED)
class PluginState(TypedDict):
    enabled: bool


@with_config(OPEN)
class PluginSettings(TypedDict):
    """Setting to value; which there are, `configOptions` of the plugin tells."""


@with_config(CLOSED)
class PluginChanged(TypedDict):
    success: Literal[True]
    message: str


@with_config(CLOSED)
class PluginRefused(TypedDict):
    """A change that was not made. `message` and `error` are the same sentence."""

    success: Literal[False]
    message: str
    error: str
    code: str
    details: NotRequired[FreeObject]
