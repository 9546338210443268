"""The log of gateway and worker: one line per record on stderr, as JSON or as text, redacted, and nothing that raises.

`{"ts", "level", "logger", "message", ...extras}`; of an exception `exception` (its type) and `where`, since its text
may be content of a user. It lives in `nodes` because both processes may import only that.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import logging
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Any, Literal, NamedTuple, TextIO

import orjson

from innkeeper.nodes.process.log_values import JsonValue, LogValues
from innkeeper.nodes.process.redaction import Redactor

LogFormat = Literal["json", "text", "auto"]
Line = dict[str, JsonValue]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# uvicorn's coloured copy of the message, and the connection that the library websockets hands on.
_NO_EXTRAS = _STANDARD | {"color_message", "websocket"}
_WITH_OWN_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access")
_NOISY = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "openai", "websockets", "alembic"),
    "uvicorn.access",
)
_FIRST = ("event", "run", "node", "attempt")
_FRAMES = 12
MAX_PRINTED_BYTES = 65_536
"""Of a line that does not end."""
# Ends of lines that JSON leaves as they are, but by which some readers of lines split.
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self.redact = redact

    def format(self, record: logging.LogRecord) -> str:
        try:
            return self.render(line_of(record, LogValues(self.redact)))
        except Exception:  # losing one line must not end what wrote it
            return self.render({"level": "error", "logger": "innkeeper", "message": "a log line could not be written"})

    def render(self, line: Line) -> str:
        text = orjson.dumps(line).decode()
        return text if text.isascii() else text.translate(_LINE_ENDS)


class TextFormatter(JsonFormatter):
    """The same line for a terminal: `time LEVEL logger: message key=value ...`, control characters escaped."""

    def render(self, line: Line) -> str:
        head = f"{line.get('ts', '')} {str(line['level']).upper():<7} {line['logger']}: {line['message']}"
        extras = (f"{key}={_word(value)}" for key, value in line.items() if key not in _HEAD)
        return _printable(" ".join((head, *extras)))


_HEAD = frozenset({"ts", "level", "logger", "message"})


def line_of(record: logging.LogRecord, values: LogValues) -> Line:
    """What a record says, as JSON values. Extras that are None are left out; none replaces a field of ours."""
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    line: Line = {
        "ts": moment.isoformat(timespec="milliseconds"),
        "level": values.text(str(record.levelname).lower()),
        "logger": values.text(str(record.name)),
        "message": _message(record, values),
    }
    if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
        line["exception"] = values.text(record.exc_info[0].__name__)
        line["where"] = values.value(places(record.exc_info[2]))
    for key, value in _extras(record):
        if values.are_full:
            line["cut"] = "further fields are left out: the line is too long"
            break
        name, plain = values.member(key, value)
        line.setdefault(name, plain)
    return line


def _extras(record: logging.LogRecord) -> list[tuple[object, object]]:
    """What the line is about comes first, so that no large extra crowds it out."""
    given = {name: value for name, value in vars(record).items() if name not in _NO_EXTRAS and value is not None}
    first = [(name, given.pop(name)) for name in _FIRST if name in given]
    return [*first, *given.items()]


def places(trace: TracebackType | None) -> list[str]:
    """The stack of an exception as `file:line function`, innermost last, without source lines."""
    frames = list(traceback.walk_tb(trace))[-_FRAMES:]
    return [f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{line} {frame.f_code.co_name}" for frame, line in frames]


def configure(
    level: str = "INFO", log_format: LogFormat = "auto", *, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Send every logger of this process to one stream. Calling it again replaces the former set-up.

    Args:
        level: A name of the standard library's levels.
        log_format: `auto` writes text to a terminal, JSON elsewhere.
        secrets: Values to mask wherever they stand.
        stream: Standard error when not given.
    """
    target = sys.stderr if stream is None else stream
    as_text = log_format == "text" or (log_format == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter((TextFormatter if as_text else JsonFormatter)(Redactor(secrets)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _WITH_OWN_HANDLERS:  # as uvicorn's default set-up makes them: their lines would pass our redactor by
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def mask_in_log(secrets: Iterable[str]) -> None:
    """Mask these values in every line of this process from here on, whoever logs it."""
    secrets = tuple(secrets)
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, JsonFormatter):
            handler.formatter.redact.learn(secrets)


def prints_to_log(logger: logging.Logger) -> TextIO:
    """A stream for `sys.stdout` and `sys.stderr`: what code prints becomes lines of the log, redacted and bounded as
    all others."""
    return io.TextIOWrapper(_LogLines(logger), encoding="utf-8", errors="backslashreplace", write_through=True)


PRINTED_BY: ContextVar[Mapping[str, object]] = ContextVar("printed_by", default=MappingProxyType({}))
"""Fields of the lines that are printed in this context: run, node and attempt, where a node runs."""


class _LogLines(io.BufferedIOBase):
    name = "<log>"

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._open = b""
        self._is_writing = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2  # for code that hands the stream to the system, as faulthandler does

    def write(self, data: Any) -> int:
        *lines, self._open = (self._open + bytes(data)).split(b"\n")
        if len(self._open) > MAX_PRINTED_BYTES:
            lines, self._open = [*lines, self._open], b""
        # `logging` prints to stderr what goes wrong while it writes a line.
        if not self._is_writing:
            self._is_writing = True
            try:
                for line in filter(bytes.strip, lines):
                    self._logger.info("%s", line.decode(errors="backslashreplace"), extra=dict(PRINTED_BY.get()))
            finally:
                self._is_writing = False
        return len(data)


class Entry(NamedTuple):
    """One line: `fields` are its extras, whose names are no secret's; those that are None are left out."""

    level: int
    message: str
    fields: Mapping[str, object]


def log_lines(logger: logging.Logger, entries: Sequence[Entry]) -> None:
    """Log many lines at once, as `logger.log` would one by one, at a fifth of its price.

    A wide run has thousands in a second, and the standard library makes a record, walks all loggers and writes to the
    stream for each.
    """
    if not entries:
        return
    handler = _only_handler(logger)
    if handler is None or not _write(handler, logger, entries):
        for level, message, fields in entries:
            logger.log(level, "%s", message, extra=dict(fields))


def _only_handler(logger: logging.Logger) -> logging.StreamHandler[TextIO] | None:
    """That of `configure`, if nobody else looks at the lines of this logger."""
    handlers = logging.getLogger().handlers
    above: logging.Logger | None = logger
    while above is not None:
        if above.filters or (above.parent and (above.handlers or not above.propagate)):
            return None
        above = above.parent
    only = handlers[0] if len(handlers) == 1 else None
    if type(only) is not logging.StreamHandler or only.filters or not isinstance(only.formatter, JsonFormatter):
        return None
    return only


def _write(handler: logging.StreamHandler[TextIO], logger: logging.Logger, entries: Iterable[Entry]) -> bool:
    """False: nothing was written."""
    formatter = handler.formatter
    assert isinstance(formatter, JsonFormatter)
    moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    try:
        lines = [
            formatter.render(_line(entry, moment, logger.name, LogValues(formatter.redact))) + handler.terminator
            for entry in entries
            if logger.isEnabledFor(entry.level) and entry.level >= handler.level
        ]
    except Exception:  # one by one, those that can be written are
        return False
    with handler.lock or contextlib.nullcontext(), contextlib.suppress(OSError, ValueError):  # a stream that is gone
        handler.stream.write("".join(lines))
        handler.flush()
    return True


def _line(entry: Entry, moment: str, name: str, values: LogValues) -> Line:
    """As `line_of`, of what needs less care."""
    line: Line = {
        "ts": moment,
        "level": logging.getLevelName(entry.level).lower(),
        "logger": name,
        "message": values.text(entry.message),
    }
    for key, value in entry.fields.items():
        if value is not None:
            line[key] = values.value(value)
    return line


def _message(record: logging.LogRecord, values: LogValues) -> str:
    try:
        return values.text(record.getMessage())
    except Exception:  # arguments that do not fit, or whose __str__ fails
        return values.text(f"{values.value(record.msg)} (its arguments cannot be printed)")


def _word(value: JsonValue) -> str:
    """A value as one word, quoted where a reader could not tell its end."""
    if isinstance(value, str) and value.isprintable() and value and not any(mark in value for mark in ' "='):
        return value
    return json.dumps(value, ensure_ascii=False)


def _printable(text: str) -> str:
    """Escapes line ends and what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
