"""What a worker process is told from outside, read once."""

from __future__ import annotations

import json
import os
import re
import ssl
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr, ValidationInfo, field_validator

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

__all__ = ["DEFAULT_QUEUE", "INPUT_ROOM_MB", "SettingsError", "WorkerSettings"]

DEFAULT_QUEUE = "innkeeper"
INPUT_ROOM_MB = 48
YEAR_S = 31_536_000
MAX_MB = 1_048_576


def _without_slash(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError("not a URL")
    _ = urlsplit(url).port  # raises ValueError for what has no readable host and port
    return url.rstrip("/")


def _further(queues: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(queue for queue in queues if queue != DEFAULT_QUEUE))


def _plain(pattern: re.Pattern[str]) -> Callable[[str | None], str | None]:
    """A check that a name has only these characters: Temporal joins and splits such names."""

    def check(name: str | None) -> str | None:
        if name is not None and not pattern.fullmatch(name):
            raise ValueError("not a plain name")
        return name

    return check


_DEPLOYMENT = re.compile(r"[A-Za-z0-9_-]{1,100}")
_BUILD_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


def _proxy(url: SecretStr | None) -> SecretStr | None:
    if url is not None:
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("not the URL of a proxy")
        _ = parts.port  # raises ValueError for what is no port
    return url


def _certificates(file: Path | None) -> Path | None:
    if file is not None:
        try:
            ssl.create_default_context(cafile=str(file))
        except OSError as error:  # SSLError is one
            raise ValueError("not a file of certificates") from error
    return file


class WorkerSettings(ProcessSettings):
    """Settings of one worker process."""

    data_dir: Annotated[Path, AfterValidator(Path.absolute)] = setting(
        Path(".innkeeper"), "Where everything is kept; the same folder as the gateway's."
    )
    gateway_url: Annotated[Text, AfterValidator(_without_slash)] = setting(
        "http://127.0.0.1:8090",
        "The gateway that gets events; empty turns events off (for benchmarks of the bare engine).",
        allowed="an http or https URL, or empty",
        empty_is_value=True,
    )
    host: Text | None = setting(
        None,
        "The address that the gateway listens on, where its URL does not tell: a socket that listens everywhere is "
        "reached under a loopback address, too.",
        allowed="a host name or an IP address",
    )
    queues: Annotated[Names, AfterValidator(_further)] = setting(
        (), "Further task queues that this worker polls beside `innkeeper`."
    )
    deployment: Annotated[Text | None, AfterValidator(_plain(_DEPLOYMENT))] = setting(
        None,
        "Name of the worker deployment. With it workers are versioned: a run stays with the build that it began on, "
        "and a build gets new runs only after `innkeeper deploy set`.",
        allowed="letters, digits, `_` and `-`",
    )
    build_id: Annotated[Text | None, AfterValidator(_plain(_BUILD_ID))] = setting(
        None,
        "The build that this worker is of, another one for each change of its code; needed with a deployment.",
        allowed="letters, digits, `.`, `_` and `-`",
    )
    # A waiting run of 51 nodes was measured to take 380 KiB: 500 of them stay below 200 MB. A run that was evicted is
    # replayed when it goes on, which costs time and loses nothing.
    max_cached_workflows: Whole = setting(
        500,
        "Open runs that one process keeps in memory; further ones are replayed when they go on.",
        unit="runs",
        low=1,
        high=1_000_000,
    )
    max_activities: Whole = setting(
        200, "Nodes that run at once in one process, per queue.", unit="nodes", low=1, high=1_000_000
    )
    flush_timeout_s: Number = setting(
        30.0,
        "How long nodes wait for a gateway that is away before they go on without it.",
        unit="seconds",
        low=0,
        high=YEAR_S,
    )
    stop_grace_s: Number = setting(
        2.0, "What runs may take so long to finish when the worker is stopped.", unit="seconds", low=0, high=YEAR_S
    )
    allow_loopback: Flag = setting(
        None,
        "Requests of nodes to a model may reach this machine. Without it they may while the gateway serves this "
        "machine alone: while its host and its URL are loopback.",
    )
    # The same variable: what differs is what holds without it. Unless the operator says so, a downloaded graph must not
    # call the gateway, which listens here and takes requests for the user's own wish.
    allow_loopback_http: Flag = setting(
        False, "Other requests of nodes may reach this machine, too.", variable="ALLOW_LOOPBACK"
    )
    allow_private: Flag = setting(False, "Requests of nodes may reach private addresses.")
    allowed_hosts: Names = setting(
        (),
        "Hosts that nodes may reach whatever their addresses are.",
        allowed="`name` or `name:port`, separated by commas",
        variable="NODE_ALLOWED_HOSTS",
    )
    env_key_hosts: Names = setting(
        (),
        "Further hosts that keys from this process's environment may go to.",
        allowed="`name` or `name:port`, separated by commas",
    )
    llm_proxy: Annotated[SecretStr | None, AfterValidator(_proxy)] = setting(
        None,
        "The HTTP proxy through which model servers with public addresses are reached; others are reached directly. It "
        "resolves names that are unknown here. Proxies of the environment (`HTTPS_PROXY`) do not count.",
        allowed="an http or https URL, with a name and a password if it needs them",
    )
    llm_ca_bundle: Annotated[Path | None, AfterValidator(_certificates)] = setting(
        None,
        "Certificates of further authorities that model servers are trusted by, beside those that are known.",
        allowed="a PEM file",
    )
    result_days: Number = setting(
        7.0, "The result cache keeps what deterministic nodes gave so long.", unit="days", low=0, high=36_500
    )
    result_bytes: Whole = setting(
        256_000_000,
        "At most so much of it together (references to large values, not these themselves); 0 turns it off.",
        unit="bytes",
        low=0,
        high=2**50,
    )
    script_processes: Whole = setting(
        2,
        "How many templates, patterns and large files are worked on at once, each in a process.",
        unit="processes",
        low=1,
        high=1024,
    )
    script_memory_mb: Whole = setting(512, "What one such process may fill.", unit="megabytes", low=64, high=MAX_MB)
    script_idle_s: Number = setting(60.0, "An unused one ends after this time.", unit="seconds", low=0, high=YEAR_S)
    block_limit_s: Number = setting(
        30.0,
        "A node that keeps its thread, or the whole worker, to itself for so long is ended; this counts as a failed "
        "attempt of that node.",
        unit="seconds",
        low=3,
        high=YEAR_S,
    )
    node_memory_mb: Whole = setting(
        2_048,
        "What the process of a node with placement `process` may reserve, unless its type says otherwise.",
        unit="megabytes",
        low=64,
        high=MAX_MB,
    )
    max_resource_mb: Whole = setting(32, "Largest file that nodes read or write.", unit="megabytes", low=1, high=MAX_MB)
    max_response_mb: Whole = setting(
        16, "Largest answer that a node's request may get.", unit="megabytes", low=1, high=MAX_MB
    )
    input_room_mb: Whole = setting(
        INPUT_ROOM_MB,
        "Nodes with large inputs take turns when these are more than this together; a worker needs a few times as "
        "much for them.",
        unit="megabytes",
        low=1,
        high=MAX_MB,
    )

    @field_validator("build_id")
    @classmethod
    def _of_a_deployment(cls, build: str | None, info: ValidationInfo) -> str | None:
        if (build is None) != (info.data.get("deployment") is None):
            raise own_message(f"{PREFIX}DEPLOYMENT and {PREFIX}BUILD_ID are set together, or neither of them")
        return build

    # Who sends graphs from elsewhere has no business with what listens on this machine.
    @field_validator("allow_loopback", mode="before")
    @classmethod
    def _open_to_this_machine_alone(cls, given: object, info: ValidationInfo) -> object:
        if given is not None:
            return given
        hosts = (info.data.get("host"), urlsplit(info.data.get("gateway_url", "")).hostname)
        return all(is_loopback_name(host) for host in hosts if host)


def worker_token(settings: WorkerSettings) -> str:
    """The token that this worker shows its gateway.

    Raises:
        SettingsError: There is none.
    """
    if settings.worker_token:
        return settings.worker_token.get_secret_value()
    path = settings.data_dir / "worker.token"
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        message = f"no worker token: {path.name} in the data directory is not readable; start the gateway first"
        raise SettingsError(message, code="noworker_token") from error


def main() -> int:
    """Print the settings of a worker as JSON: `innkeeper settings` asks so, since a gateway may not import this."""
    try:
        rows = WorkerSettings.load(os.environ).rows(os.environ)
    except SettingsError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(json.dumps([asdict(row) for row in rows]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
