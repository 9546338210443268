"""Everything core:ContextBuilder does, as one pure function: JSON in, JSON out."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from innkeeper.nodes.tavern.context.chat import ChatLine, visible
from innkeeper.nodes.tavern.context.given import Given, macro_environment, read_given
from innkeeper.nodes.tavern.context.people import AT_DEPTH, IN_PROMPT, NOTE_BOTTOM, NOTE_TOP
from innkeeper.nodes.tavern.context.plain import build_plain, is_plain
from innkeeper.nodes.tavern.context.report import full_report
from innkeeper.nodes.tavern.context.scripts import PromptScripts
from innkeeper.nodes.tavern.context.settings import ContextSettings, read_context_settings, read_time
from innkeeper.nodes.tavern.documents import CodedWarning, warnings_json
from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.macros.engine import Engine, Macros
from innkeeper.nodes.tavern.prompts.assembly import Assembly, Options, Parts, assemble
from innkeeper.nodes.tavern.prompts.examples import Line, Speakers, read_block, split_examples
from innkeeper.nodes.tavern.prompts.message import Note, Turn
from innkeeper.nodes.tavern.prompts.post_processing import Names, post_process
from innkeeper.nodes.tavern.prompts.tokens import counter
from innkeeper.nodes.tavern.world_info import Activation, Scan, ScanMessage, ScanTexts, activate

MESSAGE_OVERHEAD = 3
"""Tokens that chat models count for each message beside its text."""


def build(inputs: Mapping[str, Any], seed: str, now: str) -> dict[str, Any]:
    """The messages to send, a report on how they came about, and the state for the next turn.

    Args:
        inputs: As the slots of core:ContextBuilder.
        seed: Of everything that is left to chance.
        now: The time as ISO text with its zone.

    Raises:
        FormatError: An input is not what it should be.
        ContextTooSmall: What must be sent does not fit.
    """
    warnings: list[str] = []
    settings = read_context_settings(inputs.get("settings"), warnings)
    if settings.mode == "plain" or (settings.mode == "auto" and is_plain(inputs)):
        return build_plain(inputs)
    given = read_given(inputs, settings, seed, warnings)
    return _Context(given, settings, warnings, seed=seed, now=now).build()


def build_with_warnings(inputs: Mapping[str, Any], seed: str, now: str) -> dict[str, Any]:
    """`build` as `{"outputs", "warnings"}`: the warnings of the report as `{"code", "message"}`."""
    outputs = build(inputs, seed, now)
    return {"outputs": outputs, "warnings": warnings_json(outputs["report"]["warnings"], "context")}


class _Context:
    """One context on its way, in SillyTavern's order of work (reference presets 3)."""

    def __init__(self, given: Given, settings: ContextSettings, warnings: list[str], *, seed: str, now: str) -> None:
        self.given, self.settings, self.warnings = given, settings, warnings
        self.preset, self.card, self.persona = given.preset, given.card, given.persona
        self.counter = counter(settings.model or None)
        self.draw = random.Random(seed).random
        self.regexes = engine()
        self.outlets: dict[str, str] = {}
        environment = macro_environment(
            given, settings, now=read_time(now, "'now'"), draw=self.draw, outlets=self.outlets
        )
        engine_name: Engine = "legacy" if settings.legacy_macros else "new"
        self.expand = Macros(environment, engine=engine_name)
        self.lines = self._with_greeting_expanded(given.lines)
        if self.lines is not given.lines:
            chat = replace(environment.chat, messages=tuple(line.to_macro() for line in self.lines))
            self.expand = Macros(replace(environment, chat=chat), engine=engine_name)
        self.quiet_prompt = self.expand(settings.quiet_prompt) if settings.quiet_prompt else ""
        with_stored = settings.stored_scripts
        self.scripts = PromptScripts(given.scripts, self.regexes, self.expand, with_stored=with_stored)

    def build(self) -> dict[str, Any]:
        fields = self._expanded_fields()
        chat = self._chat()
        active = self._activated(chat, fields)
        self.outlets.update({name: active.outlet(name) for name in active.outlets})
        assembly = assemble(
            self.preset, self._parts(chat, fields, active), self._options(chat), expand=self.expand, count=self.counter
        )
        messages = [message.to_openai() for message in assembly.messages]
        names = Names(self.given.user, self.card.name, self.settings.group)
        state = replace(self.given.state, timed=active.timed)
        return {
            "finalMessages": post_process(messages, self.settings.post_processing, names),
            "report": self._report(assembly, active),
            "chatState": state.to_json(),
        }

    # --- the chat ---

    def _expanded_fields(self) -> ScanTexts:
        card = self.card
        return ScanTexts(
            persona_description=self._field("persona", self.persona.description),
            character_description=self._field("description", card.description),
            character_personality=self._field("personality", card.personality),
            scenario=self._field("scenario", card.scenario),
            character_depth_prompt=self._field("depth_prompt", card.depth_prompt.prompt),
            creator_notes=self._field("creator_notes", card.creator_notes),
        )

    def _field(self, key: str, text: str) -> str:
        return self.expand.field(key, text)

    def _with_greeting_expanded(self, lines: tuple[ChatLine, ...]) -> tuple[ChatLine, ...]:
        """The first message of a chat is the card's greeting, stored with its macros. A user's text has its own way."""
        if not lines or lines[0].is_user or lines[0].content is not None or self.settings.expand_history == "none":
            return lines
        return (replace(lines[0], text=self.expand(lines[0].text), is_expanded=True), *lines[1:])

    def _chat(self) -> list[ChatLine]:
        """Visible messages as the prompt shows them, the card's greeting in an empty chat included."""
        lines = self._greeting() if self.given.is_new else visible(self.lines, self.settings.type)
        offset = 2 if self.settings.type == "continue" else 1
        return [
            self.scripts.on_line(
                line, len(lines) - place - offset, expand_captures=self._may_expand(line)
            ).with_attachments()
            for place, line in enumerate(self._with_speakers(lines))
        ]

    def _greeting(self) -> list[ChatLine]:
        number = self.settings.greeting
        texts = (self.card.first_mes, *self.card.alternate_greetings)
        if number >= len(texts):
            told = f"the card has {len(texts) - 1} alternate greetings; 'greeting' asks for another"
            self.warnings.append(CodedWarning("no_such_greeting", told))
        text = texts[number] if 0 <= number < len(texts) else ""
        text = self._field("first_mes", text)
        return [ChatLine("assistant", text, is_expanded=True)] if text else []

    def _with_speakers(self, lines: Sequence[ChatLine]) -> list[ChatLine]:
        names = {"user": self.given.user, "assistant": self.card.name}
        return [line if line.name else replace(line, name=names.get(line.role, "")) for line in lines]

    def _may_expand(self, line: ChatLine) -> bool:
        allowed = self.settings.expand_history
        return allowed == "all" or (allowed == "user" and line.is_user)

    # --- world info ---

    def _activated(self, chat: Sequence[ChatLine], fields: ScanTexts) -> Activation:
        return activate(
            Scan(
                books=self.given.books,
                messages=tuple(ScanMessage(line.text, line.name, line.role) for line in chat),
                max_context=max(0, self.preset.max_context - self.preset.max_tokens),
                expand=self.expand,
                count_tokens=self.counter,
                draw=self.draw,
                regexes=self.regexes,
                settings=self.given.book_settings,
                timed=self.given.state.timed,
                trigger=self.settings.type,
                character_file=self.card.name,
                character_tags=self.card.tags,
                texts=fields,
                injected=(self.quiet_prompt,) if self.quiet_prompt else (),
                prompt_scripts=self.scripts.on_world_info,
                as_sillytavern=self.settings.as_sillytavern,
            )
        )

    # --- assembly ---

    def _parts(self, chat: Sequence[ChatLine], fields: ScanTexts, active: Activation) -> Parts:
        use_card = self.settings.prefer_card_prompts
        return Parts(
            history=[self._turn_of(line) for line in chat],
            description=fields.character_description,
            personality=fields.character_personality,
            scenario=fields.scenario,
            persona=fields.persona_description if self.persona.position == IN_PROMPT else "",
            world_before=active.before,
            world_after=active.after,
            examples=self._examples(active),
            notes=self._notes(fields, active),
            main_override=self._field("system_prompt", self.card.system_prompt) if use_card else "",
            jailbreak_override=(
                self._field("post_history_instructions", self.card.post_history_instructions) if use_card else ""
            ),
            quiet_prompt=self.quiet_prompt,
            are_expanded=True,
        )

    def _turn_of(self, line: ChatLine) -> Turn:
        return Turn(
            role=line.role,
            text=line.text,
            name=line.name,
            index=line.index,
            is_narrator=line.is_narrator,
            show_name=line.show_name,
            expand=self._may_expand(line) and not line.is_expanded,
            content=line.content,
            extra=line.extra,
        )

    def _options(self, chat: Sequence[ChatLine]) -> Options:
        settings = self.settings
        return Options(
            generation_type=settings.type,
            user=self.given.user,
            group=settings.group,
            continued=self._continued(chat[-1].text) if chat and settings.type == "continue" else "",
            pin_examples=settings.pin_examples,
            add_prefill=settings.add_prefill,
            as_sillytavern=settings.as_sillytavern,
            message_overhead=MESSAGE_OVERHEAD,
        )

    def _continued(self, text: str) -> str:
        """The text to go on with, and what sets the answer apart from it: an empty message is gone on with, too."""
        return text if text.endswith(" ") else text + self.preset.continue_postfix

    def _examples(self, active: Activation) -> list[tuple[Line, ...]]:
        blocks = list(split_examples(self._field("mes_example", self.card.mes_example)))
        for example in active.examples:
            found = split_examples(example.content)
            blocks = [*found, *blocks] if example.top else [*blocks, *found]
        speakers = Speakers(self.given.user, self.card.name, self.settings.group, self.card.nickname)
        return [read_block(block, speakers) for block in blocks]

    def _notes(self, fields: ScanTexts, active: Activation) -> list[Note]:
        card, text = self.card.depth_prompt, fields.character_depth_prompt
        notes = [
            Note("DEPTH_PROMPT", text, depth=card.depth, role=card.role, is_expanded=True),
            self._authors_note(fields, active),
        ]
        if self.persona.position == AT_DEPTH:
            depth, role = self.persona.depth, self.persona.role
            text = fields.persona_description
            notes.append(Note("PERSONA_DESCRIPTION", text, depth=depth, role=role, is_expanded=True))
        for group in active.depth:
            key = f"customDepthWI_{group.depth}_{group.role}"
            notes.append(Note(key, group.text, depth=group.depth, role=group.role_name, is_expanded=True))
        return [replace(note, source=_SOURCES.get(note.key, "worldInfoDepth")) for note in notes if note.text]

    def _authors_note(self, fields: ScanTexts, active: Activation) -> Note:
        """The note with world info and persona around it; nothing when it is not its turn."""
        note, persona = self.given.note, self.persona
        is_due = note.is_due(sum(line.is_user and not line.is_hidden for line in self.lines))
        text = self.expand(note.text.strip()) if is_due else ""
        if is_due:
            lines = [*active.note_top, text, *active.note_bottom]
            top = [fields.persona_description] if persona.position == NOTE_TOP else []
            bottom = [fields.persona_description] if persona.position == NOTE_BOTTOM else []
            text = "\n".join(line for line in (*top, *lines, *bottom) if line)
        return Note(
            "2_floating_prompt", text, position=note.position, depth=note.depth, role=note.role, is_expanded=True
        )

    def _report(self, assembly: Assembly, active: Activation) -> dict[str, Any]:
        return full_report(
            self.preset,
            assembly,
            active,
            counter=self.counter.name,
            scripts=self.scripts.report(),
            post_processing=self.settings.post_processing,
            warnings=[*self.warnings, *assembly.warnings],
        )


_SOURCES = {"DEPTH_PROMPT": "depthPrompt", "2_floating_prompt": "authorsNote", "PERSONA_DESCRIPTION": "persona"}
