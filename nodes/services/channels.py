"""Channels and models of the operator, and which of them a wish is routed to: pure data and one pure function."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.hosts import DEMO_MODEL, host_of, is_demo_model
from innkeeper.nodes.node import ModelWish, Route, SecretRef

BUILT_IN_ADAPTERS = ("openai", "openai-responses", "anthropic", "gemini", "ollama")
MAX_NAMED = 12
_ENVIRONMENT_KEY = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_STORED_KEY = re.compile(r"[0-9a-f]{64}")
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(/[!-~]*)?")
_USUAL_CAPABILITIES = {"llm": ("llm", "chat"), "embedding": ("embedding",)}
_HOW_TO_GIVE_A_KEY = (
    "must be a reference: 'env:NAME' names an environment variable of the worker, "
    "{$secret: ID} a stored key (`innkeeper channels --store-key` stores one)"
)


def _key_reference(value: Any) -> SecretRef | None:
    if value is None or value == "":
        return None
    inner = value.get("$secret") if isinstance(value, Mapping) and len(value) == 1 else value
    if isinstance(inner, str) and _ENVIRONMENT_KEY.fullmatch(inner):
        return SecretRef(inner)
    # A bare text of 64 digits may be a key itself: only the long form names a stored one.
    if isinstance(inner, str) and inner is not value and _STORED_KEY.fullmatch(inner):
        return SecretRef(inner)
    raise ValueError(_HOW_TO_GIVE_A_KEY)


def _address(value: str) -> str:
    if is_demo_model(value):
        return DEMO_MODEL
    # Nothing on which programs could disagree where the host ends; and no key hidden in the address.
    if not _PLAIN_URL.fullmatch(value) or host_of(value) is None or any(mark in value for mark in "\\#?"):
        raise ValueError(
            "must be an http or https URL without user, query and fragment, like 'https://host/v1', or 'demo'"
        )
    return value.rstrip("/")


def _with_zone(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _words(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in value)


Name = Annotated[str, Field(min_length=1, max_length=256)]
Moment = Annotated[datetime, AfterValidator(_with_zone)]
Words = Annotated[tuple[Name, ...], AfterValidator(_words)]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        # An id of digits only is a number in YAML; people mean the text.
        coerce_numbers_to_str=True,
        protected_namespaces=(),
    )


class Channel(_Part):
    """An endpoint with its key. Empty `supported_models`: it serves every model.

    `api_key` is the reference that the file holds: `env:NAME` (any name: the file is the operator's own) or the id of
    a stored secret. `default_for` names models that come here first, as `default_channel_ref` of a model does.
    """

    id: Name
    base_url: Annotated[str, AfterValidator(_address)]
    label: str = ""
    adapter_type: Name = "openai"
    api_key: Annotated[SecretRef | None, BeforeValidator(_key_reference)] = None
    supported_models: tuple[Name, ...] = ()
    default_for: tuple[Name, ...] = ()
    disabled: bool = False
    priority: int = 0
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    created_at: Moment | None = None

    @property
    def host(self) -> str:
        """`name:port` of the server."""
        return host_of(self.base_url) or ""

    @property
    def connects_to(self) -> str:
        """`host` as connections name it: an IPv6 address without its brackets."""
        return self.host.replace("[", "").replace("]", "").lower()

    def supports(self, model_id: str) -> bool:
        return not self.supported_models or model_id in self.supported_models


class Model(_Part):
    """A model that may be chosen by capabilities. Without `capabilities` it has the usual ones of its type."""

    model_id: Name
    display_name: str = ""
    capabilities: Words | None = None
    model_type: Literal["llm", "embedding", "unknown"] = "llm"
    group_name: str = ""
    default_channel_ref: str = ""
    tags: tuple[Name, ...] = ()
    default: bool = False

    @property
    def offers(self) -> frozenset[str]:
        """All it can do; its type counts as a capability."""
        usual = _USUAL_CAPABILITIES.get(self.model_type, ())
        return frozenset({*usual[:1], *(usual if self.capabilities is None else self.capabilities)})

    def suits(self, wanted: frozenset[str]) -> bool:
        """A model for embeddings answers no chat, whatever else is said of it."""
        return wanted <= self.offers and (self.model_type != "embedding" or "embedding" in wanted)


class Routing(_Part):
    """What is taken first where several models fit, the best first."""

    preferred_models: tuple[Name, ...] = ()
    preferred_tags: tuple[Name, ...] = ()


class ChannelConfig(_Part):
    """All channels and models."""

    channels: tuple[Channel, ...] = ()
    models: tuple[Model, ...] = ()
    routing: Routing = Routing()


def route(wish: ModelWish, config: ChannelConfig, adapters: Container[str] = BUILT_IN_ADAPTERS) -> tuple[Route, ...]:
    """The ways to ask what is wished for, best first (reference llm 4).

    A model id wins over capabilities; it must be listed, or be allowed by a channel. Else models that have all
    capabilities: preferred ids, preferred tags, default, name. Of each model its default channel comes first, then
    enabled ones that support it by priority and weight (the higher the earlier), then the oldest.

    Raises:
        ProviderError: Nothing fits (`not_found_error`); says what lacks and what exists.
    """
    usable = [channel for channel in config.channels if not channel.disabled and channel.adapter_type in adapters]
    if not usable:
        raise _nothing("no channel is enabled", "channels", (channel.id for channel in config.channels))
    if wish.model_id:
        return _by_id(wish.model_id, config, usable)
    return _by_capabilities(frozenset(word.lower() for word in wish.capabilities), config, usable)


def _by_id(model_id: str, config: ChannelConfig, usable: list[Channel]) -> tuple[Route, ...]:
    listed = (model for model in config.models if model.model_id == model_id)
    # Of one that is not listed only the id is known, unchecked as a graph gives it.
    model = next(listed, None) or Model.model_construct(model_id=model_id)
    routes = tuple(_routes(model, usable))
    if not routes:
        known = [model.model_id for model in config.models]
        allowed = [name for channel in usable for name in channel.supported_models]
        raise _nothing(f"no enabled channel has the model {model_id!r}", "models", [*known, *allowed])
    return routes


def _by_capabilities(wanted: frozenset[str], config: ChannelConfig, usable: list[Channel]) -> tuple[Route, ...]:
    candidates = sorted((model for model in config.models if model.suits(wanted)), key=_rank(config.routing))
    routes = tuple(route for model in candidates for route in _routes(model, usable))
    if routes:
        return routes
    if candidates:
        found = (model.model_id for model in candidates)
        raise _nothing(f"no enabled channel has a model with {_all_of(wanted)}", "models with it", found)
    offered = frozenset(word for model in config.models for word in model.offers)
    if missing := wanted - offered:
        raise _nothing(f"no model has the capability {_quoted(sorted(missing))}", "capabilities", sorted(offered))
    models = (f"{model.model_id} ({' '.join(sorted(model.offers))})" for model in config.models)
    raise _nothing(f"no model has {_all_of(wanted)}", "models", models)


def _rank(routing: Routing) -> Any:
    ids = {name: place for place, name in enumerate(routing.preferred_models)}
    tags = {name: place for place, name in enumerate(routing.preferred_tags)}

    def rank(model: Model) -> tuple[int, int, bool, str, str]:
        by_tag = min((tags[tag] for tag in model.tags if tag in tags), default=len(tags))
        name = (model.display_name or model.model_id).casefold()
        return ids.get(model.model_id, len(ids)), by_tag, not model.default, name, model.model_id

    return rank


def _routes(model: Model, usable: list[Channel]) -> Iterator[Route]:
    def is_default(channel: Channel) -> bool:
        return channel.id == model.default_channel_ref

    fitting = [channel for channel in usable if is_default(channel) or channel.supports(model.model_id)]
    oldest_first = sorted(fitting, key=lambda channel: channel.created_at or datetime.max.replace(tzinfo=UTC))
    best_first = sorted(oldest_first, key=lambda channel: (-channel.priority, -channel.weight))
    best_first.sort(key=lambda channel: (not is_default(channel), model.model_id not in channel.default_for))
    for channel in best_first:
        yield Route(
            channel.id, model.model_id, base_url=channel.base_url, api_key=channel.api_key, adapter=channel.adapter_type
        )


def _all_of(words: frozenset[str]) -> str:
    return f"all of the capabilities {_quoted(sorted(words))}" if words else "a type that answers chats"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _nothing(what: str, kind: str, existing: Iterable[str]) -> ProviderError:
    names = list(dict.fromkeys(existing))
    shown = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
    message = f"{what}; {kind}: {shown or 'none'}. They are listed in channels.yaml of the data directory"
    return ProviderError(message, code="not_found_error", retryable=False)
