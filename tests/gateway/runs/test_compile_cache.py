"""What is remembered of compiled documents: the last ones, of one catalogue, and none that is large."""

from __future__ import annotations

from innkeeper.gateway.runs.compile_cache import MAX_BYTES, MAX_ENTRIES, MAX_NODES, CompileCache, cache_key
from innkeeper.nodes.catalogue.plugins import load_catalogue


def test_the_ones_that_nobody_asked_for_longest_go_first() -> None:
    cache, catalogue = CompileCache[int](), load_catalogue(())
    for number in range(MAX_ENTRIES):
        cache.put(catalogue, bytes([number]), number, 1)
    assert cache.get(catalogue, bytes([0])) == 0
    cache.put(catalogue, b"new", -1, 1)
    assert cache.get(catalogue, bytes([0])) == 0
    assert cache.get(catalogue, bytes([1])) is None


def test_all_together_have_no_more_nodes_than_fit() -> None:
    cache, catalogue = CompileCache[int](), load_catalogue(())
    half = MAX_NODES // 2
    for number in range(3):
        cache.put(catalogue, bytes([number]), number, half)
        cache.put(catalogue, bytes([number]), number, half)  # compiled twice at once: it counts once
    assert [cache.get(catalogue, bytes([number])) for number in range(3)] == [None, 1, 2]
    cache.put(catalogue, b"too large", 3, MAX_NODES + 1)
    assert cache.get(catalogue, b"too large") is None
    assert cache.get(catalogue, bytes([2])) == 2
    cache.put(catalogue, b"all", 4, MAX_NODES)
    assert [cache.get(catalogue, key) for key in (bytes([1]), bytes([2]), b"all")] == [None, None, 4]


def test_another_catalogue_knows_nothing_of_the_one_before() -> None:
    cache, before, after = CompileCache[int](), load_catalogue(()), load_catalogue(())
    cache.put(before, b"key", 1, 1)
    assert cache.get(after, b"key") is None
    cache.put(after, b"other", 2, 1)
    assert cache.get(after, b"key") is None


def test_keys_tell_documents_inputs_users_and_orders_apart() -> None:
    ones = {"nodes": [], "interfaceInputs": {"a": 1, "b": 2}}
    turned = {"nodes": [], "interfaceInputs": {"b": 2, "a": 1}}
    keys = {
        cache_key(ones, {}, "ann"),
        cache_key(turned, {}, "ann"),
        cache_key(ones, {"a": 1}, "ann"),
        cache_key(ones, {}, "bob"),
    }
    assert len(keys) == 4
    assert None not in keys


def test_large_documents_and_numbers_that_no_json_of_ours_holds_have_no_key() -> None:
    assert cache_key({"nodes": [{}] * MAX_NODES}, {}, "ann") is not None
    assert cache_key({"nodes": [{}] * (MAX_NODES + 1)}, {}, "ann") is None
    assert cache_key({"nodes": [], "notes": "x" * MAX_BYTES}, {}, "ann") is None
    assert cache_key({"nodes": [{"id": 2**70}]}, {}, "ann") is None
    assert cache_key({"nodes": "none"}, {}, "ann") is None
