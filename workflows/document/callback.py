"""Whom to tell how a run goes: `callback {url, secret, on}` of a submission, a stored workflow or a trigger. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from innkeeper.nodes.call import SECRET_TEXT, is_secret_id, secret_reference
from innkeeper.nodes.hosts import web_host_of
from innkeeper.workflows.document.json_reader import kind, quoted_names

CALLBACK = "callback"
"""The key under which it stands."""
CALLBACK_KEYS = frozenset({"url", "secret", "on"})
ENDS = ("complete", "error", "interrupted")
EVENTS = (*ENDS, "waiting")
MAX_URL_CHARS = 2_000
MAX_SECRET_CHARS = 500


@dataclass(frozen=True)
class Callback:
    """Where a message goes, what signs it, and what it is sent for.

    Attributes:
        url: http or https, without a user name. Its query may hold a key.
        secret: The secret itself, or `$secret:id` of a stored one. None: messages are not signed.
        on: Of `EVENTS`, in their order.
    """

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    on: tuple[str, ...] = ENDS

    @property
    def host(self) -> str:
        """`name:port`."""
        host = web_host_of(self.url)
        assert host is not None, "a callback has a checked URL"
        return host

    @property
    def reference(self) -> str | None:
        """Id of the stored secret; None when the secret itself was given, or none."""
        return None if self.secret is None else secret_reference(self.secret)


def read_callback(raw: Mapping[str, Any]) -> Callback:
    """The callback in an object without complaints."""
    reference = secret_reference(raw.get("secret"))
    secret = raw.get("secret") if reference is None else SECRET_TEXT + reference
    on = raw.get("on") or ENDS
    # What stands behind '#' is never sent.
    return Callback(raw["url"].partition("#")[0], secret, tuple(event for event in EVENTS if event in on))


def complaints(raw: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a callback, in sentences that hold nothing of its URL and its secret."""
    if (wrong := url_complaint(raw.get("url"))) is not None:
        yield f"'url' of 'callback' {wrong}"
    if raw.get("secret") is not None and (wrong := _secret_complaint(raw["secret"])) is not None:
        yield f"'secret' of 'callback' {wrong}"
    if raw.get("on") is not None and not _is_events(raw["on"]):
        yield f"'on' of 'callback' must be a list of {quoted_names(list(EVENTS))}, each once"


def unknown_key_complaint(raw: Mapping[str, Any]) -> str | None:
    """Editors may add keys to what they store; in a request an unknown key is a mistake."""
    unknown = sorted(raw.keys() - CALLBACK_KEYS)
    return f"'callback' has 'url', 'secret' and 'on'; found {quoted_names(_short(unknown))}" if unknown else None


def url_complaint(url: object) -> str | None:
    """Why no message can be sent there; None: one can, as far as the text tells."""
    if not isinstance(url, str):
        return f"must be an http or https URL, found {kind(url)}"
    if len(url) > MAX_URL_CHARS:
        return f"has {len(url)} characters; at most {MAX_URL_CHARS} are allowed"
    if url != url.strip() or web_host_of(url) is None:
        return "must be an http or https URL, as in 'https://host/path'"
    if "@" in urlsplit(url).netloc:
        return "must not hold a user name or a password; put a key into its query, or sign with 'secret'"
    return None


def shown_url(url: str) -> str:
    """The URL without what may be secret in it."""
    path, mark, _ = url.partition("?")
    return f"{path}?***" if mark else path


def _secret_complaint(secret: object) -> str | None:
    reference = secret_reference(secret)
    if reference is not None:
        # One of the environment belongs to the operator, who says where it may go.
        is_stored = is_secret_id(reference) and not reference.startswith("env:")
        return None if is_stored else "refers to no stored secret; type the secret itself"
    if not isinstance(secret, str):
        return f"must be text, found {kind(secret)}"
    if not 0 < len(secret) <= MAX_SECRET_CHARS:
        return f"must have 1 to {MAX_SECRET_CHARS} characters, found {len(secret)}"
    return None


def _is_events(on: object) -> bool:
    return (
        isinstance(on, list | tuple)
        and 0 < len(on) <= len(EVENTS)
        and all(isinstance(event, str) and event in EVENTS for event in on)
        and len(set(on)) == len(on)
    )


def _short(names: list[str]) -> list[str]:
    return [name if len(name) <= 40 else f"{name[:40]}…" for name in names]
