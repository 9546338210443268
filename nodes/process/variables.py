"""Names of all environment variables `INNKEEPER_*`, so that a misspelled one is told; needs nothing but the names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

PREFIX = "INNKEEPER_"
TRUE_WORDS = ("1", "true", "yes", "on")
FALSE_WORDS = ("0", "false", "no", "off")

_GATEWAY = (
    "ACCESS_TOKEN ALLOWED_HOSTS ALLOWED_ORIGINS ALLOW_LOOPBACK ALLOW_PRIVATE BLOB_GRACE_S BUDGET_DAY_MONEY "
    "BUDGET_DAY_TOKENS BUDGET_USER_MONEY BUDGET_USER_TOKENS CODEC_ORIGINS COLLECT_EVERY_S DATA_DIR EVENT_BYTES "
    "EVENT_DAYS FLUSH_TIMEOUT_S FULL_SYNC HOST LOG_FORMAT LOG_LEVEL MAX_BODY_BYTES MAX_CONCURRENT_RUNS MAX_FILE_BYTES "
    "MAX_WAITING_RUNS NAMESPACE NODE_ALLOWED_HOSTS PAYLOAD_ENCRYPTION PLUGINS PORT RUN_DAYS RUN_TIMEOUT_S "
    "SEND_TIMEOUT_S TASK_QUEUE TEMPORAL_ADDRESS TEMPORAL_EMBEDDED USAGE_DAYS USER USER_CONCURRENT_REQUESTS "
    "USER_REQUESTS_PER_MINUTE USER_TOKENS_PER_MINUTE WORKER_TOKEN"
)
_WORKER = (
    "ALLOW_LOOPBACK ALLOW_PRIVATE BLOCK_LIMIT_S BUILD_ID DATA_DIR DEPLOYMENT ENV_KEY_HOSTS FLUSH_TIMEOUT_S "
    "GATEWAY_URL HOST INPUT_ROOM_MB LLM_CA_BUNDLE LLM_PROXY LOG_FORMAT LOG_LEVEL MAX_ACTIVITIES MAX_CACHED_WORKFLOWS "
    "MAX_RESOURCE_MB MAX_RESPONSE_MB NAMESPACE NODE_ALLOWED_HOSTS NODE_MEMORY_MB PAYLOAD_ENCRYPTION PLUGINS QUEUES "
    "RESULT_BYTES RESULT_DAYS SCRIPT_IDLE_S SCRIPT_MEMORY_MB SCRIPT_PROCESSES STOP_GRACE_S TEMPORAL_ADDRESS "
    "TEMPORAL_EMBEDDED WORKER_TOKEN"
)
GATEWAY_VARIABLES = frozenset(PREFIX + name for name in _GATEWAY.split())
"""Those of `gateway.settings`: a worker must know them too, and may not import that module; nor may a gateway's."""
WORKER_VARIABLES = frozenset(PREFIX + name for name in _WORKER.split())


@dataclass(frozen=True)
class OtherVariable:
    """A variable that belongs to no settings class."""

    name: str
    meaning: str
    allowed: str
    default: str | int | None = None
    is_secret: bool = False


OTHER_VARIABLES = (
    OtherVariable(
        "INNKEEPER_SECRET_KEY",
        "Encrypts stored secrets; gateway and workers need the same. Without it `secret.key` in the data directory is "
        "used, and made when missing.",
        "text of at least 32 characters",
        is_secret=True,
    ),
    OtherVariable(
        "INNKEEPER_CHANNEL_ENV",
        "Names of environment variables that channels may take as keys; `*` stands for any characters. Those of "
        "Innkeeper itself are never offered.",
        "names separated by commas",
        "*_API_KEY",
    ),
    OtherVariable(
        "INNKEEPER_URL",
        "The gateway that commands use. Without it the one that runs on the data directory.",
        "an http or https URL",
    ),
    OtherVariable(
        "INNKEEPER_WORKER_PROCESSES",
        "Number of worker processes of `innkeeper up` and `innkeeper worker`.",
        "a whole number between 1 and 64",
        1,
    ),
    OtherVariable(
        "INNKEEPER_LIFE_FILE",
        "Set by a supervisor for its children: the file whose time shows that their event loop runs.",
        "a path",
    ),
    OtherVariable(
        "INNKEEPER_DEBUG",
        "With any value, an error inside a command shows its traceback.",
        "text",
    ),
)
KNOWN_VARIABLES = GATEWAY_VARIABLES | WORKER_VARIABLES | {variable.name for variable in OTHER_VARIABLES}


def unknown_variables(names: Iterable[str]) -> list[str]:
    """A sentence about each name that begins like ours and is none of ours, with the nearest one that is."""
    return [_sentence(name) for name in sorted(names) if name.startswith(PREFIX) and name not in KNOWN_VARIABLES]


def _sentence(name: str) -> str:
    nearest = difflib.get_close_matches(name.upper(), sorted(KNOWN_VARIABLES), n=1, cutoff=0.75)
    hint = f"did you mean {nearest[0]}?" if nearest else "'innkeeper settings' lists those that are known"
    return f"the variable {name} is not known and has no effect: {hint}"
