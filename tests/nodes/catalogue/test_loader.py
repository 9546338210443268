"""Finding definitions in folders of files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from innkeeper.nodes.catalogue.loader import NodeLoader
from innkeeper.nodes.catalogue.manager import LIBRARY_ROOT, NodeManager, node_manager

HEAD = """
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.catalogue.registration import create_node_registerer

async def execute(inputs, context):
    return {}

def toy(name, **fields):
    return NodeDefinition(type=name, category="Toys", display_name=name, description="", execute=execute, **fields)
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + dedent(text))
    return folder


def load(folder: Path, namespace: str | None = None, manager: NodeManager | None = None):  # type: ignore[no-untyped-def]
    manager = manager or NodeManager()
    return manager, NodeLoader(manager).load_nodes(folder, namespace)


def test_folders_are_read_recursively_in_sorted_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "b.py": "definition = toy('B')",
            "a.py": "definitions = [toy('A2'), toy('A1')]",
            "z/deep/c.py": "definition = toy('C'); definitions = (toy('D'),)",
            "shared.py": "NUMBER = 1",
            ".hidden/x.py": "definition = toy('Hidden')",
            "__pycache__/y.py": "definition = toy('Cached')",
            "note.txt": "definition = toy('Text')",
        },
    )
    manager, report = load(tmp_path, "toys")
    assert report.nodes == ("toys:A2", "toys:A1", "toys:B", "toys:C", "toys:D")
    assert report.errors == ()
    node = manager.get_node("toys:C")
    assert node is not None
    assert node.file_path == str(tmp_path / "z" / "deep" / "c.py")


def test_every_bad_file_is_reported_and_the_rest_loads(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a_syntax.py": "def broken(:\n",
            "b_raises.py": "raise RuntimeError('no such library')",
            "c_exits.py": "import sys; sys.exit(3)",
            "d_wrong.py": "definition = {'type': 'X'}",
            "e_wrong.py": "definitions = toy('X')",
            "f_half.py": "definitions = [toy('Half'), toy('a:b')]",
            "g_import.py": "import module_that_is_not_installed",
            "h.with.dot.py": "definition = toy('Dot')",
            "sub/i_core.py": "definition = toy('TextMerge', namespace='core')",
            "z_good.py": "definition = toy('Good')",
        },
    )
    manager, report = load(tmp_path, "toys")
    assert [node.full_type for node in manager.get_definitions()] == ["toys:Good"]
    assert report.nodes == ("toys:Good",)
    reasons = {error.file: error.reason for error in report.errors}
    assert reasons["a_syntax.py"].startswith("SyntaxError: ")
    assert "line" in reasons["a_syntax.py"]
    assert reasons["b_raises.py"].startswith("RuntimeError: no such library (at ")
    assert reasons["c_exits.py"].startswith("SystemExit: 3 (at ")
    assert reasons["d_wrong.py"] == "a definition must be a NodeDefinition, found dict"
    assert reasons["e_wrong.py"] == "'definitions' must be a list of NodeDefinition, found NodeDefinition"
    assert "'a:b'" in reasons["f_half.py"]
    assert "module_that_is_not_installed" in reasons["g_import.py"]
    assert "no dot" in reasons["h.with.dot.py"]
    assert "'core'" in reasons["sub/i_core.py"]
    assert len(reasons) == 9


CHECKOUT = LIBRARY_ROOT.parents[1].resolve()


def test_import_by_a_short_name_is_told_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if Path(path).resolve() != CHECKOUT])
    (tmp_path / "a_nodes.py").write_text("from nodes.definition import NodeDefinition")
    (tmp_path / "b_gateway.py").write_text("from gateway.client import GatewayClient")
    (tmp_path / "c_own.py").write_text("from innkeeper.nodes import no_such_module")
    reasons = {error.file: error.reason for error in load(tmp_path, "toys")[1].errors}
    assert reasons["a_nodes.py"] == (
        "ModuleNotFoundError: No module named 'nodes'; write 'innkeeper.nodes' in place of 'nodes', "
        "or 'from innkeeper import NodeDefinition, Input, Output, ...'"
    )
    assert reasons["b_gateway.py"].endswith("; write 'innkeeper.gateway' in place of 'gateway'")
    assert "write" not in reasons["c_own.py"]


def test_import_by_a_short_name_that_finds_our_folder_is_told_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(CHECKOUT)
    (tmp_path / "a.py").write_text("from nodes.definition import NodeDefinition")
    (error,) = load(tmp_path, "toys")[1].errors
    assert "write 'innkeeper.nodes' in place of 'nodes', or 'from innkeeper import" in error.reason


def test_files_of_equal_name_in_two_folders_do_not_meet(tmp_path: Path) -> None:
    manager = NodeManager()
    for name in ("one", "two"):
        folder = write(
            tmp_path / name / "nodes",
            {"node.py": "from .words import WORD\ndefinition = toy(WORD)", "words.py": f"WORD = {name!r}"},
        )
        load(folder, name, manager)
    assert [node.full_type for node in manager.get_definitions()] == ["one:one", "two:two"]


def test_relative_imports_reach_up_to_the_package_root(tmp_path: Path) -> None:
    plugin = write(
        tmp_path / "my-plugin",
        {
            "lib/words.py": "WORD = 'FromLib'",
            "nodes/sub/node.py": "from ...lib.words import WORD\ndefinition = toy(WORD)",
        },
    )
    report = NodeLoader(NodeManager()).load_nodes(plugin / "nodes", "p", package_root=plugin)
    assert (report.nodes, report.errors) == (("p:FromLib",), ())


def test_package_that_exports_its_files_again_registers_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "__init__.py": "",
            "a.py": "definition = toy('A')",
            "b.py": "definition = toy('B'); definitions = [definition]",
            "index.py": "from .a import definition as a\nfrom .b import definition as b\ndefinitions = [a, b]",
        },
    )
    assert load(tmp_path, "toys")[1].nodes == ("toys:A", "toys:B")


def test_broken_package_file_is_one_error(tmp_path: Path) -> None:
    write(tmp_path, {"__init__.py": "raise RuntimeError('never')", "a.py": "definition = toy('A')"})
    report = load(tmp_path)[1]
    (error,) = report.errors
    assert error.file == "__init__.py"
    assert error.reason.startswith("RuntimeError: never (at ")


def test_registerer_in_a_file_belongs_to_the_load(tmp_path: Path) -> None:
    files = {
        "a.py": """
            register = create_node_registerer("registered")
            definition = register(toy("Both"))
            register(toy("Called"))
            """
    }
    folder = write(tmp_path, files)
    assert load(folder)[1].nodes == ("registered:Both", "registered:Called")
    assert load(folder, "plug")[1].nodes == ("plug:Both", "plug:Called")
    assert node_manager.get_node("registered:Both") is None


def test_code_is_read_anew_by_the_next_load(tmp_path: Path) -> None:
    assert load(write(tmp_path, {"a.py": "definition = toy('Before')"}))[1].nodes == ("unknown:Before",)
    assert load(write(tmp_path, {"a.py": "definition = toy('Afterwards')"}))[1].nodes == ("unknown:Afterwards",)


@pytest.mark.parametrize("file", ["a.py", "__init__.py", "inner/b.py"])
def test_file_that_is_saved_twice_within_a_second_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Its time, in seconds, and its size stay: bytecode that is cached would be taken for it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    module = {"a.py": None, "__init__.py": ".", "inner/b.py": ".inner.b"}[file]
    for kind in ("One", "Two"):
        files = {file: f"kind = {kind!r}"}
        files["a.py"] = (
            f"definition = toy({kind!r})" if module is None else f"from {module} import kind\ndefinition = toy(kind)"
        )
        folder = write(tmp_path, files)
        os.utime(folder / file, (1_700_000_000, 1_700_000_000))
        assert load(folder)[1].nodes == (f"unknown:{kind}",)


def test_missing_folder_and_file_instead_of_folder_are_reported(tmp_path: Path) -> None:
    file = write(tmp_path, {"a.py": ""}) / "a.py"
    for path in (tmp_path / "nowhere", file):
        report = load(path)[1]
        assert report.nodes == ()
        assert "does not exist" in report.errors[0].reason


def test_library_comes_through_the_same_door_as_modules_of_the_package() -> None:
    manager, report = load(LIBRARY_ROOT)
    assert report.errors == ()
    assert "core:TextMerge" in report.nodes
    assert {node.namespace for node in manager.get_definitions()} == {"core"}
    node = manager.get_node("core:TextMerge")
    assert node is not None
    assert node.execute is not None
    assert node.execute.__module__.startswith("innkeeper.nodes.library.")
    assert load(LIBRARY_ROOT)[1].nodes == report.nodes


@pytest.mark.parametrize("name", ["defintion", "Definition", "definiton", "DEFINITIONS"])
def test_a_definition_under_a_misspelt_name_is_an_error_that_suggests_the_right_one(tmp_path: Path, name: str) -> None:
    held = "[toy('A')]" if name.endswith("S") else "toy('A')"
    write(tmp_path, {"a.py": f"{name} = {held}", "b.py": "definition = toy('B')"})
    report = load(tmp_path, "toys")[1]
    (error,) = report.errors
    assert error.file == "a.py"
    meant = "definitions" if name.endswith("S") else "definition"
    assert error.reason == f"it exports {name!r}; did you mean {meant!r}?"


def test_a_file_that_exports_nothing_says_so_unless_it_is_shared_code(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.py": "from .lib.words import WORD\nfrom . import base\ndefinition = toy(WORD)",
            "base.py": "BASE = toy('Base')",
            "lib/words.py": "WORD = 'A'",
            "lib/__init__.py": "",
            "_own.py": "NUMBER = 1",
            "node.py": "node = toy('Node')",
            "empty.py": "",
        },
    )
    report = load(tmp_path, "toys")[1]
    assert (report.nodes, report.errors) == (("toys:A",), ())
    assert report.warnings == (
        "empty.py exports no 'definition' and no 'definitions'",
        "node.py exports no 'definition' and no 'definitions'; it holds a NodeDefinition as 'node'",
    )


def test_the_line_of_a_fault_at_import_is_told(tmp_path: Path) -> None:
    write(tmp_path / "p", {"a.py": "\n\nCOUNT = {}['missing']"})
    (error,) = load(tmp_path / "p", "toys")[1].errors
    line = len((HEAD + "\n\nx").splitlines())
    assert error.reason == f"KeyError: 'missing' (at p/a.py:{line} in <module>)"
