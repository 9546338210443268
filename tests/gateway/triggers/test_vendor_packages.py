"""The packages of the vendors at the other end: they sign what we verify, and verify what we sign."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook

from innkeeper.gateway.triggers.scheme_config import load_scheme
from innkeeper.gateway.triggers.verification import Refused, Verified, verify
from innkeeper.nodes.services.webhook_signing import new_secret, signed_headers
from tests.gateway.triggers.senders import NOW, OTHER_STANDARD_SECRET, STANDARD_SECRET

PADDED = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"name": "Zoë", "text": "a.b"}'


@pytest.mark.parametrize(("name", "package"), [("standard", Webhook), ("svix", SvixWebhook)])
@pytest.mark.parametrize("secret", [STANDARD_SECRET, PADDED, PADDED.rstrip("=")])
def test_what_the_packages_of_standard_and_svix_sign_passes(name: str, package: type, secret: str) -> None:
    signature = package(secret).sign("msg_1", datetime.fromtimestamp(NOW, UTC), BODY)
    prefix = "svix" if name == "svix" else "webhook"
    headers = [(f"{prefix}-id", "msg_1"), (f"{prefix}-timestamp", str(NOW)), (f"{prefix}-signature", signature)]
    scheme = load_scheme(name, {})
    assert isinstance(verify(scheme, [OTHER_STANDARD_SECRET, secret], headers, BODY.encode(), now=NOW), Verified)
    assert isinstance(verify(scheme, [OTHER_STANDARD_SECRET], headers, BODY.encode(), now=NOW), Refused)


@pytest.mark.parametrize("receiver", [0, 1])
def test_the_packages_believe_our_signatures_while_a_secret_changes(receiver: int) -> None:
    secrets = [new_secret(), new_secret()]
    headers = signed_headers(secrets, "run_1:complete", BODY.encode(), sent_at=time.time())
    assert Webhook(secrets[receiver]).verify(BODY, headers)["name"] == "Zoë"
    SvixWebhook(secrets[receiver]).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_what_the_package_of_slack_signs_passes() -> None:
    signature = SignatureVerifier("slack secret").generate_signature(timestamp=str(NOW), body=BODY)
    headers = [("X-Slack-Signature", str(signature)), ("X-Slack-Request-Timestamp", str(NOW))]
    scheme = load_scheme("slack", {})
    assert isinstance(verify(scheme, ["slack secret"], headers, BODY.encode(), now=NOW), Verified)
    assert isinstance(verify(scheme, ["slack secret"], headers, BODY.encode() + b" ", now=NOW), Refused)
