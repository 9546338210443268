"""Makes a Temporal namespace fit for runs: the namespace itself, its retention, its search attributes."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.workflows.connection import is_cloud
from innkeeper.workflows.namespace import CALL_TIMEOUT, REFUSED, SEARCH_ATTRIBUTES, NamespaceFacts, namespace_facts

DEFAULT_RETENTION = timedelta(days=7)
SEEN_S = 30.0
"""Servers keep what they know of namespaces for a while: 10 s until a new one is known everywhere is usual."""
LOOK_S = 0.2
Outcome = Literal["made", "there", "refused"]


@dataclass(frozen=True)
class Step:
    """One thing that a namespace needs.

    Attributes:
        outcome: `made` now, `there` before, or `refused`: this server does not let us.
        command: What somebody who may can run instead, for what was refused.
    """

    what: str
    outcome: Outcome
    command: str = ""

    def to_json(self) -> dict[str, str]:
        return {"what": self.what, "outcome": self.outcome, **({"command": self.command} if self.command else {})}


async def set_up(client: Client, retention: timedelta | None = None) -> list[Step]:
    """Make what is missing, and say what was done. The second time nothing is left to do.

    Args:
        retention: How long histories of ended runs are kept; None: 7 days for a new namespace, else as it is.

    Raises:
        RPCError: The server does not answer any more.
    """
    commands = Commands(client.namespace, in_cloud=is_cloud(client.service_client.config.target_host))
    facts = await namespace_facts(client)
    first = await _namespace(client, facts, retention or DEFAULT_RETENTION, commands)
    if first.outcome == "refused" and facts.exists is False:
        return [first, Step("search attributes", "refused", commands.add(SEARCH_ATTRIBUTES))]
    if first.outcome == "made":
        facts = await _seen(client)
    steps = [first]
    if retention is not None and facts.retention not in (None, retention):
        steps.append(await _retention(client, retention, commands))
    return [*steps, *await _attributes(client, facts, commands)]


async def _namespace(client: Client, facts: NamespaceFacts, retention: timedelta, commands: Commands) -> Step:
    what = f"namespace {client.namespace}"
    if facts.exists:
        shown = "" if facts.retention is None else f", which keeps histories for {days(facts.retention)}"
        return Step(what + shown, "there")
    if facts.exists is None or commands.in_cloud:
        return Step(what, "refused", commands.namespace(retention))
    request = RegisterNamespaceRequest(
        namespace=client.namespace, workflow_execution_retention_period=_duration(retention)
    )
    register = partial(client.workflow_service.register_namespace, request, timeout=CALL_TIMEOUT)
    made = f"{what}, which keeps histories for {days(retention)}"
    return await _tried(made, register, commands.namespace(retention))


async def _seen(client: Client) -> NamespaceFacts:
    """What the server says of a namespace that was just made, as soon as it knows it."""
    deadline = asyncio.get_running_loop().time() + SEEN_S
    while True:
        try:
            facts = await namespace_facts(client)
        except RPCError:
            facts = NamespaceFacts(False)
        if facts.exists or asyncio.get_running_loop().time() > deadline:
            return facts
        await asyncio.sleep(LOOK_S)


async def _retention(client: Client, retention: timedelta, commands: Commands) -> Step:
    config = NamespaceConfig(workflow_execution_retention_ttl=_duration(retention))
    request = UpdateNamespaceRequest(namespace=client.namespace, config=config)
    update = partial(client.workflow_service.update_namespace, request, timeout=CALL_TIMEOUT)
    return await _tried(f"retention of {days(retention)}", update, commands.retention(retention))


async def _attributes(client: Client, facts: NamespaceFacts, commands: Commands) -> list[Step]:
    known = facts.attributes
    if known is None:
        return [Step("search attributes (who may list them was not us)", "refused", commands.add(SEARCH_ATTRIBUTES))]
    steps = [Step(f"search attribute {name}", "there") for name in SEARCH_ATTRIBUTES if known.get(name) == "Keyword"]
    steps += [Step(f"search attribute {name} as Keyword: it is {known[name]}", "refused") for name in facts.mistyped]
    if facts.missing:
        kinds = dict.fromkeys(facts.missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD)
        request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=kinds)
        what = f"search attributes {', '.join(facts.missing)}"
        steps.append(await _tried(what, partial(_add, client, request), commands.add(facts.missing)))
    return steps


async def _add(client: Client, request: AddSearchAttributesRequest) -> None:
    """Add them. A namespace that was just made may not be known to all parts of the server yet."""
    deadline = asyncio.get_running_loop().time() + SEEN_S
    while True:
        try:
            await client.operator_service.add_search_attributes(request, timeout=CALL_TIMEOUT)
            return
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(LOOK_S)


async def _tried(what: str, make: Callable[[], Awaitable[object]], command: str) -> Step:
    try:
        await make()
    except RPCError as error:
        if error.status == RPCStatusCode.ALREADY_EXISTS:  # somebody else was quicker
            return Step(what, "there")
        if error.status in REFUSED:
            return Step(what, "refused", command)
        raise
    return Step(what, "made")


@dataclass(frozen=True)
class Commands:
    """What somebody with the rights runs instead: of Temporal's command line, or of Temporal Cloud's."""

    name: str
    in_cloud: bool

    def namespace(self, retention: timedelta) -> str:
        name, kept = shlex.quote(self.name), days(retention)
        if self.in_cloud:
            short = shlex.quote(self.name.partition(".")[0])  # Cloud adds the account behind a point
            return f"tcld namespace create --namespace {short} --region REGION --retention-days {retention.days or 1}"
        return f"temporal operator namespace create --namespace {name} --retention {kept}"

    def retention(self, retention: timedelta) -> str:
        name = shlex.quote(self.name)
        if self.in_cloud:
            return f"tcld namespace retention set --namespace {name} --retention-days {retention.days or 1}"
        return f"temporal operator namespace update --namespace {name} --retention {days(retention)}"

    def add(self, attributes: Sequence[str]) -> str:
        name = shlex.quote(self.name)
        if self.in_cloud:
            added = " ".join(f"--search-attribute {attribute}=Keyword" for attribute in attributes)
            return f"tcld namespace search-attributes add --namespace {name} {added}"
        added = " ".join(f"--name {attribute} --type Keyword" for attribute in attributes)
        return f"temporal operator search-attribute create --namespace {name} {added}"


def days(span: timedelta) -> str:
    """`7d`, or hours where it is no whole number of days.

    Example:
        >>> days(timedelta(days=7)), days(timedelta(hours=36))
        ('7d', '36h')
    """
    whole, rest = divmod(span, timedelta(days=1))
    return f"{whole}d" if not rest else f"{round(span / timedelta(hours=1))}h"


def _duration(span: timedelta) -> Duration:
    return Duration(seconds=int(span.total_seconds()))
