"""What a Temporal namespace must have so that runs can be started and found in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

SEARCH_ATTRIBUTES = ("GraphId", "TenantId", "RunStatus")
"""Keywords: the stored workflow, the user, and how a run ended that Temporal alone would call completed."""
CALL_TIMEOUT = timedelta(seconds=5)
EMBEDDED_RETENTION = timedelta(days=7)
"""How long the embedded server keeps histories of ended runs; by itself it would do so for a day."""
REFUSED = frozenset({RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED})
"""The server answers, and says that this is not for us to ask."""
MEND = "run 'innkeeper setup' with the same connection"


@dataclass(frozen=True)
class NamespaceFacts:
    """What is known of a namespace.

    Attributes:
        exists: None: we may not ask, so neither work there.
        retention: How long histories of ended runs are kept.
        attributes: Search attributes and their types, by name; None: we may not ask.
        id: Of this namespace alone: one that is made anew under the same name has another one.
    """

    exists: bool | None
    retention: timedelta | None = None
    attributes: dict[str, str] | None = None
    id: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """Search attributes that are known to be missing."""
        known = self.attributes
        return () if known is None else tuple(name for name in SEARCH_ATTRIBUTES if name not in known)

    @property
    def mistyped(self) -> tuple[str, ...]:
        """Search attributes that have our names, and another type."""
        return tuple(name for name in SEARCH_ATTRIBUTES if (self.attributes or {}).get(name, "Keyword") != "Keyword")


async def namespace_facts(client: Client) -> NamespaceFacts:
    """Ask the server. Raises RPCError when it does not answer."""
    try:
        found = await _described(client)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return NamespaceFacts(False, attributes={})
        if error.status in REFUSED:
            return NamespaceFacts(None)
        raise
    retention = found.config.workflow_execution_retention_ttl.ToTimedelta()
    return NamespaceFacts(True, retention, await _attributes(client, found), found.namespace_info.id)


async def keep_histories(client: Client, facts: NamespaceFacts) -> None:
    """Set the retention of the embedded server's namespace. Raises RPCError when it does not answer."""
    if facts.retention == EMBEDDED_RETENTION:
        return
    config = NamespaceConfig()
    config.workflow_execution_retention_ttl.FromTimedelta(EMBEDDED_RETENTION)
    request = UpdateNamespaceRequest(namespace=client.namespace, config=config)
    await client.workflow_service.update_namespace(request, timeout=CALL_TIMEOUT)


async def namespace_id(client: Client) -> str:
    """The id of the client's namespace; empty where that is not for us to ask, or cannot be told now."""
    try:
        found = await _described(client, retry=True)
    except RPCError:
        return ""
    return found.namespace_info.id


async def _described(client: Client, *, retry: bool = False) -> DescribeNamespaceResponse:
    request = DescribeNamespaceRequest(namespace=client.namespace)
    return await client.workflow_service.describe_namespace(request, retry=retry, timeout=CALL_TIMEOUT)


async def _attributes(client: Client, found: DescribeNamespaceResponse) -> dict[str, str] | None:
    """By the operator's call; where that is not for us, by the names that the namespace gives to its columns."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        listed = await client.operator_service.list_search_attributes(request, timeout=CALL_TIMEOUT)
    except RPCError as error:
        if error.status not in REFUSED:
            raise
        # `Keyword01` to `GraphId`. Servers on Elasticsearch have none of them, so an empty table says nothing.
        columns = found.config.custom_search_attribute_aliases
        return {name: column.rstrip("0123456789") for column, name in columns.items()} or None
    return {name: type_name(kind) for name, kind in listed.custom_attributes.items()}


def type_name(kind: IndexedValueType.ValueType) -> str:
    """`Keyword`, as Temporal's own command line writes it."""
    words = IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


def objection(facts: NamespaceFacts, namespace: str) -> str | None:
    """Why we do not work with this namespace, with the command that mends it; None when nothing speaks against it."""
    if facts.exists is None:
        return (
            f"Temporal refuses to describe the namespace {namespace!r}: see that its name is right, and that the API "
            "key or certificate may use it"
        )
    if facts.exists is False:
        return f"Temporal has no namespace {namespace!r}: {MEND}, or set INNKEEPER_NAMESPACE"
    if facts.missing:
        names = ", ".join(facts.missing)
        return f"Temporal's namespace {namespace!r} lacks the search attributes {names}: {MEND}"
    if facts.mistyped:
        names = ", ".join(facts.mistyped)
        return (
            f"in Temporal's namespace {namespace!r} the search attributes {names} are not of the type Keyword: "
            "use a namespace of its own for Innkeeper (INNKEEPER_NAMESPACE)"
        )
    return None
