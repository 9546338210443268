"""The tables of the gateway's store, as a salvage reads them.

A new column of a model needs one line here, in the same place: its check, and the migration that adds it.
"""

from __future__ import annotations

from innkeeper.gateway.salvage.tables import (
    Column,
    Table,
    flag,
    json_of,
    need_bytes,
    need_count,
    need_flag,
    need_id,
    need_integer,
    need_moment,
    need_number,
    need_one_of,
    need_packed_object,
    need_text,
    number,
    packed,
    text,
    true_flag,
)

STATUSES = frozenset({"queued", "running", "complete", "error", "interrupted"})
ENDED = frozenset({"complete", "error", "interrupted"})
DELIVERED = frozenset({"accepted", "queued", "fired", "failed", "filtered", "duplicate", "skipped", "refused"})

RUNS = Table(
    "runs",
    {
        "number": Column(number),
        "id": Column(need_id),
        "user_id": Column(need_text),
        "workflow_id": Column(text),
        "workflow_name": Column(text),
        "status": Column(need_one_of(STATUSES)),
        "interrupt_requested": Column(need_flag),
        "interrupted_at": Column(number, since=4),
        "terminate": Column(flag, since=4),
        "paused": Column(flag, since=2),
        "sealed": Column(need_flag),
        "submitted_at": Column(need_moment),
        "started_at": Column(number),
        "ended_at": Column(number),
        "key_hash": Column(text),
        "body_hash": Column(text),
        "plan": Column(packed),
        "interface": Column(json_of(dict, "{}", needs_text=True)),
        "warnings": Column(json_of(list, "[]")),
        "result": Column(packed),
        "plan_hash": Column(text, since=3),
        "rerun": Column(json_of(dict), since=3),
        "preview": Column(flag, since=3),
        "over_socket": Column(flag, since=6),
        "project_id": Column(text, since=7),
        "workflow_version": Column(number, since=7),
        "versions": Column(json_of(dict), since=7),
        "origin": Column(json_of(dict), since=9),
        "told": Column(true_flag, since=9),
        "callbacks": Column(json_of(list), since=10),
        "budget": Column(json_of(dict), since=12),
    },
)
CALLBACKS = Table(
    "callbacks",
    {
        "number": Column(number),
        "run": Column(need_id),
        "position": Column(need_count),
        "event": Column(need_text),
        "node": Column(text),
        "status": Column(need_one_of({"new", "pending", "delivered", "failed", "stopped"})),
        "sends": Column(need_number),
        "attempts": Column(need_count),
        "last_status": Column(number),
        "last_error": Column(text),
        "next_attempt_at": Column(number),
        "delivered_at": Column(number),
        "created_at": Column(need_moment),
        "check_at": Column(need_moment),
        "body": Column(need_bytes),
    },
)
BROADCASTS = Table(
    "broadcasts",
    {
        "id": Column(need_id),
        "user_id": Column(need_text),
        "name": Column(need_text),
        "data": Column(need_bytes),
        "runs": Column(json_of(list, "[]", needs_text=True)),
        "status": Column(need_one_of({"open", "missed", "done"})),
        "created_at": Column(need_moment),
        "key_hash": Column(text),
        "body_hash": Column(text),
        "answer": Column(json_of(dict)),
    },
    row_number=None,
)
PROJECTS = Table(
    "projects",
    {
        "number": Column(number),
        "user_id": Column(need_text),
        "id": Column(need_text),
        "name": Column(need_text),
        "description": Column(text),
        "more": Column(json_of(dict, "{}", needs_text=True)),
        "created_at": Column(need_moment),
        "updated_at": Column(need_moment),
        "deleted_at": Column(need_moment),
    },
)
WORKFLOWS = Table(
    "workflows",
    {
        "number": Column(number),
        "user_id": Column(need_text),
        "project_id": Column(need_text),
        "id": Column(need_text),
        "name": Column(need_text),
        "description": Column(text),
        "tags": Column(json_of(list, "[]", needs_text=True)),
        "interface": Column(json_of(dict, "{}", needs_text=True)),
        "refers_to": Column(json_of(list, "[]", needs_text=True)),
        "groups": Column(json_of(dict), since=8),
        "version": Column(need_number),
        "valid": Column(need_flag),
        "reason": Column(text, since=8),
        "published": Column(number),
        "created_at": Column(need_moment),
        "updated_at": Column(need_moment),
        "deleted_at": Column(need_moment),
        "file": Column(text),
        "file_hash": Column(text),
    },
)
VERSIONS = Table(
    "workflow_versions",
    {
        "number": Column(number),
        "workflow": Column(need_number),
        "version": Column(need_number),
        "hash": Column(need_text),
        "document": Column(need_packed_object),
        "author": Column(need_text),
        "note": Column(need_text),
        "problems": Column(json_of(list, "[]", needs_text=True)),
        "valid": Column(need_flag),
        "saved_at": Column(need_moment),
    },
)
TRIGGERS = Table(
    "triggers",
    {
        "number": Column(need_number),
        "id": Column(need_id),
        "user_id": Column(need_text),
        "name": Column(need_text),
        "definition": Column(json_of(dict, needs_text=True)),
        "version": Column(need_number),
        "token_hash": Column(text),
        "secrets": Column(json_of(list, "[]", needs_text=True)),
        "counters": Column(json_of(dict, "{}", needs_text=True)),
        "created_at": Column(need_moment),
        "updated_at": Column(need_moment),
    },
)
DELIVERIES = Table(
    "deliveries",
    {
        "number": Column(number),
        "id": Column(need_id),
        "trigger": Column(need_number),
        "status": Column(need_one_of(DELIVERED)),
        "at": Column(need_moment),
        "run_id": Column(text),
        "dedupe_key": Column(text),
        "replay_key": Column(text),
        "concurrency_key": Column(need_text),
        "limit_keys": Column(json_of(list)),
        "reason": Column(need_text),
        "request": Column(packed),
        "sample": Column(need_text),
        "ended": Column(need_flag),
    },
)
FILE_WATCHES = Table(
    "file_watches",
    {
        "number": Column(number),
        "trigger": Column(need_number),
        "folder": Column(need_text),
        "glob": Column(need_text),
    },
)
SEEN_FILES = Table(
    "seen_files",
    {
        "number": Column(number),
        "trigger": Column(need_number),
        "path": Column(need_text),
        "size": Column(need_integer),
        "mtime_ns": Column(need_integer),
        "sha256": Column(text),
        "state": Column(need_one_of({"known", "taken", "passed"})),
        "gone_at": Column(need_moment),
    },
)
MODEL_CALLS = Table(
    "model_calls",
    {
        "number": Column(number),
        "id": Column(need_id),
        "run": Column(need_text),
        "node": Column(need_text),
        "attempt": Column(need_count),
        "workflow": Column(text),
        "project": Column(text),
        "user_id": Column(need_text),
        "channel": Column(need_text),
        "host": Column(need_text),
        "adapter": Column(need_text),
        "model": Column(need_text),
        "answered": Column(need_text),
        "key": Column(need_text),
        "day": Column(need_count),
        "started_at": Column(need_moment),
        "ended_at": Column(number),
        "outcome": Column(need_one_of({"open", "ok", "failed", "cut", "not_sent", "lost"})),
        "code": Column(need_text),
        "input_tokens": Column(need_count),
        "output_tokens": Column(need_count),
        "cached_tokens": Column(need_count),
        "reasoning_tokens": Column(need_count),
        "estimated": Column(need_flag),
        "cost": Column(number),
        "currency": Column(text),
        "first_ms": Column(number),
        "whole_ms": Column(number),
    },
)
RAISED_BUDGETS = Table(
    "raised_budgets",
    {
        "number": Column(number),
        "user_id": Column(need_text),
        "day": Column(need_integer),
        "tokens": Column(number),
        "nanos": Column(number),
        "raised_at": Column(need_moment),
    },
)
TABLES = (
    *(RUNS, BROADCASTS, PROJECTS, WORKFLOWS, VERSIONS),
    *(TRIGGERS, DELIVERIES, CALLBACKS, FILE_WATCHES, SEEN_FILES),
    *(MODEL_CALLS, RAISED_BUDGETS),
)
