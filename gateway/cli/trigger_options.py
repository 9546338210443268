"""What `innkeeper triggers add` was told, as the definition of a trigger. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from innkeeper.gateway.cli.run_command import UsageError, parse_inputs, value_of_argument

KIND_OPTIONS = {
    "webhook": "--webhook",
    "schedule": "--cron or --every",
    "event": "--event",
    "file": "--folder",
    "run": "--after or --on",
}
"""Which options say what kind of trigger is meant."""


@dataclass(frozen=True)
class TriggerOptions:
    """The options of `add`; None or empty where the user said nothing.

    Attributes:
        workflow, project, version: What is started.
        webhook: The scheme by which its sender proves who it is.
        config: `key=value`, of the scheme.
        after, on: The workflow whose runs end, and how.
        maps: `input=EXPRESSION`. whole: an input that gets all that came.
        inputs: `input=value`. labels: `key=text`.
    """

    name: str
    workflow: str
    project: str | None = None
    version: int | None = None
    webhook: str | None = None
    config: Sequence[str] = ()
    cron: str | None = None
    every: int | None = None
    timezone: str | None = None
    event: str | None = None
    source: str | None = None
    folder: str | None = None
    glob: str | None = None
    after: str | None = None
    on: Sequence[str] = ()
    maps: Sequence[str] = ()
    whole: str | None = None
    inputs: Sequence[str] = ()
    filter: str | None = None
    concurrency: str | None = None
    labels: Sequence[str] = ()
    disabled: bool = False


def definition_of(options: TriggerOptions) -> dict[str, Any]:
    """The definition, as the API takes it.

    Raises:
        UsageError: No kind or several, or options that do not belong to the kind.
    """
    kind = _kind(options)
    mapping: dict[str, Any] = {key: {"expression": text} for key, text in pairs_of("--map", options.maps).items()}
    if options.whole is not None:
        mapping[options.whole] = {"body": True}
    told = {
        "name": options.name,
        "kind": kind,
        "workflow": _given(id=options.workflow, project=options.project, version=options.version),
        "enabled": False if options.disabled else None,
        "mapping": mapping,
        "inputs": parse_inputs(options.inputs, {}),
        "filter": options.filter,
        "concurrency": {"policy": options.concurrency} if options.concurrency else None,
        "labels": pairs_of("--label", options.labels),
        kind: _part(kind, options),
    }
    return {key: value for key, value in told.items() if value is not None and value != {}}


def _kind(options: TriggerOptions) -> str:
    given = {
        "webhook": options.webhook is not None,
        "schedule": options.cron is not None or options.every is not None,
        "event": options.event is not None,
        "file": options.folder is not None,
        "run": options.after is not None or bool(options.on),
    }
    kinds = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) == 1:
        _check_belongs(kinds[0], options)
        return kinds[0]
    if not kinds:
        raise UsageError(f"what starts it? say one of {', '.join(KIND_OPTIONS.values())}, or give a --file")
    said = " and ".join(KIND_OPTIONS[kind] for kind in kinds)
    raise UsageError(f"a trigger has one kind; {said} say {len(kinds)}: make a trigger for each")


def _check_belongs(kind: str, options: TriggerOptions) -> None:
    owners = {
        "--config": ("webhook", bool(options.config)),
        "--timezone": ("schedule", options.timezone is not None),
        "--source": ("event", options.source is not None),
        "--glob": ("file", options.glob is not None),
    }
    for option, (owner, is_given) in owners.items():
        if is_given and owner != kind:
            raise UsageError(f"{option} belongs to {KIND_OPTIONS[owner]}, not to {KIND_OPTIONS[kind]}")
    if options.cron is not None and options.every is not None:
        raise UsageError("say either --cron or --every")


def _part(kind: str, options: TriggerOptions) -> dict[str, Any]:
    match kind:
        case "webhook":
            config = {key: value_of_argument(text, None) for key, text in pairs_of("--config", options.config).items()}
            return _given(scheme=options.webhook, config=config or None)
        case "schedule":
            interval = None if options.every is None else {"everySeconds": options.every}
            return _given(cron=options.cron, interval=interval, timezone=options.timezone)
        case "event":
            return _given(name=options.event, source=options.source)
        case "file":
            return _given(folder=options.folder, glob=options.glob)
    workflow = None if options.after is None else _given(id=options.after, project=options.project)
    return _given(workflow=workflow, statuses=list(options.on) or ["complete"])


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def pairs_of(option: str, pairs: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {pair!r} is not understood: write {option} name=value")
        if key in found:
            raise UsageError(f"{option} gives {key!r} twice")
        found[key] = text
    return found
