"""The entries of all books in use, in the order in which they are considered, with their keys made ready."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, count

from innkeeper.nodes.tavern.environment import JsPattern
from innkeeper.nodes.tavern.world_info.book import WorldBook
from innkeeper.nodes.tavern.world_info.decorators import ACTIVATE, DONT_ACTIVATE, Orders, is_v3, obey, split_decorators
from innkeeper.nodes.tavern.world_info.entry import Entry
from innkeeper.nodes.tavern.world_info.keys import JS_SPACE, Probe, split_regex
from innkeeper.nodes.tavern.world_info.matching import MARK
from innkeeper.nodes.tavern.world_info.result import Reason
from innkeeper.nodes.tavern.world_info.scan import Books, Scan
from innkeeper.nodes.tavern.world_info.settings import Settings, Strategy


@dataclass(slots=True)
class SlowKey:
    """A key that cannot be looked up in parts of the text: a regular expression, or one with macros.

    Attributes:
        dynamic: It holds macros and is read anew every time.
        is_regex: It is written like a regular expression.
        pattern: That expression, once it was needed.
    """

    text: str
    dynamic: bool = False
    is_regex: bool = False
    pattern: JsPattern | None = None


Key = Probe | SlowKey


@dataclass(slots=True, eq=False)
class Candidate:
    """An entry in this activation. `index` is its place in the order; `content` is without decorators.

    Attributes:
        reason: Why it is active or (so far) not.
        blocked: It stands no chance in this activation.
        failed: It lost its roll, which is not repeated.
        expanded: The macros of `content` are expanded.
        additional: Lists of keys of which one each must match; `excluded` are keys that must not (V3 decorators).
    """

    index: int
    book: str
    entry: Entry
    content: str
    decorators: tuple[str, ...]
    primary: tuple[Key, ...] = ()
    secondary: tuple[Key, ...] = ()
    reason: Reason = Reason.NO_KEY_MATCH
    detail: str = ""
    blocked: bool = False
    active: bool = False
    failed: bool = False
    expanded: bool = False
    inserted: bool = False
    tokens: int = 0
    groups: tuple[str, ...] = ()
    orders: Orders | None = None
    additional: tuple[tuple[Key, ...], ...] = ()
    excluded: tuple[Key, ...] = ()

    @property
    def key(self) -> str:
        """Identifies the entry, also in the state of timed effects."""
        return f"{self.book}.{self.entry.uid}"

    @property
    def logic(self) -> int:
        return self.entry.selective_logic

    @property
    def has_secondary(self) -> bool:
        return self.entry.selective and bool(self.secondary)

    @property
    def activates_itself(self) -> bool:
        return ACTIVATE in self.decorators

    @property
    def never_activates(self) -> bool:
        return DONT_ACTIVATE in self.decorators

    @property
    def all_keys(self) -> tuple[Key, ...]:
        if self.orders is None:
            return (*self.primary, *self.secondary)
        return (*self.primary, *self.secondary, *chain.from_iterable(self.additional), *self.excluded)

    @property
    def is_open(self) -> bool:
        return not (self.blocked or self.active or self.failed)

    def set_reason(self, reason: Reason, detail: str = "") -> None:
        self.reason, self.detail = reason, detail


def candidates_of(scan: Scan) -> list[Candidate]:
    """Every entry of every book in use, once, in the order of budget and evaluation."""
    ordered = _ordered(scan.books, scan.settings)
    return [_candidate(index, book, entry, scan.settings) for index, (book, entry) in enumerate(ordered)]


def _ordered(books: Books, settings: Settings) -> list[tuple[str, Entry]]:
    used: dict[str, WorldBook] = {}
    global_ = _entries(books.global_, used)
    chat = _entries(books.chat, used)
    persona = _entries(books.persona, used)
    character = _entries(books.character, used)
    if settings.character_strategy == Strategy.EVENLY:
        rest = _by_order(global_ + character)
    elif settings.character_strategy == Strategy.GLOBAL_FIRST:
        rest = _by_order(global_) + _by_order(character)
    else:
        rest = _by_order(character) + _by_order(global_)
    return _by_order(chat) + _by_order(persona) + rest


def _entries(books: Iterable[WorldBook], used: dict[str, WorldBook]) -> list[tuple[str, Entry]]:
    """Entries of books not used yet. Another book of a name that is taken goes by `name (2)`."""
    found: list[tuple[str, Entry]] = []
    for book in books:
        name = _free_name(book, used)
        if name is not None:
            used[name] = book
            found.extend((name, entry) for entry in book.entries)
    return found


def _free_name(book: WorldBook, used: dict[str, WorldBook]) -> str | None:
    name = book.name
    for number in count(2):
        if name not in used:
            return name
        if used[name].entries == book.entries:
            return None
        name = f"{book.name} ({number})"
    return None


def _by_order(entries: list[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    return sorted(entries, key=lambda pair: -pair[1].order)


def _candidate(index: int, book: str, entry: Entry, settings: Settings) -> Candidate:
    candidate = _plain_candidate(index, book, entry, settings)
    if not settings.v3_decorators or not entry.content.startswith("@@"):
        return candidate
    decorators, _ = split_decorators(entry.content, is_v3)
    changed, orders = obey(entry, decorators)
    return replace(
        candidate,
        entry=changed,
        decorators=decorators,
        orders=orders,
        additional=tuple(_keys(changed, texts, settings) for texts in orders.additional),
        excluded=_keys(changed, orders.excluded, settings),
    )


def _plain_candidate(index: int, book: str, entry: Entry, settings: Settings) -> Candidate:
    decorators, content = split_decorators(entry.content)
    return Candidate(
        index,
        book,
        entry=entry,
        content=content,
        decorators=decorators,
        primary=_keys(entry, entry.keys, settings),
        secondary=_keys(entry, entry.secondary_keys, settings),
        groups=split_groups(entry.group) if entry.group else (),
    )


def split_groups(group: str) -> tuple[str, ...]:
    """Names of a comma list. White space after a comma is no part of a name, other white space is."""
    first, *others = group.split(",")
    return tuple(name for name in (first, *(other.lstrip(JS_SPACE) for other in others)) if name)


def _keys(entry: Entry, texts: tuple[str, ...], settings: Settings) -> tuple[Key, ...]:
    if not texts:
        return ()
    case_sensitive, whole_words = matching_of(entry, settings)
    return tuple([ready_key(text, case_sensitive, whole_words) for text in texts])


def matching_of(entry: Entry, settings: Settings) -> tuple[bool, bool]:
    """Whether case counts for the keys of an entry, and whether they are whole words."""
    return (
        settings.case_sensitive if entry.case_sensitive is None else entry.case_sensitive,
        settings.match_whole_words if entry.match_whole_words is None else entry.match_whole_words,
    )


def ready_key(text: str, case_sensitive: bool, whole_words: bool, *, expanded: bool = False) -> Key:
    """A key as it will be tested. `expanded` says that macros in it are no longer to be looked for."""
    if not expanded and ("{{" in text or "<" in text or "\\{" in text):
        return SlowKey(text, dynamic=True)
    text = text.strip(JS_SPACE)
    if text.startswith("/") and split_regex(text) is not None:
        return SlowKey(text, is_regex=True)
    # A key with a mark reaches over the border of two messages.
    return SlowKey(text) if not text or MARK in text else Probe.of(text, case_sensitive, whole_words)
