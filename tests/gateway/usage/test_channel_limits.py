"""Which limits a call stands under."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

from innkeeper.gateway.usage.channel_limits import ChannelLimits, limits_of_call
from innkeeper.gateway.usage.known_channels import KnownChannels
from innkeeper.gateway.usage.limits import UserAmounts
from innkeeper.nodes.services.channels import Channel
from innkeeper.nodes.services.llm.call_gate import CallOrigin, CallStart

FILE = """
channels:
- id: c
  baseUrl: https://host.example/v1
  limits: {requestsPerMinute: %d, tokensPerMinute: 90000, concurrent: 3, burst: 9}
  perModel: {big: {limits: {concurrent: 1}}}
"""


def start(channel: str = "c", model: str = "m") -> CallStart:
    return CallStart("id", CallOrigin("run", "n", 1, "me"), channel, "host.example:443", "openai", model)


async def test_a_call_stands_under_the_limits_of_its_channel_model_and_user(tmp_path: Path) -> None:
    (tmp_path / "channels.yaml").write_text(FILE % 60)
    limits = ChannelLimits(KnownChannels(tmp_path), UserAmounts(requests_per_minute=600))
    assert [str(limit) for limit in await limits(start())] == [
        "600 requests a minute of each user",
        "60 requests a minute of channel 'c'",
        "90,000 tokens a minute of channel 'c'",
        "3 requests at once of channel 'c'",
    ]
    assert [str(limit) for limit in await limits(start(model="big"))][4:] == [
        "1 request at once of model 'big' on channel 'c'"
    ]
    assert [limit.key for limit in await limits(start(channel=""))] == ["requests user me"]
    assert (await limits(start()))[1].rate.burst == 9


async def test_calls_that_come_at_once_at_the_start_stand_under_the_limits_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "channels.yaml").write_text(FILE % 60)
    limits = ChannelLimits(KnownChannels(tmp_path), UserAmounts())
    assert [len(found) for found in await asyncio.gather(*(limits(start()) for _ in range(50)))] == [3] * 50


async def test_a_changed_file_counts_and_a_broken_one_leaves_the_limits(tmp_path: Path) -> None:
    file = tmp_path / "channels.yaml"
    channels = KnownChannels(tmp_path)
    limits = ChannelLimits(channels, UserAmounts())
    found = []
    for number, text in enumerate((FILE % 60, FILE % 30, "channels: [", "channels: []")):
        file.write_text(text)
        os.utime(file, (number, number))
        channels._looked_at -= 2  # a second later
        found.append([limit.amount for limit in await limits(start())][:1])
    assert found == [[60], [30], [30], []]


def test_a_user_named_like_a_channel_has_a_limit_of_its_own() -> None:
    channel = Channel.model_validate(
        {"id": "me", "baseUrl": "https://host.example", "limits": {"requestsPerMinute": 5}}
    )
    keys = [limit.key for limit in limits_of_call(start("me"), channel, UserAmounts(requests_per_minute=7))]
    assert keys == ["requests user me", "requests channel me"]


async def test_channels_that_users_have_made_are_limited_too(tmp_path: Path) -> None:
    limits = ChannelLimits(KnownChannels(tmp_path), UserAmounts())
    made = {"id": "mine", "owner": "me", "baseUrl": "https://a.example/v1", "limits": {"requestsPerMinute": 7}}
    (tmp_path / "channels.json").write_text(json.dumps({"channels": [made], "models": []}))
    assert [limit.amount for limit in await limits(start("mine"))] == [7]


async def test_the_operator_alone_says_whose_prices_count(tmp_path: Path) -> None:
    channels = KnownChannels(tmp_path)
    pricing = {"baseUrl": "https://a.example/v1", "pricing": {"provider": "openai"}}
    (tmp_path / "channels.yaml").write_text(json.dumps({"channels": [{"id": "ours", **pricing}]}))
    made = {"id": "mine", "owner": "me", **pricing}
    (tmp_path / "channels.json").write_text(json.dumps({"channels": [made], "models": []}))
    assert await channels.get("mine") is not None
    assert [channels.pricing_provider(id) for id in ("ours", "mine", "none")] == ["openai", None, None]


async def test_channels_with_one_key_may_share_its_limits(tmp_path: Path) -> None:
    limits = {"requestsPerMinute": 60, "sharedByKey": True}
    channels = [{"id": id, "baseUrl": "https://host.example/v1", "limits": limits} for id in ("a", "b")]
    (tmp_path / "channels.yaml").write_text(json.dumps({"channels": channels}))
    found = ChannelLimits(KnownChannels(tmp_path), UserAmounts())
    keys = [[limit.key for limit in await found(replace(start(id), key=key))] for id, key in ("a1", "b1", "b2")]
    assert keys[0] == keys[1] != keys[2]
    # A channel without a key is limited by itself.
    assert [limit.key for limit in await found(start("a"))] == ["requests channel a"]
