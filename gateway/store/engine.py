"""Opening the store: the engine with its threads and its SQLite habits, and its schema."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    Row,
    Select,
    String,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.orm import Session, sessionmaker

from innkeeper.gateway.salvage.database import is_damage
from innkeeper.gateway.store.models import Base
from innkeeper.nodes.errors import InnkeeperError

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
logger = logging.getLogger("innkeeper.gateway.store")

MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST = "0013"
"""The last of the migrations."""
READERS = 8
"""A long report takes a thread for as long as it lasts; so many go on beside each other."""
VERSIONS = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""As Alembic makes it."""


class UnknownSchema(InnkeeperError):
    """The store has a schema that this version does not know."""

    code = "unknown_schema"


class StoreEngine:
    """A database and the threads that use it: one writes, others read.

    A query, or a whole transaction, is one turn of a thread. SQLAlchemy's asynchronous engine takes a turn for each
    cursor, statement, fetch, commit and reset, and these turns cost several times as much as the work.

    Attributes:
        sync: SQLAlchemy's engine.
    """

    def __init__(self, engine: Engine) -> None:
        self.sync = engine
        self._sessions = sessionmaker(engine, expire_on_commit=False)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do work in one transaction. What it gives is committed.

        A caller that is cancelled meanwhile does not take it back.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._write, work)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self.sync.begin() as connection:
            return work(connection)

    async def read(self, work: Callable[[Session], T]) -> T:
        """Read with a session that is closed when `work` returns: all that it gives must be loaded."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Callable[[Session], T]) -> T:
        with self._sessions() as session:
            return work(session)

    async def rows(self, query: Select[*Ts]) -> Sequence[Row[*Ts]]:
        return await self.read(lambda session: session.execute(query).all())

    async def scalars(self, query: Select[T]) -> Sequence[T]:
        """The first column of all rows; of an entity, its objects."""
        return await self.read(lambda session: session.scalars(query).all())

    async def first(self, query: Select[T]) -> T | None:
        """The first column of the first row; None: there is no row."""
        return await self.read(lambda session: session.scalars(query).first())

    async def dispose(self) -> None:
        """Let the threads finish what they do, and close all connections."""
        await asyncio.to_thread(self._dispose)

    def _dispose(self) -> None:
        for threads in (self._writer, self._readers):
            threads.shutdown()
        self.sync.dispose()


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def open_engine(url: URL | str, *, full_sync: bool = False, on_damage: Callable[[], None] | None = None) -> StoreEngine:
    """An engine for the store. SQLite runs in WAL, so readers never wait for the writer.

    Args:
        on_damage: Called whenever a query finds the file damaged.
    """
    engine = create_engine(url)
    if on_damage is not None:
        event.listen(engine, "handle_error", _tells_damage(on_damage))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_habits("FULL" if full_sync else "NORMAL"))
    return StoreEngine(engine)


def _tells_damage(on_damage: Callable[[], None]) -> Callable[[ExceptionContext], None]:
    def look(context: ExceptionContext) -> None:
        if is_damage(context.original_exception):
            on_damage()
            logger.error(
                "the index of runs is damaged (%s); the next start of the gateway saves what can be read",
                context.original_exception,
                extra={"event": "damaged"},
            )

    return look


def _sqlite_habits(synchronous: str) -> Any:
    def apply(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "busy_timeout=10000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        # A text that is damaged must not keep all other rows from being read.
        connection.text_factory = lambda text: text.decode(errors="replace")

    return apply


async def ensure_schema(engine: StoreEngine) -> None:
    """Bring the store to the newest schema: an empty one gets it at once, an older one is migrated.

    Raises:
        UnknownSchema: Another version of Innkeeper wrote it.
    """
    await engine.write(_ensure)


def create_store(path: Path) -> None:
    """Make a new SQLite file with the newest schema. Blocking."""
    engine = create_engine(sqlite_url(path))
    try:
        with engine.begin() as connection:
            _ensure(connection)
    finally:
        engine.dispose()


def _ensure(connection: Connection) -> None:
    tables = inspect(connection).get_table_names()
    if not tables:
        Base.metadata.create_all(connection)
        VERSIONS.create(connection)
        connection.execute(insert(VERSIONS).values(version_num=NEWEST))
    elif VERSIONS.name not in tables or connection.scalars(select(VERSIONS.c.version_num)).all() != [NEWEST]:
        migrate(connection)


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a revision: none at all, or those of an older one.

    Raises:
        UnknownSchema: They are of a revision that is not known.
    """
    # Loading Alembic would take a tenth of each start, and nearly all of them find the newest schema, or none.
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(alembic_config(connection), revision)
    except CommandError as error:
        raise UnknownSchema(str(error)) from error


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for this package's migrations on an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
