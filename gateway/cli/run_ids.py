"""Which runs somebody means: by id, by the beginning of one, by `last`, or all from before some time."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from innkeeper.gateway.client import GatewayClient
from innkeeper.nodes.errors import InnkeeperError

LAST = "last"
WHOLE_ID = 20
"""An id of so many characters is taken as it is."""
SEARCHED = 500
MAX_NAMED = 5
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class UnclearRun(InnkeeperError):
    """What was typed means no run, or several."""

    code = "usage"


async def find_run(client: GatewayClient, text: str) -> str:
    """The id of the run that somebody means. Raises UnclearRun."""
    if len(text) >= WHOLE_ID:
        return text
    return match_run(text, [*await client.active(), *await client.history(SEARCHED)])


def match_run(text: str, runs: Iterable[Mapping[str, Any]]) -> str:
    """The id among `runs` that `text` means; `text` itself when it begins none of them. Raises UnclearRun."""
    by_id = {str(run["promptId"]): run for run in runs}
    if text == LAST:
        if not by_id:
            raise UnclearRun("there is no run yet; 'innkeeper run FILE' starts one")
        return max(by_id, key=lambda run: submitted(by_id[run]))
    fitting = [run for run in by_id if run.startswith(text)]
    if text in by_id or not fitting:
        return text
    if len(fitting) > 1:
        named = ", ".join(fitting[:MAX_NAMED]) + (", ..." if len(fitting) > MAX_NAMED else "")
        raise UnclearRun(f"{text!r} begins {len(fitting)} ids of runs; write more of one: {named}")
    return fitting[0]


def before_moment(text: str, now: datetime.datetime, option: str = "--before") -> datetime.datetime:
    """The moment that `7d`, `12h` or a date means. Raises UnclearRun, which names the option."""
    if span := span_of(text):
        with contextlib.suppress(OverflowError):
            return now - span
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        raise UnclearRun(f"{option} {text!r} is not understood: write 7d, 12h, 30m or 2026-01-31") from None
    return moment if moment.tzinfo else moment.astimezone()


def span_of(text: str) -> datetime.timedelta | None:
    """The time that `7d` or `12h` means; None for what means none."""
    found = _SPAN.fullmatch(text.strip().lower())
    try:
        return found and datetime.timedelta(seconds=float(found[1]) * _SECONDS[found[2]])
    except OverflowError:
        return None


def older(runs: Iterable[Mapping[str, Any]], moment: datetime.datetime) -> list[str]:
    """Ids of the runs that were submitted before a moment."""
    return [str(run["promptId"]) for run in runs if submitted(run) < moment.timestamp()]


def submitted(run: Mapping[str, Any]) -> float:
    """When a run was submitted, in seconds since 1970; 0.0 when it is not told."""
    moment = run.get("submittedAt")
    if isinstance(moment, int | float):
        return moment / 1000
    try:
        return datetime.datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return 0.0


async def wanted_runs(
    client: GatewayClient, texts: Sequence[str], before: str | None, runs: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The runs that are named, or those of `runs` from before some time. Raises UnclearRun."""
    if bool(texts) == (before is not None):
        raise UnclearRun("name runs, or say --before 7d")
    if before is not None:
        return older(runs, before_moment(before, datetime.datetime.now(datetime.UTC)))
    return list(dict.fromkeys([await find_run(client, text) for text in texts]))
