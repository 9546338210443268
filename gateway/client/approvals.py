"""Approvals that runs wait for, as `GatewayClient.approvals`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from innkeeper.gateway.client.transport import Transport, path_segment


class Approvals:
    """Asks for approvals and answers them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def find(self, run_id: str | None = None, *, limit: int = 500) -> list[dict[str, Any]]:
        """Approvals that a run asked for, answered ones too; without a run the open ones of all. Oldest first.

        Raises:
            RunNotFound.
        """
        path = "/api/approvals" if run_id is None else f"/api/prompt/{path_segment(run_id)}/approvals"
        found: list[dict[str, Any]] = []
        cursor: Any = None
        while len(found) < limit:
            place = {"cursor": cursor} if cursor is not None else {}
            page = await self._transport.call("GET", path, params={"limit": min(limit - len(found), 500), **place})
            found += page["approvals"]
            cursor = page["nextCursor"]
            if cursor is None:
                break
        return found

    async def answer(
        self,
        run_id: str,
        approval_id: str,
        approved: bool,
        *,
        values: Mapping[str, Any] | None = None,
        comment: str | None = None,
        by: str | None = None,
    ) -> dict[str, Any]:
        """Answer an approval; gives the answer that counts.

        Args:
            values: New values for fields of the approval's form.

        Raises:
            RunNotFound, RunNotActive.
            GatewayRefused: With code `approval_not_found`, `approval_answered`, `approval_closed`, `invalid_answer`.
        """
        more = {"values": dict(values) if values else None, "comment": comment, "by": by}
        body = {"approved": approved, **{key: value for key, value in more.items() if value is not None}}
        path = f"/api/prompt/{path_segment(run_id)}/approvals/{quote(approval_id)}"
        # The key makes this call, which may have to be repeated, one answer.
        answer = await self._transport.call("POST", path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
        counted: dict[str, Any] = answer["answer"]
        return counted
