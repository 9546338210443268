"""Opening the store: the engine with its SQLite habits, and its schema."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from innkeeper.gateway.salvage.database import is_damage
from innkeeper.gateway.store.models import Base
from innkeeper.nodes.errors import InnkeeperError

if TYPE_CHECKING:
    from alembic.config import Config

logger = logging.getLogger("innkeeper.gateway.store")

MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST = "0013"
"""The last of the migrations."""
_VERSIONS = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""As Alembic makes it."""


class UnknownSchema(InnkeeperError):
    """The store has a schema that this version does not know."""

    code = "unknown_schema"


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(path))


def open_engine(url: URL | str, *, full_sync: bool = False, on_damage: Callable[[], None] | None = None) -> AsyncEngine:
    """An engine for the store. SQLite runs in WAL, so readers never wait for the writer.

    Args:
        on_damage: Called whenever a query finds the file damaged.
    """
    engine = create_async_engine(url)
    if on_damage is not None:
        event.listen(engine.sync_engine, "handle_error", _tells_damage(on_damage))
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _sqlite_habits("FULL" if full_sync else "NORMAL"))
    return engine


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
        connection.driver_connection.text_factory = lambda text: text.decode(errors="replace")

    return apply


async def ensure_schema(engine: AsyncEngine) -> None:
    """Bring the store to the newest schema: an empty one gets it at once, an older one is migrated.

    Raises:
        UnknownSchema: Another version of Innkeeper wrote it.
    """
    async with engine.begin() as connection:
        await connection.run_sync(_ensure)


def create_store(path: Path) -> None:
    """Make a new SQLite file with the newest schema. Blocking."""
    engine = create_engine(URL.create("sqlite", database=str(path)))
    try:
        with engine.begin() as connection:
            _ensure(connection)
    finally:
        engine.dispose()


def _ensure(connection: Connection) -> None:
    tables = inspect(connection).get_table_names()
    if not tables:
        Base.metadata.create_all(connection)
        _VERSIONS.create(connection)
        connection.execute(insert(_VERSIONS).values(version_num=NEWEST))
    elif _VERSIONS.name not in tables or connection.scalars(select(_VERSIONS.c.version_num)).all() != [NEWEST]:
        _migrate(connection)


def _migrate(connection: Connection) -> None:
    # Loading Alembic would take a tenth of each start, and nearly all of them find the newest schema, or none.
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise UnknownSchema(str(error)) from error


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for this package's migrations on an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
