"""What deterministic nodes gave before: which questions are equal, what is kept for whom, and how it goes again."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.execution.execute_node import ExecuteNode
from innkeeper.activities.execution.values import Values
from innkeeper.activities.link.gateway_link import NullLink
from innkeeper.nodes.call import NodeCall
from innkeeper.nodes.node import NodeContext, Outputs, SecretRef
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.results import SWEEP_EVERY, FolderResults, KeptResult, result_key
from tests.activities.toy_stack import Toys

BLOB = {"$blob": "a" * 64, "size": 9, "mime": "application/json", "preview": "x"}
KEY = "0" * 64
CALL = NodeCall("r", "n", "toy:echo", {"text": "hi", "large": BLOB}, config={"k": 1}, cached=True)


def asked(**changes: Any) -> str | None:
    return result_key(replace(CALL, **changes), "1")


def test_run_path_and_user_are_no_part_of_the_question() -> None:
    same = asked(run="other", path="g/m", run_user="you", max_failures=9)
    assert same == asked(inputs={"large": {**BLOB, "preview": "y"}, "text": "hi"}) == asked()


@pytest.mark.parametrize(
    "change",
    [
        {"type": "toy:other"},
        {"mode": "m"},
        {"config": {"k": 2}},
        {"inputs": {"text": "ho", "large": BLOB}},
        {"inputs": {"text": "hi", "large": {**BLOB, "$blob": "b" * 64}}},
        {"inputs": {"text": "hi", "large": {**BLOB, "mime": "application/octet-stream"}}},
        {"multi": ["text"]},
    ],
)
def test_other_questions_have_other_keys(change: dict[str, Any]) -> None:
    assert asked(**change) not in (asked(), None)
    assert result_key(CALL, "2") != asked()


@pytest.mark.parametrize(
    "change",
    [
        {"cached": False},
        {"streams": ["out"]},
        {"stream_inputs": {"in": ["p"]}},
        {"seal": {"out": ["key"]}},
        {"inputs": {"settings": {"api_key": {"$secret": "s"}}}},
        {"config": {"deep": [{"key": {"$secret": "s"}}]}},
        {"interface_inputs": {"x": 1}},
    ],
)
def test_secrets_and_streams_are_never_kept(change: dict[str, Any]) -> None:
    assert asked(**change) is None


# --- the folder ---------------------------------------------------------------------------------------------------


def folder(root: Path, **more: Any) -> FolderResults:
    return FolderResults(root, lambda sha: sha != "gone", **{"max_bytes": 10_000, "max_age_s": 60.0, **more})


async def test_results_are_kept_per_user(tmp_path: Path) -> None:
    results = folder(tmp_path)
    await results.put("me", KEY, KeptResult({"out": 1}))
    assert await results.get("me", KEY) == ({"out": 1}, [])
    assert await results.get("you", KEY) is None
    assert await results.get("me", "1" * 64) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_mode & 0o077] == []


async def test_result_whose_value_has_gone_or_that_is_damaged_is_a_miss(tmp_path: Path) -> None:
    results = folder(tmp_path)
    await results.put("me", KEY, KeptResult({"out": {"text": {"$blob": "gone"}, "chunks": 1}}))
    assert await results.get("me", KEY) is None
    await results.put("me", KEY, KeptResult({"out": 1}))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    for content in (b"", b"{", b"[]", b'{"user": "me"}', b'{"user": "you", "outputs": {}}'):
        file.write_bytes(content)
        assert await results.get("me", KEY) is None


async def test_old_results_are_not_given_and_go_with_the_next_sweep(tmp_path: Path) -> None:
    results = folder(tmp_path)
    await results.put("me", KEY, KeptResult({"out": 1}))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    os.utime(file, (time.time() - 61, time.time() - 61))
    assert await results.get("me", KEY) is None
    results.sweep()
    assert not file.exists()


async def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    results = folder(tmp_path, max_bytes=1_000)
    for number in range(SWEEP_EVERY + 1):
        await results.put("me", f"{number:064}", KeptResult({"out": "x" * 100}))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 1_000
    assert await results.get("me", f"{SWEEP_EVERY:064}") is not None


async def test_cache_that_is_off_keeps_nothing_and_a_full_disk_fails_no_node(tmp_path: Path) -> None:
    off = folder(tmp_path / "off", max_bytes=0)
    await off.put("me", KEY, KeptResult({"out": 1}))
    assert await off.get("me", KEY) is None
    assert not (tmp_path / "off").exists()
    (tmp_path / "file").touch()
    await folder(tmp_path / "file").put("me", KEY, KeptResult({"out": 1}))


# --- in the activity ----------------------------------------------------------------------------------------------


class Spy:
    """The secrets of a node run."""

    def __init__(self) -> None:
        self.revealed: set[str] = set()

    async def seal(self, value: str) -> SecretRef:
        return SecretRef("sealed")


async def test_node_that_looked_at_a_secret_is_not_kept(tmp_path: Path) -> None:
    toys, spies = Toys(), list[Spy]()

    async def peek(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        if inputs["look"]:
            spies[-1].revealed.add("secret")
        return Outputs(out=inputs["look"])

    def services(user: str) -> Any:
        spies.append(Spy())
        return None, spies[-1]

    toys.add("peek", peek)
    link = NullLink()
    link.start()
    blobs = FolderBlobs(tmp_path / "blobs")
    execute = ExecuteNode(toys, services, link, Values(blobs), results=folder(tmp_path / "results"))
    for look in (True, False):
        for round in (1, 2):
            call = NodeCall(f"r{round}", f"{look}", "toy:peek", {"look": look}, cached=True)
            result = await ActivityEnvironment().run(execute.execute_node, call.to_wire())
            assert (result["outputs"], result.get("cached", False)) == ({"out": look}, not look and round == 2)
    assert toys.calls == {"True": [1, 1], "False": [1]}


async def test_other_plugin_settings_are_another_question(tmp_path: Path, toys: Toys) -> None:
    async def show(inputs: dict[str, Any], context: NodeContext) -> Outputs:
        return Outputs(out=context.plugin_settings["marks"])

    toys.add("show", show)
    link = NullLink()
    link.start()
    blobs = FolderBlobs(tmp_path / "blobs")
    given = []
    for marks in (1, 2, 1):
        execute = ExecuteNode(
            toys,
            lambda user: (None, Spy()),  # type: ignore[arg-type, return-value]
            link,
            Values(blobs),
            results=folder(tmp_path / "results"),
            plugin_settings={"toy:show": {"marks": marks}},
        )
        call = NodeCall("r", f"n{len(given)}", "toy:show", {}, cached=True)
        result = await ActivityEnvironment().run(execute.execute_node, call.to_wire())
        given.append((result["outputs"]["out"], result.get("cached", False)))
    assert given == [(1, False), (2, False), (1, True)]


async def test_what_a_node_warned_of_is_told_again_with_its_kept_outputs(tmp_path: Path, toys: Toys) -> None:
    async def warns(inputs: dict[str, Any], context: NodeContext) -> Outputs:
        context.warn("odd", "the last line broke off")
        return Outputs(out=1)

    toys.add("warns", warns)
    link = NullLink()
    link.start()
    values = Values(FolderBlobs(tmp_path / "blobs"))
    execute = ExecuteNode(
        toys,
        lambda user: (None, Spy()),  # type: ignore[arg-type, return-value]
        link,
        values,
        results=folder(tmp_path / "results"),
    )
    call = NodeCall("r", "n", "toy:warns", {}, cached=True)
    results = [await ActivityEnvironment().run(execute.execute_node, call.to_wire()) for _ in range(2)]
    assert [result.get("cached", False) for result in results] == [False, True]
    assert [result["warnings"] for result in results] == [[{"code": "odd", "message": "the last line broke off"}]] * 2
