"""What a worker process is told from outside, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.hosts import is_loopback_name
from innkeeper.nodes.services.ownership import check_own

DEFAULT_QUEUE = "innkeeper"
INPUT_ROOM_MB = 48


class SettingsError(InnkeeperError):
    code = "invalid_setting"


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of one worker process, each from `INNKEEPER_<NAME>`.

    Attributes:
        temporal_address, namespace: None asks Temporal's own configuration (`TEMPORAL_*`, its profiles).
        gateway_url: Base URL of the gateway; empty turns events off (for benchmarks of the bare engine).
        queues: Further task queues this worker polls beside `innkeeper`.
        flush_timeout_s: How long nodes wait for a gateway that is away before they go on without it.
        allow_loopback, allow_private: Nodes may reach this machine, private addresses. Unless the operator says so,
            this machine only while the gateway serves it alone (INNKEEPER_HOST, INNKEEPER_GATEWAY_URL): who sends
            graphs from elsewhere has no business with what listens here.
        allow_loopback_http: So may requests that are not to a model. Unless the operator says so they may not: the
            gateway listens there, and takes what a downloaded graph sends it for the user's own wish.
        allowed_hosts: Hosts (`name` or `name:port`) nodes may reach whatever their addresses are.
        env_key_hosts: Further hosts that keys from this process's environment may go to.
        result_days, result_bytes: The result cache keeps what deterministic nodes gave so long, and so much of it
            together (references to large values, not these themselves); 0 bytes turn it off.
        script_processes: How many templates, patterns and large files are worked on at once, each in a process.
        script_memory_mb: What one such process may fill.
        script_idle_s: An unused one ends after this time.
        max_resource_mb: Largest file that nodes read or write.
        max_response_mb: Largest answer that a node's request may get.
        input_room_mb: Nodes with large inputs take turns when these are more than this together; what a worker needs
            for them is a few times as much.
    """

    data_dir: Path
    temporal_address: str | None = None
    namespace: str | None = None
    gateway_url: str = "http://127.0.0.1:8090"
    plugins: tuple[Path, ...] = ()
    queues: tuple[str, ...] = ()
    max_activities: int = 200
    flush_timeout_s: float = 30.0
    stop_grace_s: float = 2.0
    allow_loopback: bool = True
    allow_loopback_http: bool = False
    allow_private: bool = False
    allowed_hosts: tuple[str, ...] = ()
    env_key_hosts: tuple[str, ...] = ()
    result_days: float = 7.0
    result_bytes: int = 256_000_000
    script_processes: int = 2
    script_memory_mb: int = 512
    script_idle_s: float = 60.0
    max_resource_mb: int = 32
    max_response_mb: int = 16
    input_room_mb: int = INPUT_ROOM_MB


def read_settings(environ: Mapping[str, str]) -> WorkerSettings:
    """Build the settings from the environment.

    Raises:
        SettingsError: A value cannot be used; names the key and the value.
        ForeignDataDir: No data directory is named, and that of the current folder may have come with a download.
    """
    defaults = WorkerSettings(Path(".innkeeper"))
    get = _Reader(environ)
    if not environ.get("INNKEEPER_DATA_DIR"):
        check_own(defaults.data_dir)
    return WorkerSettings(
        data_dir=Path(get.text("DATA_DIR", ".innkeeper")).absolute(),
        temporal_address=get.text("TEMPORAL_ADDRESS", "") or None,
        namespace=get.text("NAMESPACE", "") or None,
        gateway_url=get.url("GATEWAY_URL", defaults.gateway_url),
        plugins=tuple(Path(item) for item in get.many("PLUGINS", separator=":")),
        queues=tuple(dict.fromkeys(queue for queue in get.many("QUEUES") if queue != DEFAULT_QUEUE)),
        max_activities=int(get.number("MAX_ACTIVITIES", defaults.max_activities, least=1)),
        flush_timeout_s=get.number("FLUSH_TIMEOUT_S", defaults.flush_timeout_s),
        stop_grace_s=get.number("STOP_GRACE_S", defaults.stop_grace_s),
        allow_loopback=get.flag("ALLOW_LOOPBACK", _serves_this_machine_alone(get, defaults.gateway_url)),
        # The same variable: what differs is what holds without it.
        allow_loopback_http=get.flag("ALLOW_LOOPBACK", defaults.allow_loopback_http),
        allow_private=get.flag("ALLOW_PRIVATE", defaults.allow_private),
        allowed_hosts=get.many("NODE_ALLOWED_HOSTS"),
        env_key_hosts=get.many("ENV_KEY_HOSTS"),
        result_days=get.number("RESULT_DAYS", defaults.result_days),
        result_bytes=int(get.number("RESULT_BYTES", defaults.result_bytes)),
        script_processes=int(get.number("SCRIPT_PROCESSES", defaults.script_processes, least=1)),
        script_memory_mb=int(get.number("SCRIPT_MEMORY_MB", defaults.script_memory_mb, least=64)),
        script_idle_s=get.number("SCRIPT_IDLE_S", defaults.script_idle_s),
        max_resource_mb=int(get.number("MAX_RESOURCE_MB", defaults.max_resource_mb, least=1)),
        max_response_mb=int(get.number("MAX_RESPONSE_MB", defaults.max_response_mb, least=1)),
        input_room_mb=int(get.number("INPUT_ROOM_MB", defaults.input_room_mb, least=1)),
    )


def _serves_this_machine_alone(get: _Reader, default_url: str) -> bool:
    """A socket that listens everywhere is reached under a loopback address, so the host it listens on counts, too."""
    url = get.url("GATEWAY_URL", default_url)
    hosts = [get.text("HOST", ""), urlsplit(url).hostname or ""]
    return all(is_loopback_name(host) for host in hosts if host)


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str) -> str:
        return self._environ.get(f"INNKEEPER_{name}", default)

    def many(self, name: str, separator: str = ",") -> tuple[str, ...]:
        return tuple(item.strip() for item in self.text(name, "").split(separator) if item.strip())

    def url(self, name: str, default: str) -> str:
        text = self.text(name, default).rstrip("/")
        if text and not text.startswith(("http://", "https://")):
            raise SettingsError(f"INNKEEPER_{name} is {text!r}; expected a URL like {default!r}")
        return text

    def number(self, name: str, default: float, least: float = 0) -> float:
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not least <= value < 1e9:
            raise SettingsError(f"INNKEEPER_{name} is {text!r}; expected a number of at least {least:g}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        text = self.text(name, "1" if default else "0").lower()
        if text in ("1", "true", "yes", "on"):
            return True
        if text in ("0", "false", "no", "off", ""):
            return False
        raise SettingsError(f"INNKEEPER_{name} is {text!r}; expected 1 or 0")
