"""Whom a client of a gateway believes."""

from __future__ import annotations

import ssl

import certifi
import pytest

from innkeeper.gateway.client.transport import _tls


def test_client_of_an_http_address_believes_no_certificate() -> None:
    context = _tls("http://127.0.0.1:8090", trust_env=True)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.cert_store_stats()["x509"] == 0


@pytest.mark.parametrize("url", ["https://example.org", "HTTPS://example.org"])
def test_client_of_an_https_address_believes_the_known_authorities(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    context = _tls(url, trust_env=True)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.cert_store_stats()["x509_ca"] > 50
