"""Opening the store: the engine with its SQLite habits, and its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, inspect
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.store.models import Base

MIGRATIONS = Path(__file__).parent / "migrations"


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(path))


def open_engine(url: URL | str, *, full_sync: bool = False) -> AsyncEngine:
    """An engine for the store. SQLite runs in WAL, so readers never wait for the writer."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _sqlite_habits("FULL" if full_sync else "NORMAL"))
    return engine


def _sqlite_habits(synchronous: str) -> Any:
    def apply(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "busy_timeout=10000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return apply


async def ensure_schema(engine: AsyncEngine) -> None:
    """Bring the store to the newest schema: an empty one gets it at once, an older one is migrated."""
    async with engine.begin() as connection:
        await connection.run_sync(_ensure)


def _ensure(connection: Connection) -> None:
    config = alembic_config(connection)
    if inspect(connection).get_table_names():
        command.upgrade(config, "head")
    else:
        Base.metadata.create_all(connection)
        command.stamp(config, "head")


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for this package's migrations on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
