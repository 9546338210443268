"""A damaged store: what requests to models took is saved, and who may spend how much."""

from __future__ import annotations

from pathlib import Path

from innkeeper.gateway.container import open_container
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.runs import NewRun
from innkeeper.gateway.store.usage import Whose
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from tests.gateway.salvage.test_seen_files import overwrite


async def test_accounts_and_budgets_survive_a_damaged_store(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, temporal_address="127.0.0.1:9", budget_day_tokens=1_000)
    origin = CallOrigin("r", "n", 1, settings.user)
    async with open_container(settings) as container:
        await container.runs._store.add(NewRun("r", settings.user, None))
        await container.ledger.reserve(CallStart("done", origin, "c", "h:1", "openai", "m", "k", 100, 100))
        await container.ledger.settle(CallEnd("done", "ok", usage={"prompt_tokens": 7, "completion_tokens": 5}))
        await container.ledger.reserve(CallStart("open", origin, "c", "h:1", "openai", "m", "k", 100, 100))
        await container.budgets.raise_limit("r", "day", {"tokens": 5_000})
    overwrite(settings.store_path, "workflows")
    async with open_container(settings) as container:
        assert [*tmp_path.glob("gateway.db*.damaged-*")] or [*tmp_path.glob("*damaged*")], "the store was not damaged"
        calls = await container.ledger._store.calls(["done", "open"])
        assert {id: (call.outcome, call.tokens) for id, call in calls.items()} == {
            "done": ("ok", 12),
            "open": ("open", 200),
        }
        # What was under way still counts, and so does the raised limit.
        assert (await container.ledger._store.spent(Whose("r"), "USD")).tokens == 212
        assert (
            await container.ledger.reserve(CallStart("more", origin, "c", "h:1", "openai", "m", "k", 0, 4_000)) is None
        )
        assert await container.ledger.reserve(CallStart("past", origin, "c", "h:1", "openai", "m", "k", 0, 1_000))
