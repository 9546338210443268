"""Settings of plugins: defaults, what the operator wrote above them, and what becomes of values that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from innkeeper.nodes.catalogue.manifest import ConfigOption, PluginManifest
from innkeeper.nodes.catalogue.plugin_settings import (
    MASK,
    MAX_SETTINGS_BYTES,
    PLUGIN_SECRETS_FOLDER,
    SETTINGS_FOLDER,
    changed_settings,
    load_plugin_settings,
    read_settings,
    settings_files,
    settings_of,
    shown_settings,
)
from innkeeper.nodes.catalogue.plugins import PluginStatus
from innkeeper.nodes.node import SecretRef


def option(type: str, key: str = "x", default: Any = None, **fields: Any) -> ConfigOption:
    return ConfigOption.model_validate(
        {"key": key, "type": type, "label": key, "defaultValue": default, **fields}, strict=False
    )


def manifest(*options: ConfigOption) -> PluginManifest:
    return PluginManifest(name="p", display_name="P", version="1", config_options=options)


def test_every_option_has_its_default_until_a_value_is_given() -> None:
    plugin = manifest(option("string", "a", "hi"), option("number", "b", 2), option("boolean", "c"))
    assert settings_of(plugin, {"b": 3}) == ({"a": "hi", "b": 3, "c": None}, [])


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        (option("string"), "text"),
        (option("textarea"), ""),
        (option("avatar"), "user://me.png"),
        (option("number"), -1.5),
        (option("slider", min=0, max=10), 0),
        (option("slider", min=0, max=10), 10),
        (option("boolean"), False),
        (option("select", options=[{"label": "One", "value": 1}, {"label": "No", "value": None}]), None),
        (option("button-group", options=[{"label": "Both", "value": ["a", "b"]}]), ["a", "b"]),
    ],
)
def test_a_value_that_fits_counts(given: ConfigOption, setting: Any) -> None:
    assert settings_of(manifest(given), {"x": setting}) == ({"x": setting}, [])


@pytest.mark.parametrize(
    ("given", "setting", "allowed"),
    [
        (option("string", default="d"), 1, "a text"),
        (option("textarea", default="d"), None, "a text"),
        (option("number", default="d"), "1", "a number"),
        (option("number", default="d"), True, "a number"),
        (option("number", default="d", min=1), 0.5, "a number of at least 1"),
        (option("slider", default="d", min=0, max=10), 10.5, "a number of at least 0 and of at most 10"),
        (option("boolean", default="d"), 1, "true or false"),
        (option("select", default="d", options=[{"label": "1", "value": 1}]), True, "1"),
        (option("select", default="d", options=[{"label": "1", "value": 1}, {"label": "b", "value": "b"}]), "c", '"b"'),
    ],
)
def test_of_a_value_that_does_not_fit_the_default_counts_and_what_is_allowed_is_told(
    given: ConfigOption, setting: Any, allowed: str
) -> None:
    settings, (problem,) = settings_of(manifest(given), {"x": setting})
    assert settings == {"x": "d"}
    assert problem.endswith(allowed)
    assert "'x'" in problem


def test_a_problem_does_not_repeat_the_value() -> None:
    _, (problem,) = settings_of(manifest(option("number")), {"x": "canary"})
    assert "canary" not in problem


def test_an_unknown_key_and_a_button_are_no_settings() -> None:
    settings, problems = settings_of(manifest(option("string"), option("action-button", "go")), {"go": 1, "y": 2})
    assert settings == {"x": None}
    assert problems == ["there is no setting 'go'; settings are 'x'", "there is no setting 'y'; settings are 'x'"]


# --- the operator's files -----------------------------------------------------------------------------------------


def status(plugin: PluginManifest, **fields: Any) -> PluginStatus:
    return PluginStatus("p", Path(), plugin, **{"nodes": ("p:A", "other:B"), **fields})


def written(data_dir: Path, data: bytes) -> Path:
    (data_dir / SETTINGS_FOLDER).mkdir(parents=True)
    (data_dir / SETTINGS_FOLDER / "p.json").write_bytes(data)
    return data_dir


def test_all_node_types_of_a_plugin_have_its_settings_whatever_their_namespace(tmp_path: Path) -> None:
    plugin = manifest(option("number", default=1))
    settings = load_plugin_settings([status(plugin)], written(tmp_path, b'{"x": 5}'))
    assert settings == {"p:A": {"x": 5}, "other:B": {"x": 5}}
    with pytest.raises(TypeError):
        settings["p:A"]["x"] = 6  # type: ignore[index]  # nodes of one type share it


def test_plugins_without_options_and_those_that_failed_have_none(tmp_path: Path) -> None:
    failed = status(manifest(option("string")), reason="broken")
    assert load_plugin_settings([status(manifest()), failed, PluginStatus("q", Path())], tmp_path) == {}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"x": ', "p.json is not JSON (line 1)"),
        (b"[1]", "must be a JSON object"),
        (orjson.dumps({"x": "y" * MAX_SETTINGS_BYTES}), "must be a JSON object of at most"),
        (b'{"x": "no"}', "p.json: setting 'x' is a text; allowed is a number"),
    ],
)
def test_a_file_that_cannot_be_used_is_logged_and_the_defaults_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes, reason: str
) -> None:
    plugin = manifest(option("number", default=1))
    assert load_plugin_settings([status(plugin)], written(tmp_path, data))["p:A"] == {"x": 1}
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "plugin p" in record.getMessage()
    assert reason in record.getMessage()


def test_a_file_that_cannot_be_read_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / SETTINGS_FOLDER / "p.json").mkdir(parents=True)
    assert load_plugin_settings([status(manifest(option("number", default=1)))], tmp_path)["p:A"] == {"x": 1}
    assert "cannot be read" in caplog.text


# --- what clients send --------------------------------------------------------------------------------------------

ID = "ab" * 32
KEYS = manifest(option("string", "key", secret=True), option("string", "word", "w"))


def seal(value: str) -> SecretRef:
    return SecretRef(ID)


@pytest.mark.parametrize(
    ("stored", "given", "kept"),
    [
        ({}, {"key": "k", "word": "x"}, {"key": {"$secret": ID}, "word": "x"}),
        ({"key": {"$secret": "cd" * 32}}, {"key": MASK}, {"key": {"$secret": "cd" * 32}}),
        ({"key": {"$secret": "cd" * 32}}, {"key": "k"}, {"key": {"$secret": ID}}),
        ({"key": {"$secret": "cd" * 32}}, {"key": None}, {}),
        ({"key": {"$secret": "cd" * 32}, "word": "x"}, {}, {}),
        ({}, {"key": MASK, "word": None}, {}),
    ],
)
def test_a_secret_is_sealed_kept_when_it_comes_masked_and_else_forgotten(stored: Any, given: Any, kept: Any) -> None:
    assert changed_settings(KEYS, stored, given, seal) == (kept, [])


def test_nothing_is_sealed_when_a_value_does_not_fit() -> None:
    def never(value: str) -> SecretRef:
        raise AssertionError(value)

    kept, problems = changed_settings(KEYS, {}, {"key": "k", "word": 5, "other": None}, never)
    assert (kept, len(problems)) == ({}, 2)
    assert changed_settings(KEYS, {}, {"key": {"$secret": ID}}, never)[1] == ["setting 'key' is a secret: a text"]


def test_secrets_lie_where_no_graph_reads_and_nodes_get_references(tmp_path: Path) -> None:
    for path, data in settings_files(KEYS, {"key": {"$secret": ID}, "word": "x"}).items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(data)
    assert ID not in (tmp_path / SETTINGS_FOLDER / "p.json").read_text()
    assert not PLUGIN_SECRETS_FOLDER.is_relative_to("system")
    assert load_plugin_settings([status(KEYS)], tmp_path)["p:A"] == {"key": SecretRef(ID), "word": "x"}
    assert shown_settings(KEYS, read_settings(KEYS, tmp_path)) == {"key": MASK, "word": "x"}


def test_a_key_that_somebody_wrote_into_the_file_does_not_count() -> None:
    settings, (problem,) = settings_of(KEYS, {"key": "canary"})
    assert settings["key"] is None
    assert ("canary" in problem, "POST /api/plugins/p/settings" in problem) == (False, True)


@pytest.mark.parametrize(("type", "default"), [("number", None), ("string", "a key for everybody")])
def test_only_texts_without_default_are_secret(type: str, default: Any) -> None:
    with pytest.raises(ValueError, match="a secret must have"):
        option(type, default=default, secret=True)
