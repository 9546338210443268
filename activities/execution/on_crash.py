"""What a node does with the answer of a model that an earlier attempt left unfinished: its setting `on_crash`."""

from __future__ import annotations

from typing import cast

from innkeeper.activities.execution.attempt import Attempt
from innkeeper.nodes.definition import Input, NodeDefinition
from innkeeper.nodes.node import Services
from innkeeper.nodes.services.llm.model_calls import ModelCalls
from innkeeper.nodes.services.llm.salvage import AcceptingLlm, OnCrash, Salvage, SalvagingLlm

ON_CRASH = "on_crash"
RESTARTED = "salvage_restarted"
"""Code of the warning of a node that should have gone on with an answer, and could not."""
BROKE_OFF = "answer_broke_off"
_BROKE_OFF = "the answer broke off and is taken as it is"
_POLICIES = ("continue", "accept")


def policy_of(definition: NodeDefinition | None, attempt: Attempt) -> OnCrash:
    """What the attempt is to do. A node whose type has no such setting may ask several models: it begins anew.

    So does one that is read as a list of chunks, because only the text of the earlier ones is known; one that reads a
    stream; and an attempt that has tried to go on, and could not.
    """
    call = attempt.call
    if definition is None or call.stream_inputs or call.collect_chunks or attempt.why_anew:
        return "restart"
    slot = _slot(definition, call.mode)
    if slot is None or not isinstance(attempt.models, ModelCalls):
        return "restart"
    chosen = call.config.get(ON_CRASH, slot.config.get("default"))
    return cast("OnCrash", chosen) if chosen in _POLICIES else "restart"


def services_of(attempt: Attempt) -> Services:
    """The services of an attempt; where it keeps the stream of an earlier one, a model goes on with that."""
    if attempt.on_crash == "restart" or not isinstance(calls := attempt.models, ModelCalls):
        return attempt.services
    if attempt.kept is None:
        return attempt.services_with(_accepting(calls, attempt)) if attempt.on_crash == "accept" else attempt.services
    may_ask = not attempt.is_exhausted
    salvage = Salvage(attempt.kept, attempt.on_crash, attempt.number, attempt.restart, may_ask)
    return attempt.services_with(SalvagingLlm(calls, salvage))


def _accepting(calls: ModelCalls, attempt: Attempt) -> AcceptingLlm:
    return AcceptingLlm(
        calls, attempt.is_last_with, lambda error: attempt.warn(BROKE_OFF, f"{_BROKE_OFF}: {error.message}")
    )


def _slot(definition: NodeDefinition, mode: str | None) -> Input | None:
    chosen = definition.modes.get(mode or "")
    of_mode = chosen.config_schema.get(ON_CRASH) if chosen is not None else None
    return of_mode or definition.config_schema.get(ON_CRASH)
