"""Which files of a front end a manifest names."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.catalogue.manifest import FrontendPart

BUILD = {"entry": "index.js", "styles": ["a.css"], "outputDir": "dist"}
VANILLA = {"entry": "main.js"}


@pytest.mark.parametrize(
    ("frontend", "entry"),
    [
        ({"build": BUILD}, "dist/index.js"),
        ({"build": {**BUILD, "entry": "dist/index.js", "outputDir": "dist/"}}, "dist/index.js"),
        ({"build": {**BUILD, "outputDir": "./dist"}}, "dist/index.js"),
        ({"type": "vanilla", "vanilla": VANILLA}, "web/main.js"),
        ({"vanilla": {**VANILLA, "rootDir": "plain"}}, "plain/main.js"),
        ({"type": "vanilla", "build": BUILD, "vanilla": VANILLA}, "web/main.js"),
        ({"build": BUILD, "vanilla": VANILLA}, "dist/index.js"),
    ],
)
def test_entry_is_told_with_its_folder_once(frontend: Any, entry: str) -> None:
    assets = FrontendPart.model_validate(frontend).assets
    assert assets is not None
    assert assets.path_of(assets.entry) == entry


def test_a_front_end_without_files_is_none() -> None:
    assert FrontendPart.model_validate({"type": "vite"}).assets is None
