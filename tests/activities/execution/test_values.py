"""How values travel: inline, as blobs, as references to secrets, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.engine_activities import EngineActivities
from innkeeper.activities.execution.execute_node import ExecuteNode
from innkeeper.activities.execution.values import BYTES_MIME, MAX_VALUE_BYTES, Values
from innkeeper.activities.link.gateway_link import NullLink
from innkeeper.nodes.call import INLINE_LIMIT, NodeCall
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import InvalidNode, NodeInputError, ResourceError
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.blobs import FolderBlobs
from tests.workflows.toys import NoSecrets


class CountingBlobs(FolderBlobs):
    """A real blob folder that counts how often it is read."""

    reads = 0

    async def get(self, sha256: str) -> bytes:
        self.reads += 1
        return await super().get(sha256)


class Vault:
    """Seals by remembering."""

    def __init__(self) -> None:
        self.sealed: list[str] = []

    async def seal(self, value: str) -> SecretRef:
        self.sealed.append(value)
        return SecretRef(f"id-{len(self.sealed)}")


@pytest.fixture
def blobs(tmp_path: Path) -> CountingBlobs:
    return CountingBlobs(tmp_path / "blobs")


@pytest.fixture
def values(blobs: CountingBlobs) -> Values:
    return Values(blobs)


def is_reference(value: Any) -> bool:
    return isinstance(value, dict) and "$blob" in value


# --- pack and resolve ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, -7, 1.5, "", "text", "名前", [], {}, [1, [2, {"a": None}]], {"a": {"b": [1, "x"]}}],
    ids=repr,
)
async def test_small_values_travel_as_they_are(values: Values, value: Any) -> None:
    packed = await values.pack("out", value)
    assert packed == value
    assert type(packed) is type(value)
    assert await values.resolve(packed) == value


@pytest.mark.parametrize(
    "value", ["x" * 10_000, ["y" * 100] * 100, {"k": "名" * 5_000}], ids=["text", "list", "object"]
)
async def test_large_values_come_back_whole(values: Values, value: Any) -> None:
    packed = await values.pack("out", value)
    assert is_reference(packed)
    assert set(packed) == {"$blob", "size", "mime", "preview"}
    assert packed["size"] == len(orjson.dumps(value))
    assert packed["mime"] == "application/json"
    assert len(orjson.dumps(packed)) < 1_500
    assert await values.resolve(packed) == value


@pytest.mark.parametrize(("size", "stored"), [(INLINE_LIMIT, False), (INLINE_LIMIT + 1, True)])
async def test_the_border_is_four_kilobytes_of_json(values: Values, size: int, stored: bool) -> None:
    text = "x" * (size - 2)  # two quotes
    assert is_reference(await values.pack("out", text)) is stored


async def test_the_border_counts_bytes_not_characters(values: Values) -> None:
    assert is_reference(await values.pack("out", "名" * 2_000))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_bytes_are_stored_whatever_their_size_and_come_back_as_bytes(values: Values, kind: Any) -> None:
    packed = await values.pack("image", kind(b"\x89PNG\xff"))
    assert packed["mime"] == BYTES_MIME
    assert packed["size"] == 5
    assert await values.resolve(packed) == b"\x89PNG\xff"


async def test_tuples_and_stored_values_look_alike_to_consumers(values: Values) -> None:
    assert await values.pack("out", ("a", 1)) == ["a", 1]
    assert await values.resolve(await values.pack("out", ("a" * 5_000, 1))) == ["a" * 5_000, 1]


@pytest.mark.parametrize(
    "value",
    [object(), {(1, 2): "a"}, {"a": b"raw"}, {1, 2}],
    ids=["object", "key", "bytes", "set"],
)
async def test_what_is_not_json_data_is_refused_by_name(values: Values, value: Any) -> None:
    with pytest.raises(InvalidNode, match="'out'") as refused:
        await values.pack("out", value)
    assert refused.value.code == "invalid_output"
    assert not refused.value.retryable


@pytest.mark.parametrize("size", [1, 5_000], ids=["inline", "stored"])
@pytest.mark.parametrize(
    ("odd", "mended"),
    [(2**80, 2.0**80), ("\ud800", "\ufffd"), (float("nan"), None), ({1: "a"}, {"1": "a"})],
    ids=["int", "text", "nan", "key"],
)
async def test_what_json_can_nearly_hold_is_changed_and_told(values: Values, odd: Any, mended: Any, size: int) -> None:
    told: list[str] = []
    packed = await values.pack("out", ["x" * size, odd], on_change=told.append)
    assert await values.resolve(packed) == ["x" * size, mended]
    assert len(told) == 1


async def test_a_reference_to_nothing_is_an_error(values: Values) -> None:
    with pytest.raises(ResourceError):
        await values.resolve({"$blob": "0" * 64, "size": 1, "mime": "application/json", "preview": ""})


# --- a user's own markers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {"$blob": "not a hash"},
        {"$secret": "made up"},
        {"deep": [{"x": {"$blob": 1}}]},
        [{"$secret": "in a list"}],
    ],
    ids=repr,
)
async def test_an_object_of_the_user_that_holds_a_marker_is_stored_whole(values: Values, value: Any) -> None:
    packed = await values.pack("out", value)
    assert is_reference(packed)
    assert packed["mime"] == "application/json"
    assert await values.resolve(packed) == value


async def test_a_users_marker_in_an_ordinary_slot_stays_an_object(values: Values) -> None:
    packed = await values.pack("out", {"$secret": "made up"})
    resolved = await values.resolve_inputs({"in": packed}, (), {"in": Input("OBJECT")})
    assert resolved == {"in": {"$secret": "made up"}}


async def test_a_users_marker_beside_a_sealed_key_is_stored_whole(values: Values) -> None:
    value = {"api_key": "k", "note": {"$blob": "mine"}}
    packed = await values.pack("settings", value, ["api_key"], Vault())
    assert is_reference(packed)
    assert await values.resolve(packed) == {"api_key": {"$secret": "id-1"}, "note": {"$blob": "mine"}}


# --- secrets leaving ----------------------------------------------------------------------------------------------


async def test_declared_inner_keys_leave_as_references(values: Values) -> None:
    vault = Vault()
    packed = await values.pack("settings", {"api_key": "canary", "model": "m"}, ["api_key"], vault)
    assert packed == {"api_key": {"$secret": "id-1"}, "model": "m"}
    assert vault.sealed == ["canary"]


async def test_a_slot_declared_secret_leaves_as_a_reference(values: Values) -> None:
    assert await values.pack("key", "canary", [""], Vault()) == {"$secret": "id-1"}


async def test_a_reference_given_on_is_not_sealed_again(values: Values) -> None:
    vault = Vault()
    packed = await values.pack("settings", {"api_key": SecretRef("env:KEY")}, ["api_key"], vault)
    assert packed == {"api_key": {"$secret": "env:KEY"}}
    assert await values.pack("key", SecretRef("s"), [""], vault) == {"$secret": "s"}
    assert vault.sealed == []


@pytest.mark.parametrize("id", ["ab" * 32, "env:KEY"])
async def test_a_text_reference_leaves_like_an_object(values: Values, id: str) -> None:
    vault = Vault()
    assert await values.pack("settings", {"api_key": f"$secret:{id}"}, ["api_key"], vault) == {
        "api_key": {"$secret": id}
    }
    assert vault.sealed == []
    assert await values.pack("note", f"$secret:{id}") == f"$secret:{id}"


@pytest.mark.parametrize("value", ["$secret:", "$secret:canary-1", f"$secret:{'AB' * 32}"])
async def test_a_text_reference_without_an_id_is_refused(values: Values, value: str) -> None:
    vault = Vault()
    with pytest.raises(InvalidNode) as refused:
        await values.pack("key", value, [""], vault)
    assert refused.value.code == "invalid_secret_reference"
    assert "canary" not in refused.value.message
    assert vault.sealed == []


@pytest.mark.parametrize("value", ["", None])
async def test_an_empty_secret_stays_empty(values: Values, value: Any) -> None:
    vault = Vault()
    assert await values.pack("settings", {"api_key": value}, ["api_key"], vault) == {"api_key": value}
    assert vault.sealed == []


async def test_a_large_value_with_a_secret_is_stored_without_it_and_without_preview(
    values: Values, tmp_path: Path
) -> None:
    packed = await values.pack("settings", {"api_key": "canary-12345", "note": "n" * 9_000}, ["api_key"], Vault())
    assert packed["preview"] == ""
    stored = [path.read_bytes() for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert stored
    assert not any(b"canary" in data for data in stored)


@pytest.mark.parametrize(
    ("value", "seal"),
    [
        ({"api_key": ["canary-1", "canary-2"]}, ["api_key"]),
        ({"api_key": {"main": "canary-1"}}, ["api_key"]),
        ({"api_key": b"canary-1"}, ["api_key"]),
        ([{"api_key": "canary-1"}], ["api_key"]),
        (["canary-1"], [""]),
        (b"canary-1", [""]),
        ({"$secret": "canary-1"}, [""]),
    ],
    ids=["several", "object", "inner bytes", "objects", "list", "bytes", "no reference"],
)
async def test_a_secret_of_an_unexpected_shape_is_sealed_or_refused_but_never_in_the_clear(
    values: Values, tmp_path: Path, value: Any, seal: list[str]
) -> None:
    with contextlib.suppress(InvalidNode):
        assert "canary" not in repr(await values.pack("settings", value, seal, Vault()))
    stored = [path.read_bytes() for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert not any(b"canary" in data for data in stored)


@pytest.mark.parametrize(
    ("value", "seal"),
    [
        (SecretRef("s"), []),
        ({"other": SecretRef("s")}, []),
        ({"api_key": "k", "other": SecretRef("s")}, ["api_key"]),
        ([SecretRef("s")], []),
    ],
    ids=["whole", "inner", "beside", "list"],
)
async def test_a_secret_in_an_undeclared_place_is_an_error(values: Values, value: Any, seal: list[str]) -> None:
    with pytest.raises(InvalidNode, match="'out'") as refused:
        await values.pack("out", value, seal, Vault())
    assert refused.value.code == "undeclared_secret"


# --- secrets arriving ---------------------------------------------------------------------------------------------


async def test_references_count_where_the_slot_declares_a_secret_only(values: Values) -> None:
    reference = {"$secret": "s1"}
    slots = {
        "key": Input("STRING", secret=True),
        "settings": Input("OBJECT", secret_keys=("api_key",)),
        "plain": Input("OBJECT"),
    }
    inputs = {
        "key": reference,
        "settings": {"api_key": reference, "note": reference},
        "plain": reference,
        "undeclared": reference,
    }
    assert await values.resolve_inputs(inputs, (), slots) == {
        "key": SecretRef("s1"),
        "settings": {"api_key": SecretRef("s1"), "note": reference},
        "plain": reference,
        "undeclared": reference,
    }


async def test_a_text_reference_never_reaches_a_node_as_a_key(values: Values) -> None:
    slots = {"key": Input("STRING", secret=True), "settings": Input("OBJECT", secret_keys=("api_key",))}
    inputs = {"key": "$secret:s1", "settings": {"api_key": "$secret:s2", "note": "$secret:s3"}}
    assert await values.resolve_inputs(inputs, (), slots) == {
        "key": SecretRef("s1"),
        "settings": {"api_key": SecretRef("s2"), "note": "$secret:s3"},
    }


async def test_a_stored_object_gives_its_declared_secret(values: Values) -> None:
    packed = await values.pack("settings", {"api_key": "canary", "note": "n" * 9_000}, ["api_key"], Vault())
    slots = {"settings": Input("OBJECT", secret_keys=("api_key",))}
    resolved = await values.resolve_inputs({"settings": packed}, (), slots)
    assert resolved["settings"] == {"api_key": SecretRef("id-1"), "note": "n" * 9_000}


async def test_a_plain_value_in_a_secret_slot_stays_plain(values: Values) -> None:
    assert await values.resolve_inputs({"key": "typed"}, (), {"key": Input("STRING", secret=True)}) == {"key": "typed"}


# --- multi slots --------------------------------------------------------------------------------------------------


async def test_multi_slots_are_resolved_element_by_element_in_order(values: Values) -> None:
    large, marked = await values.pack("o", "L" * 9_000), await values.pack("o", {"$blob": "mine"})
    resolved = await values.resolve_inputs({"many": [large, "small", None, marked]}, ["many"], {})
    assert resolved == {"many": ["L" * 9_000, "small", None, {"$blob": "mine"}]}


async def test_a_list_in_a_single_slot_is_one_value(values: Values) -> None:
    reference_like = [{"$blob": "a user's list, stored whole when it was packed"}]
    packed = await values.pack("o", reference_like)
    assert await values.resolve_inputs({"one": packed}, [], {}) == {"one": reference_like}


async def test_a_stored_list_in_a_multi_slot_arrives_as_the_list(values: Values) -> None:
    packed = await values.pack("o", ["x" * 3_000, "y" * 3_000])
    assert await values.resolve_inputs({"many": packed}, ["many"], {}) == {"many": ["x" * 3_000, "y" * 3_000]}


async def test_secrets_in_multi_slots_are_found(values: Values) -> None:
    slots = {"keys": Input("STRING", multi=True, secret=True)}
    resolved = await values.resolve_inputs({"keys": [{"$secret": "a"}, {"$secret": "b"}]}, ["keys"], slots)
    assert resolved == {"keys": [SecretRef("a"), SecretRef("b")]}


# --- cache --------------------------------------------------------------------------------------------------------


async def test_a_value_read_again_comes_from_memory(values: Values, blobs: CountingBlobs) -> None:
    packed = await values.pack("o", "x" * 50_000)
    for _ in range(5):
        assert await values.resolve(packed) == "x" * 50_000
    assert blobs.reads == 1


async def test_what_a_node_does_to_its_input_is_not_seen_by_others(values: Values) -> None:
    packed = await values.pack("o", {"list": ["x" * 5_000]})
    first = await values.resolve(packed)
    first["list"].append("mine")
    assert await values.resolve(packed) == {"list": ["x" * 5_000]}


async def test_the_cache_is_bounded(values: Values) -> None:
    for number in range(40):
        await values.resolve(await values.pack("o", f"{number}" + "x" * 900_000))
    assert sum(map(len, values._cache.values())) <= 16 * 1024 * 1024


async def test_very_large_values_do_not_push_others_out(values: Values, blobs: CountingBlobs) -> None:
    small, huge = await values.pack("o", "s" * 5_000), await values.pack("o", "h" * 20_000_000)
    for reference in (small, huge, small):
        await values.resolve(reference)
    assert blobs.reads == 2


async def test_the_cache_still_works_after_a_fan_out(values: Values, blobs: CountingBlobs) -> None:
    wide = await values.pack("o", "x" * 1_000_000)
    await asyncio.gather(*(values.resolve(wide) for _ in range(40)))
    assert values._cached == sum(map(len, values._cache.values()))
    others = [await values.pack("o", f"{number}" * 900_000) for number in range(3)]
    reads = blobs.reads
    for reference in others * 2:
        await values.resolve(reference)
    assert blobs.reads == reads + 3


# --- sums and limits ----------------------------------------------------------------------------------------------


def stored(size: int) -> dict[str, Any]:
    return {"$blob": "a" * 64, "size": size, "mime": "application/json", "preview": ""}


async def test_inputs_that_are_too_large_together_are_refused_before_one_is_loaded(
    values: Values, blobs: CountingBlobs
) -> None:
    inputs = {"one": stored(MAX_VALUE_BYTES // 2), "many": [stored(MAX_VALUE_BYTES // 4)] * 2, "small": 1}
    with pytest.raises(ResourceError):  # just within the limit: only then it is looked for
        await values.resolve_inputs(inputs, ["many"], {})
    reads = blobs.reads
    with pytest.raises(NodeInputError, match=f"{MAX_VALUE_BYTES + 1} bytes .* limit of {MAX_VALUE_BYTES}") as caught:
        await values.resolve_inputs({**inputs, "more": stored(1)}, ["many"], {})
    assert (caught.value.code, caught.value.retryable, blobs.reads) == ("value_too_large", False, reads)


async def test_text_over_the_limit_is_refused_before_it_is_encoded(
    values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innkeeper.activities.execution.values.MAX_VALUE_BYTES", 10_000)
    for value, found in (("x" * 10_001, "10001 characters"), ("é" * 9_000, "18002 bytes"), (b"x" * 10_001, "10001")):
        with pytest.raises(InvalidNode, match=f"{found}.* over the limit of 10000 bytes") as caught:
            await values.pack("out", value)
        assert caught.value.code == "value_too_large"
    assert is_reference(await values.pack("out", "x" * 9_998))


@pytest.mark.parametrize(("key", "count"), [("", 3), ("text", 3), ("text", 2)])
async def test_results_of_all_items_that_are_too_large_together_are_refused(
    values: Values, monkeypatch: pytest.MonkeyPatch, key: str, count: int
) -> None:
    big = await values.pack("text", "x" * 5_000)
    outcomes = [[index, {"outputs": {"text": big, "other": big}}] for index in range(count)]
    monkeypatch.setattr("innkeeper.activities.engine_activities.MAX_VALUE_BYTES", 10_004)
    piece = await values.store(orjson.dumps([*outcomes, [count, {"error": {"code": "x"}}]]), "application/json", "")
    request = {"pieces": [piece], "on_error": "collect", "result_key": key}
    gather = EngineActivities(values, cast(Client, None)).gather_values
    if count == 2:
        found = await ActivityEnvironment().run(gather, request)
        assert await values.resolve(found["results"]) == ["x" * 5_000] * 2 + [None]
        assert found["errors"] == [{"code": "x"}]
    else:
        total = big["size"] * count * (1 if key else 2)
        with pytest.raises(ApplicationError, match=f"all results are {total} bytes together.*limit of 10004") as caught:
            await ActivityEnvironment().run(gather, request)
        assert (caught.value.type, caught.value.non_retryable) == ("value_too_large", True)


async def test_values_that_a_group_only_hands_on_are_not_loaded(values: Values, blobs: CountingBlobs) -> None:
    given = {"large": await values.pack("large", "x" * 5_000), "small": 1}
    link = NullLink()
    link.start()

    def services(user: str) -> Any:
        return None, NoSecrets()

    execute = ExecuteNode(load_catalogue(), services, link, values)
    call = NodeCall("run", "g/in", "core:GroupInput", {}, interface_inputs=given)
    result = await ActivityEnvironment().run(execute.execute_node, call.to_wire())
    await link.stop()
    assert (result["outputs"], blobs.reads) == (given, 0)
