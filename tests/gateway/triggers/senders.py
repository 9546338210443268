"""Signs requests as senders do, straight from their documentation: nothing of the code under test is used."""

from __future__ import annotations

import base64
import hashlib
import hmac

NOW = 1_614_265_330
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_STANDARD_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
GENERIC = {
    "header": "X-Sum",
    "prefix": "mac ",
    "template": "{id}|{ts}|{body}",
    "algorithm": "sha512",
    "encoding": "base64url",
    "timestamp_header": "X-Time",
    "timestamp_unit": "ms",
    "tolerance_s": 60,
    "delivery_id_header": "X-Id",
}
CONFIGS: dict[str, dict[str, object]] = {
    "generic": GENERIC,
    "token": {"header": "X-Gitlab-Token", "delivery_id_header": "X-Gitlab-Event-UUID"},
}
SECRETS = {
    "standard": (STANDARD_SECRET, OTHER_STANDARD_SECRET),
    "svix": (STANDARD_SECRET, OTHER_STANDARD_SECRET),
    "stripe": ("whsec_one", "whsec_two"),
    "basic": ("anna:one:1", "anna:two"),
}
Headers = list[tuple[str, str]]


def secrets_of(scheme: str) -> tuple[str, str]:
    return SECRETS.get(scheme, ("It's a Secret to Everybody", "another secret"))


def mac(secret: str | bytes, signed: bytes, algorithm: str = "sha256") -> bytes:
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.digest(key, signed, getattr(hashlib, algorithm))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def send(scheme: str, secret: str, body: bytes, at: int = NOW, delivery: str = "d_1") -> Headers:
    """The headers of a request that is right."""
    if scheme in ("standard", "svix"):
        prefix = "webhook" if scheme == "standard" else "svix"
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signature = b64(mac(key, f"{delivery}.{at}.".encode() + body))
        pairs = {"id": delivery, "timestamp": str(at), "signature": f"v1,{signature}"}
        return [(f"{prefix}-{name}", value) for name, value in pairs.items()]
    if scheme == "github":
        value = "sha256=" + mac(secret, body).hex()
        return [("X-Hub-Signature-256", value), ("X-GitHub-Delivery", delivery)]
    if scheme == "stripe":
        return [("Stripe-Signature", f"t={at},v1={mac(secret, f'{at}.'.encode() + body).hex()},v0=00")]
    if scheme == "slack":
        value = "v0=" + mac(secret, f"v0:{at}:".encode() + body).hex()
        return [("X-Slack-Signature", value), ("X-Slack-Request-Timestamp", str(at))]
    if scheme == "shopify":
        return [("X-Shopify-Hmac-SHA256", b64(mac(secret, body))), ("X-Shopify-Webhook-Id", delivery)]
    if scheme == "generic":
        digest = mac(secret, f"{delivery}|{at * 1000}|".encode() + body, "sha512")
        value = "mac " + base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return [("X-Sum", value), ("X-Time", str(at * 1000)), ("X-Id", delivery)]
    if scheme == "token":
        return [("X-Gitlab-Token", secret), ("X-Gitlab-Event-UUID", delivery)]
    return [("Authorization", "Basic " + b64(secret.encode()))]


SIGNING = ("standard", "svix", "github", "stripe", "slack", "shopify", "generic")
TIMED = ("standard", "svix", "stripe", "slack", "generic")
CHECKING = (*SIGNING, "token", "basic")
