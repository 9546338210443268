"""What a gateway is told at its start, and what it says to values that it cannot use."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.gateway.settings import Settings, SettingsError, worker_token


def test_arguments_come_before_the_environment() -> None:
    environ = {"INNKEEPER_PORT": "1234", "INNKEEPER_FLUSH_TIMEOUT_S": "2.5", "INNKEEPER_ALLOWED_HOSTS": "a, b"}
    settings = Settings.load(environ, port=99, host=None)
    assert (settings.port, settings.flush_timeout_s, settings.allowed_hosts) == (99, 2.5, ("a", "b"))
    assert settings.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"INNKEEPER_PORT": "web"}, "INNKEEPER_PORT='web'"),
        ({"INNKEEPER_PORT": "70000"}, "between 0 and 65535"),
        ({"INNKEEPER_MAX_CONCURRENT_RUNS": "0"}, "INNKEEPER_MAX_CONCURRENT_RUNS='0'"),
        ({"INNKEEPER_EVENT_DAYS": "nan"}, "INNKEEPER_EVENT_DAYS='nan'"),
        ({"INNKEEPER_SEND_TIMEOUT_S": "inf"}, "between 0.01 and 3600"),
        ({"INNKEEPER_FULL_SYNC": "maybe"}, "true or false"),
        ({"INNKEEPER_LOG_LEVEL": "silly"}, "INNKEEPER_LOG_LEVEL='silly'"),
        ({"INNKEEPER_HOST": "0.0.0.0"}, "INNKEEPER_ACCESS_TOKEN"),
    ],
)
def test_unusable_setting_is_named_with_its_value(environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.load(environ)


def test_tokens_do_not_show_in_settings() -> None:
    settings = Settings(host="0.0.0.0", access_token="canary", worker_token="canary")
    assert "canary" not in repr(settings)
    assert "canary" not in str(settings.model_dump())


def test_wrong_values_are_told_all_at_once_with_the_missing_token() -> None:
    environ = {"INNKEEPER_PORT": "web", "INNKEEPER_HOST": "0.0.0.0", "INNKEEPER_RUN_DAYS": "-1"}
    with pytest.raises(SettingsError) as refused:
        Settings.load(environ)
    assert refused.value.message.startswith("3 settings cannot be used: ")
    for words in ("INNKEEPER_PORT='web'", "INNKEEPER_ACCESS_TOKEN", "INNKEEPER_RUN_DAYS='-1'"):
        assert words in refused.value.message
    assert "\n" not in refused.value.message


def test_settings_made_directly_know_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("INNKEEPER_PORT=1\nPORT=1\n")
    monkeypatch.setenv("INNKEEPER_PORT", "2")
    monkeypatch.setenv("PORT", "3")
    assert Settings().port == 8090
    assert Settings.load().port == 2
    assert Settings.load({}).port == 8090


def test_settings_cannot_be_changed_but_copied_with_a_check() -> None:
    settings = Settings(user="anna")
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]
    assert (settings.changed(port=1).port, settings.changed(port=1).user) == (1, "anna")
    with pytest.raises(SettingsError, match="INNKEEPER_PORT"):
        settings.changed(port=-1)


def test_worker_token_is_made_once_and_private(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    token = worker_token(settings)
    assert worker_token(settings) == token
    assert (tmp_path / "worker.token").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["worker.token"]


@pytest.mark.parametrize("content", [b"", b"\n", b"ab", bytes(43), "\u00fc".encode() * 30])
def test_worker_token_that_anybody_could_guess_is_put_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "worker.token").write_bytes(content)
    token = worker_token(Settings(data_dir=tmp_path))
    assert len(token) > 30
    assert worker_token(Settings(data_dir=tmp_path)) == token
    (aside,) = tmp_path.glob("worker.token.damaged-*")
    assert aside.read_bytes() == content
    assert aside.name in (tmp_path / "damage.log").read_text()
