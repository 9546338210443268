"""Regex scripts on the way to the prompt: which may run, and what each did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from innkeeper.nodes.tavern.context.chat import ChatLine
from innkeeper.nodes.tavern.environment import Expand, JsRegexes
from innkeeper.nodes.tavern.regex_script import AI_OUTPUT, USER_INPUT, WORLD_INFO, RegexScript
from innkeeper.nodes.tavern.regex_scripts import ScriptReport, Stage, apply_scripts


@dataclass
class _Tally:
    source: str
    name: str
    texts: int = 0
    matches: int = 0
    skipped: str = ""
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """`skipped` says why a script ran on no text at all."""
        told = {"source": self.source, "name": self.name, "texts": self.texts, "matches": self.matches}
        why = {"failure": self.failure} if self.failure else {} if self.texts else {"skipped": self.skipped}
        return {**told, **why}


class PromptScripts:
    """Scripts of one prompt, in their order. One that fails on a text runs on no other.

    `with_stored` runs scripts that are for the stored text, too; a chat from SillyTavern has been through them.
    """

    def __init__(
        self,
        scripts: Sequence[tuple[str, RegexScript]],
        regexes: JsRegexes,
        expand: Expand,
        *,
        with_stored: bool = False,
    ) -> None:
        self._stages: tuple[Stage, ...] = ("stored", "prompt") if with_stored else ("prompt",)
        self._scripts = [script for _, script in scripts]
        self._tallies = [_Tally(source, script.title) for source, script in scripts]
        self._regexes, self._expand = regexes, expand

    def on_line(self, line: ChatLine, depth: int, *, expand_captures: bool) -> ChatLine:
        """The message as the prompt shows it. Content in parts stays as it is."""
        if line.content is not None or not self._scripts:
            return line
        placement = USER_INPUT if line.is_user else AI_OUTPUT
        text = line.text
        for stage in self._stages:
            # Depth limits have no effect on what is stored: it was new when it was.
            at = depth if stage == "prompt" else None
            text = self._applied(text, placement, at, stage, expand_captures=expand_captures)
        return replace(line, text=text)

    def on_world_info(self, text: str, depth: int | None) -> str:
        return self._applied(text, WORLD_INFO, depth, "prompt", expand_captures=True) if self._scripts else text

    def report(self) -> list[dict[str, Any]]:
        return [tally.to_json() for tally in self._tallies]

    def _applied(self, text: str, placement: int, depth: int | None, stage: Stage, *, expand_captures: bool) -> str:
        applied = apply_scripts(
            text,
            self._scripts,
            placement=placement,
            stage=stage,
            depth=depth,
            regexes=self._regexes,
            expand=self._expand,
            expand_captures=expand_captures,
        )
        for outcome in applied.report:
            self._add_to_tally(outcome)
        return applied.text

    def _add_to_tally(self, outcome: ScriptReport) -> None:
        tally = self._tallies[outcome.index]
        if outcome.outcome == "ran":
            tally.texts += 1
            tally.matches += outcome.matches
        elif outcome.outcome == "failed":
            tally.failure = outcome.reason
            self._scripts[outcome.index] = replace(self._scripts[outcome.index], disabled=True)
        else:
            tally.skipped = outcome.reason
