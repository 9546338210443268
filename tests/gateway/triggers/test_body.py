from __future__ import annotations

from typing import Any

import pytest

from innkeeper.gateway.triggers.body import read_trigger_body
from innkeeper.gateway.triggers.reading import InvalidTrigger
from tests.gateway.triggers.definitions import definition

Json = dict[str, Any]
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def webhook(scheme: str = "github", **fields: Any) -> Json:
    return {**definition(), "webhook": {"scheme": scheme, **fields.pop("webhook", {})}, **fields}


def problems(raw: Json, kept: tuple[str, ...] = ()) -> dict[str, str]:
    with pytest.raises(InvalidTrigger) as caught:
        read_trigger_body(raw, kept)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_secrets_are_counted_and_stay_beside_the_definition() -> None:
    body = read_trigger_body(webhook(secrets=["one secret", "another"]))
    assert body.secrets == ("one secret", "another")
    assert body.definition.webhook is not None
    assert body.definition.webhook.secret_count == 2
    assert "one secret" not in repr(body)
    assert "one secret" not in str(body.definition.to_json())


def test_a_count_that_a_client_claims_does_not_count() -> None:
    """Else a webhook could be enabled that checks nothing."""
    assert "enabled" in problems(webhook(webhook={"secretCount": 2}))
    body = read_trigger_body(webhook(enabled=False, webhook={"secretCount": 2}))
    assert body.definition.webhook is not None
    assert body.definition.webhook.secret_count == 0


@pytest.mark.parametrize("scheme", ["standard", "github", "stripe", "slack", "shopify", "basic"])
def test_a_scheme_without_a_secret_is_saved_only_disabled(scheme: str) -> None:
    assert "needs a secret" in problems(webhook(scheme))["enabled"]
    assert read_trigger_body(webhook(scheme, enabled=False)).secrets is None
    kept = {"standard": WHSEC, "basic": "anna:pw"}.get(scheme, "kept secret")
    assert read_trigger_body(webhook(scheme), [kept]).secrets is None


def test_none_is_saved_without_secrets_and_not_with_them() -> None:
    assert read_trigger_body(webhook("none")).definition.enabled
    assert "remove the secrets" in problems(webhook("none", secrets=["x"]))["secrets"]
    assert "remove the secrets" in problems(webhook("none"), ("kept",))["secrets"]
    assert read_trigger_body(webhook("none", secrets=[]), ["kept"]).secrets == ()


@pytest.mark.parametrize(
    ("scheme", "secret"), [("standard", "plain"), ("svix", "whsec_x"), ("basic", "no colon"), ("github", " padded ")]
)
def test_a_secret_that_the_scheme_cannot_use_is_refused_without_being_shown(scheme: str, secret: str) -> None:
    found = problems(webhook(scheme, secrets=[secret]))
    assert found.keys() == {"secrets"}
    assert secret.strip() not in found["secrets"].replace("'user:password'", "")


@pytest.mark.parametrize("secrets", ["text", [1], ["a", "b", "c"], {}])
def test_secrets_are_a_short_list_of_texts(secrets: Any) -> None:
    assert "secrets" in problems(webhook(secrets=secrets))


def test_a_wrong_configuration_of_the_scheme_is_told_with_its_place() -> None:
    found = problems(webhook("generic", secrets=["s"], webhook={"config": {"header": "X-Sum", "template": "{ts}"}}))
    assert "webhook.config" in found


def test_all_problems_are_told_together() -> None:
    assert {"secrets", "filter", "kind"} <= problems({**webhook(secrets=1, filter="a ==", kind="hook")}).keys()


def test_what_the_gateway_told_may_be_sent_back() -> None:
    told = {"id": "x", "version": 3, "createdAt": "", "updatedAt": "", "secretCount": 1, "warnings": [], "url": "/"}
    assert read_trigger_body({**webhook(), **told}, ["kept"]).definition.name == "nightly"


def test_other_kinds_have_no_secrets() -> None:
    assert "only a webhook" in problems({**definition("event"), "secrets": ["x"]})["secrets"]
