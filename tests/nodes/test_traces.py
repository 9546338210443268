"""Where in a plugin's code an exception was raised."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from innkeeper.nodes.catalogue.manager import NodeManager
from innkeeper.nodes.catalogue.plugins import PluginLoader
from innkeeper.nodes.traces import MAX_LINES, trace_of, where_of

NODE = dedent("""
    import json
    from innkeeper import NodeDefinition

    def parsed(text):
        return json.loads(text)

    def deep(count):
        return deep(count - 1) if count else 1 / 0

    def execute(inputs, context):
        try:
            return parsed(inputs["text"])
        except ValueError as error:
            raise RuntimeError("canary") from error

    definition = NodeDefinition("T", "c", "T", "", execute=execute)
""")


@pytest.fixture
def module(tmp_path: Path):  # type: ignore[no-untyped-def]
    folder = tmp_path / "my-plugin"
    (folder / "nodes").mkdir(parents=True)
    (folder / "plugin.yaml").write_text("name: my-plugin\ndisplayName: P\nversion: '1'\nnodes: {entry: nodes}\n")
    (folder / "nodes" / "n.py").write_text(NODE)
    manager = NodeManager()
    PluginLoader(manager).load_plugins([tmp_path])
    node = manager.get_node("my-plugin:T")
    assert node is not None
    assert node.execute is not None
    return node.execute.__globals__  # type: ignore[attr-defined]


def line_of(code: str) -> int:
    return next(number for number, line in enumerate(NODE.splitlines(), 1) if code in line)


def test_the_authors_line_is_named_although_a_library_raised(module) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(json.JSONDecodeError) as caught:
        module["parsed"]("{")
    assert where_of(caught.value) == f"my-plugin/nodes/n.py:{line_of('json.loads')} in parsed"


def test_the_trace_holds_the_causes_and_no_text_of_an_exception_and_no_path(module, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RuntimeError) as caught:
        module["execute"]({"text": "{"}, None)
    trace = trace_of(caught.value)
    assert trace.index("JSONDecodeError") < trace.index("RuntimeError")
    assert f"  my-plugin/nodes/n.py:{line_of('json.loads')} in parsed: return json.loads(text)" in trace
    assert "canary\n" not in "\n".join(trace)
    assert str(tmp_path) not in "\n".join(trace)


def test_of_a_deep_stack_the_end_is_kept(module) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ZeroDivisionError) as caught:
        module["deep"](200)
    trace = trace_of(caught.value)
    assert len(trace) == MAX_LINES
    assert "in deep" in trace[-1]


def test_only_plugins_count_where_ours_raise_on_purpose(module) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    assert where_of(caught.value, only_plugins=True) is None
    assert "test_traces.py" in str(where_of(caught.value))
