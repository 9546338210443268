"""The settings that docs/plugins.md shows are those that a manifest may have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from innkeeper.nodes.catalogue.manifest import ConfigOption, read_manifest
from innkeeper.nodes.catalogue.plugin_settings import settings_of
from tests.docs.pages import DOCS, ROOT, code_blocks

PAGE = (DOCS / "plugins.md").read_text()


def test_settings_of_the_page_are_read_and_have_their_defaults(tmp_path: Path) -> None:
    (options,) = (block for block in code_blocks(PAGE, "yaml") if block.startswith("configOptions"))
    folder = tmp_path / "pen"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(f"name: pen\ndisplayName: Pen\nversion: '1'\n{options}")
    manifest, warnings = read_manifest(folder)
    assert warnings == ()
    defaults = {"greeting": "Hello", "volume": 3, "mood": None, "apiKey": None}
    assert settings_of(manifest, {}) == (defaults, [])


def test_types_of_settings_are_those_of_the_code() -> None:
    table = PAGE.split("| `type` | value |\n", 1)[1].split("\n\n", 1)[0]
    told = re.findall(r"`([a-z-]+)`", "".join(row.split("|")[1] for row in table.splitlines()[1:]))
    assert sorted(told) == sorted(get_args(ConfigOption.model_fields["type"].annotation))


def test_the_protocol_of_the_page_is_the_plugin_that_the_tests_run() -> None:
    folder = ROOT / "tests" / "plugins" / "toy-models"
    (code,) = code_blocks(PAGE, "python")
    assert code == (folder / "toy.py").read_text()
    (adapters,) = (block for block in code_blocks(PAGE, "yaml") if block.startswith("adapters"))
    assert (folder / "plugin.yaml").read_text().count(adapters.strip()) == 1
