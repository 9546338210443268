"""`init`, `new`, `fmt`, `diff`: what they make works at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper.gateway.cli.scaffold import CannotWrite, node_files, package_of, plugin_files, project_files, title_of
from innkeeper.gateway.process.offline_check import check_document
from innkeeper.nodes.catalogue.plugins import load_catalogue
from tests.gateway.cli.conftest import call

pytestmark = pytest.mark.usefixtures("no_settings")


def test_a_new_folder_is_valid_and_passes_its_own_tests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "init", "my graphs") == 0
    assert "next: cd my graphs && innkeeper run" in capsys.readouterr().out
    monkeypatch.chdir("my graphs")
    assert call(monkeypatch, "new", "node", "Whisper", "--stream") == 0
    assert call(monkeypatch, "new", "node", "Wait", "--blocking") == 0
    assert call(monkeypatch, "new", "node", "Both", "--blocking", "--stream") == 2
    assert call(monkeypatch, "new", "plugin", "more-nodes") == 0
    assert call(monkeypatch, "new", "workflow", "secondTry") == 0
    assert "next: innkeeper run workflows/secondTry.json" in capsys.readouterr().out
    catalogue = load_catalogue((Path("plugins"),))
    assert [plugin.reason for plugin in catalogue.plugins] == [None, None]
    assert catalogue.get_node("my-graphs:Whisper") is not None
    assert {json.loads(file.read_bytes())["id"] for file in Path("workflows").iterdir()} == {"hello", "secondTry"}
    for file in Path("workflows").glob("*.json"):
        verdict = check_document(json.loads(file.read_bytes()), catalogue, Path(".innkeeper"))
        assert verdict.is_valid
        assert verdict.problems == ()
    for place, count in ((".", "4 passed"), ("plugins/more-nodes", "1 passed")):
        tests = subprocess.run([sys.executable, "-m", "pytest", "-q"], capture_output=True, text=True, cwd=place)
        assert count in tests.stdout, tests.stdout


def test_nothing_is_overwritten(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("README.md").write_text("mine")
    assert call(monkeypatch, "init", ".") == 2
    assert "README.md exists already: nothing was written" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["README.md"]


def test_the_plugin_of_a_new_node_must_be_clear(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "new", "node", "Say") == 2
    assert "'innkeeper new plugin NAME' makes one" in capsys.readouterr().err
    for plugin in ("one", "two"):
        assert call(monkeypatch, "new", "plugin", plugin) == 0
    assert call(monkeypatch, "new", "node", "Say") == 2
    assert "say which plugin with --plugin: in 'plugins' there are one, two" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["core", "nodes", "../up", "A", "", "a b", "-a", "x" * 65])
def test_names_that_no_plugin_can_have(name: str) -> None:
    with pytest.raises(CannotWrite, match="cannot be the name of a plugin"):
        plugin_files(name)


@pytest.mark.parametrize("name", ["shout", "../Up", "", "A b", "Ärger"])
def test_names_that_no_node_can_have(name: str) -> None:
    with pytest.raises(CannotWrite, match="is no name of a node type"):
        node_files("mine", name)


@pytest.mark.parametrize("folder", ["nodes", "2", "Über uns!", "..", "a" * 200, "класс"])
def test_any_folder_gives_a_plugin_of_a_good_name(folder: str) -> None:
    manifests = [path for path in project_files(folder) if path.endswith("plugin.yaml")]
    assert package_of(manifests[0].split("/")[1]).isidentifier()


def test_titles() -> None:
    assert [title_of(name) for name in ("SayItLoud", "my-nodes", "x")] == ["Say it loud", "My nodes", "X"]


def test_files_are_written_in_one_form(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.json").write_text('{"nodes":[{"id":"a","type":"core:Template"}]}')
    assert call(monkeypatch, "fmt", "a.json", "--check") == 1
    assert call(monkeypatch, "fmt", "a.json") == 0
    assert call(monkeypatch, "fmt", "a.json", "--check") == 0
    assert json.loads(Path("a.json").read_bytes()) == {"nodes": [{"id": "a", "type": "core:Template"}]}
    assert capsys.readouterr().out == "would change a.json\nchanged a.json\n"


def test_differences_are_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    node = {"id": "a", "type": "core:Template", "inputValues": {"template": "x"}}
    Path("a.json").write_text(json.dumps({"nodes": [node]}))
    Path("b.json").write_text(json.dumps({"nodes": [{**node, "inputValues": {"template": "y"}}, {**node, "id": "b"}]}))
    assert call(monkeypatch, "diff", "a.json", "b.json") == 1
    assert capsys.readouterr().out == '~ node a\n    inputValues.template: "x" -> "y"\n+ node b\n'
    assert call(monkeypatch, "diff", "a.json", "a.json") == 0
