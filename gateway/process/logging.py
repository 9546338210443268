"""Structured log lines: one JSON object per line, with run id and node path, without content and without secrets."""

from __future__ import annotations

import datetime
import logging
import re
import sys
import traceback
from typing import Any

import orjson

MASK = "***"
# Words that keys and tokens hide behind, in URLs, headers and JSON.
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"), r"\1 " + MASK),
    (re.compile(r"\b(sk|pk|rk)-[A-Za-z0-9_-]{6,}"), MASK),
    (
        re.compile(
            r"""(?i)(["']?(?:api[_-]?key|access[_-]?token|token|secret|password|authorization)["']?\s*[=:]\s*)"""
            r"""(["']?)[^\s"'&,}]+"""
        ),
        r"\1\2" + MASK,
    ),
)
# Every match of the patterns holds one of these: most texts hold none, and asking that is much cheaper.
_SIGNS = ("bearer", "basic", "sk-", "pk-", "rk-", "key", "token", "secret", "password", "authorization")
_FIELDS = ("event", "run", "node", "status", "code", "reference", "attempt", "where", "count")


def redact(text: str) -> str:
    """The text without anything that looks like a key, a token or a password."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class Redact(logging.Filter):
    """Masks secrets in the message and the known fields of a record; `known` values wherever they stand."""

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._known = tuple(value for value in known if value)

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = record.getMessage()
        record.args = None
        texts = {name: value for name in ("msg", *_FIELDS) if isinstance(value := getattr(record, name, None), str)}
        if self._is_suspect("\n".join(texts.values())):
            vars(record).update({name: self._clean(text) for name, text in texts.items()})
        return True

    def _is_suspect(self, text: str) -> bool:
        folded = text.casefold()
        return any(sign in folded for sign in _SIGNS) or any(value in text for value in self._known)

    def _clean(self, text: str) -> str:
        for value in self._known:
            text = text.replace(value, MASK)
        return redact(text)


class JsonLines(logging.Formatter):
    """`{"ts", "level", "logger", "message", ...fields}`. Of exceptions type and place: their text may be content."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "ts": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in _FIELDS if getattr(record, name, None) is not None})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["where"] = places(record.exc_info[2])
        return orjson.dumps(line, default=str).decode()


def places(trace: Any) -> list[str]:
    """The stack of an exception as `file:line function`, innermost last, without source lines."""
    frames = traceback.extract_tb(trace)[-12:]
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]


def configure(level: str = "INFO", known_secrets: tuple[str, ...] = ()) -> None:
    """Send every logger of this process to stderr as JSON lines. Calling it again replaces the former set-up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(Redact(known_secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("httpx", "httpcore", "aiosqlite", "alembic", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
