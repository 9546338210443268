"""Secrets come from files, stdin and the environment, and no message repeats them."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from innkeeper.gateway.cli.run_command import UsageError
from innkeeper.gateway.cli.secret_sources import MAX_SECRET_BYTES, SecretSource, new_secret, read_secrets
from innkeeper.gateway.triggers.scheme_config import check_config


def test_a_line_end_behind_a_secret_is_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"s3cret", b"s3cret\n", b"s3cret\r\n", b"\xef\xbb\xbfs3cret\n"):
        (tmp_path / "s").write_bytes(content)
        assert SecretSource(file=tmp_path / "s").read() == "s3cret"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"from stdin\n")))
    assert SecretSource(file=Path("-")).read() == "from stdin"
    monkeypatch.setenv("A_SECRET", "from env")
    assert read_secrets([SecretSource(env="A_SECRET"), SecretSource(file=tmp_path / "s")]) == ["from env", "s3cret"]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe-s3cret", b"s3cret" * MAX_SECRET_BYTES])
def test_what_is_no_secret_is_told_without_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(UsageError) as refused:
        SecretSource(file=tmp_path / "s").read()
    assert "s3cret" not in refused.value.message


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the environment variable 'NO_SUCH' of a secret is not set"):
        SecretSource(env="NO_SUCH").read({"NO_SUCH": ""})
    with pytest.raises(UsageError, match="No such file"):
        SecretSource(file=tmp_path / "gone").read()
    with pytest.raises(UsageError, match="stdin can hold one secret only"):
        read_secrets([SecretSource(file=Path("-"))] * 2)


@pytest.mark.parametrize(
    ("scheme", "config"),
    [
        *((name, {}) for name in ("standard", "svix", "github", "stripe", "slack", "shopify", "basic")),
        ("token", {"header": "X-Token"}),
        ("generic", {"header": "X-Signature"}),
    ],
)
def test_a_secret_that_is_made_fits_its_scheme(scheme: str, config: dict[str, object]) -> None:
    made = {new_secret(scheme) for _ in range(3)}
    assert len(made) == 3
    assert [check_config(scheme, config, [secret]) for secret in made] == [()] * 3
