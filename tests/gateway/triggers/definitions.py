"""Triggers for tests."""

from __future__ import annotations

from typing import Any

from innkeeper.gateway.triggers.model import Trigger
from innkeeper.gateway.triggers.reading import read_trigger

PARTS: dict[str, dict[str, Any]] = {
    "webhook": {"scheme": "github", "secretCount": 1},
    "schedule": {"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"},
    "event": {"name": "orders.*"},
    "file": {"folder": "user://inbox"},
    "run": {"statuses": ["error"]},
}


def definition(kind: str = "webhook", **fields: Any) -> dict[str, Any]:
    """The JSON of a valid trigger."""
    return {"name": "nightly", "kind": kind, "workflow": {"id": "summary"}, kind: PARTS[kind], **fields}


def trigger(kind: str = "webhook", **fields: Any) -> Trigger:
    return read_trigger(definition(kind, **fields))
