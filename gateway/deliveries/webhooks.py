"""Webhooks from the token in their address to the intake.

The order is the protection: the proof is checked on the raw bytes, and only then is anything parsed, echoed or stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import orjson

from innkeeper.gateway.deliveries.book import StoredTrigger, TriggerBook
from innkeeper.gateway.deliveries.intake import Arrival, Handled, Intake
from innkeeper.gateway.deliveries.received_files import ReceivedFiles
from innkeeper.gateway.errors import BadRequest, NotFound, TooLarge
from innkeeper.gateway.triggers.headers import Headers
from innkeeper.gateway.triggers.mapping import read_delivery
from innkeeper.gateway.triggers.model import WebhookPart
from innkeeper.gateway.triggers.payload import Payload, PayloadError, PayloadErrorKind, RawRequest, read_payload
from innkeeper.gateway.triggers.scheme_config import load_scheme
from innkeeper.gateway.triggers.schemes import FIXED_SCHEMES, Scheme
from innkeeper.gateway.triggers.verification import RefusalKind, Refused, Verified, verify
from innkeeper.nodes.errors import InnkeeperError

LARGE_BYTES = 256_000
"""Larger bodies are verified and read in a thread: a MAC over 5 MB takes 10 ms, its JSON 50 ms."""
MAX_CHALLENGE_CHARS = 1_000
_DUMMY_SECRET = "whsec_" + "A" * 43
_DUMMY_HEADERS = [("x-hub-signature-256", "sha256=" + "0" * 64)]
_TOLD = {
    RefusalKind.BAD_SIGNATURE: "the signature or secret does not fit",
    RefusalKind.STALE: "the request was signed too long ago, or in the future: is a clock wrong?",
    RefusalKind.MALFORMED: "the signature or a header that belongs to it is missing, doubled or malformed",
}
"""All that a sender is told. What was found in detail stands in the trigger's results, for its owner."""

T = TypeVar("T")


class UnknownWebhook(NotFound):
    """No trigger has this token."""

    code = "webhook_not_found"


class WebhookRefused(InnkeeperError):
    """The request proves nothing. `details["reason"]` is a `RefusalKind`."""

    code = "webhook_refused"


class TriggerDisabled(InnkeeperError):
    """The sender is who it says, and the trigger is switched off."""

    code = "trigger_disabled"


class ForeignPage(InnkeeperError):
    """A web page of another origin uses a webhook whose proof a browser would add by itself, or that has none."""

    code = "forbidden"


class UnsupportedBody(InnkeeperError):
    """The body comes in a form that is not taken."""

    code = "unsupported_body"


@dataclass(frozen=True)
class HookRequest:
    """A request to a webhook.

    Attributes:
        is_foreign: A browser sent it for a page of an origin that the gateway does not know.
    """

    raw: RawRequest
    is_foreign: bool = False


@dataclass(frozen=True)
class Challenge:
    """What Slack wants to have sent back before it uses an address."""

    text: str


@dataclass(frozen=True)
class Delivered:
    """A request that was believed and read, and what the intake made of it."""

    trigger: StoredTrigger
    webhook: WebhookPart
    handled: Handled


class Webhooks:
    """Receives what comes to `/hooks/{token}`.

    Args:
        clock: Seconds since 1970.
    """

    def __init__(
        self, book: TriggerBook, intake: Intake, files: ReceivedFiles, clock: Callable[[], float] = time.time
    ) -> None:
        self._book = book
        self._intake = intake
        self._files = files
        self._clock = clock

    async def receive(self, token: str, request: HookRequest) -> Delivered | Challenge:
        """Verify, read and take in one request. When it returns `Delivered`, what the intake promises is durable.

        Raises:
            UnknownWebhook, WebhookRefused, ForeignPage, TriggerDisabled.
            TooLarge, UnsupportedBody, BadRequest: The request is genuine and cannot be read.
            TooManyDeliveries: See `Intake.take`.
        """
        trigger = self._book.by_token(token)
        webhook = None if trigger is None else trigger.definition.webhook
        if trigger is None or webhook is None:
            await self._verify_for_nobody(request.raw)
            raise UnknownWebhook("no webhook has this address; it may have been deleted or given a new token")
        scheme = scheme_of(webhook)
        verified = await self._verified(trigger, scheme, request)
        payload = await self._payload(trigger, scheme, request.raw)
        if scheme.name == "slack" and (challenge := challenge_of(payload)) is not None:
            return Challenge(challenge)  # also while the trigger is disabled: it is set up before it is used
        if not trigger.definition.enabled:
            self._intake.refuse(trigger, "the trigger is disabled")
            raise TriggerDisabled("the trigger of this webhook is disabled; send it again when it is enabled")
        return Delivered(trigger, webhook, await self._taken(trigger, payload, verified))

    async def _verified(self, trigger: StoredTrigger, scheme: Scheme, request: HookRequest) -> Verified:
        found = await _in_thread_if_large(request.raw, lambda: self._verify(trigger, scheme, request.raw))
        if isinstance(found, Refused):
            self._intake.refuse(trigger, f"{found.kind.value}: {found.reason}")
            raise WebhookRefused(_TOLD[found.kind], details={"reason": found.kind.value})
        if request.is_foreign and scheme.proof in ("none", "basic"):
            self._intake.refuse(trigger, "a web page of another origin sent it")
            raise ForeignPage("pages of this Origin may not use the webhook: its scheme does not prove who sent it")
        return found

    def _verify(self, trigger: StoredTrigger, scheme: Scheme, raw: RawRequest) -> Verified | Refused:
        keys = self._book.secret_values(trigger)  # from files only when they were not asked for before
        if not keys and trigger.secrets:
            return Refused(RefusalKind.BAD_SIGNATURE, "the stored secret of the trigger cannot be read: enter it anew")
        return verify(scheme, keys, raw.headers, raw.body, now=self._clock())

    async def _verify_for_nobody(self, raw: RawRequest) -> None:
        """The same work as for a token that is known, so that the time tells nothing of tokens."""
        await _in_thread_if_large(raw, lambda: verify_for_nobody(raw, self._clock()))

    async def _payload(self, trigger: StoredTrigger, scheme: Scheme, raw: RawRequest) -> Payload:
        read = await _in_thread_if_large(raw, lambda: read_payload(raw, hidden_headers=scheme.secret_headers))
        error = self._files.objection(read) if isinstance(read, Payload) else read
        if error is not None:
            self._intake.refuse(trigger, error.message)
            raise _unreadable(error)
        assert isinstance(read, Payload)
        return read

    async def _taken(self, trigger: StoredTrigger, payload: Payload, verified: Verified) -> Handled:
        files = await asyncio.to_thread(self._files.described, trigger, payload.files) if payload.files else []
        view = payload.view(files)
        if files and self._would_pass(trigger, view, verified.delivery_id):
            # Before the delivery is written down: a run that finds its path finds the file.
            content = {file["path"]: sent.data for file, sent in zip(files, payload.files, strict=True)}
            await self._files.store(trigger.user, content)
        # A copy of what was signed with its time is never new. Without a time the id alone tells copies, and whether
        # it does is the trigger's choice (`dedupe`): someone may have pressed "redeliver".
        replay_key = None if verified.signed_at is None else verified.replay_key
        return await self._intake.take(trigger, Arrival(view, verified.delivery_id, replay_key))

    def _would_pass(self, trigger: StoredTrigger, view: Mapping[str, Any], delivery_id: str | None) -> bool:
        """Asked only of requests with files: those of a delivery that is filtered out are not kept."""
        reading = read_delivery(trigger.definition, view, delivery_id)
        return reading.passes and reading.refusal is None


def scheme_of(webhook: WebhookPart) -> Scheme:
    """The scheme of a webhook that was checked when it was saved."""
    return _scheme(webhook.scheme, orjson.dumps(webhook.config, option=orjson.OPT_SORT_KEYS))


@lru_cache(1_000)
def _scheme(name: str, config: bytes) -> Scheme:
    return load_scheme(name, orjson.loads(config))


def verify_for_nobody(raw: RawRequest, now: float) -> None:
    """Verify a request by the scheme that its headers belong to, with a secret that nobody has."""
    headers = Headers(raw.headers)
    sent = (scheme for scheme in FIXED_SCHEMES.values() if any(names.signature in headers for names in scheme.headers))
    scheme = next(sent, None)
    if scheme is None:
        # Nothing says how it would be signed: a MAC over the body is the largest part of every scheme.
        verify(FIXED_SCHEMES["github"], [_DUMMY_SECRET], _DUMMY_HEADERS, raw.body, now=now)
    else:
        verify(scheme, [_DUMMY_SECRET], raw.headers, raw.body, now=now)


def challenge_of(payload: Payload) -> str | None:
    """The text of Slack's `url_verification`; None for any other request."""
    body = payload.body
    if not isinstance(body, dict) or body.get("type") != "url_verification":
        return None
    text = body.get("challenge")
    return text if isinstance(text, str) and len(text) <= MAX_CHALLENGE_CHARS else None


def _unreadable(error: PayloadError) -> InnkeeperError:
    if error.kind is PayloadErrorKind.TOO_LARGE:
        return TooLarge(error.message)
    if error.kind is PayloadErrorKind.UNSUPPORTED:
        return UnsupportedBody(error.message)
    return BadRequest(error.message, code="malformed_body")


async def _in_thread_if_large(raw: RawRequest, work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work) if len(raw.body) > LARGE_BYTES else work()
