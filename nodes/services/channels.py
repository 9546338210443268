"""Channels and models of the operator, and which of them a wish is routed to: pure data and one pure function."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.hosts import DEMO_MODEL, host_of, is_demo_model
from innkeeper.nodes.model_protocols import BUILT_IN_ADAPTERS
from innkeeper.nodes.node import ChannelTraits, ModelWish, PrefixKind, Route, SecretRef, StructuredKind
from innkeeper.nodes.services.header_text import is_header_name, unsendable_at

MAX_NAMED = 12
MAX_ROUTES, MAX_ROUTES_OF_MODEL = 200, 50
"""The best ones: a request asks a few. Two hundred channels and two thousand models, which one user may make, give four
hundred thousand."""
_ENVIRONMENT_KEY = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_STORED_KEY = re.compile(r"[0-9a-f]{64}")
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(/[!-~]*)?")
PINNED = "channel:"
"""`channel:ID/MODEL` where a model's id is asked for: that model at that channel, and no other."""
MAX_HEADER_NAME, MAX_HEADER_VALUE = 100, 4096
_KEY_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "x-goog-api-key", "x-auth-token"}
)
_OWN_HEADERS = frozenset(
    {"host", "connection", "content-length", "content-type", "transfer-encoding", "accept-encoding", "te", "trailer"}
    | {"upgrade", "expect", "keep-alive"}
)
_KEY_QUERY = frozenset({"key", "api_key", "apikey", "api-key", "token", "access_token"})
_NO_PARAMETERS = frozenset({"model", "messages", "stream"})
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


def _stored_reference(value: Any) -> SecretRef | None:
    ref = _key_reference(value)
    if ref is not None and not _STORED_KEY.fullmatch(ref.id):
        raise ValueError("must be a stored key")
    return ref


def _address(value: str) -> str:
    if is_demo_model(value):
        return DEMO_MODEL
    # Nothing on which programs could disagree where the host ends; and no key hidden in the address.
    if not _PLAIN_URL.fullmatch(value) or host_of(value) is None or any(mark in value for mark in "\\#?"):
        raise ValueError(
            "must be an http or https URL without user, query and fragment, like 'https://host/v1', or 'demo'; what "
            "follows a '?' belongs into 'query', like {api-version: 2024-10-21}"
        )
    return value.rstrip("/")


def _with_zone(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _words(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in value)


Word = TypeVar("Word")
Names = TypeVar("Names", bound=Iterable[str])


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        is_short = len(name) <= MAX_HEADER_NAME and len(text) <= MAX_HEADER_VALUE
        if not is_short or not is_header_name(name) or unsendable_at(text) is not None:
            raise ValueError(f"must be names of headers with plain texts; {name[:64]!r} is none, or has none")
        if name.lower() in _KEY_HEADERS:
            raise ValueError(f"must not hold {name!r}: keys go into apiKey, which is never shown")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"must not hold {name!r}: it is set for each request")
    return value


def _query(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not name or len(name) > 256 or len(text) > 4096 or not name.isprintable() or not text.isprintable():
            raise ValueError("must be names with texts, without control characters")
        if name.lower() in _KEY_QUERY:
            raise ValueError(f"must not hold {name!r}: addresses are logged; keys go into apiKey")
    return value


def _parameter_names(value: Names) -> Names:
    renamed = value.values() if isinstance(value, Mapping) else ()
    wrong = next((name for name in (*value, *renamed) if name in _NO_PARAMETERS), None)
    if wrong is not None:
        raise ValueError(f"must not hold {wrong!r}, which is no parameter")
    return value


def _defaults(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    _parameter_names(list(value))
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("must not hold numbers that JSON does not have") from None
    return value


def _renamed(value: dict[str, str]) -> dict[str, str]:
    if len(set(value.values())) < len(value):
        raise ValueError("must give each parameter a name of its own")
    return value


Name = Annotated[str, Field(min_length=1, max_length=256)]
Headers = Annotated[dict[str, str], AfterValidator(_headers)]
Query = Annotated[dict[str, str], AfterValidator(_query)]
Count = Annotated[int, Field(gt=0, le=10**12)]
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
        defer_build=True,  # 1 ms for each model, at every start
    )


class Parameters(_Part):
    """How parameters of requests are changed, see `ChannelTraits`. What is not said is None."""

    rename: Annotated[dict[Name, Name], AfterValidator(_parameter_names), AfterValidator(_renamed)] | None = None
    defaults: Annotated[dict[Name, JsonValue], AfterValidator(_defaults)] | None = None
    drop: Annotated[tuple[Name, ...], AfterValidator(_parameter_names)] | None = None


class Limits(_Part):
    """How much may be asked, by all workers together. What is not said has no limit.

    Attributes:
        burst: Requests that may come at once after a pause; without it as many as a few seconds' worth.
        shared_by_key: They are those of the API key, together with other channels that have the same key and say so.
    """

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent: Count | None = None
    burst: Count | None = None
    shared_by_key: bool = False


class Pricing(_Part):
    """Where the prices of a channel are looked up. `provider` is the name that the list of prices has for it."""

    provider: Name | None = None


class _Traits(_Part):
    """What may be said of a channel, and of one model on it. None: nothing is said."""

    headers: Headers | None = None
    query: Query | None = None
    parameters: Parameters | None = None
    prefix: PrefixKind | None = None
    structured_output: StructuredKind | None = None
    think_tags: bool | None = None
    limits: Limits | None = None
    pricing: Pricing | None = None


class ModelTraits(_Traits):
    """What differs for one model on a channel.

    Its words take the place of the channel's; of headers, query, renamed and default parameters the channel's other
    ones stay. Its limits hold beside those of the channel.
    """


class Channel(_Traits):
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
    priority: Annotated[int, Field(ge=-(10**9), le=10**9)] = 0
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    created_at: Moment | None = None
    per_model: dict[Name, ModelTraits] = Field(default_factory=dict)

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

    def traits_of(self, model_id: str) -> ChannelTraits:
        """How the model is asked on this channel."""
        special = self.per_model.get(model_id, ModelTraits())
        own, other = self.parameters or Parameters(), special.parameters or Parameters()
        return ChannelTraits(
            headers={**(self.headers or {}), **(special.headers or {})},
            query={**(self.query or {}), **(special.query or {})},
            rename={**(own.rename or {}), **(other.rename or {})},
            defaults={**(own.defaults or {}), **(other.defaults or {})},
            drop=_first(other.drop, own.drop, ()),
            prefix=_first(special.prefix, self.prefix, "none"),
            structured=_first(special.structured_output, self.structured_output, "none"),
            think_tags=_first(special.think_tags, self.think_tags, False),
        )


class UserChannel(Channel):
    """A channel that a user has made over REST.

    Only the user's own runs go through it, it reaches what an address in a graph may reach, and its key is a stored one
    of the user: variables of the environment are the operator's.
    """

    owner: Name
    api_key: Annotated[SecretRef | None, BeforeValidator(_stored_reference)] = None


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


class UserModel(Model):
    """A model that a user has listed over REST, for the user's own runs."""

    owner: Name


class ModelGroup(_Part):
    """Models of which any will do: its id is asked for in place of a model's.

    `priority` asks them as they are listed; `round-robin` begins with the next one at each call; `random` mixes them.
    """

    id: Name
    models: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
    strategy: Literal["priority", "round-robin", "random"] = "priority"


class Routing(_Part):
    """What is taken first where several models fit, the best first."""

    preferred_models: tuple[Name, ...] = ()
    preferred_tags: tuple[Name, ...] = ()


class ChannelConfig(_Part):
    """All channels and models."""

    channels: tuple[Channel, ...] = ()
    models: tuple[Model, ...] = ()
    model_groups: tuple[ModelGroup, ...] = ()
    routing: Routing = Routing()


Order = Callable[[ModelGroup], Sequence[str]]


def as_listed(group: ModelGroup) -> Sequence[str]:
    """The models of a group in the order in which it lists them."""
    return group.models


def route(
    wish: ModelWish, config: ChannelConfig, adapters: Container[str] = BUILT_IN_ADAPTERS, order: Order = as_listed
) -> tuple[Route, ...]:
    """The ways to ask what is wished for, best first (reference llm 4).

    A model id wins over capabilities; it must be listed, or be allowed by a channel. A group's id stands for its
    models, in the order that `order` gives them; `channel:ID/MODEL` is one model at one channel. Else models that have
    all capabilities: preferred ids, preferred tags, default, name. Of each model its default channel comes first, then
    enabled ones that support it by priority and weight (the higher the earlier), then the oldest.

    Raises:
        ProviderError: Nothing fits (`not_found_error`); says what lacks and what exists.
    """
    usable = [channel for channel in config.channels if not channel.disabled and channel.adapter_type in adapters]
    if not usable:
        raise _nothing("no channel is enabled", "channels", (channel.id for channel in config.channels))
    if wish.model_id.startswith(PINNED):
        return (_pinned(wish.model_id, usable),)
    group = next((group for group in config.model_groups if group.id == wish.model_id), None)
    if group is not None:
        return _by_group(group, order(group), config, usable)
    if wish.model_id:
        return _by_id(wish.model_id, config, usable)
    return _by_capabilities(frozenset(word.lower() for word in wish.capabilities), config, usable)


def _pinned(name: str, usable: list[Channel]) -> Route:
    """The longest id that fits: ids and models may hold slashes, too."""
    rest = name.removeprefix(PINNED)
    fitting = [channel for channel in usable if rest.startswith(f"{channel.id}/") and rest != f"{channel.id}/"]
    if not fitting:
        raise _nothing(f"{name!r} names no enabled channel and a model", "channels", (item.id for item in usable))
    channel = max(fitting, key=lambda item: len(item.id))
    return _route(channel, rest.removeprefix(f"{channel.id}/"))


def _by_group(
    group: ModelGroup, models: Sequence[str], config: ChannelConfig, usable: list[Channel]
) -> tuple[Route, ...]:
    found = (found for name in models for found in _routes(_listed(name, config), usable))
    routes = tuple(islice(found, MAX_ROUTES))
    if not routes:
        raise _nothing(f"no enabled channel has a model of the group {group.id!r}", "models of it", group.models)
    return routes


def _by_id(model_id: str, config: ChannelConfig, usable: list[Channel]) -> tuple[Route, ...]:
    routes = tuple(_routes(_listed(model_id, config), usable))
    if not routes:
        known = [*(model.model_id for model in config.models), *(group.id for group in config.model_groups)]
        allowed = [name for channel in usable for name in channel.supported_models]
        raise _nothing(f"no enabled channel has the model {model_id!r}", "models", [*known, *allowed])
    return routes


def _listed(model_id: str, config: ChannelConfig) -> Model:
    listed = (model for model in config.models if model.model_id == model_id)
    # Of one that is not listed only the id is known, unchecked as a graph gives it.
    return next(listed, None) or Model.model_construct(model_id=model_id)


def _by_capabilities(wanted: frozenset[str], config: ChannelConfig, usable: list[Channel]) -> tuple[Route, ...]:
    candidates = sorted((model for model in config.models if model.suits(wanted)), key=_rank(config.routing))
    routes = tuple(islice((route for model in candidates for route in _routes(model, usable)), MAX_ROUTES))
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
    for channel in best_first[:MAX_ROUTES_OF_MODEL]:
        yield _route(channel, model.model_id)


def _route(channel: Channel, model_id: str) -> Route:
    return Route(
        channel.id,
        model_id,
        base_url=channel.base_url,
        api_key=channel.api_key,
        adapter=channel.adapter_type,
        traits=channel.traits_of(model_id),
    )


def _first(*words: Word | None) -> Word:
    """The first that says something."""
    return next(word for word in words if word is not None)


def _all_of(words: frozenset[str]) -> str:
    return f"all of the capabilities {_quoted(sorted(words))}" if words else "a type that answers chats"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _nothing(what: str, kind: str, existing: Iterable[str]) -> ProviderError:
    names = list(dict.fromkeys(existing))
    shown = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
    message = f"{what}; {kind}: {shown or 'none'}. They are listed in channels.yaml of the data directory"
    return ProviderError(message, code="not_found_error", retryable=False)
