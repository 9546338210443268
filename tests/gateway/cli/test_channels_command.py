"""`innkeeper channels`: what it shows, its exit codes, and that no key is printed."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.cli import commands
from innkeeper.gateway.cli.channels_command import ask_servers, report_channels, store_key
from innkeeper.gateway.process.listening_socket import listen
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.channel_book import key_of
from innkeeper.nodes.services.secrets import SecretStore, load_or_create_key

EXAMPLE = Path(__file__).parents[3] / "examples" / "channels.yaml"
TOY_MODELS = Path(__file__).parents[2] / "plugins" / "toy-models"
KEY = "sk-canary-1234567890"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("INNKEEPER_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "250")


def channels(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["innkeeper", "channels", "--data-dir", "data", *arguments])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    return int(ended.value.code or 0)


def write(text: str) -> None:
    Path("data").mkdir(exist_ok=True)
    Path("data/channels.yaml").write_text(text)


def test_without_a_file_it_says_what_to_write(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert channels(monkeypatch) == 0
    assert "there is no 'data/channels.yaml'" in capsys.readouterr().out
    assert not Path("data").exists()


def test_the_example_shows_channels_models_and_the_missing_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(EXAMPLE.read_text())
    assert channels(monkeypatch) == 0
    shown = capsys.readouterr().out
    for word in ("demo-storyteller", "https://api.openai.com/v1", "OPENAI_API_KEY", "is not set", "disabled", "vision"):
        assert word in shown
    for word in ("limits: requestsPerMinute 30, concurrent 4", "no temperature", "prefix trailing", "group 'fast'"):
        assert word in shown
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert channels(monkeypatch, "--json") == 0
    out = capsys.readouterr().out
    assert [channel["key"] for channel in json.loads(out)["channels"]][:2] == ["none", "set"]
    assert "Innkeeper" not in json.dumps(json.loads(out)["channels"]), "values of headers may be keys"
    assert KEY not in out


def test_a_broken_file_is_told_by_line_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(f"channels:\n- id: a\n  apiKey: {KEY}\n")
    assert channels(monkeypatch) == 2
    shown = capsys.readouterr().out
    assert "channels[0].baseUrl is missing" in shown
    assert "has errors, so no channel is used" in shown
    assert KEY not in shown


def test_a_key_from_a_pipe_is_stored_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{KEY}\n"))
    assert channels(monkeypatch, "--store-key") == 0
    line = capsys.readouterr().out
    assert KEY not in line
    write(f"channels:\n- id: a\n  baseUrl: https://h/v1\n  {line}")
    report = report_channels(Path("data"), {})
    assert [state.key for state in report.channels] == ["set"]
    store = SecretStore(Path("data/secrets"), load_or_create_key(Path("data"), {}))
    assert key_of(report.channels[0].channel, store, {}) == KEY
    assert all(KEY.encode() not in file.read_bytes() for file in Path("data").rglob("*") if file.is_file())


@pytest.mark.parametrize("value", ["", " ", "two words", "ключ", "x" * 2000])
def test_what_is_no_key_is_not_stored(tmp_path: Path, value: str) -> None:
    with pytest.raises(ResourceError, match="no key"):
        store_key(value, tmp_path / "new", {})
    assert not (tmp_path / "new").exists()


def test_looking_for_a_stored_key_makes_no_store() -> None:
    write(f"channels:\n- id: a\n  baseUrl: https://h/v1\n  apiKey: {{$secret: {'f' * 64}}}\n")
    (state,) = report_channels(Path("data"), {}).channels
    assert "is not stored here" in state.key
    assert [file.name for file in Path("data").iterdir()] == ["channels.yaml"]


def test_a_server_that_does_not_answer_is_told() -> None:
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    sock.close()
    write(
        f"channels:\n- id: a\n  baseUrl: http://127.0.0.1:{port}/v1\n- id: b\n  baseUrl: http://b/v1\n  disabled: yes\n"
    )
    report = ask_servers(report_channels(Path("data"), {}), Path("data"), {})
    answers: list[Any] = [state.server for state in report.channels]
    assert "does not take connections" in answers[0]
    assert answers[1] == "not asked: disabled"
    assert [state.is_reached for state in report.channels] == [False, True]


def test_check_ends_with_2_when_a_server_is_away_and_fits_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    sock = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    sock.close()
    write(f"channels:\n- id: my-channel\n  baseUrl: {address}\n  supportedModels: [one, two]\n")
    assert channels(monkeypatch) == 0
    assert channels(monkeypatch, "--check") == 2
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for whole in (f"my-channel  {address}  enabled, openai", "models: one, two", "key: none", "server: "):
        assert any(whole in line for line in lines), whole


def test_a_protocol_of_a_plugin_is_known_and_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sock = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    sock.close()
    write(f"channels:\n- id: a\n  baseUrl: {address}\n  adapterType: toy\n")
    assert channels(monkeypatch) == 0
    assert "is not known" in capsys.readouterr().out
    monkeypatch.setenv("INNKEEPER_PLUGINS", str(TOY_MODELS))
    assert channels(monkeypatch) == 0
    assert "is not known" not in capsys.readouterr().out
    assert channels(monkeypatch, "--check", "--json") == 2
    (channel,) = json.loads(capsys.readouterr().out)["channels"]
    assert "does not take connections" in channel["server"]


def test_limits_of_which_none_is_known_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write("channels: [{id: a, baseUrl: https://h.example/v1, limits: {requestPerMinute: 6}}]")
    assert channels(monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "limits: " not in shown
    assert "limits.requestPerMinute is not used" in shown
    assert "1 channel, 0 models" in shown
