"""A trigger as clients send it: its definition, with secrets beside it that nobody gets to see again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from innkeeper.gateway.triggers.model import MAX_SECRETS, Trigger
from innkeeper.gateway.triggers.reading import InvalidTrigger, TriggerProblem, read_trigger
from innkeeper.gateway.triggers.scheme_config import InvalidSchemeConfig, check_config, load_scheme

SECRETS = "secrets"
READ_ONLY = frozenset({"id", "version", "createdAt", "updatedAt", "url", "token", "secretCount", "warnings"})
"""Told by the gateway. They may come back, for a client sends what it has read, and mean nothing then."""


@dataclass(frozen=True)
class TriggerBody:
    """A definition that can be saved. `secrets`: None keeps those that are stored."""

    definition: Trigger
    secrets: tuple[str, ...] | None = field(repr=False)


def read_trigger_body(raw: Mapping[str, Any], kept: Sequence[str] = ()) -> TriggerBody:
    """The checked body of a request that saves a trigger.

    How many secrets there are is counted here: what the body says of that does not count, or a webhook could be
    enabled that checks nothing.

    Args:
        kept: The secrets that are stored, which count when the body has none.

    Raises:
        InvalidTrigger: With all its problems. None of them holds a secret.
    """
    problems: list[TriggerProblem] = []
    given = _secrets(raw, problems)
    secrets = tuple(kept) if given is None else given
    definition = {key: value for key, value in raw.items() if key not in READ_ONLY and key != SECRETS}
    webhook = definition.get("webhook")
    if isinstance(webhook, dict):
        definition["webhook"] = {**webhook, "secretCount": len(secrets)}
    try:
        trigger = read_trigger(definition)
    except InvalidTrigger as error:
        raise InvalidTrigger([*problems, *error.problems]) from None
    problems += scheme_problems(trigger, secrets)
    if problems:
        raise InvalidTrigger(problems)
    return TriggerBody(trigger, given)


def scheme_problems(trigger: Trigger, secrets: Sequence[str]) -> list[TriggerProblem]:
    """Why the scheme of a trigger cannot be used with these secrets. One that lacks a secret may be saved disabled."""
    webhook = trigger.webhook
    if webhook is None:
        return [TriggerProblem(SECRETS, "only a webhook has secrets")] if secrets else []
    try:
        scheme = load_scheme(webhook.scheme, webhook.config)
    except InvalidSchemeConfig as error:
        return [TriggerProblem("webhook.config", problem) for problem in error.problems]
    if not secrets and (scheme.proof == "none" or not trigger.enabled):
        return []
    place = SECRETS if secrets else "enabled"
    return [TriggerProblem(place, problem) for problem in check_config(webhook.scheme, webhook.config, secrets)]


def _secrets(raw: Mapping[str, Any], problems: list[TriggerProblem]) -> tuple[str, ...] | None:
    found = raw.get(SECRETS)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > MAX_SECRETS or not all(isinstance(item, str) for item in found):
        problems.append(TriggerProblem(SECRETS, f"'secrets' must be a list of at most {MAX_SECRETS} texts"))
        return ()
    return tuple(found)
