"""Channels and models of the operator, as ComfyTavern's front end reads them."""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, Moment

ModelType = TypeAliasType("ModelType", Literal["llm", "embedding", "unknown"])


@with_config(CLOSED)
class Provider(TypedDict):
    """A protocol that channels may speak."""

    id: str
    """What `adapterType` of a channel names."""
    name: str


@with_config(CLOSED)
class Channel(TypedDict):
    """An endpoint of `channels.yaml`."""

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
    createdAt: NotRequired[Moment]


@with_config(CLOSED)
class ChannelModel(TypedDict):
    """A model that `channels.yaml` says a channel has."""

    id: str


@with_config(CLOSED)
class Model(TypedDict):
    """A model of `channels.yaml`."""

    modelId: str
    userId: str
    displayName: str
    capabilities: list[str]
    modelType: ModelType
    groupName: NotRequired[str]
    defaultChannelRef: NotRequired[str]
    tags: list[str]
