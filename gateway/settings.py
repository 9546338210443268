"""What one gateway process is told at its start: arguments first, then `INNKEEPER_*` of the environment."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.hosts import is_loopback_name
from innkeeper.nodes.services.resources import MAX_RESOURCE_BYTES

PREFIX = "INNKEEPER_"
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class SettingsError(InnkeeperError):
    """A setting cannot be used. The message names the key, the value (never of a token) and what would do."""

    code = "invalid_setting"


@dataclass(frozen=True)
class Settings:
    """One gateway's settings. Sizes in bytes, times in seconds.

    Attributes:
        temporal_address: `host:port`; None asks Temporal's own configuration (`TEMPORAL_*`, its profile file).
        namespace: Temporal namespace; None asks the same configuration, then takes `innkeeper`.
        access_token: Asked of every client when set; needed to listen elsewhere than on loopback.
        worker_token: Asked of workers; None reads (or makes) `<data>/worker.token`.
        allowed_hosts: Host names accepted in `Host` besides loopback and `host`.
        allowed_origins: Web origins (`https://example.org`) accepted besides those of accepted hosts.
        flush_timeout_s: How long a run that ended waits for workers that still hold its events.
        max_concurrent_runs: Runs beyond it wait in a queue; None is no limit.
        max_body_bytes, max_file_bytes: The largest request, and the largest file that is uploaded.
        send_timeout_s: A client that takes nothing for so long is disconnected; it may come back where it was.
        event_days, event_bytes: Event logs of ended runs are kept so long, and so much of them together.
        run_days: Ended runs are kept so long, with their results and whatever belongs to them; 0 is for ever.
        blob_grace_s: A stored value that nothing refers to is deleted at the earliest so long after it was written.
        collect_every_s: Pause between two looks for such values; 0 looks only when asked ('innkeeper gc').
        full_sync: Acknowledged then also survives power loss, at the price of an fsync per commit.
    """

    data_dir: Path = Path(".innkeeper")
    host: str = "127.0.0.1"
    port: int = 8090
    temporal_address: str | None = None
    namespace: str | None = None
    task_queue: str = "innkeeper"
    access_token: str | None = field(default=None, repr=False)
    worker_token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()
    user: str = "default_user"
    flush_timeout_s: float = 30.0
    max_concurrent_runs: int | None = None
    full_sync: bool = False
    max_body_bytes: int = 16 * 1024 * 1024
    max_file_bytes: int = MAX_RESOURCE_BYTES
    send_timeout_s: float = 20.0
    event_days: float = 7.0
    event_bytes: int = 2_000_000_000
    run_days: float = 0.0
    blob_grace_s: float = 3600.0
    collect_every_s: float = 3600.0
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        _check_range("port", self.port, 0, 65535)
        _check_range("flush_timeout_s", self.flush_timeout_s, 0, 3600)
        _check_range("send_timeout_s", self.send_timeout_s, 0.01, 3600)
        _check_range("event_days", self.event_days, 0, 36_500)
        _check_range("event_bytes", self.event_bytes, 0, 2**50)
        _check_range("run_days", self.run_days, 0, 36_500)
        _check_range("blob_grace_s", self.blob_grace_s, 0, 31_536_000)
        _check_range("collect_every_s", self.collect_every_s, 0, 31_536_000)
        _check_range("max_body_bytes", self.max_body_bytes, 1024, 1024**3)
        _check_range("max_file_bytes", self.max_file_bytes, 1024, 2**40)
        if self.max_concurrent_runs is not None:
            _check_range("max_concurrent_runs", self.max_concurrent_runs, 1, 1_000_000)
        if self.log_level.upper() not in LOG_LEVELS:
            known = ", ".join(LOG_LEVELS)
            raise SettingsError(f"{PREFIX}LOG_LEVEL={self.log_level!r} is no level; it must be one of {known}")
        if self.access_token is None and not is_loopback_name(self.host):
            raise SettingsError(
                f"host {self.host!r} is not a loopback address and no access token is configured; "
                f"set {PREFIX}ACCESS_TOKEN or listen on 127.0.0.1"
            )

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
        """Settings from keyword arguments (None: not given), then the environment, then the defaults."""
        values = {key: value for key, value in arguments.items() if value is not None}
        source = os.environ if environ is None else environ
        for spec in fields(cls):
            text = source.get(PREFIX + spec.name.upper())
            if text and spec.name not in values:
                values[spec.name] = _parse(spec.name, text)
        return cls(**values)

    @property
    def store_path(self) -> Path:
        return self.data_dir / "gateway.db"

    @property
    def events_path(self) -> Path:
        return self.data_dir / "events.db"


def worker_token(settings: Settings) -> str:
    """The token workers show: the configured one, else that of the data directory, made on first use.

    Raises:
        SettingsError: The file is there, but empty: everybody would know that token.
    """
    if settings.worker_token:
        return settings.worker_token
    path = settings.data_dir / "worker.token"
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(32))
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if not token:
        raise SettingsError(f"{str(path)!r} is empty: delete it, then a new token is made")
    return token


def _write_once(path: Path, text: str) -> None:
    """Make a private file that is never seen half written; of two processes that race, the first wins."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".token-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)


def _check_range(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingsError(f"{PREFIX}{key.upper()}={value!r} is out of range; it must be between {low} and {high}")


def _parse(key: str, text: str) -> Any:
    try:
        return _PARSERS.get(key, str)(text)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{key.upper()}={text!r} cannot be used: {error}") from None


def _boolean(text: str) -> bool:
    if text.lower() in TRUE_WORDS | FALSE_WORDS:
        return text.lower() in TRUE_WORDS
    raise ValueError("expected true or false")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _folders(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(os.pathsep) if part)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "data_dir": Path,
    "port": int,
    "allowed_hosts": _names,
    "allowed_origins": _names,
    "plugins": _folders,
    "flush_timeout_s": float,
    "send_timeout_s": float,
    "max_concurrent_runs": int,
    "max_body_bytes": int,
    "max_file_bytes": int,
    "event_days": float,
    "event_bytes": int,
    "run_days": float,
    "blob_grace_s": float,
    "collect_every_s": float,
    "full_sync": _boolean,
}
