"""The row of a request as it begins, ends and gets lost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from innkeeper.gateway.store.usage import Call, RunFacts
from innkeeper.gateway.store.usage_sums import DAY_MS, LOST, NOT_SENT, OPEN
from innkeeper.gateway.usage.price_file import Cost, Taken
from innkeeper.nodes.hosts import is_plain_host
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from innkeeper.nodes.services.llm.estimates import CHARS_PER_TOKEN

MAX_COUNT = 10**8
"""No request takes so many tokens: a provider that says more has said nothing."""
MAX_NANOS = 10**15
"""A million units for one request is a mistake of the price, and thousands of them are more than a sum can hold."""
MAX_NAME_CHARS = 500
MAX_USER_CHARS = 200
MAX_KEY_CHARS = 64
MAX_WAIT_MS = 30 * DAY_MS
PAID_THOUGH_FAILED = frozenset({"timeout_error", "timeout", "bad_answer", "content_filter", "cancelled"})
"""Of these failures the provider may have read the prompt and be paid for it; it refuses the others."""
_UNKNOWN_RUN = RunFacts("", None, None, {})


@dataclass(frozen=True)
class _Counts:
    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    estimated: bool = False


def opened(start: CallStart, facts: RunFacts | None, now_ms: int) -> Call:
    """A request that is about to be made, with the most that it may take."""
    known = facts or _UNKNOWN_RUN
    return Call(
        id=start.id,
        run=_cut(start.origin.run, MAX_KEY_CHARS),
        node=_cut(start.origin.node),
        attempt=max(start.origin.attempt, 0),
        user_id=known.user or _cut(start.origin.user, MAX_USER_CHARS),
        day=now_ms // DAY_MS,
        started_at=now_ms,
        workflow=known.workflow,
        project=known.project,
        channel=_cut(start.channel),
        host=_host(start.host),
        adapter=_cut(start.adapter),
        model=_cut(start.model),
        key=_cut(start.key, MAX_KEY_CHARS),
        # More than there can be is no reason to reserve nothing.
        input_tokens=min(max(start.input_tokens, 0), MAX_COUNT),
        output_tokens=min(max(start.output_tokens, 0), MAX_COUNT),
    )


def start_of(call: Call) -> CallStart:
    """As it was told when the request began."""
    return CallStart(
        id=call.id,
        origin=CallOrigin(call.run, call.node, call.attempt, call.user_id),
        channel=call.channel,
        host=call.host,
        adapter=call.adapter,
        model=call.model,
        key=call.key,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
    )


def unknown_start(end: CallEnd, now_ms: int) -> Call:
    """A request of whose start nobody told: only its end is known."""
    return Call(end.id, "", "", 0, "", now_ms // DAY_MS, now_ms, model=_cut(end.model))


def ended(call: Call, end: CallEnd, now_ms: int) -> Call:
    """A request with what it took. Its cost is not known yet."""
    counts = _counts(call, end)
    whole_ms = _duration(end.whole_ms)
    # Ends may be told hours late; the worker's clock is not ours, but it measured how long it took.
    ended_at = now_ms if whole_ms is None else min(call.started_at + whole_ms, max(now_ms, call.started_at))
    return replace(
        call,
        ended_at=max(ended_at, call.started_at),
        outcome=end.outcome,
        code=_cut(end.code),
        answered=_cut(end.model),
        input_tokens=counts.input,
        output_tokens=counts.output,
        cached_tokens=counts.cached,
        reasoning_tokens=counts.reasoning,
        estimated=counts.estimated,
        first_ms=_duration(end.first_ms),
        whole_ms=whole_ms,
        cost=None,
        currency=None,
    )


def given_up(call: Call, now_ms: int) -> Call:
    """A request of whose end nobody will tell: what it might take counts as taken."""
    return replace(call, outcome=LOST, ended_at=max(now_ms, call.started_at), estimated=True)


def taken_by(call: Call) -> Taken:
    """What is priced of it."""
    return Taken(
        model=call.model,
        answered=call.answered,
        channel=call.channel,
        host=call.host,
        at_ms=call.started_at,
        input_tokens=call.input_tokens,
        cached_tokens=call.cached_tokens,
        output_tokens=call.output_tokens,
    )


def costs_nothing(call: Call) -> bool:
    """Was it never sent, or refused, so that no price is needed to know what it cost?"""
    return call.outcome == NOT_SENT or (call.outcome == "failed" and call.tokens == 0)


def priced(call: Call, cost: Cost | None) -> Call:
    """A request with its cost; None: nobody knows."""
    if costs_nothing(call):
        return replace(call, cost=0, currency=None)
    if cost is None or cost.nanos > MAX_NANOS:
        return replace(call, cost=None, currency=None)
    return replace(call, cost=cost.nanos, currency=cost.currency)


def is_over(call: Call) -> bool:
    """Was its end told?"""
    return call.outcome not in (OPEN, LOST)


def _counts(call: Call, end: CallEnd) -> _Counts:
    if end.outcome == NOT_SENT:
        return _Counts()
    told = _told(end.usage or {})
    if told is not None:
        return told
    output = -(-max(end.output_chars, 0) // CHARS_PER_TOKEN)
    if end.outcome == "failed" and not output and end.code not in PAID_THOUGH_FAILED:
        return _Counts()
    return _Counts(call.input_tokens, min(output, MAX_COUNT), estimated=True)


def _told(usage: Mapping[str, Any]) -> _Counts | None:
    """What the provider counted; None where it says nothing that can be so."""
    given, made = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    if given is None or made is None:
        return None
    cached = _count(_inner(usage, "prompt_tokens_details", "cached_tokens")) or 0
    reasoning = _count(_inner(usage, "completion_tokens_details", "reasoning_tokens")) or 0
    return _Counts(given, made, min(cached, given), min(reasoning, made))


def _inner(usage: Mapping[str, Any], name: str, key: str) -> Any:
    found = usage.get(name)
    return found.get(key) if isinstance(found, Mapping) else None


def _count(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value <= MAX_COUNT else None


def _duration(value: int | None) -> int | None:
    return None if value is None else min(max(value, 0), MAX_WAIT_MS)


def _host(text: str) -> str:
    """`name:port`. What an address without one holds may be a key: it is not kept."""
    return _cut(text) if is_plain_host(text) else ""


def _cut(text: str, chars: int = MAX_NAME_CHARS) -> str:
    """A name as the database takes it: without halves of characters."""
    return text[:chars].encode(errors="replace").decode()
