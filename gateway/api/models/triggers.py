"""Triggers: what starts runs. And what the senders of webhooks are told."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, OPEN, Count, FreeObject, JsonValue, Moment
from innkeeper.gateway.api.models.callbacks import CallbackRequest

TriggerKind = TypeAliasType("TriggerKind", Literal["webhook", "schedule", "event", "file", "run"])
Outcome = TypeAliasType(
    "Outcome", Literal["fired", "queued", "filtered", "duplicate", "skipped", "refused", "failed"]
)  # fmt: skip
SchemeName = TypeAliasType(
    "SchemeName",
    Literal["standard", "svix", "github", "stripe", "slack", "shopify", "generic", "token", "basic", "none"],
)


@with_config(CLOSED)
class WorkflowReference(TypedDict):
    """A stored workflow."""

    id: str
    project: NotRequired[str]
    """Without it the default project."""


@with_config(CLOSED)
class TriggerTarget(WorkflowReference):
    """The workflow that is started."""

    version: NotRequired[Annotated[int, Field(ge=1)]]
    """One version of it. Without it the one that is published at that moment, else the newest that compiles."""
    published: NotRequired[Literal[True]]
    """Only a published version: without one, deliveries fail."""


@with_config(CLOSED)
class InputSource(TypedDict, total=False):
    """Where the value of an input comes from: one of the three."""

    expression: str
    """JMESPath over the payload."""
    literal: JsonValue
    body: Literal[True]
    """The whole of what came."""


@with_config(CLOSED)
class TriggerConcurrency(TypedDict, total=False):
    """What happens while runs of this trigger are open."""

    policy: Literal["allow", "skip", "queue", "cancel_running"]
    key: str
    """JMESPath: only runs with the same key count. Without it all do."""
    limit: Annotated[int, Field(ge=1)]
    """So many at once; 1 unless said."""


@with_config(CLOSED)
class TriggerDebounce(TypedDict):
    """The first of a burst fires; what follows within `seconds` is skipped."""

    seconds: float
    key: NotRequired[str]


@with_config(CLOSED)
class TriggerRate(TypedDict):
    """At most `limit` at once, and `limit` in each further `perSeconds`; more is refused."""

    limit: Annotated[int, Field(ge=1)]
    perSeconds: float
    key: NotRequired[str]


@with_config(CLOSED)
class WebhookResponse(TypedDict, total=False):
    """What the sender is told."""

    mode: Literal["accepted", "wait", "stream"]
    """`accepted`: 202 with the run's id. `wait`: outputs of the run. `stream`: the text of an output as it comes."""
    seconds: float
    """How long `wait` waits."""
    outputs: list[str]
    """Interface outputs; one of them for `stream`. Empty: all."""
    status: int
    """Of the answer with outputs."""
    contentType: str
    """Of the answer with outputs."""
    format: Literal["sse", "text"]
    """Of `stream`."""


@with_config(CLOSED)
class WebhookSettings(TypedDict):
    """How deliveries prove where they come from, and what their sender is told."""

    scheme: SchemeName
    config: NotRequired[FreeObject]
    """What a scheme leaves open, such as names of headers."""
    answer: NotRequired[WebhookResponse]
    secretCount: NotRequired[Annotated[int, Field(ge=0)]]
    """How many secrets are stored. Told by the gateway: what a client sends here does not count."""


@with_config(OPEN)
class ScheduleSettings(TypedDict, total=False):
    """When it fires: one of `cron`, `interval` and `calendar`."""

    cron: str
    interval: FreeObject
    calendar: list[FreeObject]
    timezone: str
    overlap: Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]
    catchUpSeconds: int
    """A start that is later than this is dropped."""


@with_config(CLOSED)
class EventSettings(TypedDict):
    name: str
    """`*` stands for any characters."""
    source: NotRequired[str]


@with_config(CLOSED)
class FileSettings(TypedDict):
    folder: str
    """Below `user://` or `shared://`."""
    glob: NotRequired[str]
    on: NotRequired[list[Literal["created", "changed"]]]
    stillSeconds: NotRequired[float]
    """A file counts when it has not changed for so long."""


@with_config(CLOSED)
class RunSettings(TypedDict):
    """Runs that ended so."""

    statuses: list[Literal["complete", "error", "interrupted"]]
    workflow: NotRequired[WorkflowReference]
    """Without it runs of any workflow."""


@with_config(CLOSED)
class _Definition(TypedDict):
    """A trigger: what all kinds share, and the part of its kind."""

    name: str
    """Unique."""
    kind: TriggerKind
    workflow: TriggerTarget
    enabled: NotRequired[bool]
    """True unless said."""
    mapping: NotRequired[dict[str, InputSource]]
    """Interface input to where its value comes from."""
    filter: NotRequired[str]
    """JMESPath that must give exactly true or false; true fires."""
    dedupe: NotRequired[JsonValue]
    """`id`: deliveries of the same id are one. `none`. Or `{"expression"}`: those of the same key are one."""
    concurrency: NotRequired[TriggerConcurrency]
    debounce: NotRequired[TriggerDebounce]
    rate: NotRequired[TriggerRate]
    inputs: NotRequired[FreeObject]
    """Values for inputs that the mapping leaves open."""
    labels: NotRequired[dict[str, str]]
    """Copied to the run."""
    webhook: NotRequired[WebhookSettings]
    schedule: NotRequired[ScheduleSettings]
    event: NotRequired[EventSettings]
    file: NotRequired[FileSettings]
    run: NotRequired[RunSettings]
    callback: NotRequired[CallbackRequest]
    """Whom to tell how its runs go. Its secret is stored encrypted and then stands there as `$secret:id`."""


@with_config(CLOSED)
class NewTrigger(_Definition):
    """A trigger to be saved. What the gateway tells of one may be sent back with it, and is not read."""

    secrets: NotRequired[Annotated[list[str], Field(max_length=2)]]
    """Of a webhook: the secret that it shares with its sender; two while one replaces the other. They are stored
    encrypted and never shown. Without `secrets` in a `PUT` those that are stored stay; an empty list removes them."""


@with_config(CLOSED)
class Trigger(_Definition):
    """A trigger as it is stored."""

    id: str
    version: Annotated[int, Field(ge=1)]
    createdAt: Moment
    updatedAt: Moment
    secretCount: Annotated[int, Field(ge=0)]
    warnings: NotRequired[list[str]]
    """What does not fit the workflow, such as an input that it has not. Left out in lists."""


@with_config(CLOSED)
class CreatedTrigger(Trigger):
    """A new trigger."""

    token: NotRequired[str]
    """Of a webhook: the secret part of its address. It is told only now."""
    url: NotRequired[str]
    """Of a webhook: the path of its address, `/hooks/<token>`. It is told only now."""


@with_config(CLOSED)
class NewToken(TypedDict):
    """The new address of a webhook; the old one is unknown from now on."""

    token: str
    url: str


@with_config(CLOSED)
class Disabling(TypedDict, total=False):
    note: Annotated[str, Field(max_length=1_000)]
    """Why, for people. Kept with schedules."""


@with_config(CLOSED)
class SampleDelivery(TypedDict, total=False):
    """A delivery to try a trigger with."""

    payload: JsonValue
    """Of a webhook the body, of an event its data, of other kinds what they tell. Or all that the mapping sees, such as
    `{"data": {}, "event": {}}`."""
    headers: dict[str, JsonValue]
    """Only of a webhook: name to value, or to a list of values."""
    query: dict[str, JsonValue]
    """Only of a webhook."""
    deliveryId: str
    run: bool
    """Take it as a real delivery."""


@with_config(CLOSED)
class InputProblem(TypedDict):
    """Why an input has no value."""

    input: str
    reason: str


@with_config(CLOSED)
class TriedDelivery(TypedDict):
    """What becomes, or would become, of a delivery."""

    outcome: Outcome
    reason: str
    inputs: FreeObject
    problems: list[InputProblem]
    runId: NotRequired[str]
    """With `run`, of the run that was started; of a duplicate the first one."""
    notes: list[str]


@with_config(CLOSED)
class DeliveryResult(TypedDict):
    """A delivery that came."""

    id: NotRequired[str]
    at: Moment
    outcome: str
    reason: NotRequired[str]
    runId: NotRequired[str]
    sample: NotRequired[JsonValue]
    """The payload, shortened and without what looks like a secret."""


@with_config(CLOSED)
class TriggerResults(TypedDict):
    """The last deliveries of a trigger, newest first, and how many there were of each outcome."""

    results: list[DeliveryResult]
    counters: dict[str, Count]


@with_config(CLOSED)
class SchedulePreview(TypedDict):
    """The next times of a schedule."""

    times: list[Moment]
    notes: list[str]
    """Where its times are not what one might expect."""


@with_config(CLOSED)
class WebhookAccepted(TypedDict):
    """What became of a delivery."""

    status: Outcome
    runId: NotRequired[str]
    """Of the run that it started; of a duplicate the run of the first delivery."""
    deliveryId: NotRequired[str]
    reason: NotRequired[str]


@with_config(CLOSED)
class WebhookRunning(TypedDict):
    """The run takes longer than the webhook waits. It goes on."""

    status: Literal["running"]
    runId: str


@with_config(CLOSED)
class SlackChallenge(TypedDict):
    """Slack's `url_verification`, sent back."""

    challenge: str
