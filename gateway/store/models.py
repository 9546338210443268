"""The tables of the gateway's store. A change here needs a migration beside it (`gateway/store/migrations`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Boolean, Index, Integer, LargeBinary, String, Text, UniqueConstraint, false
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
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("id", name="uq_runs_id"),
        UniqueConstraint("user_id", "key_hash", name="uq_runs_user_key"),
        Index("ix_runs_status_number", "status", "number"),
        Index("ix_runs_sealed", "sealed"),
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
