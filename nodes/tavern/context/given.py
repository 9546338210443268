"""The inputs of one context, read and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from innkeeper.nodes.tavern.cards import Card, normalise
from innkeeper.nodes.tavern.context.chat import ChatLine, lines_of, read_chat, without_rejected
from innkeeper.nodes.tavern.context.people import AuthorsNote, Persona, read_note, read_persona
from innkeeper.nodes.tavern.context.settings import ContextSettings, whole_number
from innkeeper.nodes.tavern.context.state import ChatState, read_state
from innkeeper.nodes.tavern.context.stored import (
    chat_book_warning,
    first_included,
    last_time,
    note_of,
    state_of,
    with_overrides,
)
from innkeeper.nodes.tavern.documents import CodedWarning, kind_of, warnings_json, with_code
from innkeeper.nodes.tavern.environment import Draw, FormatError
from innkeeper.nodes.tavern.file_kinds import CARD, refuse_other_kind
from innkeeper.nodes.tavern.macros import CardFields, Chat, MacroEnvironment
from innkeeper.nodes.tavern.presets import Preset, read_preset
from innkeeper.nodes.tavern.regex_script import RegexScript, read_scripts
from innkeeper.nodes.tavern.world_info import Books, Settings, WorldBook, book_settings, read_book, read_settings

Inputs = Mapping[str, Any]
DEFAULT_USER = "User"


@dataclass(frozen=True)
class Given:
    """What a context is made from.

    Attributes:
        lines: The chat, hidden messages included, without an answer that was rejected.
        is_new: There is no chat yet.
        first_included, last_time: As in `macros.Chat`.
        scripts: Regex scripts that may run, each with where it came from.
        books, book_settings: World info.
    """

    preset: Preset
    card: Card
    persona: Persona
    note: AuthorsNote
    user: str
    state: ChatState
    lines: tuple[ChatLine, ...]
    scripts: tuple[tuple[str, RegexScript], ...]
    books: Books
    book_settings: Settings
    is_new: bool = True
    first_included: int | None = None
    last_time: datetime | None = None


def read_given(inputs: Inputs, settings: ContextSettings, seed: str, warnings: list[str]) -> Given:
    """Read the slots of core:ContextBuilder. Raises FormatError, which names the input."""
    preset = _read_preset(inputs, settings, warnings)
    with _naming_input("historyMessages"):
        log = read_chat(inputs.get("historyMessages"), warnings)
    card = with_overrides(_read_card(inputs, warnings), log)
    books, chosen = _read_books(inputs, card, settings, warnings)
    lines = without_rejected(lines_of(log), settings.type)
    note = inputs.get("authorsNote")
    if not inputs.get("worldBookData"):
        warnings += chat_book_warning(log)
    return Given(
        preset=preset,
        card=card,
        persona=read_persona(inputs.get("persona")),
        note=note_of(log, warnings) if note is None else read_note(note),
        user=_user_name(inputs.get("userName")) or log.user_name or DEFAULT_USER,
        state=read_state(inputs.get("chatState"), inputs.get("variables"), seed, state_of(log, books.names)),
        lines=lines,
        scripts=_read_scripts(inputs, settings, warnings, preset=preset, card=card),
        books=books,
        book_settings=chosen,
        is_new=not log.messages,
        first_included=first_included(log),
        last_time=last_time(log.messages[: len(lines)]),
    )


def macro_environment(
    given: Given, settings: ContextSettings, *, now: datetime, draw: Draw, outlets: Mapping[str, str]
) -> MacroEnvironment:
    """What macros are made from; they set the variables of `given.state`."""
    card, preset = given.card, given.preset
    fields = CardFields(
        description=card.description,
        personality=card.personality,
        scenario=card.scenario,
        first_mes=card.first_mes,
        alternate_greetings=card.alternate_greetings,
        mes_example=card.mes_example,
        # A text that is not wanted is none: it must not come back by its macro.
        system_prompt=card.system_prompt if settings.prefer_card_prompts else "",
        post_history_instructions=card.post_history_instructions if settings.prefer_card_prompts else "",
        depth_prompt=card.depth_prompt.prompt,
        creator_notes=card.creator_notes,
        character_version=card.character_version,
    )
    return MacroEnvironment(
        user=given.user,
        char=card.char_name,
        character=card.name,
        authors_note=given.note.text,
        persona=given.persona.description,
        group=settings.group,
        card=fields,
        chat=Chat(tuple(line.to_macro() for line in given.lines), given.first_included, given.last_time),
        input=settings.input,
        generation_type=settings.type,
        now=settings.now or now,
        timezone=settings.timezone,
        draw=draw,
        pick_seed=given.state.pick_seed,
        model=settings.model,
        max_prompt=preset.max_context - preset.max_tokens,
        max_context=preset.max_context,
        max_response=preset.max_tokens,
        outlets=outlets,
        local=given.state.variables,
        global_=given.state.global_variables,
    )


def _read_preset(inputs: Inputs, settings: ContextSettings, warnings: list[str]) -> Preset:
    with _naming_input("presetData"):
        preset = read_preset(inputs.get("presetData") or None)
    warnings += with_code("odd_preset", preset.warnings)
    if inputs.get("maxContext") is not None:
        preset = replace(preset, max_context=whole_number(inputs["maxContext"], "'maxContext'", 1))
    return preset if settings.max_tokens is None else replace(preset, max_tokens=settings.max_tokens)


def _read_card(inputs: Inputs, warnings: list[str]) -> Card:
    raw = inputs.get("characterData")
    if raw is None:
        return Card()
    if not isinstance(raw, Mapping):
        raise FormatError(f"'characterData' must be a card, found {kind_of(raw)}")
    with _naming_input("characterData"):
        refuse_other_kind(raw, CARD)
        card = normalise(raw)
    warnings += with_code("odd_card", card.warnings)
    return card


@contextmanager
def _naming_input(place: str) -> Iterator[None]:
    """What is wrong inside is told with the input it is about."""
    try:
        yield
    except FormatError as error:
        if repr(place) in error.message:
            raise
        raise FormatError(f"{place!r}: {error.message}") from None


def _user_name(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FormatError(f"'userName' must be a text, found {kind_of(value)}")
    return value


# --- regex scripts ---


def _read_scripts(
    inputs: Inputs, settings: ContextSettings, warnings: list[str], *, preset: Preset, card: Card
) -> tuple[tuple[str, RegexScript], ...]:
    """Scripts of the user, then of the preset and the card if they may run: those are code of strangers."""
    sources = (
        ("regexScripts", _without_rules(inputs.get("regexScripts"), warnings), True),
        ("preset", preset.regex_scripts, settings.preset_scripts),
        ("card", list(card.regex_scripts), settings.card_scripts),
    )
    scripts: list[tuple[str, RegexScript]] = []
    for source, raw, may_run in sources:
        if raw and may_run:
            with _naming_input("regexScripts" if source == "regexScripts" else f"{source}Data"):
                found, odd = read_scripts(raw)
            warnings += with_code("odd_regex_script", odd)
            scripts += [(source, script) for script in found]
        elif raw:
            told = f"the regex scripts of the {source} do not run; to allow them set '{source}Scripts' in 'settings'"
            warnings.append(CodedWarning("scripts_not_allowed", told))
    return tuple(scripts)


def _without_rules(given: Any, warnings: list[str]) -> Any:
    """The user's scripts without plain rules, which a loader may give among them."""
    if not isinstance(given, list):
        return given
    scripts = [item for item in given if not isinstance(item, Mapping) or "pattern" not in item]
    if left := len(given) - len(scripts):
        told = f"{left} of 'regexScripts' are rules, not scripts, and do not run here; apply them with core:ApplyRegex"
        warnings.append(CodedWarning("rules_not_used", told))
    return scripts


# --- world info ---


def _read_books(inputs: Inputs, card: Card, settings: ContextSettings, warnings: list[str]) -> tuple[Books, Settings]:
    given = _book(inputs.get("worldBookData"), "worldBookData", warnings)
    own = _book(card.character_book if settings.character_book else None, "character_book", warnings)
    if given and own and given[0].name == own[0].name and given[0].raw != own[0].raw:
        # Books are told apart by name; these two only happen to share it.
        own = (replace(own[0], name=f"{own[0].name} (card)"),)
    by_source = {settings.world_book_source: given}
    books = Books(
        global_=by_source.get("global", ()),
        chat=by_source.get("chat", ()),
        persona=by_source.get("persona", ()),
        character=(*own, *by_source.get("character", ())),
    )
    base = book_settings((*given, *own), Settings()) if settings.use_book_settings else Settings()
    return books, read_settings(settings.world_info, base, warnings)


def _book(raw: Any, place: str, warnings: list[str]) -> tuple[WorldBook, ...]:
    if not raw:
        return ()
    name = raw.get("name") if isinstance(raw, Mapping) else None
    with _naming_input(place):
        book = read_book(raw, name if isinstance(name, str) and name else place)
    for warning in warnings_json(book.warnings, "odd_world_book"):
        warnings.append(CodedWarning(warning["code"], f"world book {book.name!r}: {warning['message']}"))
    return (book,)
