from __future__ import annotations

import re
from typing import Any

import pytest

from innkeeper.gateway.triggers.scheme_config import InvalidSchemeConfig, check_config, load_scheme
from tests.gateway.triggers.senders import CHECKING, CONFIGS, GENERIC, STANDARD_SECRET, secrets_of

ALL = (*CHECKING, "none")


@pytest.mark.parametrize("name", CHECKING)
def test_a_scheme_with_its_secrets_may_be_enabled(name: str) -> None:
    assert check_config(name, CONFIGS.get(name, {}), secrets_of(name)) == ()


@pytest.mark.parametrize("name", CHECKING)
def test_a_scheme_without_a_secret_is_refused(name: str) -> None:
    (problem,) = check_config(name, CONFIGS.get(name, {}), [])
    assert problem.startswith(f"scheme '{name}' needs a secret")


@pytest.mark.parametrize("name", CHECKING)
@pytest.mark.parametrize("secret", ["", "  ", " padded:x ", "line\n"])
def test_an_empty_or_padded_secret_is_refused_beside_a_good_one(name: str, secret: str) -> None:
    (problem,) = check_config(name, CONFIGS.get(name, {}), [secrets_of(name)[0], secret])
    assert "secret 2 " in problem


def test_none_takes_no_secret() -> None:
    """Whoever pastes a secret wants it checked."""
    assert check_config("none", {}, []) == ()
    assert "checks no secret" in check_config("none", {}, ["x"])[0]


BAD_SECRETS = [
    ("standard", "plain-secret", "must begin with 'whsec_' or 'whpk_'"),
    ("standard", "whsec_!!!!", "not base64"),
    ("standard", "whsec_" + "ü" * 32, "not base64"),
    ("svix", "whsec_c2hvcnQ=", "5 bytes; a key has 24 to 64"),
    ("standard", "whsec_" + "A" * 88, "66 bytes"),
    ("standard", "whpk_" + STANDARD_SECRET[6:], "24 bytes; a public key of ed25519 has 32"),
    ("standard", "whsk_" + "A" * 43, "must begin with"),
    ("basic", "password", "'user:password'"),
    ("basic", ":password", "'user:password'"),
    ("github", "\ud800", "UTF-8"),
]


@pytest.mark.parametrize(("name", "secret", "said"), BAD_SECRETS)
def test_a_secret_of_the_wrong_form_is_refused_without_being_shown(name: str, secret: str, said: str) -> None:
    (problem,) = check_config(name, {}, [secret])
    assert said in problem
    assert secret.partition("_")[2] == "" or secret.partition("_")[2] not in problem


BAD_CONFIGS: list[tuple[str, dict[str, Any], str]] = [
    ("gihub", {}, "'gihub' is unknown; schemes are standard, svix, github"),
    ("github", {"header": "X"}, "header: Extra inputs are not permitted"),
    ("token", {}, "header: Field required"),
    ("token", {"header": "X Token"}, "header: must be the name of a header"),
    ("token", {"header": "X-Token\n"}, "header: must be the name of a header"),
    ("token", {"header": "X-Token", "prefix": "ü"}, "prefix: must be at most 64 printable ASCII"),
    ("token", {"header": "X-Id", "delivery_id_header": "x-id"}, "each header can be used once"),
    ("generic", {}, "header: Field required"),
    ("generic", {"header": "X", "algorithm": "md5"}, "algorithm: Input should be 'sha1', 'sha256' or 'sha512'"),
    ("generic", {"header": "X", "encoding": "text"}, "encoding: Input should be"),
    ("generic", {"header": "X", "tolerance_s": 0}, "tolerance_s: Input should be greater than or equal to 1"),
    ("generic", {"header": "X", "tolerance_s": "300"}, "tolerance_s: Input should be a valid integer"),
    ("generic", {"header": "X", "template": ""}, "template: must be 1 to 200"),
    ("generic", {"header": "X", "template": "{ts}", "timestamp_header": "T"}, "must hold '{body}'"),
    ("generic", {"header": "X", "template": "{body}{body}"}, "twice"),
    ("generic", {"header": "X", "template": "{url}{body}"}, "knows only {id}, {ts}, {body}"),
    ("generic", {"header": "X", "template": "{ts}.{body}"}, "both, or neither"),
    ("generic", {"header": "X", "timestamp_header": "T"}, "both, or neither"),
    ("generic", {"header": "X", "template": "{id}.{body}"}, "needs 'delivery_id_header'"),
    ("generic", {**GENERIC, "template": "{id}.{ts}{body}"}, "separator without digits"),
    ("generic", {**GENERIC, "template": "{id}.{ts}0{body}"}, "separator without digits"),
    ("generic", {**GENERIC, "template": "{body}.{id}1{ts}"}, "separator without digits"),
    ("generic", {**GENERIC, "timestamp_header": "x-sum"}, "each header can be used once"),
]


@pytest.mark.parametrize(("name", "config", "said"), BAD_CONFIGS)
def test_a_wrong_configuration_is_refused_with_its_place(name: str, config: dict[str, Any], said: str) -> None:
    (problem,) = check_config(name, config, ["secret"])
    assert said in problem
    with pytest.raises(InvalidSchemeConfig, match=re.escape(said)):
        load_scheme(name, config)


def test_all_problems_are_found_at_once() -> None:
    assert len(check_config("generic", {"algorithm": "md5", "color": 1}, [])) == 3


@pytest.mark.parametrize("name", ALL)
def test_the_headers_with_the_proof_are_named(name: str) -> None:
    expected = {
        "standard": {"webhook-signature"},
        "svix": {"svix-signature", "webhook-signature"},
        "github": {"x-hub-signature-256"},
        "stripe": {"stripe-signature"},
        "slack": {"x-slack-signature"},
        "shopify": {"x-shopify-hmac-sha256"},
        "generic": {"x-sum"},
        "token": {"x-gitlab-token"},
        "basic": {"authorization"},
        "none": set(),
    }
    assert load_scheme(name, CONFIGS.get(name, {})).secret_headers == expected[name]


def test_too_many_secrets_are_refused() -> None:
    assert check_config("github", {}, ["a"] * 11) == ("a trigger has at most 10 secrets",)
