"""What one gateway process is told at its start, and the token that workers show it."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from pydantic import SecretStr, ValidationInfo, field_validator

from innkeeper.nodes.hosts import is_loopback_name
from innkeeper.nodes.process.settings import (
    Flag,
    Names,
    Number,
    ProcessSettings,
    SettingsError,
    Text,
    Whole,
    own_message,
    setting,
)
from innkeeper.nodes.process.variables import PREFIX
from innkeeper.nodes.services.damaged import set_aside, tell
from innkeeper.nodes.services.resources import MAX_RESOURCE_BYTES
from innkeeper.workflows.document.budget import MAX_MONEY, MAX_TOKENS

__all__ = ["Settings", "SettingsError", "worker_token"]

YEAR_S = 31_536_000
MIN_TOKEN_CHARS = 16
CENTURY_DAYS = 36_500


class Settings(ProcessSettings):
    """One gateway's settings."""

    data_dir: Path = setting(Path(".innkeeper"), "Where everything is kept.")
    host: Text = setting("127.0.0.1", "The address to listen on.", allowed="a host name or an IP address")
    port: Whole = setting(8090, "The port to listen on; 0 takes a free one.", low=0, high=65_535)
    access_token: SecretStr | None = setting(
        None, "Asked of every client when set; needed to listen elsewhere than on loopback."
    )
    allowed_hosts: Names = setting((), "Host names accepted in `Host` besides loopback and the address listened on.")
    allowed_origins: Names = setting(
        (),
        "Other web origins whose pages may call the gateway and read its answers (CORS).",
        allowed="origins like `https://example.org`, separated by commas",
    )
    codec_origins: Names = setting(
        (),
        "Origins of Temporal's web page, which may have payloads decrypted at `/codec/` (CORS); the access token is "
        "asked all the same.",
        allowed="origins like `https://temporal.example.org`, separated by commas",
    )
    task_queue: Text = setting(
        "innkeeper", "The Temporal task queue that runs are started on; workers poll `innkeeper`."
    )
    user: Text = setting("default_user", "Whose runs and files these are.")
    flush_timeout_s: Number = setting(
        30.0,
        "How long a run that ended waits for workers that still hold its events.",
        unit="seconds",
        low=0,
        high=3600,
    )
    max_concurrent_runs: Whole | None = setting(
        None,
        "Runs beyond it wait in a queue; without it there is no limit. A run that only waits or is paused does not "
        "count.",
        unit="runs",
        low=1,
        high=1_000_000,
    )
    max_waiting_runs: Whole = setting(
        5_000,
        "While so many runs wait (for an answer, an event or a time) or are paused, new ones are refused.",
        unit="runs",
        low=1,
        high=10_000_000,
    )
    user_requests_per_minute: Whole | None = setting(
        None,
        "Requests to models that the runs of one user may make in a minute; without it there is no limit.",
        unit="requests",
        low=1,
        high=1_000_000_000,
    )
    user_tokens_per_minute: Whole | None = setting(
        None,
        "Tokens that they may take of models in a minute; without it there is no limit.",
        unit="tokens",
        low=1,
        high=10**12,
    )
    user_concurrent_requests: Whole | None = setting(
        None,
        "Requests to models that they may have under way at once; without it there is no limit.",
        unit="requests",
        low=1,
        high=1_000_000,
    )
    run_timeout_s: Number | None = setting(
        None,
        "A run that takes longer, waits and pauses included, is ended with the error `run_timeout`; without it there "
        "is no limit.",
        unit="seconds",
        low=1,
        high=10 * YEAR_S,
    )
    full_sync: Flag = setting(
        False, "What is acknowledged then also survives power loss, at the price of an fsync per commit."
    )
    max_body_bytes: Whole = setting(
        16 * 1024 * 1024, "The largest request that is no upload.", unit="bytes", low=1024, high=1024**3
    )
    max_file_bytes: Whole = setting(
        MAX_RESOURCE_BYTES, "The largest file that is uploaded.", unit="bytes", low=1024, high=2**40
    )
    send_timeout_s: Number = setting(
        20.0,
        "A client that takes nothing for so long is disconnected; it may come back where it was.",
        unit="seconds",
        low=0.01,
        high=3600,
    )
    event_days: Number = setting(
        7.0, "Event logs of ended runs are kept so long.", unit="days", low=0, high=CENTURY_DAYS
    )
    event_bytes: Whole = setting(
        2_000_000_000, "At most so much of them together is kept.", unit="bytes", low=0, high=2**50
    )
    run_days: Number = setting(
        0.0,
        "Ended runs are kept so long, with their results and whatever belongs to them; 0 is for ever.",
        unit="days",
        low=0,
        high=CENTURY_DAYS,
    )
    usage_days: Number = setting(
        0.0,
        "What each request to a model took and cost is kept so long; 0 is for ever. Older requests no longer count for "
        "the budget of the user.",
        unit="days",
        low=0,
        high=CENTURY_DAYS,
    )
    budget_user_tokens: Whole | None = setting(
        None,
        "All runs of a user together may spend so many on models; without it there is no limit.",
        unit="tokens",
        low=0,
        high=MAX_TOKENS,
    )
    budget_user_money: Number | None = setting(
        None,
        "All runs of a user together may spend so much on models, in the currency of `prices.yaml` or USD; without it "
        "there is no limit.",
        low=0,
        high=MAX_MONEY,
    )
    budget_day_tokens: Whole | None = setting(
        None,
        "The same of one day (UTC) of a user.",
        unit="tokens",
        low=0,
        high=MAX_TOKENS,
    )
    budget_day_money: Number | None = setting(
        None, "The same of one day (UTC) of a user, in that currency.", low=0, high=MAX_MONEY
    )
    blob_grace_s: Number = setting(
        3600.0,
        "A stored value that nothing refers to is deleted at the earliest so long after it was written.",
        unit="seconds",
        low=0,
        high=YEAR_S,
    )
    collect_every_s: Number = setting(
        3600.0,
        "Pause between two searches for such values; 0 searches only when asked (`innkeeper gc`).",
        unit="seconds",
        low=0,
        high=YEAR_S,
    )

    # As of the workers: the gateway itself asks servers of models what they have.
    allow_loopback: Flag = setting(
        None,
        "As of the workers, for the servers of channels that users have made, which the gateway asks for their models. "
        "Without it they may be on this machine while the gateway listens on loopback.",
    )
    allow_private: Flag = setting(False, "As of the workers, for the same servers.")
    node_allowed_hosts: Names = setting(
        (),
        "As of the workers, for the same servers.",
        allowed="`name` or `name:port`, separated by commas",
    )

    # A validator of the field, not of the whole: it is asked, and told, also when other values are wrong.
    @field_validator("access_token")
    @classmethod
    def _needed_in_the_open(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        host = info.data.get("host")
        if token is None and host is not None and not is_loopback_name(host):
            raise own_message(
                f"host {host!r} is not a loopback address and no access token is configured; "
                f"set {PREFIX}ACCESS_TOKEN or listen on 127.0.0.1"
            )
        return token

    @field_validator("allow_loopback", mode="before")
    @classmethod
    def _open_to_this_machine_alone(cls, given: object, info: ValidationInfo) -> object:
        return is_loopback_name(info.data.get("host", "")) if given is None else given

    @property
    def store_path(self) -> Path:
        return self.data_dir / "gateway.db"

    @property
    def events_path(self) -> Path:
        return self.data_dir / "events.db"


def worker_token(settings: Settings) -> str:
    """The token workers show: the configured one, else that of the data directory, made on first use.

    A file that holds no token of enough characters is put aside, and a new token made: everybody could guess that one.
    """
    if settings.worker_token:
        return settings.worker_token.get_secret_value()
    path = settings.data_dir / "worker.token"
    for _ in range(2):
        if not os.path.lexists(path):
            _write_once(path, secrets.token_urlsafe(32))
        if (token := _read_token(path)) is not None:
            return token
        aside = set_aside(path)
        tell(settings.data_dir, f"{path.name} was damaged and is made anew; the damaged file is kept as {aside.name}")
    raise SettingsError(f"{str(path)!r} cannot be written and read again: make the data directory writable")


def _read_token(path: Path) -> str | None:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return token if len(token) >= MIN_TOKEN_CHARS and token.isprintable() and " " not in token else None


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
