"""The definition of a trigger, as JSON has it: what starts which workflow, with which inputs, and how often.

Secrets are not part of it, only their count.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag, model_serializer, model_validator

from innkeeper.gateway.triggers.expressions import json_refusal
from innkeeper.gateway.triggers.parts import NOT_EMPTY, Expr, Name, Part
from innkeeper.gateway.triggers.schedule import DAY_S, SchedulePart
from innkeeper.nodes.call import is_secret_id, secret_reference
from innkeeper.workflows.document.callback import url_complaint

KINDS = ("webhook", "schedule", "event", "file", "run")
MAX_SECRETS = 2
"""The old one and the new one, while both are in use."""
MAX_WAIT_S = 300
MAX_STARS = 5
MAX_LITERAL_BYTES = 64 * 1024

Kind = Literal["webhook", "schedule", "event", "file", "run"]
Scheme = Literal["standard", "svix", "github", "stripe", "slack", "shopify", "generic", "token", "basic", "none"]
RunEnd = Literal["complete", "error", "interrupted"]


def _bounded(value: JsonValue) -> JsonValue:
    refusal = json_refusal(value)
    if refusal is None and len(orjson.dumps(value)) > MAX_LITERAL_BYTES:
        refusal = f"has more than {MAX_LITERAL_BYTES} bytes"
    if refusal is not None:
        raise ValueError(f"must be a small JSON value; it {refusal}")
    return value


def _folder(path: str) -> str:
    scheme, _, inner = path.partition("://")
    parts = inner.rstrip("/").split("/")
    if scheme not in ("user", "shared") or any(part in ("", ".", "..") for part in parts) or "\\" in path:
        raise ValueError("must be a folder below 'user://' or 'shared://', without '..'")
    return path.rstrip("/")


def _glob(pattern: str) -> str:
    # Hidden files are never taken: a pattern for them would wait for ever.
    if "\\" in pattern or any(not name or name.startswith(".") for name in pattern.split("/")):
        raise ValueError("must be a pattern of paths inside the folder, without empty names, '..' and hidden names")
    return pattern


def _event_pattern(pattern: str) -> str:
    if pattern.count("*") > MAX_STARS:
        raise ValueError(f"must have at most {MAX_STARS} '*'")
    return pattern


def _callback_url(url: str) -> str:
    if (wrong := url_complaint(url)) is not None:
        raise ValueError(wrong)
    return url


def _stored_secret(text: str) -> str:
    reference = secret_reference(text)
    if not is_secret_id(reference) or str(reference).startswith("env:"):
        raise ValueError("must be the secret itself, as text, or '$secret:' and the id of a stored one")
    return text


Literal64K = Annotated[JsonValue, AfterValidator(_bounded)]
InputKey = Annotated[str, Field(min_length=1, max_length=200)]
Folder = Annotated[Name, AfterValidator(_folder)]
Glob = Annotated[Name, AfterValidator(_glob)]
EventPattern = Annotated[Name, AfterValidator(_event_pattern)]
MediaType = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+(; ?charset=[A-Za-z0-9-]+)?$")]


class WorkflowRef(Part):
    """A stored workflow; without `project` in the default project."""

    id: Name
    project: Name | None = None


class Target(WorkflowRef):
    """The workflow that is started: one `version` of it, else the one that is published at that moment."""

    version: Annotated[int, Field(ge=1, le=2**31)] | None = None
    published: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.version is not None and self.published:
            raise ValueError("must have 'version' or 'published', not both")
        return self


class Source(Part):
    """Where the value of an input comes from: one of the three.

    Attributes:
        body: The whole of what came (`mapping.whole_of`).
    """

    expression: Expr | None = None
    literal: Literal64K = None
    body: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = self.model_fields_set
        # A literal may be null; the others say nothing then.
        if len(given) != 1 or (given != {"literal"} and getattr(self, next(iter(given))) is None):
            raise ValueError("must have one of 'expression', 'literal' and 'body': true")
        return self

    @model_serializer
    def _only_that_one(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class KeyExpression(Part):
    expression: Expr


def _branch(item: object) -> str:
    return "#key" if isinstance(item, dict | KeyExpression) else "#word"


Dedupe = Annotated[
    Annotated[Literal["id", "none"], Tag("#word")] | Annotated[KeyExpression, Tag("#key")], Discriminator(_branch)
]


class Concurrency(Part):
    """What happens while `limit` (1) runs of this trigger with the same key are open.

    Attributes:
        key: Without it all runs of the trigger share one key.
    """

    policy: Literal["allow", "skip", "queue", "cancel_running"] = "allow"
    key: Expr | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] | None = None

    @property
    def at_once(self) -> int:
        """Runs that may be open at once, unless the policy is `allow`."""
        return self.limit or 1

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.policy == "allow" and (self.key is not None or self.limit is not None):
            raise ValueError("must have the policy skip, queue or cancel_running when it has a key or a limit")
        return self


class Debounce(Part):
    """The first of a burst fires; what follows within `seconds` of it is skipped."""

    seconds: Annotated[float, Field(ge=0.001, le=DAY_S)]
    key: Expr | None = None


class Rate(Part):
    """At most `limit` in a burst, and `limit` in each further `per_seconds`. More is refused."""

    limit: Annotated[int, Field(ge=1, le=100_000)]
    per_seconds: Annotated[float, Field(ge=0.001, le=DAY_S)]
    key: Expr | None = None


class Answer(Part):
    """What the sender of a webhook is told.

    Attributes:
        mode: `accepted`: 202 with the run's id, at once. `wait`: outputs of the run, when it ends in time. `stream`:
            the text of an output as it comes.
        seconds: How long `wait` waits.
        outputs: Interface outputs; one of them for `stream`. Empty: all of them.
        status: Of the answer in mode `wait`.
        format: Of the answer in mode `stream`.
    """

    mode: Literal["accepted", "wait", "stream"] = "accepted"
    seconds: Annotated[float, Field(ge=1, le=MAX_WAIT_S)] = 30
    outputs: Annotated[tuple[InputKey, ...], Field(max_length=50)] = ()
    status: Annotated[int, Field(ge=200, le=599)] = 200
    content_type: MediaType = "application/json"
    format: Literal["sse", "text"] = "sse"

    @model_validator(mode="after")
    def _one_stream(self) -> Self:
        if self.mode == "stream" and len(self.outputs) != 1:
            raise ValueError("must name one output to stream")
        return self


class WebhookPart(Part):
    """`config` belongs to the scheme, which checks it. `secret_count` is told by the gateway."""

    scheme: Scheme
    config: Annotated[dict[str, Literal64K], Field(max_length=50)] = Field(default_factory=dict)
    answer: Answer = Answer()
    secret_count: Annotated[int, Field(ge=0, le=MAX_SECRETS)] = 0


class EventPart(Part):
    """Events whose name fits; `*` stands for any characters."""

    name: EventPattern
    source: Name | None = None


class FilePart(Part):
    """Files in a folder that have not changed for `still_seconds`. What `glob` means: `globs.Glob`."""

    folder: Folder
    glob: Glob = "*"
    on: Annotated[tuple[Literal["created", "changed"], ...], Field(max_length=2), NOT_EMPTY] = ("created", "changed")
    still_seconds: Annotated[float, Field(ge=0.1, le=3_600)] = 2


class RunPart(Part):
    """Runs that ended so; without `workflow` of any workflow."""

    workflow: WorkflowRef | None = None
    statuses: Annotated[tuple[RunEnd, ...], Field(max_length=3), NOT_EMPTY]


class CallbackPart(Part):
    """Whom each run of the trigger tells how it goes.

    Attributes:
        secret: `$secret:id` of a stored one, which is what clients see of the secret that they sent.
    """

    url: Annotated[str, AfterValidator(_callback_url)]
    secret: Annotated[str, AfterValidator(_stored_secret)] | None = None
    on: Annotated[
        tuple[Literal["complete", "error", "interrupted", "waiting"], ...], Field(max_length=4), NOT_EMPTY
    ] = ("complete", "error", "interrupted")


class Trigger(Part):
    """A trigger: the part of its kind, and what all kinds share.

    Attributes:
        mapping: Interface input to where its value comes from.
        filter: An expression that must give exactly true or false; true fires.
        dedupe: `id`: the id of the delivery, where it has one.
        inputs: Values for inputs that the mapping leaves open.
        labels: Copied to the run.
    """

    name: Name
    kind: Kind
    workflow: Target
    enabled: bool = True
    mapping: Annotated[dict[InputKey, Source], Field(max_length=200)] = Field(default_factory=dict)
    filter: Expr | None = None
    dedupe: Dedupe = "id"
    concurrency: Concurrency = Concurrency()
    debounce: Debounce | None = None
    rate: Rate | None = None
    inputs: Annotated[dict[InputKey, Literal64K], Field(max_length=200)] = Field(default_factory=dict)
    labels: Annotated[dict[Annotated[str, Field(min_length=1, max_length=64)], Name], Field(max_length=20)] = Field(
        default_factory=dict
    )
    callback: CallbackPart | None = None
    webhook: WebhookPart | None = None
    schedule: SchedulePart | None = None
    event: EventPart | None = None
    file: FilePart | None = None
    run: RunPart | None = None

    def to_json(self) -> dict[str, Any]:
        """As clients see it, defaults included; `read_trigger` takes it back."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
