"""The catalogue of a running process: replaced as a whole, and what becomes of types that are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.catalogue.plugin_states import STATES_FILE, disabled_plugins, read_states, states_text
from innkeeper.nodes.catalogue.plugins import Catalogue, load_catalogue
from tests.nodes.catalogue.test_plugins import plugin


def load(root: Path, *disabled: str) -> Catalogue:
    return load_catalogue([root], disabled=disabled)


def test_a_gateway_forgets_types_that_are_gone_and_a_worker_keeps_them_as_they_were_last(tmp_path: Path) -> None:
    plugin(tmp_path, "toys", Ball="", Kite="")
    gateway, worker = LiveCatalogue(load(tmp_path)), LiveCatalogue(load(tmp_path), keeps_missing=True)
    before = worker.get_node("toys:Ball")
    for catalogue in (gateway, worker):
        catalogue.replace(load(tmp_path, "toys"))
        catalogue.replace(load(tmp_path, "toys"))
        assert "toys:Ball" not in {node.full_type for node in catalogue.get_definitions()}
    assert gateway.get_node("toys:Ball") is None
    assert worker.get_node("toys:Ball") is before
    worker.replace(load(tmp_path))
    assert worker.get_node("toys:Ball") not in (None, before)


def test_a_disabled_plugin_keeps_its_name_and_says_why_its_types_are_missing(tmp_path: Path) -> None:
    plugin(tmp_path, "toys", Ball="")
    plugin(tmp_path, "thief", Ball="namespace='toys'")
    catalogue = load(tmp_path, "toys")
    found = catalogue.plugin("toys")
    assert found is not None
    assert (found.is_loaded, found.is_enabled, found.nodes, found.reason) == (False, False, (), None)
    assert "disabled" in str(catalogue.absence("toys:Ball"))
    assert "belongs to that plugin" in str(catalogue.absence("thief:Ball"))
    assert catalogue.absence("core:Nothing") is None


def test_code_of_a_disabled_plugin_is_not_run(tmp_path: Path) -> None:
    folder = plugin(tmp_path, "toys", Ball="")
    (folder / "nodes" / "mark.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    load(tmp_path, "toys")
    assert not (tmp_path / "ran").exists()
    load(tmp_path)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("data", "states"),
    [
        (b'{"a": {"enabled": false}, "b": {"enabled": true}}', {"a": False, "b": True}),
        (b'{"a": {"enabled": "no"}, "b": false, "c": {}}', {}),
        (b"[]", {}),
        (b"{", {}),
        (b" " * 300_000, {}),
        (states_text({"z": False, "a": True}), {"a": True, "z": False}),
    ],
)
def test_states_are_read_and_whoever_is_not_named_is_enabled(tmp_path: Path, data: bytes, states: object) -> None:
    assert read_states(tmp_path) == {}
    (tmp_path / STATES_FILE).parent.mkdir(parents=True)
    (tmp_path / STATES_FILE).write_bytes(data)
    assert read_states(tmp_path) == states
    assert disabled_plugins(tmp_path) == {name for name, is_enabled in read_states(tmp_path).items() if not is_enabled}
