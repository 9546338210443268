"""Channels and models, as ComfyTavern's front end reads and writes them."""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, FreeObject, Moment

ModelType = TypeAliasType("ModelType", Literal["llm", "embedding", "unknown"])
PrefixKind = TypeAliasType("PrefixKind", Literal["none", "trailing", "prefix", "continue_final_message", "partial"])
StructuredOutput = TypeAliasType("StructuredOutput", Literal["none", "json_object", "json_schema"])


@with_config(CLOSED)
class Provider(TypedDict):
    """A protocol that channels may speak."""

    id: str
    """What `adapterType` of a channel names."""
    name: str


@with_config(CLOSED)
class ChannelParameters(TypedDict):
    """How parameters of requests are changed."""

    rename: NotRequired[dict[str, str]]
    """Parameter to its name there."""
    defaults: NotRequired[FreeObject]
    """Sent when the request has none of that name."""
    drop: NotRequired[list[str]]
    """Left out, because the model refuses them."""


@with_config(CLOSED)
class ChannelLimits(TypedDict):
    """How much all workers together may ask."""

    requestsPerMinute: NotRequired[int]
    tokensPerMinute: NotRequired[int]
    concurrent: NotRequired[int]
    burst: NotRequired[int]
    sharedByKey: NotRequired[bool]
    """Counted together with other channels that have the same key and say so."""


@with_config(CLOSED)
class ChannelPricing(TypedDict):
    """Where prices are looked up."""

    provider: NotRequired[str]


@with_config(CLOSED)
class ModelTraits(TypedDict):
    """How a channel, or one model on it, differs from its protocol."""

    headers: NotRequired[dict[str, str]]
    """Of a channel: `customHeaders`. Values are shown as `***`; sent back so, they stay."""
    query: NotRequired[dict[str, str]]
    parameters: NotRequired[ChannelParameters]
    prefix: NotRequired[PrefixKind]
    structuredOutput: NotRequired[StructuredOutput]
    thinkTags: NotRequired[bool]
    limits: NotRequired[ChannelLimits]
    pricing: NotRequired[ChannelPricing]


@with_config(CLOSED)
class Channel(TypedDict):
    """An endpoint: of `channels.yaml`, or one that the user has made."""

    id: str
    userId: str
    label: str
    providerId: str
    adapterType: str
    baseUrl: str
    apiKey: Literal["***", ""]
    """Whether the channel names a key. Keys are never shown."""
    storageMode: Literal["encrypted"]
    supportedModels: list[str]
    """Empty: all."""
    disabled: bool
    isEditable: bool
    """Made over REST, and so changed over REST; others are changed in `channels.yaml`."""
    etag: NotRequired[str]
    """For `If-Match` of a change; of those that are editable."""
    createdAt: NotRequired[Moment]
    customHeaders: NotRequired[dict[str, str]]
    """The names of headers that are sent; values are shown as `***`."""
    query: NotRequired[dict[str, str]]
    parameters: NotRequired[ChannelParameters]
    prefix: NotRequired[PrefixKind]
    structuredOutput: NotRequired[StructuredOutput]
    thinkTags: NotRequired[bool]
    limits: NotRequired[ChannelLimits]
    pricing: NotRequired[ChannelPricing]
    perModel: NotRequired[dict[str, ModelTraits]]
    priority: int
    """Among several channels of a model the highest comes first, then the highest weight, then the oldest."""
    weight: float
    defaultFor: list[str]
    """Models that come here first."""


class ChannelChange(TypedDict, total=False):
    """What is said of a channel. Of a change only what is new; null takes a field away. Other fields are ignored."""

    id: str
    """Of a new channel; without it one is made up."""
    label: str
    adapterType: str
    providerId: str
    """Stands for `adapterType` when that is not given."""
    baseUrl: str
    apiKey: str | None
    """The key itself, which is stored encrypted, for this host alone. Empty or `***`: the stored one stays."""
    supportedModels: list[str]
    defaultFor: list[str]
    disabled: bool
    priority: int
    weight: float
    customHeaders: dict[str, str] | None
    query: dict[str, str] | None
    parameters: ChannelParameters | None
    prefix: PrefixKind | None
    structuredOutput: StructuredOutput | None
    thinkTags: bool | None
    limits: ChannelLimits | None
    pricing: ChannelPricing | None
    perModel: dict[str, ModelTraits] | None


@with_config(CLOSED)
class ChannelModel(TypedDict):
    """A model that a channel has."""

    id: str


@with_config(CLOSED)
class Model(TypedDict):
    """A model: of `channels.yaml`, or one that the user has listed."""

    modelId: str
    userId: str
    displayName: str
    capabilities: list[str]
    modelType: ModelType
    groupName: NotRequired[str]
    defaultChannelRef: NotRequired[str]
    tags: list[str]
    isEditable: bool
    """Listed over REST, and so changed over REST; others are changed in `channels.yaml`."""
    etag: NotRequired[str]
    """For `If-Match` of a change; of those that are editable."""


class ModelChange(TypedDict, total=False):
    """What is said of a model. Of a change only what is new; null takes a field away. Other fields are ignored."""

    modelId: str
    """Of a new model."""
    displayName: str
    capabilities: list[str] | None
    modelType: ModelType
    groupName: str | None
    defaultChannelRef: str | None
    tags: list[str]
    default: bool
