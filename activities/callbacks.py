"""The activity that posts one message about a run, once. Only here what is secret about it is plain."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from temporalio import activity

from innkeeper.nodes.call import SEND_CALLBACK, CallbackAnswer, CallbackCall
from innkeeper.nodes.errors import InnkeeperError, NodeInputError, ProviderError
from innkeeper.nodes.node import SecretRef, Secrets
from innkeeper.nodes.services.web import GuardedHttp, check_url
from innkeeper.nodes.services.webhook_signing import InvalidSecret, signed_headers, unsigned_headers

TIMEOUT_S = 20.0
"""For one attempt, from the connection to the head of the answer."""


class CallbackActivities:
    """Posts messages.

    Args:
        http: Goes where the operator allows it.
        secrets_of: The secrets of a user.
    """

    def __init__(self, http: GuardedHttp, secrets_of: Callable[[str], Secrets]) -> None:
        self._http = http
        self._secrets_of = secrets_of

    def activities(self) -> Sequence[Callable[..., Any]]:
        return (self.send_callback,)

    @activity.defn(name=SEND_CALLBACK)
    async def send_callback(self, body: str, call: CallbackCall) -> CallbackAnswer:
        """Post a message. Whatever comes of it is an answer: when to try again is for the workflow to say."""
        try:
            return await self._post(body.encode(), call)
        except ProviderError as error:
            return CallbackAnswer(error=error.message)
        except InvalidSecret as error:
            return CallbackAnswer(error=f"the secret to sign with {error}", is_final=True)
        except (
            InnkeeperError
        ) as error:  # the address is not allowed, or a secret is gone: nothing that passes by itself
            return CallbackAnswer(error=error.message, is_final=True)

    async def _post(self, body: bytes, call: CallbackCall) -> CallbackAnswer:
        host = check_url(call.url)
        secrets = self._secrets_of(call.user_id)
        url = await secrets.reveal(SecretRef(call.address), host) if call.address else call.url
        if check_url(url) != host:
            raise NodeInputError("the stored address of the receiver is not the one that is shown")
        sent_at = time.time()
        if call.secret:
            secret = await secrets.reveal(SecretRef(call.secret), host)
            headers = signed_headers([secret], call.message_id, body, sent_at=sent_at)
        else:
            headers = unsigned_headers(call.message_id, sent_at=sent_at)
        headers["content-type"] = "application/json"
        status, answered = await self._http.post_unread(url, body, headers, timeout_s=TIMEOUT_S)
        return CallbackAnswer(status, retry_after_s=retry_after_s(answered, time.time()))


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an answer asks to wait, by a number or a date; None: it does not, or not understandably."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
