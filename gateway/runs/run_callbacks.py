"""The callbacks of one run: read from what asked for it, checked, and kept with references for what is secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import json_list
from innkeeper.nodes.errors import InvalidWorkflow, Problem, ResourceError
from innkeeper.nodes.hosts import same_host
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.secrets import SecretStore
from innkeeper.nodes.services.webhook_signing import InvalidSecret, signing_key
from innkeeper.workflows.compiler.literals import SecretValue
from innkeeper.workflows.document.callback import (
    CALLBACK,
    EVENTS,
    Callback,
    complaints,
    read_callback,
    shown_url,
    unknown_key_complaint,
)
from innkeeper.workflows.document.json_reader import kind

JsonObject = dict[str, Any]
CallbackSource = Literal["submission", "workflow", "trigger"]
INVALID = "invalid_callback"
SOURCES: tuple[CallbackSource, ...] = ("submission", "workflow", "trigger")


@dataclass(frozen=True)
class RunCallback:
    """One callback as it is kept with its run.

    Attributes:
        source: What named it.
        url: Without a query that it has.
        on: Of `EVENTS`.
        address: Id of the stored secret that is the whole URL; `""`: `url` is.
        secret: Id of the stored secret to sign with; `""`: nothing is signed.
    """

    source: CallbackSource
    url: str
    on: tuple[str, ...]
    address: str = ""
    secret: str = ""

    def to_json(self) -> JsonObject:
        kept: JsonObject = {"source": self.source, "url": self.url, "on": list(self.on)}
        return kept | {name: value for name in ("address", "secret") if (value := getattr(self, name))}

    @property
    def secrets(self) -> list[str]:
        """Ids of the stored secrets that it needs."""
        return [secret for secret in (self.address, self.secret) if secret]


@dataclass(frozen=True)
class SealedCallback:
    """A callback that may be kept, and what must be stored before it is."""

    callback: RunCallback
    typed: tuple[SecretValue, ...] = ()


def callbacks_of(row: RunRow) -> list[RunCallback]:
    """The callbacks that are kept with a run. What is damaged is left out."""
    return [callback for item in json_list(row.callbacks) if (callback := _kept(item)) is not None]


def _kept(item: Mapping[str, Any]) -> RunCallback | None:
    on = item.get("on")
    if item.get("source") not in SOURCES or not isinstance(item.get("url"), str) or not isinstance(on, list):
        return None
    return RunCallback(
        source=item["source"],
        url=item["url"],
        on=tuple(event for event in EVENTS if event in on),
        address=str(item.get("address", "")),
        secret=str(item.get("secret", "")),
    )


def submitted_callback(body: Mapping[str, Any]) -> Callback | None:
    """The callback that a submission names itself. Raises InvalidWorkflow: with all that is wrong with it."""
    raw = body.get(CALLBACK)
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise InvalidWorkflow([Problem(INVALID, f"'callback' must be an object, found {kind(raw)}")])
    found = [message for message in (unknown_key_complaint(raw), *complaints(raw)) if message is not None]
    if found:
        raise InvalidWorkflow([Problem(INVALID, message) for message in found])
    return read_callback(raw)


def seal_callback(callback: Callback, source: CallbackSource, owner: str, secrets: SecretStore) -> SealedCallback:
    """Blocking. The callback with references; nothing is stored.

    Raises:
        InvalidWorkflow: A reference is none of the owner's for that host, or a secret cannot sign.
    """
    host = callback.host
    typed: list[SecretValue] = []

    def stored(value: str) -> str:
        typed.append(SecretValue(secrets.ref_for(value, owner).id, value, owner, (host,)))
        return typed[-1].id

    shown = shown_url(callback.url)
    address = stored(callback.url) if shown != callback.url else ""
    secret = callback.reference or ""
    if secret:
        _check_reference(secret, host, owner, secrets)
    elif callback.secret is not None:
        _check_signs(callback.secret)
        secret = stored(callback.secret)
    return SealedCallback(RunCallback(source, shown, callback.on, address, secret), tuple(typed))


def _check_reference(secret: str, host: str, owner: str, secrets: SecretStore) -> None:
    try:
        record = secrets.load(SecretRef(secret))
    except ResourceError:
        record = None
    if record is None or record.owner != owner:
        # The same words for both: nobody learns what others have.
        raise _invalid("refers to a stored secret that is not known; type the secret itself", "unknown_secret")
    if record.hosts and not any(same_host(host, allowed) for allowed in record.hosts):
        message = (
            f"refers to a stored secret that is not for {host}; type the secret itself if it is meant to sign there"
        )
        raise _invalid(message, "secret_refused")
    _check_signs(record.value)


def _check_signs(secret: str) -> None:
    try:
        signing_key(secret)
    except InvalidSecret as error:
        raise _invalid(f"cannot sign: it {error}; make one with 'openssl rand -base64 32' behind 'whsec_'") from None


def _invalid(message: str, code: str = INVALID) -> InvalidWorkflow:
    return InvalidWorkflow([Problem(code, f"'secret' of 'callback' {message}")])


def keep_secrets(sealed: Iterable[SealedCallback], secrets: SecretStore) -> None:
    """Blocking. Store what was typed, and keep what is referred to: a collection may be going on.

    Raises:
        ResourceError: It cannot be stored.
    """
    for each in sealed:
        for secret in each.typed:
            secrets.put(secret.value, secret.owner, secret.hosts)
        for reference in each.callback.secrets:
            secrets.keep(reference)
