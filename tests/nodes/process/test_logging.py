"""Log lines of gateway and worker: their form, that they hold no secret, and that no line raises."""

from __future__ import annotations

import io
import itertools
import json
import logging
import logging.config
import re
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import uvicorn.config
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.activities.execution.node_reports import NodeLog
from innkeeper.nodes.process.log_values import MAX_LINE_CHARS, MAX_TEXT_CHARS
from innkeeper.nodes.process.logging import (
    Entry,
    JsonFormatter,
    TextFormatter,
    configure,
    log_lines,
    mask_in_log,
    prints_to_log,
)
from innkeeper.nodes.process.redaction import MAX_LEARNED, Redactor
from tests.effort import examples

SECRET = "kn0wn-canary"


def record(message: object, *args: object, **extras: Any) -> logging.LogRecord:
    made = logging.LogRecord("innkeeper.test", logging.INFO, "f.py", 1, message, args, None)
    vars(made).update(extras)
    return made


def as_json(made: logging.LogRecord, *secrets: str) -> dict[str, Any]:
    line = JsonFormatter(Redactor(secrets)).format(made)
    assert len(line.splitlines()) == 1
    return orjson.loads(line)  # type: ignore[no-any-return]


def as_text(made: logging.LogRecord, *secrets: str) -> str:
    line = TextFormatter(Redactor(secrets)).format(made)
    assert line.isprintable()
    return line


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, which gets its former handlers and level back."""
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("canary")

    __repr__ = __str__


class Endless(dict[str, object]):
    """Says at each look that it has one more."""

    def items(self) -> Any:
        return ((number, str(number)) for number in itertools.count())


# --- form ---------------------------------------------------------------------------------------------------------


def test_line_has_time_level_logger_message_and_every_extra() -> None:
    made = record("%s and %d", "this", 2, event="e", count=3, where_to={"a": [1, None]}, nothing=None)
    made.created = 1_700_000_000.1239
    assert as_json(made) == {
        "ts": "2023-11-14T22:13:20.123+00:00",
        "level": "info",
        "logger": "innkeeper.test",
        "message": "this and 2",
        "event": "e",
        "count": 3,
        "where_to": {"a": [1, None]},
    }


def test_text_form_is_one_line_for_people() -> None:
    made = record("it is\n\x1b[31mred\u2028", run="r-1", name_of="two words", count=3)
    made.created = 1_700_000_000.5
    assert as_text(made) == (
        "2023-11-14T22:13:20.500+00:00 INFO    innkeeper.test: it is\\n\\x1b[31mred\\u2028 "
        'run=r-1 name_of="two words" count=3'
    )


def test_lines_of_nodes_name_run_node_and_attempt_in_both_forms(root: logging.Logger) -> None:
    for log_format in ("json", "text"):
        stream = io.StringIO()
        configure("INFO", log_format, stream=stream)  # type: ignore[arg-type]
        NodeLog(logging.getLogger("innkeeper.node"), {"run": "r-1", "node": "g/n", "attempt": 2}).info("chunk %d", 1)
        line = stream.getvalue()
        if log_format == "json":
            told = orjson.loads(line)
            assert (told["run"], told["node"], told["attempt"]) == ("r-1", "g/n", 2)
        else:
            assert line.endswith("innkeeper.node: chunk 1 run=r-1 node=g/n attempt=2\n")


def test_of_an_exception_type_and_place_are_told_and_not_its_text() -> None:
    made = record("it failed", cause=ValueError("canary"))
    try:
        raise ValueError("canary")
    except ValueError:
        made.exc_info = sys.exc_info()
    told = as_json(made)
    assert (told["exception"], told["cause"]) == ("ValueError", "ValueError")
    assert re.fullmatch(r"test_logging.py:\d+ test_of_an_exception_\w+", told["where"][-1])
    assert "canary" not in str(told) + as_text(made)


def test_extra_with_the_name_of_a_field_does_not_replace_it() -> None:
    told = as_json(record("true", level="false", ts="false", logger="false"))
    assert (told["level"], told["logger"]) == ("info", "innkeeper.test")


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ],
)
def test_form_is_text_on_a_terminal_unless_told(
    root: logging.Logger, log_format: Any, stream: io.StringIO, is_json: bool
) -> None:
    configure("warning", log_format, stream=stream)
    logging.getLogger("a").warning("yes")
    logging.getLogger("a").info("no")
    logging.getLogger("httpx").info("no")
    assert stream.getvalue().startswith("{") is is_json
    assert len(stream.getvalue().splitlines()) == 1


# --- secrets ------------------------------------------------------------------------------------------------------


def test_secrets_are_masked_in_extras_of_any_key_and_depth() -> None:
    made = record(
        "m",
        address=f"ws://h/ws?token={SECRET}",
        nested={"list": [{"x": (f"a {SECRET} b", "sk-canary1234")}], SECRET: 1, "number": 12345678},
        headers={"X-Api-Key": "canary", "max_tokens": 5, "password": ["canary"]},
        api_key="canary",
    )
    told = as_json(made, SECRET, "12345678")
    assert "canary" not in str(told)
    assert told["nested"]["number"] == "***"
    assert told["headers"]["max_tokens"] == 5
    assert "canary" not in as_text(made, SECRET, "12345678")


def test_lines_of_uvicorn_are_redacted_even_after_its_own_set_up(root: logging.Logger) -> None:
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    stream = io.StringIO()
    configure("INFO", "json", secrets=(SECRET,), stream=stream)
    logger = logging.getLogger("uvicorn.error")
    logger.info('%s - "WebSocket %s" [accepted]', ("127.0.0.1", 1), f"/ws?token={SECRET}", extra={"color_message": "x"})
    logging.getLogger("uvicorn.access").warning('%s - "%s %s HTTP/%s" %d', "h", "GET", "/a?token=canary", "1.1", 200)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == [
        "('127.0.0.1', 1) - \"WebSocket /ws?token=***\" [accepted]",
        'h - "GET /a?token=*** HTTP/1.1" 200',
    ]
    assert "color_message" not in lines[0]


@pytest.mark.parametrize("before", range(MAX_TEXT_CHARS - len(SECRET) - 2, MAX_TEXT_CHARS + 2))
def test_secret_at_the_cut_of_a_long_message_leaves_no_part(before: int) -> None:
    told = as_json(record("-" * before + SECRET + "-" * 9_000), SECRET)
    assert "kn0" not in told["message"]


# --- nothing raises -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("%d", ("x",), "%d (its arguments cannot be printed)"),
        ("%s %s", ("x",), "%s %s (its arguments cannot be printed)"),
        ("%s", (Broken(),), "%s (its arguments cannot be printed)"),
        (Broken(), (), "<unprintable Broken> (its arguments cannot be printed)"),
        ("lone \udc80", (), "lone \\udc80"),
        (b"bytes", (), "b'bytes'"),
    ],
)
def test_what_cannot_be_printed_is_told_so(message: object, args: tuple[object, ...], expected: str) -> None:
    assert as_json(record(message, *args))["message"] == expected


def test_great_messages_and_extras_are_cut_with_a_note() -> None:
    told = as_json(record("%s", "m" * 10_000_000, big=["x" * 5_000] * 100, more={"a": "b"}, run="r-1"))
    assert told["message"] == "m" * MAX_TEXT_CHARS + "... (10000000 characters, cut)"
    assert len(orjson.dumps(told)) < MAX_LINE_CHARS * 1.5
    assert "further fields are left out" in told["cut"]
    assert told["run"] == "r-1"
    assert as_json(record("m", many=list(range(10**6))))["many"][-1] == "..."


def test_objects_that_go_round_or_never_end_are_cut() -> None:
    ring: list[object] = []
    ring.append(ring)
    told = as_json(record("m", ring=ring, number=10**5000, odd=float("nan"), broken=Broken(), endless=Endless()))
    assert told["number"] == f"<number of {(10**5000).bit_length()} bits>"
    assert (told["odd"], told["broken"]) == ("nan", "<unprintable Broken>")
    assert "..." in str(told["ring"])


ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        st.characters(categories=["Cs"]),
        st.builds(Broken),
        st.builds(ValueError, st.text()),
        st.just(f"with {SECRET} inside"),
        st.sampled_from([SECRET, SECRET.encode(), object, logging]),
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.just(SECRET)), inner),
        st.tuples(inner, inner),
        st.frozensets(st.text()),
    ),
    max_leaves=20,
)


@given(
    st.one_of(st.text(), st.sampled_from(["%s", "%d %s", f"{SECRET} %r", "%(a)s", "%"]), ANYTHING),
    st.lists(ANYTHING, max_size=3),
    st.dictionaries(st.text(), ANYTHING, max_size=4),
)
@examples(600)
def test_any_line_is_one_line_of_json_without_a_secret(
    message: object, args: list[object], extras: dict[str, object]
) -> None:
    standard = vars(logging.makeLogRecord({}))
    made = record(message, *args, **{key: value for key, value in extras.items() if key not in standard})
    told = as_json(made, SECRET)
    assert SECRET not in str(told)
    assert {"ts", "level", "logger", "message"} <= set(told)
    assert told["message"] != "a log line could not be written"
    assert SECRET not in as_text(made, SECRET)


@given(st.text(min_size=4).filter(lambda text: "*" not in text), st.text(), st.text())
@examples(200)
def test_any_known_secret_is_masked(secret: str, before: str, after: str) -> None:
    told = as_json(record("%s", f"{before}{secret}{after}", nested=[{"x": secret}], shown=repr(secret)), secret)
    values = (told["message"], told["nested"][0]["x"], told["shown"])
    assert [value for value in values if secret in value] == []


def test_a_secret_is_masked_in_every_line_from_when_it_is_known(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure("INFO", "json", stream=stream)
    logger = logging.getLogger("some.library")
    logger.info("canary-77")
    mask_in_log(("canary-77",))
    logger.info("canary-77")  # its text was remembered as clean
    mask_in_log(f"other-{number:03}" for number in range(MAX_LEARNED))  # only so many are known at once
    logger.info("canary-77 other-000 other-299")
    messages = [orjson.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert messages == ["canary-77", "***", "canary-77 *** ***"]


def test_what_code_prints_is_a_line_of_the_log(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure("INFO", "json", stream=stream)
    mask_in_log(("canary-77",))
    out = prints_to_log(logging.getLogger("printed"))
    print("half of ", end="", file=out)
    print("canary-77\n\nand more", file=out)
    print("x" * 100_000, end="", file=out)
    messages = [orjson.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert messages[:2] == ["half of ***", "and more"]
    assert len(messages) == 3
    out.buffer.write("bytes, gr\u00fcn\n".encode())
    assert orjson.loads(stream.getvalue().splitlines()[-1])["message"] == "bytes, gr\u00fcn"


def test_a_log_that_cannot_be_written_does_not_call_itself_for_ever(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no space left")

    configure("INFO", "json", stream=Full())
    monkeypatch.setattr(sys, "stderr", prints_to_log(logging.getLogger("printed")))
    print("a line", file=sys.stderr)


# --- many lines at once -------------------------------------------------------------------------------------------


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("nobody reads me")


MANY = [
    Entry(
        logging.INFO, "node executing", {"event": "node_executing", "run": "r1", "node": "a/b\n\u2028", "attempt": 1}
    ),
    Entry(logging.ERROR, "node failed", {"node": f"holds {SECRET}", "attempt": None, "code": "sk-abcdef123456"}),
    Entry(logging.DEBUG, "nobody wants to know", {}),
    Entry(logging.INFO, "odd values", {"a": Odd(), "b": 2**70, "c": float("nan"), "d": [1, {"e": "\ud800"}]}),
    Entry(logging.INFO, "long", {"node": "x" * (2 * MAX_TEXT_CHARS)}),
]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_many_lines_at_once_are_what_they_would_be_one_by_one(root: logging.Logger, log_format: Any) -> None:
    stream, logger = io.StringIO(), logging.getLogger("innkeeper.test.many")
    configure("INFO", log_format, secrets=[SECRET], stream=stream)
    log_lines(logger, MANY)
    at_once = stream.getvalue()
    stream.truncate(stream.seek(0))
    for level, message, fields in MANY:
        logger.log(level, "%s", message, extra=dict(fields))
    moment = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00")
    assert moment.sub("T", at_once) == moment.sub("T", stream.getvalue())
    assert len(at_once.splitlines()) == 4
    assert SECRET not in at_once


def test_who_else_listens_to_a_logger_hears_each_of_many_lines(root: logging.Logger) -> None:
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    stream, logger, listener = io.StringIO(), logging.getLogger("innkeeper.test.heard"), Listener()
    configure("INFO", "json", stream=stream)
    for place in (root, logger):
        place.addHandler(listener)
        log_lines(logger, MANY[:1])
        place.removeHandler(listener)
    assert heard == ["node executing"] * 2
    assert len(stream.getvalue().splitlines()) == 2


def test_many_lines_for_a_stream_that_is_gone_end_nothing(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure("INFO", "json", stream=stream)
    stream.close()
    log_lines(logging.getLogger("innkeeper.test.gone"), MANY)
