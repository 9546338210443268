"""How senders of webhooks prove who they are, as data. `verification.verify` reads these tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

SchemeName = Literal["standard", "svix", "github", "stripe", "slack", "shopify", "generic", "token", "basic", "none"]
Algorithm = Literal["sha1", "sha256", "sha512"]
Encoding = Literal["hex", "base64", "base64url"]
SecretForm = Literal["standard", "text", "basic"]

DEFAULT_TOLERANCE_S = 300
PLACEHOLDERS = ("{id}", "{ts}", "{body}")
_PLACEHOLDER = re.compile(r"(\{(?:id|ts|body)\})")


@dataclass(frozen=True)
class HeaderNames:
    """Lower-case names of the headers of one delivery."""

    signature: str = ""
    timestamp: str | None = None
    delivery_id: str | None = None


@dataclass(frozen=True)
class Scheme:
    """How one kind of sender proves who it is.

    Attributes:
        proof: `mac`: the sender signs; `token`, `basic`: it sends the secret itself; `none`: nothing is proved.
        headers: Alternatives. The first of which the signature header came counts; they are never mixed.
        layout: How signatures stand in their header. `single`: one, after `prefix`; `versions`: `v1,<sig> v1a,<sig>`;
            `pairs`: `t=<timestamp>,v1=<sig>,v1=<sig>`.
        template: The signed bytes, made of `PLACEHOLDERS` and text between them.
        prefix: Stands before a signature or token. ASCII, compared exactly.
        secret_form: `standard`: `whsec_` or `whpk_` and base64; `text`: UTF-8; `basic`: `user:password`.
        timestamp_unit: Seconds or milliseconds since 1970.
        tolerance_s: How far the signed time may lie from now, in both directions; None for no bound.
        body_id: Key of a JSON body whose text is the delivery id.
    """

    name: SchemeName
    proof: Literal["mac", "token", "basic", "none"] = "mac"
    headers: tuple[HeaderNames, ...] = (HeaderNames(),)
    layout: Literal["single", "versions", "pairs"] = "single"
    prefix: str = ""
    template: str = "{body}"
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    secret_form: SecretForm = "text"
    timestamp_unit: Literal["s", "ms"] = "s"
    tolerance_s: int | None = None
    body_id: str | None = None

    @property
    def secret_headers(self) -> frozenset[str]:
        """Headers that hold the proof. They are neither stored nor shown to a mapping."""
        return frozenset(names.signature for names in self.headers if names.signature)

    def signs(self, placeholder: str) -> bool:
        return self.proof == "mac" and placeholder in self.template


@cache
def template_parts(template: str) -> tuple[str, ...]:
    """Placeholders and the texts between them, in order.

    Example:
        >>> template_parts("v0:{ts}:{body}")
        ('v0:', '{ts}', ':', '{body}')
    """
    return tuple(part for part in _PLACEHOLDER.split(template) if part)


@cache
def separators_beside_id(template: str) -> frozenset[str]:
    """Characters that an id must not hold: with them, one signed text could be cut in two ways."""
    parts = ("", *template_parts(template), "")
    beside = [parts[i - 1] + parts[i + 1] for i, part in enumerate(parts) if part == "{id}"]
    return frozenset("".join(beside))


def _standard(name: SchemeName, *prefixes: str) -> Scheme:
    return Scheme(
        name,
        headers=tuple(HeaderNames(f"{p}-signature", f"{p}-timestamp", f"{p}-id") for p in prefixes),
        layout="versions",
        template="{id}.{ts}.{body}",
        encoding="base64",
        secret_form="standard",
        tolerance_s=DEFAULT_TOLERANCE_S,
    )


FIXED_SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        _standard("standard", "webhook"),
        _standard("svix", "svix", "webhook"),
        Scheme(
            "github",
            headers=(HeaderNames("x-hub-signature-256", delivery_id="x-github-delivery"),),
            prefix="sha256=",
        ),
        # The secret begins with whsec_ too, but here that is part of the text.
        Scheme(
            "stripe",
            headers=(HeaderNames("stripe-signature"),),
            layout="pairs",
            template="{ts}.{body}",
            tolerance_s=DEFAULT_TOLERANCE_S,
            body_id="id",
        ),
        Scheme(
            "slack",
            headers=(HeaderNames("x-slack-signature", "x-slack-request-timestamp"),),
            prefix="v0=",
            template="v0:{ts}:{body}",
            tolerance_s=DEFAULT_TOLERANCE_S,
            body_id="event_id",
        ),
        Scheme(
            "shopify",
            headers=(HeaderNames("x-shopify-hmac-sha256", delivery_id="x-shopify-webhook-id"),),
            encoding="base64",
        ),
    )
}
"""Schemes of which nothing is to be chosen."""
