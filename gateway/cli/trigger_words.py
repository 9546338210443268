"""Triggers in a few words, whatever a newer gateway tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def starts_when(trigger: Mapping[str, Any]) -> str:
    """What starts runs."""
    part = trigger.get(str(trigger.get("kind")))
    if not isinstance(part, Mapping):
        return ""
    match trigger["kind"]:
        case "webhook":
            return f"{part.get('scheme')} webhook"
        case "schedule":
            return _times(part)
        case "event":
            return f"event {part.get('name')}"
        case "file":
            return f"{part.get('folder')}/{part.get('glob', '*')}"
        case "run":
            workflow = part.get("workflow")
            of_what = workflow.get("id") if isinstance(workflow, Mapping) else "any workflow"
            return f"{', '.join(map(str, part.get('statuses') or ()))} of {of_what}"
    return ""


def _times(part: Mapping[str, Any]) -> str:
    if part.get("cron"):
        return f"{part['cron']} ({part.get('timezone', 'UTC')})"
    if isinstance(interval := part.get("interval"), Mapping):
        return f"every {interval.get('everySeconds')} s"
    return f"calendar ({part.get('timezone', 'UTC')})"


def target_of(trigger: Mapping[str, Any]) -> str:
    """Which workflow it starts: its id, with project and version where it names them."""
    workflow = trigger.get("workflow") or {}
    project = f"{workflow['project']}/" if workflow.get("project") else ""
    version = f" version {workflow['version']}" if workflow.get("version") else ""
    return f"{project}{workflow.get('id', '')}{version}"
