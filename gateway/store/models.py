"""The tables of the gateway's store. A change here needs a migration beside it (`gateway/store/migrations`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Boolean, Index, Integer, LargeBinary, String, Text, UniqueConstraint, false, true
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite counts up by itself only in a column of type INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")


class Packed(LargeBinary):
    """Bytes. Damage may have made a text of them, which must not keep other rows from being read."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], bytes | None]:
        return lambda value: value if value is None or isinstance(value, bytes) else str(value).encode()


class Base(DeclarativeBase):
    pass


class RunRow(Base):
    """One run, from submission until long after its end. Times in milliseconds since 1970.

    Attributes:
        number: Order of submission: the queue is served by it and history pages by it.
        status: `queued`, `running`, `complete`, `error`, `interrupted`.
        interrupt_requested: Somebody asked to stop it; survives a restart between asking and stopping.
        interrupted_at: When somebody asked for it first; None also for requests of versions before 0004.
        terminate: Temporal must still be told to end its workflow at once.
        paused: Somebody asked that no new node starts; what was said to Temporal and to viewers follows from it.
        key_hash, body_hash: Of the Idempotency-Key and the body it came with.
        plan: The compiled plan until Temporal has it.
        interface: JSON of the plan's interface outputs, needed to close the run.
        warnings: JSON of the compiler's warnings, repeated to who submits again with the same key.
        result: Compressed JSON of the full status, once the run has ended.
        sealed: Its event log takes nothing more.
        plan_hash: Blob of the compiled plan, kept so that later runs can take over from this one.
        rerun: JSON of what it took over from an earlier run (`gateway/runs/reruns.py`).
        preview: It showed what a change would do; lists leave it out.
        over_socket: It was submitted over a client's WebSocket; versions before 0006 did not note that.
        project_id, workflow_version: Of the stored workflow that it runs; None when the whole document was sent.
        versions: JSON of the stored workflows that its groups named: id to version.
        origin: JSON of the trigger that started it, with its labels (`gateway/runs/origin.py`); None: somebody did.
        told: Whoever waits for the end of runs knows that it ended; true also while nobody does.
        callbacks: JSON list of whom it tells how it goes (`gateway/runs/run_callbacks.py`).
        budget: JSON of what it may spend (`gateway/usage/budgets.py`); None: as much as it takes.
        document: Blob of the document that it runs (`gateway/runs/documents.py`); None: it was not kept.
        error: JSON of why it failed, short, for lists.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("id", name="uq_runs_id"),
        UniqueConstraint("user_id", "key_hash", name="uq_runs_user_key"),
        Index("ix_runs_status_number", "status", "number"),
        Index("ix_runs_sealed", "sealed"),
        Index("ix_runs_told", "told"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(String(200))
    workflow_id: Mapped[str | None] = mapped_column(String(200))
    workflow_name: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20))
    interrupt_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    interrupted_at: Mapped[int | None] = mapped_column(BigInteger)
    terminate: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    paused: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    sealed: Mapped[bool] = mapped_column(Boolean, default=False)
    submitted_at: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    key_hash: Mapped[str | None] = mapped_column(String(64))
    body_hash: Mapped[str | None] = mapped_column(String(64))
    plan: Mapped[bytes | None] = mapped_column(Packed)
    interface: Mapped[str] = mapped_column(Text, default="{}")
    warnings: Mapped[str] = mapped_column(Text, default="[]")
    result: Mapped[bytes | None] = mapped_column(Packed)
    plan_hash: Mapped[str | None] = mapped_column(String(64))
    rerun: Mapped[str | None] = mapped_column(Text)
    preview: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    over_socket: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    project_id: Mapped[str | None] = mapped_column(String(200))
    workflow_version: Mapped[int | None] = mapped_column(Integer)
    versions: Mapped[str | None] = mapped_column(Text)
    origin: Mapped[str | None] = mapped_column(Text)
    told: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    callbacks: Mapped[str | None] = mapped_column(Text)
    budget: Mapped[str | None] = mapped_column(Text)
    document: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(Text)


class CallbackRow(Base):
    """One message about a run to one of those that it tells. Times in milliseconds since 1970.

    Attributes:
        run, position: Whose it is: the run, and which of its callbacks, from 0.
        event: `complete`, `error`, `interrupted`; `waiting-` and a hash of the node that waits.
        node: Path of the node that waits.
        status: `new` until Temporal has it, then `pending`; at last `delivered`, `failed` or `stopped`.
        sends: How often it was sent anew by a user, and once more.
        attempts, last_status, last_error, next_attempt_at, delivered_at: As Temporal told it last, of the newest send.
        created_at: When it was written down, or sent anew.
        check_at: When there is something to do for it next, while it is `new` or `pending`.
        body: The JSON text that is sent.
    """

    __tablename__ = "callbacks"
    __table_args__ = (
        UniqueConstraint("run", "position", "event", name="uq_callbacks_event"),
        Index("ix_callbacks_status_check", "status", "check_at"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    run: Mapped[str] = mapped_column(String(64))
    position: Mapped[int] = mapped_column(Integer)
    event: Mapped[str] = mapped_column(String(40))
    node: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20))
    sends: Mapped[int] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer)
    last_status: Mapped[int | None] = mapped_column(Integer)
    last_error: Mapped[str | None] = mapped_column(Text)
    next_attempt_at: Mapped[int | None] = mapped_column(BigInteger)
    delivered_at: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    check_at: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[bytes] = mapped_column(Packed)


class BroadcastRow(Base):
    """One event for all runs that wait for it, kept until each of them has it. Times in milliseconds since 1970.

    Attributes:
        id: Runs know by it that they have the event already.
        status: `open` while it is delivered; `missed` when some run could not be told; `done`.
        key_hash, body_hash: Of the Idempotency-Key and the event it came with.
        data: JSON.
        runs: JSON list of the ids of runs that have not been told.
        answer: JSON of what the client was told last.
    """

    __tablename__ = "broadcasts"
    __table_args__ = (
        UniqueConstraint("user_id", "key_hash", name="uq_broadcasts_user_key"),
        Index("ix_broadcasts_status", "status"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(Text)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    runs: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[int] = mapped_column(BigInteger)
    key_hash: Mapped[str | None] = mapped_column(String(64))
    body_hash: Mapped[str | None] = mapped_column(String(64))
    answer: Mapped[str | None] = mapped_column(Text)


class ProjectRow(Base):
    """A project: workflows that belong together. Times in milliseconds since 1970.

    Attributes:
        more: JSON of what clients keep with it and we do not read.
        deleted_at: 0 while it lives: then its id is taken.
    """

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("user_id", "id", "deleted_at", name="uq_projects_id"),)

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    user_id: Mapped[str] = mapped_column(String(200))
    id: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    more: Mapped[str] = mapped_column(Text, default="{}")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    deleted_at: Mapped[int] = mapped_column(BigInteger, default=0)


class WorkflowRow(Base):
    """A stored workflow, with what lists show of its newest version. Times in milliseconds since 1970.

    Attributes:
        id: Unique in its project while the workflow lives.
        tags: JSON list of texts.
        interface: JSON of its inputs and outputs at a glance.
        references: JSON list of the ids of workflows that it runs as groups.
        groups: JSON object: id of a workflow that it runs, in the newest or the published version, to the interface
            that it was brought up to; null for one that it has not seen yet.
        version: The newest; 1, 2, ...
        valid: The newest version compiles, and so does the published one, as far as their groups are known.
        reason: Why it is not valid, where a change of a group is to blame and not the last save.
        published: The version that runs by id take; None: the newest that compiles.
        deleted_at: 0 while it lives; else when it went to the bin.
        file, file_hash: Name and sha256 of the file that it was read from last.
    """

    __tablename__ = "workflows"
    __table_args__ = (
        UniqueConstraint("user_id", "project_id", "id", "deleted_at", name="uq_workflows_id"),
        Index("ix_workflows_name", "user_id", "project_id", "name"),
        Index("ix_workflows_deleted", "deleted_at"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    user_id: Mapped[str] = mapped_column(String(200))
    project_id: Mapped[str] = mapped_column(String(200))
    id: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[str] = mapped_column(Text, default="[]")
    interface: Mapped[str] = mapped_column(Text, default="{}")
    references: Mapped[str] = mapped_column("refers_to", Text, default="[]")
    groups: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    valid: Mapped[bool] = mapped_column(Boolean, default=False)
    reason: Mapped[str | None] = mapped_column(Text)
    published: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    deleted_at: Mapped[int] = mapped_column(BigInteger, default=0)
    file: Mapped[str | None] = mapped_column(Text)
    file_hash: Mapped[str | None] = mapped_column(String(64))


class VersionRow(Base):
    """One version of a stored workflow; it never changes. Times in milliseconds since 1970.

    Attributes:
        workflow: `number` of the workflow.
        hash: sha256 of the document; two versions that follow each other differ in it.
        document: Compressed JSON, with references for its secrets.
        problems: JSON list of what the compiler said.
        valid: It compiled when it was saved.
    """

    __tablename__ = "workflow_versions"
    __table_args__ = (UniqueConstraint("workflow", "version", name="uq_workflow_versions"),)

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    workflow: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(Integer)
    hash: Mapped[str] = mapped_column(String(64))
    document: Mapped[bytes] = mapped_column(Packed)
    author: Mapped[str] = mapped_column(String(200))
    note: Mapped[str] = mapped_column(Text, default="")
    problems: Mapped[str] = mapped_column(Text, default="[]")
    valid: Mapped[bool] = mapped_column(Boolean, default=False)
    saved_at: Mapped[int] = mapped_column(BigInteger)


class TriggerRow(Base):
    """A trigger. Times in milliseconds since 1970.

    Attributes:
        id: As clients name it.
        definition: JSON (`triggers.model.Trigger.to_json`).
        version: 1, 2, ...: one more with each change.
        token_hash: sha256 of the secret part of a webhook's address; the token itself is kept nowhere.
        secrets: JSON list of names of stored secrets.
        counters: JSON object of outcome to count, of deliveries.
    """

    __tablename__ = "triggers"
    __table_args__ = (
        UniqueConstraint("id", name="uq_triggers_id"),
        UniqueConstraint("user_id", "name", name="uq_triggers_name"),
        UniqueConstraint("token_hash", name="uq_triggers_token"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(200))
    definition: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    token_hash: Mapped[str | None] = mapped_column(String(64))
    secrets: Mapped[str] = mapped_column(Text, default="[]")
    counters: Mapped[str] = mapped_column(Text, default="{}")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class DeliveryRow(Base):
    """Something that came for a trigger, and what became of it. Times in milliseconds since 1970.

    Attributes:
        trigger: `number` of the trigger.
        status: `accepted` (a run is to be made of it), `queued` (behind open runs), `fired` (its run exists); `failed`,
            `filtered`, `duplicate`, `skipped`, `refused`.
        run_id: Of the run that it starts; of a duplicate, that of the first delivery.
        dedupe_key, replay_key: No other delivery of the trigger has the same one; only those of which a run comes, came
            or failed have any.
        concurrency_key: Runs that share one are counted together.
        limit_keys: JSON list: the keys by which it counted for debounce and rate; None: it counted for neither.
        reason: Why no run came of it.
        request: Compressed JSON of the submission, until its run exists.
        sample: JSON of what came, cut short and without what looks secret.
        ended: Nothing is open: no run will come of it, or its run has ended.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("id", name="uq_deliveries_id"),
        UniqueConstraint("trigger", "dedupe_key", name="uq_deliveries_dedupe"),
        UniqueConstraint("trigger", "replay_key", name="uq_deliveries_replay"),
        Index("ix_deliveries_trigger", "trigger", "number"),
        Index("ix_deliveries_outcome", "trigger", "status", "number"),
        Index("ix_deliveries_status", "status", "number"),
        Index("ix_deliveries_run", "run_id"),
        Index("ix_deliveries_ended", "ended"),
        Index("ix_deliveries_at", "at"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64))
    trigger: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(20))
    at: Mapped[int] = mapped_column(BigInteger)
    run_id: Mapped[str | None] = mapped_column(String(64))
    dedupe_key: Mapped[str | None] = mapped_column(String(300))
    replay_key: Mapped[str | None] = mapped_column(String(300))
    concurrency_key: Mapped[str] = mapped_column(String(300), default="")
    limit_keys: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, default="")
    request: Mapped[bytes | None] = mapped_column(Packed)
    sample: Mapped[str] = mapped_column(Text, default="")
    ended: Mapped[bool] = mapped_column(Boolean, default=False)


class FileWatchRow(Base):
    """A folder that a trigger watches: files that were there when it began are told from those that came since.

    Attributes:
        trigger: `number` of the trigger.
        folder, glob: As its definition had them then.
    """

    __tablename__ = "file_watches"
    __table_args__ = (UniqueConstraint("trigger", name="uq_file_watches_trigger"),)

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    trigger: Mapped[int] = mapped_column(BigInteger)
    folder: Mapped[str] = mapped_column(Text)
    glob: Mapped[str] = mapped_column(Text)


class SeenFileRow(Base):
    """A file as a trigger saw it last.

    Attributes:
        trigger: `number` of the trigger.
        path: Logical, such as `user://in/a.png`.
        size, mtime_ns: Bytes, and ns since 1970: both as before, the file has not changed.
        sha256: Of its content, where that was looked at.
        state: `known`: no run was to come of it; `taken`: a run came; `passed`: it was offered, and no run came.
        gone_at: When it was missed, ms since 1970; 0 while it is there.
    """

    __tablename__ = "seen_files"
    __table_args__ = (UniqueConstraint("trigger", "path", name="uq_seen_files_path"),)

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    trigger: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(20))
    gone_at: Mapped[int] = mapped_column(BigInteger, default=0)


class ModelCallRow(Base):
    """One request to a model, from before it is made. Times in milliseconds since 1970.

    Rows stay when their run is deleted: what was spent was spent.

    Attributes:
        id: `CallStart.id`.
        run: "" when nobody knows: its start was never told.
        node: Path of the node; `attempt` counts its attempts from 1.
        workflow, project: Of the stored workflow, where the run had one.
        channel, host, adapter, model, key: As in `CallStart`.
        answered: The model that the answer names; "" when it names none.
        day: Of its start, in days since 1970 (UTC).
        ended_at: None while it is `open`.
        outcome: `open`, a word of `call_gate.Outcome`, or `lost`: nobody told how it ended.
        code: Why it failed.
        input_tokens, output_tokens: While it is `open`: what it may take at most. Input includes cached tokens, output
            includes reasoning.
        estimated: The provider did not say how many tokens.
        cost: In billionths of a unit of `currency`; None: nobody knows, which is not 0.
        first_ms, whole_ms: As in `CallEnd`.
    """

    __tablename__ = "model_calls"
    __table_args__ = (
        UniqueConstraint("id", name="uq_model_calls_id"),
        Index("ix_model_calls_run", "run"),
        Index("ix_model_calls_user_day", "user_id", "day"),
        Index("ix_model_calls_started", "started_at"),
        Index("ix_model_calls_outcome", "outcome", "started_at"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64))
    run: Mapped[str] = mapped_column(String(64))
    node: Mapped[str] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer)
    workflow: Mapped[str | None] = mapped_column(String(200))
    project: Mapped[str | None] = mapped_column(String(200))
    user_id: Mapped[str] = mapped_column(String(200))
    channel: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(Text)
    adapter: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    answered: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(String(64))
    day: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(String(20))
    code: Mapped[str] = mapped_column(Text)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    reasoning_tokens: Mapped[int] = mapped_column(BigInteger)
    estimated: Mapped[bool] = mapped_column(Boolean)
    cost: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(String(8))
    first_ms: Mapped[int | None] = mapped_column(BigInteger)
    whole_ms: Mapped[int | None] = mapped_column(BigInteger)


class UsageDayRow(Base):
    """What requests of one day took together, by all that reports name but nodes. Made of `model_calls` alone.

    Attributes:
        day: As in `ModelCallRow`. All days up to the last one here are summed up.
        cost: In billionths of a unit of `currency`, of those whose price is known.
        unknown: How many have an unknown price.
    """

    __tablename__ = "usage_days"
    __table_args__ = (Index("ix_usage_days_day", "day", "run"),)

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    day: Mapped[int] = mapped_column(Integer)
    run: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(String(200))
    workflow: Mapped[str | None] = mapped_column(String(200))
    project: Mapped[str | None] = mapped_column(String(200))
    channel: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    currency: Mapped[str | None] = mapped_column(String(8))
    calls: Mapped[int] = mapped_column(BigInteger)
    open: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    estimated: Mapped[int] = mapped_column(BigInteger)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    reasoning_tokens: Mapped[int] = mapped_column(BigInteger)
    cost: Mapped[int] = mapped_column(BigInteger)
    unknown: Mapped[int] = mapped_column(BigInteger)


class RaisedBudgetRow(Base):
    """A limit of a user, or of a user's day, that somebody raised above the configured one.

    Attributes:
        day: In days since 1970 (UTC); -1 for the limit of all days together.
        tokens: None: as configured.
        nanos: Money, in billionths of a unit; None: as configured.
        raised_at: Milliseconds since 1970.
    """

    __tablename__ = "raised_budgets"
    __table_args__ = (UniqueConstraint("user_id", "day", name="uq_raised_budgets_day"),)

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    user_id: Mapped[str] = mapped_column(String(200))
    day: Mapped[int] = mapped_column(Integer)
    tokens: Mapped[int | None] = mapped_column(BigInteger)
    nanos: Mapped[int | None] = mapped_column(BigInteger)
    raised_at: Mapped[int] = mapped_column(BigInteger)
