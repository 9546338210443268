"""Secrets that a command is given: by a file, by stdin, by the name of an environment variable, or made here.

Never as an argument: command lines are seen by other users of the machine.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from innkeeper.gateway.cli.run_command import UsageError

MAX_SECRET_BYTES = 4_096
SCHEMES_IN_BASE64 = ("standard", "svix")


@dataclass(frozen=True)
class SecretSource:
    """One of both. A `file` named `-` is stdin."""

    env: str | None = None
    file: Path | None = None

    def read(self, environment: Mapping[str, str] | None = None) -> str:
        """The secret, without a line end behind it.

        Raises:
            UsageError: There is none. The message does not hold it.
        """
        if self.env is not None:
            found = (os.environ if environment is None else environment).get(self.env)
            if not found:
                raise UsageError(f"the environment variable {self.env!r} of a secret is not set")
            return found
        return _text_of(str(self.file))


def _text_of(name: str) -> str:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_SECRET_BYTES + 1)
        else:
            with Path(name).open("rb") as opened:
                data = opened.read(MAX_SECRET_BYTES + 1)
        text = data.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read the secret in {name!r} ({reason}): check the path") from None
    if not text or len(data) > MAX_SECRET_BYTES:
        raise UsageError(f"the secret in {name!r} must have 1 to {MAX_SECRET_BYTES} bytes, found {len(data)}")
    return text


def read_secrets(sources: Sequence[SecretSource]) -> list[str]:
    """Raises UsageError."""
    if sum(str(source.file) == "-" for source in sources) > 1:
        raise UsageError("stdin can hold one secret only")
    return [source.read() for source in sources]


def new_secret(scheme: str) -> str:
    """A secret that nobody can guess, in the form that senders of a scheme take."""
    if scheme in SCHEMES_IN_BASE64:
        return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    text = secrets.token_hex(32)
    return f"innkeeper:{text}" if scheme == "basic" else text
