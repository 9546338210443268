"""What workers ask before and after their requests to models, at a real gateway."""

from __future__ import annotations

import httpx
import pytest

from innkeeper.gateway.settings import worker_token
from innkeeper.gateway.usage import known_channels
from tests.gateway.conftest import Stack

START = {"id": "c1", "run": "nowhere", "node": "n", "host": "h.example:443", "adapter": "openai", "model": "m"}


def token(shared: Stack) -> dict[str, str]:
    return {"Authorization": f"Bearer {worker_token(shared.settings)}"}


async def test_a_call_is_let_go_renewed_and_ended(shared: Stack, http: httpx.AsyncClient) -> None:
    headers = token(shared)
    begun = await http.post("/internal/llm/begin", json=START, headers=headers)
    assert begun.json() == {
        "go": True,
        "leaseS": 15.0,
        "share": {"perMinute": None, "concurrent": None},
        "hasBudget": False,
    }
    renewed = await http.post("/internal/llm/renew", json={"ids": ["c1", "c2"]}, headers=headers)
    assert renewed.json() == {"lost": ["c2"]}
    end = {"id": "c1", "outcome": "ok", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    for _ in range(2):
        assert (await http.post("/internal/llm/end", json={"ends": [end]}, headers=headers)).json() == {}
    assert (await http.post("/internal/llm/renew", json={"ids": ["c1"]}, headers=headers)).json() == {"lost": ["c1"]}


async def test_a_limit_and_its_place_are_told(
    shared: Stack, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_channels, "LOOK_S", 0.0)
    file = shared.data / "channels.yaml"
    file.write_text("channels: [{id: slow, baseUrl: 'https://h.example/v1', limits: {requestsPerMinute: 6}}]")
    try:
        answers = [
            (await http.post("/internal/llm/begin", json={**START, "id": id, "channel": "slow"}, headers=token(shared)))
            for id in ("s1", "s2")
        ]
    finally:
        file.unlink()
    told = answers[1].json()
    assert answers[0].json()["share"] == {"perMinute": 6.0, "concurrent": None}
    assert told["limit"] == "6 requests a minute of channel 'slow'"
    assert told["reason"] == "6 requests a minute of channel 'slow', place 1 in the line"
    assert 8 < told["waitS"] <= 10


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("begin", {}),
        ("begin", []),
        ("renew", {"ids": "c1"}),
        ("renew", {"ids": ["x"] * 20_001}),
        ("end", {"ends": {}}),
        ("end", {"ends": ["c1"]}),
        ("end", {"ends": [{"id": "c1", "outcome": "fine"}]}),
        ("end", {"ends": [{}] * 1_001}),
    ],
)
async def test_what_cannot_be_read_is_refused(shared: Stack, http: httpx.AsyncClient, path: str, body: object) -> None:
    answer = await http.post(f"/internal/llm/{path}", json=body, headers=token(shared))
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("path", ["begin", "renew", "end"])
async def test_only_workers_may_ask(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.post(f"/internal/llm/{path}", json=START, headers={"Authorization": "Bearer someone"})
    assert answer.status_code == 401
