"""Which kind of file a JSON document is, so that the wrong one is refused by its name instead of passing as empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from innkeeper.nodes.tavern.documents import parse_json
from innkeeper.nodes.tavern.environment import FormatError

Json = Mapping[str, Any]


@dataclass(frozen=True)
class FileKind:
    """A kind of document. `loader` is the node type that reads it; '' when none does, then `advice` says more."""

    name: str
    loader: str = ""
    advice: str = ""


CARD = FileKind("a character card", "core:CharacterCardLoader")
BOOK = FileKind("a world book", "core:WorldBookLoader")
PRESET = FileKind("a chat-completion preset", "core:PresetLoader")
REGEX = FileKind("a file of regex scripts or rules", "core:RegexRuleLoader")
CHAT = FileKind("a chat", "core:HistoryLoader")
TEXT_COMPLETION = FileKind(
    "a text-completion preset (context, instruct, system prompt or sampler settings)",
    advice="no node reads it; export a chat-completion preset",
)
WORKFLOW = FileKind("a workflow", advice="run it, or use it as a group")
QUICK_REPLIES = FileKind("a set of quick replies", advice="no node reads it")
PERSONAS = FileKind("a backup of personas", advice="no node reads it; put a persona's text into 'persona'")
THEME = FileKind("a theme", advice="no node reads it")

_CARD_ONLY = ("first_mes", "mes_example")
_CARD_FIELDS = ("description", "personality", "scenario", "system_prompt")
_OLD_CARD_FIELDS = ("char_name", "char_persona", "char_greeting")


def file_kind(value: Any) -> FileKind | None:
    """The kind of a document; None when it is none that is known. Of several that fit the most telling one."""
    return next(_kinds(value), None)


def refuse_other_kind(value: Any, *expected: FileKind) -> None:
    """Raise FormatError when the document is of a known kind and of none that is expected. Says who reads it."""
    kinds = [*_kinds(value)]
    if not kinds or not set(kinds).isdisjoint(expected):
        return
    advice = f"load it with {kinds[0].loader}" if kinds[0].loader else kinds[0].advice
    raise FormatError(f"this is {kinds[0].name}, not {expected[0].name}: {advice}")


def _kinds(value: Any) -> Iterator[FileKind]:
    """All kinds that a document may be of: an exported chat may have a name and a scenario, as a card has."""
    if isinstance(value, Mapping):
        yield from (kind for kind, fits in _KINDS if fits(value))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        # All items must agree: one odd item says nothing about the file.
        yield from (kind for kind, fits in _KINDS_OF_ITEMS if all(fits(item) for item in value))


def parse_document(text: str, *expected: FileKind) -> Any:
    """`parse_json` for a file that should be of one of these kinds.

    Raises:
        FormatError: Not JSON, or a document of another known kind, also a chat, which has one JSON object a line.
    """
    try:
        value = parse_json(text)
    except FormatError:
        refuse_other_kind(_first_line(text), *expected)
        raise
    refuse_other_kind(value, *expected)
    return value


def _first_line(text: str) -> Any:
    line, _, rest = text.strip().partition("\n")
    try:
        return parse_json(line) if rest else None
    except FormatError:
        return None


def _is_regex(item: Json) -> bool:
    return "findRegex" in item or ("pattern" in item and "replacement" in item)


def _is_chat_line(item: Json) -> bool:
    return "mes" in item or ("role" in item and "content" in item) or _is_chat_header(item)


def _is_chat_header(item: Json) -> bool:
    return "chat_metadata" in item or ("user_name" in item and "character_name" in item)


def _is_book_entry(item: Json) -> bool:
    return "content" in item and ("key" in item or "keys" in item)


def _is_card(document: Json) -> bool:
    if str(document.get("spec")).startswith("chara_card"):
        return True
    persona = document.get("persona")
    if any(key in document for key in _OLD_CARD_FIELDS) or (isinstance(persona, Mapping) and "attributes" in persona):
        return True
    data = document.get("data")
    fields = data if isinstance(data, Mapping) and "name" not in document else document
    return any(key in fields for key in _CARD_ONLY) or ("name" in fields and any(key in fields for key in _CARD_FIELDS))


def _is_book(document: Json) -> bool:
    data = document.get("data")
    return (
        isinstance(document.get("entries"), Mapping | list)
        or "lorebookVersion" in document
        or document.get("spec") == "lorebook_v3"
        or (document.get("type") == "risu" and isinstance(data, list))
    )


def _is_chat(document: Json) -> bool:
    if "mes" in document or _is_chat_header(document) or document.get("type") == "risuChat":
        return True
    lists = ("messages", "data_visible", "histories")
    return isinstance(document.get("savedsettings"), Mapping) or any(
        isinstance(document.get(key), Mapping | list) for key in lists
    )


# --- presets ---

OLD_TEXTS = {"main_prompt": "main", "nsfw_prompt": "nsfw", "jailbreak_prompt": "jailbreak"}
"""Fields of old chat-completion presets, and the prompts that hold these texts today."""
_CHAT_MARKS = ("prompts", "prompt_order", "chat_completion_source", "openai_max_context", *OLD_TEXTS)
_TEXT_COMPLETION_MARKS = (
    "input_sequence",
    "output_sequence",
    "story_string",
    "temp",
    "rep_pen",
    "sampler_order",
    "tail_free_sampling",
)
_MASTER_SECTIONS = frozenset({"instruct", "context", "sysprompt", "preset", "reasoning", "srw"})
"""Parts of SillyTavern's master export of text-completion settings."""
_SYSTEM_PROMPT = frozenset({"name", "content"})
_REASONING = frozenset({"name", "prefix", "suffix", "separator"})


def exported_prompts(raw: Json) -> Json | None:
    """The content of a prompt-manager export; None when it is none."""
    inner = raw.get("data")
    is_export = "version" in raw and raw.get("type") in ("full", "character") and "prompts" not in raw
    return inner if is_export and isinstance(inner, Mapping) and "prompts" in inner else None


def is_chat_preset(raw: Json) -> bool:
    """Does this look like a chat-completion preset or a prompt-manager export?"""
    return exported_prompts(raw) is not None or any(key in raw for key in _CHAT_MARKS)


def is_text_completion_preset(raw: Json) -> bool:
    """Text-completion settings, templates, or the master export of them: another format with other rules."""
    if is_chat_preset(raw):
        return False
    is_template = set(raw) - {"post_history"} == _SYSTEM_PROMPT or set(raw) == _REASONING
    return is_template or _is_master_export(raw) or any(key in raw for key in _TEXT_COMPLETION_MARKS)


def _is_master_export(raw: Json) -> bool:
    sections = [key for key in _MASTER_SECTIONS if isinstance(raw.get(key), Mapping)]
    return len(sections) > 1 or (bool(sections) and len(sections) == len(raw))


_KINDS: tuple[tuple[FileKind, Callable[[Json], bool]], ...] = (
    # The most telling marks first: a preset may have a name and a system prompt, as a card has.
    (WORKFLOW, lambda found: isinstance(found.get("nodes"), list) and isinstance(found.get("edges"), list)),
    (REGEX, _is_regex),
    (PRESET, is_chat_preset),
    (BOOK, _is_book),
    (CARD, _is_card),
    (CHAT, _is_chat),
    (TEXT_COMPLETION, is_text_completion_preset),
    (QUICK_REPLIES, lambda found: isinstance(found.get("qrList"), list)),
    (PERSONAS, lambda found: isinstance(found.get("personas"), Mapping) and "persona_descriptions" in found),
    (THEME, lambda found: "main_text_color" in found or "blur_tint_color" in found),
)
_KINDS_OF_ITEMS: tuple[tuple[FileKind, Callable[[Json], bool]], ...] = (
    (REGEX, _is_regex),
    (CHAT, _is_chat_line),
    (BOOK, _is_book_entry),
)
