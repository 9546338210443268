"""What the file of `innkeeper triggers apply` wants: workflows and triggers, checked before anything is changed.

name: office                      # marks what it makes; needed for --prune
workflows:
  summary:                        # the id
    file: summary.json            # relative to this file
    publish: true
triggers:
  nightly:                        # the name
    kind: schedule
    workflow: {id: summary}
    schedule: {cron: "0 3 * * *"}
  issues:
    kind: webhook
    workflow: {id: summary}
    webhook: {scheme: github}
    secrets: [{env: GITHUB_SECRET}]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from innkeeper.gateway.cli.library_command import DEFAULT_PROJECT
from innkeeper.gateway.cli.run_command import UsageError, read_document
from innkeeper.gateway.cli.secret_sources import SecretSource
from innkeeper.gateway.cli.trigger_file import (
    CALLBACK,
    SECRET,
    SECRETS,
    callback_secret_in,
    read_tree,
    secrets_in,
    without_secrets,
)
from innkeeper.gateway.triggers.reading import InvalidTrigger, read_trigger
from innkeeper.gateway.triggers.scheme_config import check_config
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.nodes.yaml_tree import InvalidFile, LineProblem, YamlTree, inside

APPLIED_BY = "appliedBy"
"""The label of a trigger that holds the name of the file that made it."""
_PARTS = ("name", "workflows", "triggers")
_WORKFLOW_KEYS = ("file", "project", "publish")


@dataclass(frozen=True)
class WantedWorkflow:
    """`publish`: its newest version is to be the published one; else that stays as it is."""

    id: str
    project: str
    document: Mapping[str, Any]
    publish: bool


@dataclass(frozen=True)
class WantedTrigger:
    """A trigger as the file has it.

    Attributes:
        definition: Whole, with defaults, as the API shows it; without secrets.
        callback_secret: Of its callback.
        is_switched: The file says whether it is enabled; else somebody may have turned it off, and it stays off.
    """

    name: str
    definition: Mapping[str, Any]
    secrets: tuple[str, ...] = field(default=(), repr=False)
    callback_secret: str | None = field(default=None, repr=False)
    is_switched: bool = False


@dataclass(frozen=True)
class Wanted:
    """All of a file. `name` is None where it has none."""

    name: str | None
    workflows: tuple[WantedWorkflow, ...] = ()
    triggers: tuple[WantedTrigger, ...] = ()


def read_apply_file(file: Path) -> Wanted:
    """Blocking. The file, the workflows it names, and the secrets.

    Raises:
        UsageError: The file cannot be read.
        InvalidFile: With every problem and its line.
    """
    tree = read_tree(file)
    reading = _Reading(tree)
    wanted = reading.wanted()
    if reading.problems:
        raise InvalidFile(tree.name, reading.problems)
    return wanted


class _Reading:
    """`problems` gets all that is wrong; what is given then is of no use."""

    def __init__(self, tree: YamlTree) -> None:
        self.problems: list[LineProblem] = []
        self._tree = tree

    def wanted(self) -> Wanted:
        whole = self._object("", self._tree.value, _PARTS)
        name = whole.get("name")
        if name is not None and (not isinstance(name, str) or not 0 < len(name.strip()) <= 200):
            self._complain("name", "'name' must be a text of 1 to 200 characters")
        workflows = tuple(self._workflows(whole.get("workflows")))
        return Wanted(name, workflows, tuple(self._triggers(whole.get("triggers"), name)))

    def _workflows(self, part: Any) -> Iterator[WantedWorkflow]:
        for identity, item in self._object("workflows", part).items():
            path = inside("workflows", identity)
            given = self._object(path, item, _WORKFLOW_KEYS)
            project, publish = given.get("project", DEFAULT_PROJECT), given.get("publish", False)
            if not isinstance(project, str) or not project:
                self._complain(inside(path, "project"), "'project' must be the id of a project")
            if not isinstance(publish, bool):
                self._complain(inside(path, "publish"), "'publish' must be true or false")
            document = self._document(identity, path, given.get("file"))
            yield WantedWorkflow(identity, str(project), document, publish is True)

    def _document(self, identity: str, path: str, name: Any) -> Mapping[str, Any]:
        place = inside(path, "file")
        if not isinstance(name, str) or not name:
            self._complain(place, f"{path!r} needs 'file': the path of a workflow file (JSON)")
            return {}
        try:
            document = read_document(Path(self._tree.name).parent / name)
        except InvalidWorkflow as error:
            self._complain(place, f"{name!r}: {error.message}")
            return {}
        except UsageError as error:
            self._complain(place, error.message)
            return {}
        if document.get("id", identity) != identity:
            self._complain(place, f"the workflow in {name!r} has the id {document['id']!r}, here it is {identity!r}")
        return document if "id" in document else {"id": identity, **document}

    def _triggers(self, part: Any, label: str | None) -> Iterator[WantedTrigger]:
        for name, item in self._object("triggers", part).items():
            path = inside("triggers", name)
            given = self._object(path, item)
            secrets = tuple(secrets_in(self._tree, path, given, self.problems))
            callback = callback_secret_in(self._tree, path, given, self.problems)
            definition = self._labelled(path, {"name": name, **without_secrets(given)}, label)
            if definition["name"] != name:
                self._complain(inside(path, "name"), f"'name' must be {name!r}, as the key above it, or be left out")
            if isinstance(webhook := definition.get("webhook"), dict) and "secretCount" in webhook:
                self._complain(inside(path, "webhook.secretCount"), "'secretCount' is counted: say 'secrets' instead")
                continue
            read = tuple(self._secret(inside(inside(path, SECRETS), i), it) for i, it in enumerate(secrets))
            trigger = self._trigger(name, _with_count(definition, len(secrets)), read)
            if callback is not None:
                place = inside(inside(path, CALLBACK), SECRET)
                trigger = replace(trigger, callback_secret=self._secret(place, callback))
            yield trigger

    def _labelled(self, path: str, definition: dict[str, Any], label: str | None) -> dict[str, Any]:
        labels = definition.get("labels")
        if isinstance(labels, dict) and APPLIED_BY in labels:
            self._complain(inside(path, f"labels.{APPLIED_BY}"), f"the label {APPLIED_BY!r} is set by 'name' above")
        if label is None or not isinstance(labels, dict | None):
            return definition
        return {**definition, "labels": {**(labels or {}), APPLIED_BY: label}}

    def _trigger(self, name: str, definition: Mapping[str, Any], secrets: tuple[str, ...]) -> WantedTrigger:
        path = inside("triggers", name)
        try:
            trigger = read_trigger(definition)
        except InvalidTrigger as error:
            for problem in error.problems:
                place = inside(path, problem.path) if problem.path else path
                self._complain(place, f"trigger {name!r}: {problem.message}")
            return WantedTrigger(name, {})
        if trigger.webhook is not None and (trigger.enabled or secrets):
            for message in check_config(trigger.webhook.scheme, trigger.webhook.config, secrets):
                self._complain(inside(path, "webhook"), f"trigger {name!r}: {message}")
        return WantedTrigger(name, trigger.to_json(), secrets, is_switched="enabled" in definition)

    def _secret(self, place: str, source: SecretSource) -> str:
        try:
            return source.read()
        except UsageError as error:
            self._complain(place, error.message)
            return "x" * 32  # so that the check of the scheme does not complain as well

    def _object(self, path: str, value: Any, known: tuple[str, ...] = ()) -> dict[str, Any]:
        what = repr(path) if path else "the file"
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._complain(path, f"{what} must hold keys with values")
            return {}
        for key in value:
            if known and key not in known:
                self._complain(inside(path, key), f"{key!r} is not known in {what}; known are {', '.join(known)}")
        return value

    def _complain(self, path: str, message: str) -> None:
        self.problems.append(self._tree.problem(path, message))


def _with_count(definition: Mapping[str, Any], count: int) -> dict[str, Any]:
    webhook = definition.get("webhook")
    if not count or not isinstance(webhook, Mapping):
        return dict(definition)
    return {**definition, "webhook": {**webhook, "secretCount": count}}
