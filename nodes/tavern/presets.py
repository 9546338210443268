"""Chat-completion presets of SillyTavern: what is in the file, in one shape (reference presets 1 and 2).

Old files (`main_prompt`, ...), prompt-manager exports and files without an order are read too; what was odd is told in
`Preset.warnings`. Connection fields, which may hold secrets, are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from innkeeper.nodes.json_values import is_number, text_or_empty
from innkeeper.nodes.tavern.documents import CodedWarning, decode, kind_of, warnings_json
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.file_kinds import (
    OLD_TEXTS,
    PRESET,
    TEXT_COMPLETION,
    exported_prompts,
    is_chat_preset,
    is_text_completion_preset,
    parse_document,
    refuse_other_kind,
)
from innkeeper.nodes.tavern.world_info.entry import flag

Json = Mapping[str, Any]
Role = Literal["system", "user", "assistant"]

MAX_PROMPTS = 2_000
ROLES = ("system", "user", "assistant")
MARKERS = (
    "worldInfoBefore",
    "worldInfoAfter",
    "charDescription",
    "charPersonality",
    "scenario",
    "personaDescription",
    "dialogueExamples",
    "chatHistory",
)
BUILT_IN_TEXTS = ("main", "nsfw", "jailbreak", "enhanceDefinitions")
BUILT_IN = (*BUILT_IN_TEXTS, *MARKERS)
DEFAULT_ORDER = (
    "main",
    "worldInfoBefore",
    "personaDescription",
    "charDescription",
    "charPersonality",
    "scenario",
    "enhanceDefinitions",
    "nsfw",
    "worldInfoAfter",
    "dialogueExamples",
    "chatHistory",
    "jailbreak",
)
DEFAULT_OFF = frozenset({"enhanceDefinitions"})
DEFAULT_TEXTS = {
    "main": "You play {{char}} in a fictional chat with {{user}}. Write what {{char}} says and does next.",
    "nsfw": "",
    "jailbreak": "",
    "enhanceDefinitions": "Where it helps, add what you know about {{char}} beyond the description given.",
}
CURRENT_ORDER = "100001"


@dataclass(frozen=True)
class Prompt:
    """One entry of `prompts`.

    Attributes:
        system_prompt: As in the file; only an explicit False makes a prompt of one's own stand at its place in the
            order.
        in_chat: Placed `depth` messages from the end of the history instead of at its place in the order.
        order: Of in-chat prompts at one depth the larger stands nearer the end.
        has_role: The file names one of the known roles.
        triggers: Generation types it is for; none means all.
    """

    identifier: str
    content: str = ""
    role: Role = "system"
    name: str = ""
    system_prompt: bool | None = None
    in_chat: bool = False
    depth: int = 4
    order: float = 100
    triggers: tuple[str, ...] = ()
    forbid_overrides: bool = False
    has_role: bool = True

    def is_for(self, generation_type: str) -> bool:
        return not self.triggers or generation_type in self.triggers


@dataclass(frozen=True)
class OrderEntry:
    identifier: str
    enabled: bool


@dataclass(frozen=True)
class Preset:
    """A preset as it is used.

    Attributes:
        prompts: By identifier, built-in ones included.
        order: What is sent, in which order; identifiers are unique and known.
        parameters: Sampling parameters under their names in an OpenAI request, those that are off left out.
        regex_scripts: `extensions.regex_scripts` as in the file.
        user_prompt: A last user message; ComfyTavern's field, unknown to SillyTavern.
        warnings: What was odd or left out, for the user.
    """

    name: str
    prompts: Mapping[str, Prompt]
    order: tuple[OrderEntry, ...]
    max_context: int = 4095
    max_tokens: int = 300
    new_chat_prompt: str = "[Start a new Chat]"
    new_group_chat_prompt: str = "[Start a new group chat with {{group}}]"
    new_example_chat_prompt: str = "[Example Chat]"
    continue_nudge_prompt: str = "[Continue your last message without repeating what it already says.]"
    group_nudge_prompt: str = "[Write the next reply only as {{char}}.]"
    impersonation_prompt: str = (
        "[Write your next reply from the point of view of {{user}}, in the style of the chat so far. "
        "Do not write for {{char}}.]"
    )
    wi_format: str = "{0}"
    scenario_format: str = "{{scenario}}"
    personality_format: str = "{{personality}}"
    send_if_empty: str = ""
    assistant_prefill: str = ""
    assistant_impersonation: str = ""
    continue_postfix: str = " "
    squash_system_messages: bool = False
    continue_prefill: bool = False
    names_behavior: int = 0
    source: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    regex_scripts: Any = None
    user_prompt: str = ""
    warnings: tuple[str, ...] = ()


_TEXT_FIELDS = (
    "new_chat_prompt",
    "new_group_chat_prompt",
    "new_example_chat_prompt",
    "continue_nudge_prompt",
    "group_nudge_prompt",
    "impersonation_prompt",
    "wi_format",
    "scenario_format",
    "personality_format",
    "send_if_empty",
    "assistant_prefill",
    "assistant_impersonation",
    "continue_postfix",
)


def check_preset(raw: Any, name: str = "preset") -> Json:
    """`raw`, when it can be a chat-completion preset: one, or an object of no known kind.

    Raises:
        FormatError: It is no object, or of another kind; names the kind and the node that reads it.
    """
    refuse_other_kind(raw, PRESET, TEXT_COMPLETION)
    if not isinstance(raw, Mapping):
        raise FormatError(f"{name!r} is no preset: expected an object, got {kind_of(raw)}")
    if is_text_completion_preset(raw):
        raise FormatError(
            f"{name!r} is a text-completion preset (context, instruct or sampler template); a chat-completion preset "
            "has 'prompts' and 'prompt_order': export the one shown under chat completion"
        )
    return raw


_SECRET_WORDS = frozenset(
    {"url", "urls", "uri", "endpoint", "proxy", "password", "passwd", "secret", "secrets", "credentials", "cookie"}
    | {"authorization", "bearer"}
)
_CONNECTION_WORDS = _SECRET_WORDS | frozenset(
    {"auth", "azure", "vertexai", "host", "region", "deployment", "account", "project", "username", "email", "model"}
    | {"header", "headers", "body"}
)
"""What connection fields of a preset have in their names. In the data of extensions some of these words mean more."""
_KEY_OF = frozenset({"access", "api", "auth", "private", "refresh", "secret", "session"})
_WORD = re.compile("[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_TEXTS_OF_PROMPTS = ("prompts", "prompt_order")


def without_secrets(raw: Json) -> dict[str, Any]:
    """The file without its connection fields: addresses, headers, passwords, chosen models, also those of extensions.

    They are known by the words in their names, because every release of SillyTavern brings new ones.
    """
    return {
        key: value if key in _TEXTS_OF_PROMPTS else _without_inner_secrets(value)
        for key, value in raw.items()
        if not _names(key, _CONNECTION_WORDS)
    }


def _without_inner_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_inner_secrets(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _without_inner_secrets(item) for key, item in value.items() if not _names(key, _SECRET_WORDS)}


def _names(key: str, kind: frozenset[str]) -> bool:
    """Does a field's name hold a word of this kind, or say that it is a key or token of something?"""
    words = {part for word in _WORD.findall(key) for part in _parts(word.lower())}
    return not words.isdisjoint(kind) or (not words.isdisjoint({"key", "token"}) and not words.isdisjoint(_KEY_OF))


def _parts(word: str) -> tuple[str, ...]:
    """`apikey` is two words."""
    return ("api", word[3:]) if word.startswith("api") and len(word) > 3 else (word,)


def load_preset(name: str, data: bytes = b"") -> dict[str, Any]:
    """The preset in a file as it stands there, without its connection fields, and what was odd: `{raw, warnings}`.

    Warnings are `{"code", "message"}`.

    Raises:
        FormatError: It is no JSON object, or a file of another kind.
    """
    decoded = decode(data)
    raw = check_preset(parse_document(decoded.text, PRESET, TEXT_COMPLETION), name)
    odd = read_preset(raw, name).warnings if is_chat_preset(raw) else ()
    return {"raw": without_secrets(raw), "warnings": warnings_json([*decoded.warnings, *odd], "odd_preset")}


def read_preset(raw: Any, name: str = "preset") -> Preset:
    """Read a preset; None gives the default one.

    Raises:
        FormatError: It is no object, is a text-completion preset, or holds more than `MAX_PROMPTS` prompts.
    """
    data = check_preset({} if raw is None else raw, name)
    warnings: list[str] = []
    export = exported_prompts(data)
    source = data if export is None else export
    prompts = _prompts(source, warnings)
    order = _order(source, prompts, warnings, is_export=export is not None)
    texts = {key: _text_field(data, key, warnings) for key in _TEXT_FIELDS if key in data}
    return Preset(
        name=name,
        prompts=prompts,
        order=order,
        max_context=_size_field(data, "openai_max_context", 4095, warnings),
        max_tokens=_size_field(data, "openai_max_tokens", 300, warnings),
        squash_system_messages=flag(data.get("squash_system_messages")),
        continue_prefill=flag(data.get("continue_prefill")),
        names_behavior=_names_behavior(data, warnings),
        source=text_or_empty(data.get("chat_completion_source")),
        parameters=parameters(data),
        regex_scripts=_regex_scripts(data),
        user_prompt=text_or_empty(data.get("user_prompt")),
        warnings=tuple(warnings),
        **{key: value for key, value in texts.items() if value is not None},
    )


# --- prompts ---------------------------------------------------------------------------------------------------------


def _prompts(data: Json, warnings: list[str]) -> dict[str, Prompt]:
    given = data.get("prompts")
    if given is not None and not isinstance(given, list):
        warnings.append(f"'prompts' is not a list but {kind_of(given)}; the built-in prompts are used")
        given = None
    items = [item for item in given or [] if isinstance(item, Mapping)]
    if len(items) > MAX_PROMPTS:
        raise FormatError(f"the preset has {len(items)} prompts; at most {MAX_PROMPTS} are read")
    if len(items) < len(given or []):
        warnings.append(f"{len(given or []) - len(items)} of 'prompts' are no objects and were left out")
    prompts: dict[str, Prompt] = {}
    for position, item in enumerate(items):
        prompt = _prompt(item, position, warnings)
        if prompt.identifier in prompts:
            double = f"prompt {prompt.identifier!r} is there more than once; the first is used"
            warnings.append(CodedWarning("duplicate_id", double))
        else:
            prompts[prompt.identifier] = prompt
    for identifier, text in _built_in_texts(data).items():
        prompts.setdefault(identifier, Prompt(identifier, text, system_prompt=True))
    for identifier in MARKERS:
        prompts.setdefault(identifier, Prompt(identifier, system_prompt=True))
    return prompts


def _built_in_texts(data: Json) -> dict[str, str]:
    """Texts for built-in prompts that the list lacks: of old files, else our own."""
    texts = dict(DEFAULT_TEXTS)
    if isinstance(data.get("system_prompt"), str):
        texts["main"] = data["system_prompt"]
    for old, identifier in OLD_TEXTS.items():
        if isinstance(data.get(old), str):
            texts[identifier] = data[old]
    return texts


def _prompt(item: Json, position: int, warnings: list[str]) -> Prompt:
    identifier = item.get("identifier")
    if not isinstance(identifier, str) or not identifier:
        identifier = f"prompt-{position}"
        warnings.append(f"prompt number {position + 1} has no identifier and cannot be in the order")
    triggers = item.get("injection_trigger")
    system_prompt = item.get("system_prompt")
    return Prompt(
        identifier=identifier,
        content=_text_field(item, "content", warnings, f"prompt {identifier!r}: ") or "",
        role=_role(item.get("role"), identifier, warnings),
        name=str(item.get("name") or ""),
        system_prompt=system_prompt if isinstance(system_prompt, bool) else None,
        in_chat=_number_or(item.get("injection_position"), 0) == 1,
        depth=max(0, int(_number_or(item.get("injection_depth"), 4))),
        order=_number_or(item.get("injection_order"), 100),
        triggers=tuple(str(trigger) for trigger in triggers) if isinstance(triggers, list) else (),
        forbid_overrides=item.get("forbid_overrides") is True,
        has_role=item.get("role") in ROLES,
    )


def _role(value: Any, identifier: str, warnings: list[str]) -> Role:
    if value in ROLES:
        return cast(Role, value)
    if value not in (None, ""):
        warnings.append(f"prompt {identifier!r} has an unknown role; it is sent as 'system'")
    return "system"


# --- order -----------------------------------------------------------------------------------------------------------


def _order(
    data: Json, prompts: Mapping[str, Prompt], warnings: list[str], *, is_export: bool
) -> tuple[OrderEntry, ...]:
    entries = _chosen_order(data.get("prompt_order"), warnings)
    if not entries:
        if is_export or data.get("prompt_order"):
            warnings.append("the prompt order is empty; the default order is used")
        return tuple(OrderEntry(identifier, identifier not in DEFAULT_OFF) for identifier in DEFAULT_ORDER)
    return tuple(_known_once(entries, prompts, warnings))


def _chosen_order(value: Any, warnings: list[str]) -> list[Json]:
    """The list 100001; else the only one, else the longest, and a note about it."""
    items = [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
    if any("identifier" in item for item in items):
        return [item for item in items if "identifier" in item]
    lists = [(str(item.get("character_id")), item["order"]) for item in items if isinstance(item.get("order"), list)]
    if not lists:
        return []
    for identity, order in lists:
        if identity == CURRENT_ORDER:
            return _objects(order)
    identity, order = max(lists, key=lambda pair: len(pair[1]))
    which = "the only" if len(lists) == 1 else f"the longest of {len(lists)}"
    warnings.append(f"there is no prompt order {CURRENT_ORDER}; {which} order list, {identity!r}, is used")
    return _objects(order)


def _objects(items: Sequence[Any]) -> list[Json]:
    return [item for item in items if isinstance(item, Mapping)]


def _known_once(entries: Iterable[Json], prompts: Mapping[str, Prompt], warnings: list[str]) -> Iterable[OrderEntry]:
    seen: set[str] = set()
    for entry in entries:
        identifier = str(entry.get("identifier"))
        if identifier in seen:
            double = f"the order names {identifier!r} more than once; the first place is used"
            warnings.append(CodedWarning("duplicate_id", double))
        elif identifier not in prompts:
            warnings.append(f"the order names {identifier!r}, which 'prompts' does not have")
        else:
            seen.add(identifier)
            yield OrderEntry(identifier, flag(entry.get("enabled")))


# --- sampling parameters ---------------------------------------------------------------------------------------------

_ALIASES = {
    "temperature": ("temperature", "temp_openai"),
    "frequency_penalty": ("frequency_penalty", "freq_pen_openai"),
    "presence_penalty": ("presence_penalty", "pres_pen_openai"),
    "top_p": ("top_p", "top_p_openai"),
    "top_k": ("top_k", "top_k_openai"),
    "top_a": ("top_a", "top_a_openai"),
    "min_p": ("min_p", "min_p_openai"),
    "repetition_penalty": ("repetition_penalty", "repetition_penalty_openai"),
    "max_tokens": ("openai_max_tokens",),
    "seed": ("seed",),
    "n": ("n",),
}
_OFF = {"top_k": (0,), "top_a": (0,), "min_p": (0,), "repetition_penalty": (0, 1)}
_WHOLE = frozenset({"max_tokens", "seed", "n", "top_k"})


def parameters(raw: Json) -> dict[str, Any]:
    """Sampling parameters under their names in an OpenAI request; what is off or automatic is left out.

    `top_k`, `top_a`, `min_p` and `repetition_penalty` are no OpenAI parameters: for servers that know them.
    """
    found: dict[str, Any] = {}
    for name, keys in _ALIASES.items():
        value = next((raw[key] for key in keys if is_number(raw.get(key))), None)
        if value is not None and _is_on(name, value):
            found[name] = int(value) if name in _WHOLE else value
    for name in ("reasoning_effort", "verbosity"):
        if isinstance(raw.get(name), str) and raw[name] not in ("", "auto"):
            found[name] = raw[name]
    if isinstance(raw.get("stream_openai"), bool):
        found["stream"] = raw["stream_openai"]
    return found


def _is_on(name: str, value: float) -> bool:
    if name == "seed":
        return value >= 0
    if name == "n":
        return value > 1
    return value not in _OFF.get(name, ())


# --- values ----------------------------------------------------------------------------------------------------------


def _number_or(value: Any, default: float) -> float:
    """Numbers, also written as text, as some tools write them."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return default
    return float(value) if is_number(value) and abs(value) < 1e9 else default


def _size_field(data: Json, key: str, default: int, warnings: list[str]) -> int:
    value = _number_or(data.get(key), -1)
    if value < 0:
        if data.get(key) is not None:
            warnings.append(f"{key!r} is no size; {default} is used")
        return default
    return int(value)


def _text_field(data: Json, key: str, warnings: list[str], place: str = "") -> str | None:
    value = data.get(key)
    if value is None or isinstance(value, str):
        return value
    warnings.append(f"{place}{key!r} is no text but {kind_of(value)}; it is not used")
    return None


def _names_behavior(data: Json, warnings: list[str]) -> int:
    value = _number_or(data.get("names_behavior"), 0)
    if value not in (-1, 0, 1, 2):
        warnings.append("'names_behavior' is none of -1, 0, 1, 2; 0 is used")
        return 0
    return int(value)


def _regex_scripts(data: Json) -> Any:
    extensions = data.get("extensions")
    return extensions.get("regex_scripts") if isinstance(extensions, Mapping) else None
