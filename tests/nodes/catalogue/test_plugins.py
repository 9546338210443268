"""Plugins: whole or not at all, each failure told, the rest starts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from innkeeper.nodes.catalogue.manager import NodeManager
from innkeeper.nodes.catalogue.manifest import MAX_MANIFEST_BYTES
from innkeeper.nodes.catalogue.plugins import Catalogue, PluginStatus, load_catalogue

NODE = """
from innkeeper import NodeDefinition

async def execute(inputs, context):
    return {{}}

definition = NodeDefinition(
    type="{type}", category="Toys", display_name="Toy", description="", execute=execute, {fields}
)
"""
PLUGINS = Path(__file__).parents[2] / "plugins"


def plugin(root: Path, name: str, manifest: str | None = None, **nodes: str) -> Path:
    """A plugin folder. `nodes`: type name to further fields of the definition."""
    folder = root / name
    (folder / "nodes").mkdir(parents=True)
    plain = f"name: {name}\ndisplayName: A plugin\nversion: 1.2.3\nnodes:\n  entry: nodes\n"
    (folder / "plugin.yaml").write_text(plain if manifest is None else dedent(manifest))
    for type_name, fields in nodes.items():
        (folder / "nodes" / f"{type_name.lower()}.py").write_text(NODE.format(type=type_name, fields=fields))
    return folder


def load(*roots: Path) -> tuple[Catalogue, dict[str, PluginStatus]]:
    catalogue = load_catalogue(roots)
    return catalogue, {status.name: status for status in catalogue.plugins}


def test_plugin_adds_its_nodes_under_its_name(tmp_path: Path) -> None:
    plugin(tmp_path, "toys", Ball="", Kite="namespace='sky'")
    catalogue, statuses = load(tmp_path)
    assert statuses["toys"].nodes == ("toys:Ball", "sky:Kite")
    assert catalogue.get_node("toys:Ball") is not None
    assert catalogue.get_node("core:TextMerge") is not None
    assert catalogue.get_node("toys:Kite") is None
    assert statuses["toys"].to_json() == {
        "isEnabled": True,
        "configOptions": [],
        "name": "toys",
        "loaded": True,
        "nodes": ["toys:Ball", "sky:Kite"],
        "displayName": "A plugin",
        "version": "1.2.3",
    }


def test_one_bad_file_rolls_the_plugin_back_and_the_rest_starts(tmp_path: Path) -> None:
    broken = plugin(tmp_path, "broken", Ball="", Kite="namespace='sky'")
    (broken / "nodes" / "zz.py").write_text("import nothing_of_that_name")
    plugin(tmp_path, "good", Ball="")
    catalogue, statuses = load(tmp_path)
    assert not statuses["broken"].is_loaded
    assert (statuses["broken"].file, statuses["broken"].nodes) == ("nodes/zz.py", ())
    assert "nothing_of_that_name" in str(statuses["broken"].reason)
    assert statuses["good"].is_loaded
    known = {node.full_type for node in catalogue.get_definitions()}
    assert "good:Ball" in known
    assert not known & {"broken:Ball", "sky:Kite"}
    said = json.dumps(statuses["broken"].to_json())
    assert str(tmp_path) not in said
    assert '"loaded": false' in said


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("", "must hold a mapping"),
        ("- a\n- b", "must hold a mapping"),
        ("name: [", "is not valid YAML"),
        ("name: x\nversion: '1'", "displayName: Field required"),
        ("displayName: X\nversion: '1'", "name: Field required"),
        ("name: a:b\ndisplayName: X\nversion: '1'", "name: String should match pattern"),
        ("name: other\ndisplayName: X\nversion: '1'", "the folder is 'p' and the name 'other'"),
        ("name: p\ndisplayName: X\nversion: '1'\nmanifestVersion: 2", "manifestVersion: Input should be 1"),
        ("name: p\ndisplayName: X\nversion: '1'\nnodes: {entry: ../q}", "nodes.entry: Value error, must be a path"),
        ("name: p\ndisplayName: X\nversion: '1'\nnodes: {entry: /etc}", "nodes.entry: Value error, must be a path"),
        ("name: p\ndisplayName: X\nversion: '1'\nnodes: {entry: none}", "nodes.entry 'none' is not a folder"),
        ("name: p\ndisplayName: X\nversion: '1'\nnodes: {entry: plugin.yaml}", "is not a folder of the plugin"),
        ("name: p\ndisplayName: X\nversion: '1'\nnodes: {}", "nodes.entry: Field required"),
        ("name: p\ndisplayName: X\nversion: '1'\nfrontend: {type: flash}", "frontend.type"),
        ("name: p\ndisplayName: X\nversion: '1'\nconfigOptions: [{key: a, type: b, label: c}]", "configOptions.0.type"),
        ("name: p\nname: q\ndisplayName: X\nversion: '1'", "the key 'name' stands twice"),
        ("a: &a [1]\nname: *a", "aliases"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("x: " + "[" * 5000, "is not valid YAML"),
        ("#" * (MAX_MANIFEST_BYTES + 1), "is larger than"),
    ],
)
def test_bad_manifest_is_told(tmp_path: Path, manifest: str, said: str) -> None:
    plugin(tmp_path, "p", manifest, Ball="")
    plugin(tmp_path, "z", Ball="")
    catalogue, statuses = load(tmp_path)
    assert (statuses["p"].file, statuses["p"].is_loaded) == ("plugin.yaml", False)
    assert said in str(statuses["p"].reason)
    assert not str(statuses["p"].reason).startswith("plugin.yaml: ")  # who shows it puts the file in front
    assert statuses["z"].is_loaded
    assert catalogue.get_node("p:Ball") is None


def test_manifest_with_everything_is_read(tmp_path: Path) -> None:
    manifest = """
        name: full
        displayName: Full
        version: 2.1
        description: All of it.
        author: somebody
        nodes: {entry: ./nodes}
        frontend:
          type: vanilla
          vanilla: {entry: main.js, styles: [a.css, b.css]}
        configOptions:
          - {key: speed, type: slider, label: Speed, min: 0, max: 1.5, defaultValue: 1}
          - {key: mood, type: select, label: Mood, options: [{label: Good, value: good}]}
        """
    plugin(tmp_path, "full", manifest, Ball="")
    status = load(tmp_path)[1]["full"]
    assert status.manifest is not None
    assert status.manifest.version == "2.1"
    assert status.manifest.frontend is not None
    assert status.manifest.frontend.vanilla is not None
    assert status.manifest.frontend.vanilla.root_dir == "web"
    assert [option.default_value for option in status.manifest.config_options] == [1, None]
    assert status.warnings == ("the field 'author' is not used",)
    assert status.nodes == ("full:Ball",)


def test_plugin_without_nodes_and_folder_without_manifest(tmp_path: Path) -> None:
    plugin(tmp_path, "ui-only", "name: ui-only\ndisplayName: X\nversion: '1'")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "README.md").write_text("not a plugin")
    statuses = load(tmp_path)[1]
    assert set(statuses) == {"ui-only", "empty"}
    assert statuses["ui-only"].is_loaded
    assert statuses["empty"].reason == "plugin.yaml cannot be read: No such file or directory"


@pytest.mark.parametrize("name", ["core", "unknown"])
def test_reserved_names_are_refused(tmp_path: Path, name: str) -> None:
    plugin(tmp_path, name, Ball="")
    assert "is reserved" in str(load(tmp_path)[1][name].reason)


def test_plugin_cannot_claim_core_or_a_plugin_that_comes_later(tmp_path: Path) -> None:
    plugin(tmp_path, "a-thief", Ball="namespace='z-victim'")
    plugin(tmp_path, "b-thief", TextMerge="namespace='core'")
    plugin(tmp_path, "z-victim", Ball="")
    catalogue, statuses = load(tmp_path)
    assert "'z-victim' belongs to that plugin" in str(statuses["a-thief"].reason)
    assert "'core' belongs to the built-in" in str(statuses["b-thief"].reason)
    assert statuses["z-victim"].nodes == ("z-victim:Ball",)
    assert catalogue.get_node("z-victim:Ball") is not None


def test_same_type_from_two_plugins_names_both_files(tmp_path: Path) -> None:
    plugin(tmp_path, "a", Ball="namespace='test'")
    plugin(tmp_path, "b", Ball="namespace='test'")
    statuses = load(tmp_path)[1]
    assert statuses["a"].is_loaded
    assert "plugin 'b', file 'b/nodes/ball.py'" in str(statuses["b"].reason)
    assert "plugin 'a', file 'a/nodes/ball.py'" in str(statuses["b"].reason)


def test_roots_in_their_order_the_first_of_a_name_counts(tmp_path: Path) -> None:
    plugin(tmp_path / "two", "same", Second="")
    plugin(tmp_path / "two", "another", Ball="")
    plugin(tmp_path / "one", "same", First="")
    catalogue = load_catalogue([tmp_path / "one", tmp_path / "two"])
    assert [(status.name, status.is_loaded) for status in catalogue.plugins] == [
        ("same", True),
        ("another", True),
        ("same", False),
    ]
    assert "already there" in str(catalogue.plugins[2].reason)
    assert catalogue.get_node("same:First") is not None
    assert catalogue.get_node("same:Second") is None


def test_missing_root_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "innkeeper.plugins"):
        catalogue = load_catalogue([tmp_path / "nowhere"])
    assert catalogue.plugins == ()
    assert "nowhere" in caplog.text


def test_entry_that_links_out_of_the_plugin_is_refused(tmp_path: Path) -> None:
    outside = plugin(tmp_path / "outside", "x", Ball="") / "nodes"
    folder = plugin(tmp_path / "roots", "p", "name: p\ndisplayName: X\nversion: '1'\nnodes: {entry: linked}")
    (folder / "linked").symlink_to(outside)
    assert "leads out of the plugin" in str(load(tmp_path / "roots")[1]["p"].reason)


def test_plugin_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    real = plugin(tmp_path / "work", "p", Ball="")
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "p").symlink_to(real)
    assert load(tmp_path / "roots")[1]["p"].nodes == ("p:Ball",)


def test_hash_is_stable_and_tells_type_and_version(tmp_path: Path) -> None:
    def value(root: str, **nodes: str) -> str:
        plugin(tmp_path / root, "p", **nodes)
        return load(tmp_path / root)[0].plugin_set_hash

    first = value("a", Ball="", Kite="")
    assert value("b", Kite="", Ball="") == first
    assert len({first, value("c", Ball=""), value("d", Ball="", Kite="version='2'")}) == 3


def test_catalogue_fills_a_given_manager_anew(tmp_path: Path) -> None:
    plugin(tmp_path, "p", Ball="")
    manager = NodeManager()
    load_catalogue([tmp_path], manager)
    again = load_catalogue([tmp_path], manager)
    assert again.manager is manager
    assert [status.is_loaded for status in again.plugins] == [True]
    assert again.node_errors == ()


async def run(catalogue: Catalogue, full_type: str, **inputs: Any) -> Any:
    node = catalogue.get_node(full_type)
    assert node is not None
    assert node.execute is not None
    result = node.execute(inputs, None)
    return [item async for item in result] if hasattr(result, "__aiter__") else await result


async def test_vector_nodes_load_and_do_what_the_recordings_say() -> None:
    catalogue, statuses = load(PLUGINS)
    assert statuses["vector-nodes"].reason is None
    assert {name.partition(":")[0] for name in statuses["vector-nodes"].nodes} == {"test"}
    assert len(statuses["vector-nodes"].nodes) == 13
    assert await run(catalogue, "test:Source", value=None) == {"value": None}
    assert await run(catalogue, "test:Echo", a="x", n=7) == {"all": {"a": "x", "n": 7}}
    assert await run(catalogue, "test:ReturnsNothing") is None
    assert await run(catalogue, "test:Sleep", ms=1) == {"out": "slept"}
    chunks = await run(catalogue, "test:Emit", count=2, prefix="c", delay=0)
    assert [chunk.to_json() for chunk in chunks[:2]] == [
        {"type": "text_chunk", "content": "c0"},
        {"type": "text_chunk", "content": "c1"},
    ]
    assert chunks[2] == {"text": "c0c1", "count": 2}
    assert len(await run(catalogue, "test:EmitTwo", count=3, prefix="c", delay=0)) == 3


@pytest.mark.parametrize(("full_type", "inputs"), [("test:Fail", {"message": "boom"}), ("test:EmitThrow", {})])
async def test_vector_nodes_that_fail_are_not_tried_again(full_type: str, inputs: dict[str, Any]) -> None:
    catalogue = load_catalogue([PLUGINS])
    node = catalogue.get_node(full_type)
    assert node is not None
    assert node.retry is not None
    assert node.retry.maximum_attempts == 1
    with pytest.raises(Exception, match="boom") as caught:
        await run(catalogue, full_type, **{"count": 1, "prefix": "c", "delay": 0, **inputs})
    assert not getattr(caught.value, "retryable", True)


def test_the_folder_of_one_plugin_may_be_given_itself(tmp_path: Path) -> None:
    folder = plugin(tmp_path, "toys", Ball="")
    assert load(folder)[1]["toys"].nodes == ("toys:Ball",)


def test_a_plugin_that_lies_one_level_too_deep_is_recognised(tmp_path: Path) -> None:
    plugin(tmp_path / "toys-1.2", "toys", Ball="")
    reason = str(load(tmp_path)[1]["toys-1.2"].reason)
    assert "has no plugin.yaml, but the folder 'toys' in it has: move 'toys' one level up" in reason


def test_a_plugin_without_any_definition_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = plugin(tmp_path, "toys")
    (folder / "nodes" / "n.py").write_text("async def execute(inputs, context): return {}")
    status = load(tmp_path)[1]["toys"]
    assert status.is_loaded
    assert status.warnings == (
        "no file of 'nodes' exports a 'definition', so the plugin adds no node",
        "nodes/n.py exports no 'definition' and no 'definitions'",
    )
    assert "nodes/n.py exports no 'definition'" in caplog.text


# --- adapters ---------------------------------------------------------------------------------------------------------

SPEAKER = "def make():\n    return 'a protocol'\n"


def speaker(root: Path, name: str, *adapters: str, code: str = SPEAKER) -> Path:
    """A plugin of adapters; each line is the inside of a YAML mapping."""
    items = "".join(f"  - {{{line}}}\n" for line in adapters)
    folder = plugin(root, name, f"name: {name}\ndisplayName: Speaker\nversion: 1\nadapters:\n{items}")
    (folder / "speak.py").write_text(code)
    return folder


def test_a_plugin_adds_adapters(tmp_path: Path) -> None:
    speaker(tmp_path, "speaker", "name: mine, displayName: Mine, module: 'speak.py:make'")
    catalogue, statuses = load(tmp_path)
    (adapter,) = catalogue.adapters
    assert (adapter.name, adapter.display_name, adapter.plugin) == ("mine", "Mine", "speaker")
    assert adapter.make() == "a protocol"
    assert statuses["speaker"].to_json()["adapters"] == [{"id": "mine", "name": "Mine"}]
    disabled = load_catalogue((tmp_path,), disabled={"speaker"})
    assert disabled.adapters == ()


@pytest.mark.parametrize(
    ("adapter", "code", "reason"),
    [
        ("name: openai, displayName: X, module: 'speak.py:make'", SPEAKER, "is already there, of Innkeeper itself"),
        ("name: ollama, displayName: X, module: 'speak.py:make'", SPEAKER, "is already there, of Innkeeper itself"),
        ("name: Mine, displayName: X, module: 'speak.py:make'", SPEAKER, "adapters.0.name"),
        ("name: mine, displayName: X, module: 'speak.py'", SPEAKER, "must name a function of a file"),
        ("name: mine, displayName: X, module: '../speak.py:make'", SPEAKER, "inside the plugin's folder"),
        ("name: mine, displayName: X, module: 'none.py:make'", SPEAKER, "'none.py' is not a file of the plugin"),
        ("name: mine, displayName: X, module: 'speak.py:other'", SPEAKER, "it has no function 'other'"),
        ("name: mine, displayName: X, module: 'speak.py:make'", "make = 7", "it has no function 'make'"),
        ("name: mine, displayName: X, module: 'speak.py:make'", "1 / 0", "ZeroDivisionError"),
        ("name: mine, displayName: X, module: 'speak.py:make'", "raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_plugin_whose_adapter_cannot_be_used_is_not_loaded(
    tmp_path: Path, adapter: str, code: str, reason: str
) -> None:
    speaker(tmp_path, "speaker", adapter, code=code)
    catalogue, statuses = load(tmp_path)
    assert catalogue.adapters == ()
    assert not statuses["speaker"].is_loaded
    assert reason in str(statuses["speaker"].reason)


def test_of_two_adapters_with_one_name_the_first_plugin_has_it(tmp_path: Path) -> None:
    line = "name: mine, displayName: X, module: 'speak.py:make'"
    speaker(tmp_path, "a", line)
    speaker(tmp_path, "b", line)
    catalogue, statuses = load(tmp_path)
    assert [adapter.plugin for adapter in catalogue.adapters] == ["a"]
    assert "is already there, of the plugin 'a'" in str(statuses["b"].reason)


def test_an_adapter_that_leads_out_by_a_link_is_refused(tmp_path: Path) -> None:
    folder = speaker(tmp_path, "speaker", "name: mine, displayName: X, module: 'out.py:make'")
    outside = tmp_path / "outside.py"
    outside.write_text(SPEAKER)
    (folder / "out.py").symlink_to(outside)
    _, statuses = load(folder)
    assert "is not a file of the plugin" in str(statuses["speaker"].reason)
