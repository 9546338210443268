"""Routing: which channels a wish gets, in which order, and what is said when there is none."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.node import ChannelTraits, ModelWish, SecretRef
from innkeeper.nodes.services.channels import MAX_ROUTES, MAX_ROUTES_OF_MODEL, ChannelConfig, route

URL = "https://host/v1"


def channel(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "baseUrl": URL, **fields}


def config(channels: list[Any], models: list[Any] | None = None, **routing: Any) -> ChannelConfig:
    return ChannelConfig.model_validate({"channels": channels, "models": models or [], "routing": routing})


def routed(wish: str | tuple[str, ...], found: ChannelConfig) -> list[str]:
    asked = ModelWish(wish) if isinstance(wish, str) else ModelWish(capabilities=wish)
    return [f"{item.model_id}@{item.channel_id}" for item in route(asked, found)]


def complaint(wish: str | tuple[str, ...], found: ChannelConfig) -> str:
    with pytest.raises(ProviderError) as caught:
        routed(wish, found)
    assert (caught.value.code, caught.value.retryable) == ("not_found_error", False)
    return caught.value.message


def test_a_model_that_is_not_listed_goes_to_channels_that_allow_it() -> None:
    found = config([channel("no", supportedModels=["x"]), channel("named", supportedModels=["m"]), channel("all")])
    assert routed("m", found) == ["m@named", "m@all"]


def test_a_route_names_address_key_and_adapter() -> None:
    found = config([channel("c", apiKey="env:KEY", baseUrl="http://h:1/v1/", adapterType="openai")])
    (only,) = route(ModelWish("m"), found)
    assert (only.base_url, only.api_key, only.adapter) == ("http://h:1/v1", SecretRef("env:KEY"), "openai")


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ([{"priority": 1}, {"priority": 5}, {}], ["1", "0", "2"]),
        ([{"weight": 1}, {"weight": 3}, {"weight": 2}], ["1", "2", "0"]),
        ([{"weight": 9}, {"priority": 1, "weight": 0}], ["1", "0"]),
        ([{}, {"createdAt": "2025-01-01"}, {"createdAt": "2024-01-01T00:00:00Z"}], ["2", "1", "0"]),
        ([{"disabled": True}, {}], ["1"]),
        ([{}, {"defaultFor": ["m"]}, {"priority": 9}], ["1", "2", "0"]),
        ([{"adapterType": "telepathy"}, {}], ["1"]),
    ],
)
def test_channels_come_by_priority_weight_and_age(channels: list[Any], expected: list[str]) -> None:
    found = config([channel(str(index), **fields) for index, fields in enumerate(channels)])
    assert [item.channel_id for item in route(ModelWish("m"), found)] == expected


def test_the_default_channel_of_a_model_comes_first_unless_it_is_disabled() -> None:
    channels = [channel("a", priority=9), channel("b", supportedModels=["other"])]
    model = {"modelId": "m", "defaultChannelRef": "b"}
    assert routed("m", config(channels, [model])) == ["m@b", "m@a"]
    channels[1]["disabled"] = True
    assert routed("m", config(channels, [model])) == ["m@a"]


def test_capabilities_choose_among_listed_models_and_the_type_counts_as_one() -> None:
    found = config(
        [channel("c")],
        [
            {"modelId": "blind", "capabilities": ["chat"]},
            {"modelId": "seeing", "capabilities": ["Chat", "vision"]},
            {"modelId": "usual"},
            {"modelId": "vectors", "modelType": "embedding", "capabilities": ["chat", "llm"]},
            {"modelId": "strange", "modelType": "unknown", "capabilities": ["chat"]},
        ],
    )
    assert routed(("llm", "chat"), found) == ["blind@c", "seeing@c", "usual@c"]
    assert routed(("LLM", "Vision"), found) == ["seeing@c"]
    assert routed(("chat",), found) == ["blind@c", "seeing@c", "strange@c", "usual@c"]
    assert routed(("embedding",), found) == ["vectors@c"]
    assert "vectors@c" not in routed((), found)


def test_models_come_by_preferred_ids_tags_default_flag_and_name() -> None:
    models = [
        {"modelId": "e", "displayName": "Zoo"},
        {"modelId": "d", "displayName": "apple"},
        {"modelId": "c", "default": True},
        {"modelId": "b", "tags": ["x", "fast"]},
        {"modelId": "a2", "tags": ["cheap", "fast"]},
        {"modelId": "z"},
    ]
    found = config([channel("h")], models, preferredModels=["z"], preferredTags=["cheap", "fast"])
    assert routed(("llm",), found) == ["z@h", "a2@h", "b@h", "c@h", "d@h", "e@h"]


def test_a_model_without_a_channel_gives_way_to_the_next() -> None:
    found = config([channel("c", supportedModels=["b"])], [{"modelId": "a", "default": True}, {"modelId": "b"}])
    assert routed(("llm",), found) == ["b@c"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (("llm", "vision"), ["no model has the capability 'vision'", "capabilities: chat, llm, tool_calling"]),
        (("chat", "tool_calling"), ["no model has all of", "'chat', 'tool_calling'", "caller (llm tool_calling)"]),
        ("gpt", ["no enabled channel has the model 'gpt'", "talker, caller, only"]),
        (("tool_calling",), ["no enabled channel has a model with", "caller"]),
    ],
)
def test_without_a_route_the_error_says_what_lacks_and_what_there_is(wish: Any, words: list[str]) -> None:
    models = [{"modelId": "talker"}, {"modelId": "caller", "capabilities": ["tool_calling"]}]
    message = complaint(wish, config([channel("c", supportedModels=["only"])], models))
    assert all(word in message for word in [*words, "channels.yaml"]), message


def test_no_channel_at_all_is_said() -> None:
    assert "channels: none" in complaint("m", ChannelConfig())
    assert "channels: off" in complaint("m", config([channel("off", disabled=True)]))


def test_any_text_may_be_asked_for_as_a_model_id() -> None:
    assert len(routed("m" * 5000, config([channel("c")]))) == 1


def test_long_lists_are_cut() -> None:
    models = [{"modelId": f"m{number}"} for number in range(40)]
    assert "and 28 more" in complaint("gpt", config([channel("c", supportedModels=["m0"])], models))


GROUP = {"id": "any", "models": ["big", "small"]}


def test_of_many_channels_and_models_the_best_routes_are_made_and_no_others() -> None:
    channels = [channel(f"c{number:03}", priority=-number) for number in range(300)]
    found = config(channels, [{"modelId": f"m{number:03}"} for number in range(300)])
    group = {"id": "g", "models": [f"m{number:03}" for number in range(60)]}
    grouped = ChannelConfig.model_validate({**found.model_dump(by_alias=True), "modelGroups": [group]})
    for ways in (routed(("chat",), found), routed("g", grouped)):
        assert len(ways) == MAX_ROUTES
        assert ways[:2] == ["m000@c000", "m000@c001"]
        assert ways[MAX_ROUTES_OF_MODEL] == "m001@c000", "a model on many channels leaves room for the next"
    assert len(routed("m000", found)) == MAX_ROUTES_OF_MODEL


def test_a_group_stands_for_its_models_on_all_their_channels() -> None:
    found = config([channel("a", supportedModels=["small", "big"]), channel("b", supportedModels=["big"], priority=1)])
    found = found.model_copy(
        update={"model_groups": ChannelConfig.model_validate({"modelGroups": [GROUP]}).model_groups}
    )
    assert routed("any", found) == ["big@b", "big@a", "small@a"]
    turned = route(ModelWish("any"), found, order=lambda group: group.models[::-1])
    assert [f"{way.model_id}@{way.channel_id}" for way in turned] == ["small@a", "big@b", "big@a"]


def test_a_group_whose_models_no_channel_has_says_so() -> None:
    found = ChannelConfig.model_validate({"channels": [channel("a", supportedModels=["x"])], "modelGroups": [GROUP]})
    assert "no enabled channel has a model of the group 'any'; models of it: big, small" in complaint("any", found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("channel:a/m", "m@a"), ("channel:a/b/m", "m@a/b"), ("channel:a/org/m", "org/m@a"), ("channel:a/b/", "b/@a")],
)
def test_a_model_is_pinned_to_a_channel_even_where_others_come_first(name: str, expected: str) -> None:
    found = config([channel("first", priority=9), channel("a", supportedModels=["other"]), channel("a/b")])
    assert routed(name, found) == [expected]


@pytest.mark.parametrize("name", ["channel:", "channel:a", "channel:a/", "channel:off/m", "channel:none/m"])
def test_a_pin_to_what_is_no_enabled_channel_names_those_that_are(name: str) -> None:
    message = complaint(name, config([channel("a"), channel("off", disabled=True)]))
    assert message.startswith(f"{name!r} names no enabled channel and a model; channels: a.")


def test_traits_of_a_model_take_the_place_of_those_of_its_channel() -> None:
    special = {
        "headers": {"X-B": "2"},
        "parameters": {"rename": {"max_tokens": "max_completion_tokens"}, "drop": []},
        "thinkTags": False,
        "prefix": "none",
    }
    found = config(
        [
            channel(
                "c",
                headers={"X-A": "1", "X-B": "1"},
                query={"api-version": "v1"},
                parameters={"defaults": {"top_k": 4}, "drop": ["temperature"]},
                prefix="trailing",
                structuredOutput="json_object",
                thinkTags=True,
                perModel={"m": special},
            )
        ]
    )
    shared = {"query": {"api-version": "v1"}, "defaults": {"top_k": 4}, "structured": "json_object"}
    assert [route(ModelWish(name), found)[0].traits for name in ("other", "m")] == [
        ChannelTraits(
            headers={"X-A": "1", "X-B": "1"}, drop=("temperature",), prefix="trailing", think_tags=True, **shared
        ),
        ChannelTraits(
            headers={"X-A": "1", "X-B": "2"}, rename={"max_tokens": "max_completion_tokens"}, drop=(), **shared
        ),
    ]


def test_a_channel_of_which_nothing_is_said_follows_its_protocol() -> None:
    assert route(ModelWish("m"), config([channel("c")]))[0].traits == ChannelTraits()
