"""From preset and parts to messages, in SillyTavern's order of work (reference presets 3 to 6).

Macros are replaced once per text, in this order: prompts as the order lists them, parts, overrides, notes in the chat,
control texts, then the history from the newest message back. So a variable set in an early prompt is there in a later
one and in the history.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from innkeeper.nodes.tavern.documents import CodedWarning
from innkeeper.nodes.tavern.environment import CountTokens, Expand
from innkeeper.nodes.tavern.presets import BUILT_IN, MARKERS, Preset, Prompt
from innkeeper.nodes.tavern.prompts.budget import Budget
from innkeeper.nodes.tavern.prompts.examples import Line
from innkeeper.nodes.tavern.prompts.injections import InChat, Injection, injections, merged
from innkeeper.nodes.tavern.prompts.message import BEFORE_MAIN, IN_MAIN, Message, Note, Sizer, Turn
from innkeeper.nodes.tavern.prompts.squash import squash

GENERATION_TYPES = ("normal", "continue", "impersonate", "swipe", "regenerate", "quiet")
NO_NAMES, DEFAULT_NAMES, NAME_FIELDS, NAME_PREFIXES = -1, 0, 1, 2

_LISTS = frozenset({"chatHistory", "dialogueExamples"})
_NO_NAME_CHARACTER = re.compile(r"[^A-Za-z0-9_]")
_MAX_NAME = 64
_IN_CHAT_ONLY = frozenset({"DEPTH_PROMPT", "PERSONA_DESCRIPTION"})
_SYSTEM_ONLY = frozenset({"3_vectors", "chromadb"})
"""Keys of notes that have no place beside the main prompt, and of those that speak as system there."""
_BESIDE_MAIN = ("1_memory", "2_floating_prompt", "3_vectors", "4_vectors_data_bank", "chromadb")
"""Keys of notes in their order beside the main prompt; others follow as they come."""
_LAST_CHAT_MESSAGE = re.compile(r"\{\{lastChatMessage\}\}", re.IGNORECASE)


@dataclass(frozen=True)
class Parts:
    """What is put into the preset's places. `history` is oldest first, without hidden messages.

    Attributes:
        examples: Blocks of example dialogue, macros replaced.
        main_override, jailbreak_override: The card's own texts; `""` leaves the preset's.
        quiet_prompt: A last instruction.
        are_expanded: The macros of the filled parts are replaced already.
    """

    history: Sequence[Turn] = ()
    description: str = ""
    personality: str = ""
    scenario: str = ""
    persona: str = ""
    world_before: str = ""
    world_after: str = ""
    examples: Sequence[Sequence[Line]] = ()
    notes: Sequence[Note] = ()
    main_override: str = ""
    jailbreak_override: str = ""
    quiet_prompt: str = ""
    are_expanded: bool = False


@dataclass(frozen=True)
class Options:
    """How to assemble.

    Attributes:
        user: The user's name; their messages take no name with the default `names_behavior`.
        group: Names of the members of a group chat; none for one character.
        continued: The text that type `continue` goes on with; without one there is no nudge.
        pin_examples: Examples take their room before the history does.
        add_prefill: `assistant_prefill` is added as a last message; None does so for presets that name no other
            source than Claude.
        as_sillytavern: Also what SillyTavern does by accident: parts whose marker the order lacks come after
            everything, a block of examples in which nobody speaks still gets its heading, notes beside a main prompt
            that the order lacks are lost, and so are in-chat prompts for which the file names no role, and the message
            to go on with when examples stand last.
        message_overhead: Tokens that each message costs beside its texts.
    """

    generation_type: str = "normal"
    user: str = "User"
    group: Sequence[str] = ()
    continued: str = ""
    pin_examples: bool = False
    add_prefill: bool | None = None
    as_sillytavern: bool = False
    message_overhead: int = 0


@dataclass(frozen=True)
class Cut:
    """What did not fit. `index` is the history index or the number of the example block."""

    source: str
    index: int | None
    role: str


@dataclass(frozen=True)
class Assembly:
    """The messages to send, oldest first, and what became of the rest. `used` counts 3 tokens for the reply."""

    messages: tuple[Message, ...]
    cut: tuple[Cut, ...] = ()
    available: int = 0
    used: int = 0
    warnings: tuple[str, ...] = ()


def assemble(preset: Preset, parts: Parts, options: Options, *, expand: Expand, count: CountTokens) -> Assembly:
    """Put a prompt together.

    Raises:
        ContextTooSmall: What must be sent does not fit. Nothing useful could be sent.
    """
    return _Assembler(preset, parts, options, expand=expand, sizer=Sizer(count, options.message_overhead)).run()


@dataclass
class _Slot:
    """A prompt at its place in the order, with the text it sends."""

    prompt: Prompt
    text: str
    notes_before: list[Message] = field(default_factory=list)
    notes_after: list[Message] = field(default_factory=list)


class _Assembler:
    def __init__(self, preset: Preset, parts: Parts, options: Options, *, expand: Expand, sizer: Sizer) -> None:
        self.preset, self.parts, self.options = preset, parts, options
        self.expand, self.sizer = expand, sizer
        self.budget = Budget(preset.max_context, preset.max_tokens)
        self.slots: dict[str, _Slot] = {}
        self.appended: list[Message] = []
        self.cut: list[Cut] = []
        self.warnings: list[str] = []

    def run(self) -> Assembly:
        self._collect()
        self._fill()
        self._override("main", self.parts.main_override)
        self._override("jailbreak", self.parts.jailbreak_override)
        self._put_notes()
        ordered = {identifier: self._messages_of_slot(identifier, slot) for identifier, slot in self.slots.items()}
        control = self._control_messages()
        turns = list(self.parts.history)
        prefill = self._prefill(turns)
        self.budget.require([message for group in ordered.values() for message in group])
        self.budget.require([*self.appended, *control, *prefill])
        chat = _Chat(self, self._with_injections(turns))
        if "chatHistory" in self.slots:
            chat.reserve()
        if self.options.pin_examples:
            ordered |= self._examples()
        if "chatHistory" in self.slots:
            ordered["chatHistory"] = chat.filled()
        if not self.options.pin_examples:
            ordered |= self._examples()
        groups = [ordered[identifier] for identifier in self.slots]
        continued = [] if self._loses_continued() else chat.continued
        return self._finished([*groups, self.appended, continued, control, prefill])

    def _loses_continued(self) -> bool:
        """Examples that stand last are put where the message to go on with stood."""
        is_last = list(self.slots)[-1:] == ["dialogueExamples"]
        return self.options.as_sillytavern and is_last and not self.options.pin_examples

    def _finished(self, groups: Iterable[Sequence[Message]]) -> Assembly:
        messages = [message for group in groups for message in group]
        if self.preset.squash_system_messages:
            messages = squash(messages, self.sizer)
        return Assembly(
            tuple(message for message in messages if not message.is_empty),
            tuple(self.cut),
            available=self.budget.total,
            used=self.budget.used,
            warnings=tuple(self.warnings),
        )

    # --- prompts in their order ---

    def _collect(self) -> None:
        for entry in self.preset.order:
            prompt = self.preset.prompts[entry.identifier]
            if entry.enabled and prompt.is_for(self.options.generation_type):
                text = "" if prompt.identifier in MARKERS else self.expand(prompt.content)
                if self._has_place(prompt):
                    self.slots[prompt.identifier] = _Slot(prompt, text)
            elif prompt.identifier == "main":
                # Empty, but there: notes before and after the main prompt keep their place.
                self.slots["main"] = _Slot(prompt, "")

    def _has_place(self, prompt: Prompt) -> bool:
        if prompt.in_chat or prompt.identifier in BUILT_IN or prompt.system_prompt is False:
            return True
        told = "only prompts with 'system_prompt': false, and the built-in ones, have a place of their own"
        self._not_sent(f"prompt {prompt.identifier!r} is not sent: {told}")
        return False

    def _not_sent(self, told: str) -> None:
        self.warnings.append(CodedWarning("prompt_not_sent", told))

    def _fill(self) -> None:
        disabled = {entry.identifier for entry in self.preset.order if not entry.enabled}
        for identifier, text in self._filled().items():
            if identifier in self.slots:
                self.slots[identifier].text = text
            elif text and identifier not in disabled:
                if self.options.as_sillytavern:
                    self.appended.append(self.message("system", text, identifier))
                else:
                    self._not_sent(f"{identifier!r} is not sent: the prompt order has no enabled place for it")

    def _filled(self) -> dict[str, str]:
        parts, preset = self.parts, self.preset
        filled: Callable[[str], str] = (lambda text: text) if parts.are_expanded else self.expand
        texts = {
            "worldInfoBefore": filled(_world_text(preset.wi_format, parts.world_before)),
            "worldInfoAfter": filled(_world_text(preset.wi_format, parts.world_after)),
            "charDescription": filled(parts.description),
            "charPersonality": self._formatted(preset.personality_format, parts.personality, filled),
            "scenario": self._formatted(preset.scenario_format, parts.scenario, filled),
            "personaDescription": filled(parts.persona),
        }
        return {identifier: text.replace("\r", "") for identifier, text in texts.items()}

    def _formatted(self, form: str, text: str, filled: Callable[[str], str]) -> str:
        return self.expand(form) if text and form else filled(text)

    def _override(self, identifier: str, text: str) -> None:
        """The card's text instead of the preset's, unless the prompt is off or forbids it."""
        slot = self.slots.get(identifier)
        is_off = any(entry.identifier == identifier and not entry.enabled for entry in self.preset.order)
        if text and slot is not None and not is_off and not slot.prompt.forbid_overrides:
            slot.text = self.expand(text, original=slot.text)

    def _put_notes(self) -> None:
        relative = [note for note in self.parts.notes if note.text and note.position in (IN_MAIN, BEFORE_MAIN)]
        relative = sorted((note for note in relative if note.key not in _IN_CHAT_ONLY), key=_place_beside_main)
        if not relative or (self.options.as_sillytavern and "main" not in self.slots):
            return
        if "main" not in self.slots:
            self.slots = {"main": _Slot(Prompt("main"), ""), **self.slots}
        main = self.slots["main"]
        if main.prompt.in_chat:
            main.text = self._with_notes(main.text, relative)
            return
        for note in relative:
            role = "system" if note.key in _SYSTEM_ONLY else note.role
            message = self.message(role, note.expanded(self.expand), note.source or note.key)
            if note.position == BEFORE_MAIN:
                main.notes_before.insert(0, message)
            else:
                main.notes_after.append(message)

    def _with_notes(self, text: str, notes: Iterable[Note]) -> str:
        """A main prompt in the chat is one message with the notes beside it."""
        for note in notes:
            texts = (
                [note.expanded(self.expand), text]
                if note.position == BEFORE_MAIN
                else [text, note.expanded(self.expand)]
            )
            text = "\n".join(filter(None, texts))
        return text

    def _messages_of_slot(self, identifier: str, slot: _Slot) -> list[Message]:
        if identifier in _LISTS:
            return []
        own = [] if slot.prompt.in_chat else [self.message(slot.prompt.role, slot.text, identifier)]
        return [*slot.notes_before, *own, *slot.notes_after]

    def message(self, role: str, text: str, source: str, *, name: str = "", joins: bool = True) -> Message:
        return Message(role, text, source=source, name=name, tokens=self.sizer.of(text, name), joins=joins)

    def history_message(self, turn: Turn) -> Message:
        """One message of the history, with its speaker's name where the preset wants it."""
        name = ""
        if self.preset.names_behavior == NAME_FIELDS and turn.name:
            name = _NO_NAME_CHARACTER.sub("_", turn.name)[:_MAX_NAME]
        content = turn.content
        if not isinstance(content, list):
            prefix = f"{turn.name}: " if _has_prefix(turn, self.preset, self.options) else ""
            content = f"{prefix}{turn.text}".replace("\r", "")
            content = self.expand(content) if turn.expand else content
        return Message(
            turn.role,
            content,
            source="chatHistory",
            name=name,
            tokens=self.sizer.of(content, name),
            index=turn.index,
            extra=dict(turn.extra),
        )

    # --- what stands last ---

    def _control_messages(self) -> list[Message]:
        texts = {"impersonate": ""}
        if self.options.generation_type == "impersonate":
            texts["impersonate"] = self.expand(self.preset.impersonation_prompt)
        quiet = self.parts.quiet_prompt
        texts["quietPrompt"] = quiet if self.parts.are_expanded or not quiet else self.expand(quiet)
        control = [self.message("system", text, source) for source, text in texts.items() if text]
        if self.preset.user_prompt:
            control.insert(0, self.message("user", self.expand(self.preset.user_prompt), "user_prompt"))
        return control

    def _prefill(self, turns: list[Turn]) -> list[Message]:
        """The last message, which the model goes on with; takes the continued one out of `turns`."""
        is_continue = self.options.generation_type == "continue"
        if is_continue and self.preset.continue_prefill:
            return [self._continue_prefill(turns.pop())] if turns else []
        text = self._prefill_text()
        return [self.message("assistant", text, "assistant_prefill")] if text else []

    def _continue_prefill(self, turn: Turn) -> Message:
        message = self.history_message(replace(turn, expand=False))
        prefill = self._prefill_text() if self.preset.source == "claude" and turn.role == "assistant" else ""
        if not prefill or not isinstance(message.content, str):
            return message
        content = f"{prefill}\n\n{message.content}" if message.content else prefill
        return replace(message, content=content, tokens=self.sizer.of(content, message.name))

    def _prefill_text(self) -> str:
        wanted = self.options.add_prefill
        if wanted is None:
            wanted = self.preset.source in ("", "claude")
        if not wanted or self.options.generation_type == "quiet":
            return ""
        is_impersonate = self.options.generation_type == "impersonate"
        return self.expand(self.preset.assistant_impersonation if is_impersonate else self.preset.assistant_prefill)

    # --- examples and chat ---

    def _with_injections(self, turns: Sequence[Turn]) -> list[Turn | Injection]:
        slots = [slot for slot in self.slots.values() if slot.prompt.in_chat and self._is_known_in_chat(slot.prompt)]
        prompts = [
            _in_chat(slot) for slot in slots if slot.prompt.identifier not in ("chatHistory", "dialogueExamples")
        ]
        by_depth: dict[int, list[Turn | Injection]] = {}
        for injection in injections(prompts, self.parts.notes, self.expand):
            by_depth.setdefault(injection.depth, []).append(injection)
        if by_depth and "chatHistory" not in self.slots:
            self._not_sent("prompts in the chat are not sent: the prompt order has no enabled 'chatHistory'")
        return merged(turns, by_depth)

    def _is_known_in_chat(self, prompt: Prompt) -> bool:
        return prompt.has_role or prompt.identifier in MARKERS or not self.options.as_sillytavern

    def _examples(self) -> Mapping[str, list[Message]]:
        if "dialogueExamples" not in self.slots:
            return {}
        messages: list[Message] = []
        blocks = [block for block in self.parts.examples if block or self.options.as_sillytavern]
        header = self.message(
            "system", self.expand(self.preset.new_example_chat_prompt) if blocks else "", "newExampleChat", joins=False
        )
        for number, block in enumerate(blocks):
            lines = [self.message("system", line.text, "dialogueExamples", name=line.name) for line in block]
            group = [header, *(replace(line, index=number) for line in lines)]
            if not self.budget.take(group):
                self.cut += [Cut("dialogueExamples", left, "system") for left in range(number, len(blocks))]
                break
            messages += group
        return {"dialogueExamples": messages}


class _Chat:
    """The history with its injections, filled from the newest message back until one does not fit."""

    def __init__(self, assembler: _Assembler, pool: list[Turn | Injection]) -> None:
        self._all, self._pool = assembler, pool
        self._first: list[Message] = []
        self._last: list[Message] = []
        self.continued: list[Message] = []

    def reserve(self) -> None:
        """Room for the texts around the history, which are sent even without one."""
        preset, options = self._all.preset, self._all.options
        text = preset.new_group_chat_prompt if options.group else preset.new_chat_prompt
        if text:
            self._first = [self._control(text, "newChat", joins=False)]
        if options.group and options.generation_type != "impersonate" and preset.group_nudge_prompt:
            self._last = [self._control(preset.group_nudge_prompt, "groupNudge", joins=False)]
        if options.generation_type == "continue" and options.continued and not preset.continue_prefill:
            self.continued = self._continued(options.continued)
        self._all.budget.require([*self._first, *self._last, *self.continued])

    def filled(self) -> list[Message]:
        answer = self._answer_to_silence()
        chosen: list[Message] = []
        for place, item in enumerate(reversed(self._pool)):
            message = self._message_of(item)
            if not self._all.budget.take([message]):
                self._all.cut += [_cut(left) for left in self._pool[: len(self._pool) - place]]
                break
            chosen.append(message)
        return [*self._first, *reversed(chosen), *answer, *self._last]

    def _continued(self, text: str) -> list[Message]:
        """The message to go on with, taken out of the chat, and the nudge behind it."""
        turns = [place for place, item in enumerate(self._pool) if isinstance(item, Turn)]
        moved = [replace(self._message_of(self._pool.pop(turns[-1])), name="")] if turns else []
        nudge = _LAST_CHAT_MESSAGE.sub(lambda _: text.strip(), self._all.preset.continue_nudge_prompt)
        return [*moved, self._control(nudge, "continueNudge")]

    def _answer_to_silence(self) -> list[Message]:
        text = self._all.preset.send_if_empty
        if not text or not self._pool or self._pool[-1].role != "assistant":
            return []
        message = self._all.message("user", text, "sendIfEmpty")
        return [message] if self._all.budget.take([message]) else []

    def _control(self, text: str, source: str, *, joins: bool = True) -> Message:
        return self._all.message("system", self._all.expand(text), source, joins=joins)

    def _message_of(self, item: Turn | Injection) -> Message:
        if isinstance(item, Injection):
            return self._all.message(item.role, item.text, "+".join(item.sources))
        return self._all.history_message(item)


def _has_prefix(turn: Turn, preset: Preset, options: Options) -> bool:
    if not turn.name:
        return False
    if preset.names_behavior == NAME_PREFIXES:
        return not turn.is_narrator
    if preset.names_behavior != DEFAULT_NAMES or turn.name == options.user:
        return False
    return bool(options.group) or (turn.show_name and not turn.is_narrator)


def _place_beside_main(note: Note) -> int:
    return _BESIDE_MAIN.index(note.key) if note.key in _BESIDE_MAIN else len(_BESIDE_MAIN)


def _in_chat(slot: _Slot) -> InChat:
    prompt = slot.prompt
    return InChat(prompt.identifier, slot.text, role=prompt.role, depth=prompt.depth, order=prompt.order)


def _cut(item: Turn | Injection) -> Cut:
    if isinstance(item, Injection):
        return Cut("+".join(item.sources), None, item.role)
    return Cut("chatHistory", item.index, item.role)


def _world_text(form: str, text: str) -> str:
    """`{0}` in the format stands for the text; an empty format is the text itself."""
    return form.replace("{0}", text) if text and form.strip() else text
