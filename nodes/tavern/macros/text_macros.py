"""Macros of text, chance and time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from innkeeper.nodes.tavern.macros.dates import format_date, humanise, parse_date, shifted
from innkeeper.nodes.tavern.macros.definitions import ANY, Call, Macro, local_time
from innkeeper.nodes.tavern.macros.environment import MacroEnvironment, MacroLimit

_COUNT = re.compile(r"\d{1,12}\Z", re.ASCII)
_DICE = re.compile(r"([1-9]\d{0,8})?d([1-9]\d{0,8})([+-]\d{1,9})?\Z", re.IGNORECASE | re.ASCII)
_OFFSET = re.compile(r"UTC([+-]\d{1,6})\Z", re.ASCII)
_MAX_DICE = 1000


def _repeated(letter: str) -> Macro:
    def run(call: Call) -> str | None:
        if not call.arguments:
            return letter
        if not _COUNT.match(call.argument()):
            return None
        count = int(call.argument())
        call.resolver.spend(count)
        return letter * count

    return Macro(run, 0, 1)


def _trim(call: Call) -> str:
    """Scoped: its text without the space around. Alone it stays until all else is done, see `remove_trims`."""
    if call.scoped:
        return call.argument().strip()
    return "" if call.arguments else "{{trim}}"


_TRIM = re.compile(r"\{\{trim\}\}", re.IGNORECASE)


def remove_trims(text: str) -> str:
    """Remove every `{{trim}}` with the newlines right around it."""
    parts = _TRIM.split(text)
    for index in range(len(parts) - 1):
        parts[index] = _without_last_newlines(parts[index])
        parts[index + 1] = _without_first_newlines(parts[index + 1])
    return "".join(parts)


def _without_last_newlines(text: str) -> str:
    end = len(text)
    while end and text[end - 1] == "\n":
        end -= 2 if text[end - 2 : end] == "\r\n" else 1
    return text[:end]


def _without_first_newlines(text: str) -> str:
    start = 0
    while text.startswith(("\n", "\r\n"), start):
        start += 1 if text[start] == "\n" else 2
    return text[start:]


def choices(arguments: tuple[str, ...]) -> list[str]:
    """The items of a list macro. A single argument is a list of its own: by `::`, else by commas (`\\,` is one)."""
    if len(arguments) != 1:
        return list(arguments)
    text = arguments[0]
    if "::" in text:
        return [item.strip() for item in text.split("::")]
    return [item.strip().replace("\\,", ",") for item in re.split(r"(?<!\\),", text)]


def draw_index(environment: MacroEnvironment, count: int) -> int:
    return min(count - 1, max(0, int(environment.draw() * count)))


def _random(call: Call) -> str:
    items = choices(call.arguments)
    return items[draw_index(call.environment, len(items))] if items else ""


def pick(seed: str, source: str, offset: int, items: list[str]) -> str:
    """One of the items, always the same for the same seed, text and place in it."""
    if not items:
        return ""
    words = f"{seed}\0{offset}\0{source}".encode("utf-8", "surrogatepass")
    return items[int.from_bytes(hashlib.sha256(words).digest()[:8], "big") % len(items)]


def _pick(call: Call) -> str:
    return pick(call.environment.pick_seed, call.source, call.offset, choices(call.arguments))


def roll(environment: MacroEnvironment, formula: str, spend: Callable[[int], None]) -> str:
    """Sum of dice such as `3d6+4`, `d6` or `6` (one die of six); '' for anything else. Each die is spent."""
    formula = formula.strip()
    match = _DICE.match(f"1d{formula}" if formula.isdigit() else formula)
    if match is None:
        return ""
    count, sides, plus = int(match[1] or 1), int(match[2]), int(match[3] or 0)
    if count > _MAX_DICE:
        raise MacroLimit(f"a roll has at most {_MAX_DICE} dice, not {count}")
    spend(count)
    return str(sum(1 + draw_index(environment, sides) for _ in range(count)) + plus)


def zone_time(environment: MacroEnvironment, spec: str) -> str:
    """Time of day at an offset such as `UTC+2`; local time when it is no such offset."""
    match = _OFFSET.match(spec)
    return format_date(shifted(environment.now, int(match[1])) if match else local_time(environment), "LT")


def _formatted(pattern: str) -> Macro:
    return Macro(lambda call: format_date(local_time(call.environment), pattern))


def idle(environment: MacroEnvironment) -> str:
    last = environment.chat.last_time
    if last is None:
        return "just now"
    now = local_time(environment)
    return humanise(now - (last if last.tzinfo else last.replace(tzinfo=now.tzinfo)))


def time_difference(environment: MacroEnvironment, left: str, right: str) -> str:
    """How far `left` lies from `right`, in words; "Invalid date" when one of them is no date."""
    zone = local_time(environment).tzinfo
    assert zone is not None, "the clock of macros knows its zone"
    first, second = parse_date(left, zone), parse_date(right, zone)
    if first is None or second is None:
        return "Invalid date"
    return humanise(first - second, suffix=True)


def _difference(call: Call) -> str:
    return time_difference(call.environment, call.argument(0), call.argument(1))


COMMENT = Macro(lambda _call: "", 1, 1)

MACROS: dict[str, Macro] = {
    "newline": _repeated("\n"),
    "space": _repeated(" "),
    "noop": Macro(lambda _call: ""),
    "else": Macro(lambda _call: ""),
    "trim": Macro(_trim, 0, 1),
    "comment": COMMENT,
    "hidden_key": Macro(lambda _call: "", 0, ANY),
    "banned": COMMENT,
    "reverse": Macro(lambda call: call.argument()[::-1], 1, 1),
    "random": Macro(_random, 0, ANY),
    "pick": Macro(_pick, 0, ANY),
    "roll": Macro(lambda call: roll(call.environment, call.argument(), call.resolver.spend), 1, 1),
    "time": Macro(lambda call: zone_time(call.environment, call.argument()), 0, 1),
    "date": _formatted("LL"),
    "weekday": _formatted("dddd"),
    "isotime": _formatted("HH:mm"),
    "isodate": _formatted("YYYY-MM-DD"),
    "datetimeformat": Macro(lambda call: format_date(local_time(call.environment), call.argument()), 1, 1),
    "idle_duration": Macro(lambda call: idle(call.environment)),
    "idleDuration": Macro(lambda call: idle(call.environment)),
    "timeDiff": Macro(_difference, 2, 2),
}
