"""A frame of the gateway, read from bytes: checked as a whole, so that nothing of an unreadable one is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from innkeeper.nodes.worker_protocol import MAX_START_BYTES

MAX_COUNT = 2**53
"""What every reader of JSON can count to; the next request for a stream repeats such numbers."""
MAX_TOKEN_CHARS = 200
MAX_REQUEST_CHARS = (MAX_START_BYTES + 2) // 3 * 4
"""A request to start a run, in base64."""
ANSWERS = frozenset({"ok", "fenced", "finished"})


class MalformedFrame(ValueError):
    """The gateway sent what this worker cannot read."""


def read_frame(data: bytes | str, last_n: int) -> dict[str, Any]:
    """One frame with fields that the parts of the link can take as they are. Unknown keys are left alone.

    Args:
        last_n: The number of the worker's newest message: more cannot be acknowledged.

    Raises:
        MalformedFrame: No JSON object, or a field that is not as docs/worker-protocol.md has it.
    """
    try:
        frame = orjson.loads(data)
    except ValueError as error:  # also half characters in a text frame
        raise MalformedFrame("it is not JSON") from error
    _need(isinstance(frame, dict), "it is not an object")
    for n, answer in _object(frame, "replies").items():
        _need(n.isascii() and n.isdecimal() and len(n) < 20, "replies: a key is not a number")
        _check_answer(answer)
    for fenced in _items(frame, "fenced"):
        _need(isinstance(fenced, list) and len(fenced) == 3, "fenced: not run, path and epoch")
        run, path, epoch = fenced
        _need(isinstance(run, str) and isinstance(path, str) and _is_epoch(epoch), "fenced: not run, path and epoch")
    for block in _items(frame, "streams"):
        _check_block(block)
    if "ack" in frame:
        _need(_is_count(frame["ack"]) and frame["ack"] <= last_n, "ack: not the number of a message that was sent")
    if "drain" in frame:
        token = frame["drain"]
        _need(_is_count(token) or (isinstance(token, str) and len(token) <= MAX_TOKEN_CHARS), "drain: not a token")
    if "interrupted" in frame:
        runs = frame["interrupted"]
        _need(isinstance(runs, list) and all(isinstance(run, str) for run in runs), "interrupted: not a list of runs")
    if "reload" in frame:
        token = frame["reload"]
        _need(isinstance(token, str) and len(token) <= MAX_TOKEN_CHARS, "reload: not a token")
    for start in _items(frame, "starts"):
        _check_start(start)
    return frame  # type: ignore[no-any-return]  # checked above


def _check_answer(answer: Any) -> None:
    status = answer.get("s") if isinstance(answer, dict) else None
    _need(isinstance(status, str) and status in ANSWERS, f"replies: s is none of {sorted(ANSWERS)}")
    _need(all(_is_count(answer.get(key) or 0) for key in ("next", "used")), "replies: next or used is not a number")
    _need(isinstance(answer.get("text") or "", str), "replies: text is not a text")
    _need(isinstance(answer.get("outputs"), dict | None), "replies: outputs is not an object")
    _check_kept(_object(answer, "kept"))


def _check_kept(kept: dict[str, Any]) -> None:
    _need(all(isinstance(kept.get(key) or "", str) for key in ("text", "reasoning")), "kept: text is not a text")
    _need(all(isinstance(kind, str) for kind in _items(kept, "kinds")), "kept: a kind is not a text")
    legs = all(isinstance(leg, list) and len(leg) == 2 and all(map(_is_count, leg)) for leg in _items(kept, "legs"))
    _need(legs, "kept: a leg is not an attempt and a number of characters")


def _check_block(block: Any) -> None:
    _need(isinstance(block, dict) and isinstance(block.get("id"), str), "streams: a block has no id")
    _need(block.get("origin") is None or _is_epoch(block["origin"]), "streams: origin is not an epoch")
    _need(_is_count(block.get("i", 0)), "streams: i is not a number")
    for chunk in _items(block, "chunks"):
        _need(isinstance(chunk, dict) and isinstance(chunk.get("type"), str), "streams: a chunk has no type")
    if (end := block.get("end")) is not None:
        _need(isinstance(end, dict) and isinstance(end.get("type"), str), "streams: an end has no type")
        _need(isinstance(end.get("error"), dict | None), "streams: an error is not an object")


def _check_start(start: Any) -> None:
    _need(isinstance(start, dict) and isinstance(start.get("run"), str), "starts: a start names no run")
    _need(len(start["run"]) <= MAX_TOKEN_CHARS and _is_count(start.get("until")), "starts: run or until is too large")
    request = start.get("request")
    _need(isinstance(request, str) and len(request) <= MAX_REQUEST_CHARS, "starts: request is not a text, or too long")


def _items(frame: dict[str, Any], key: str) -> Iterator[Any]:
    items = frame.get(key)
    _need(isinstance(items, list | None), f"{key} is not a list")
    yield from items or ()


def _object(frame: dict[str, Any], key: str) -> dict[str, Any]:
    value = frame.get(key)
    _need(isinstance(value, dict | None), f"{key} is not an object")
    return value or {}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _is_epoch(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_count(part) for part in value)


def _need(is_met: bool, problem: str) -> None:
    if not is_met:
        raise MalformedFrame(problem)
