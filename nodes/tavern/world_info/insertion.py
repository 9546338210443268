"""Where the texts of active entries go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from innkeeper.nodes.tavern.world_info.candidates import Candidate
from innkeeper.nodes.tavern.world_info.entry import DEFAULT_DEPTH, Position
from innkeeper.nodes.tavern.world_info.result import DepthGroup, Example

PromptScripts = Callable[[str, int | None], str]


@dataclass
class Insertion:
    """The texts by place, in descending order while they are collected."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    note_top: list[str] = field(default_factory=list)
    note_bottom: list[str] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    outlets: dict[str, list[str]] = field(default_factory=dict)
    groups: list[tuple[int | None, int, list[str]]] = field(default_factory=list)

    def add(self, candidate: Candidate, content: str) -> bool:
        """Put a text in its place; False when it has none."""
        entry = candidate.entry
        match entry.position:
            case Position.BEFORE:
                self.before.append(content)
            case Position.AFTER:
                self.after.append(content)
            case Position.NOTE_TOP:
                self.note_top.append(content)
            case Position.NOTE_BOTTOM:
                self.note_bottom.append(content)
            case Position.AT_DEPTH:
                self._texts_at_depth(entry.depth, entry.role).append(content)
            case Position.EXAMPLES_TOP | Position.EXAMPLES_BOTTOM:
                self.examples.append(Example(entry.position == Position.EXAMPLES_TOP, content))
            case Position.OUTLET if entry.outlet_name:
                self.outlets.setdefault(entry.outlet_name, []).append(content)
            case _:
                return False
        return True

    def _texts_at_depth(self, depth: int | None, role: int) -> list[str]:
        # An entry without depth joins the group of the default depth when there is one, but founds one without depth.
        wanted = DEFAULT_DEPTH if depth is None else depth
        for group_depth, group_role, texts in self.groups:
            if (group_depth, group_role) == (wanted, role):
                return texts
        self.groups.append((depth, role, []))
        return self.groups[-1][2]

    def to_fields(self) -> dict[str, Any]:
        """Fields of an Activation, in ascending order but for the outlets."""
        return {
            "before": "\n".join(reversed(self.before)),
            "after": "\n".join(reversed(self.after)),
            "note_top": tuple(reversed(self.note_top)),
            "note_bottom": tuple(reversed(self.note_bottom)),
            "examples": tuple(reversed(self.examples)),
            "outlets": {name: tuple(texts) for name, texts in self.outlets.items()},
            "depth": tuple(_depth_group(*group) for group in self.groups),
        }


def insert(active: Iterable[Candidate], prompt_scripts: PromptScripts) -> Insertion:
    """Place the active entries, given in the order in which they became active.

    Greater order comes later in the text; of equal orders the one that became active first comes last.
    """
    insertion = Insertion()
    for candidate in sorted(active, key=lambda one: -one.entry.order):
        depth = _script_depth(candidate)
        content = prompt_scripts(candidate.content, depth)
        candidate.inserted = bool(content) and insertion.add(candidate, content)
    return insertion


def _script_depth(candidate: Candidate) -> int | None:
    if candidate.entry.position != Position.AT_DEPTH:
        return None
    return DEFAULT_DEPTH if candidate.entry.depth is None else candidate.entry.depth


def _depth_group(depth: int | None, role: int, texts: list[str]) -> DepthGroup:
    ascending = tuple(reversed(texts))
    return DepthGroup(DEFAULT_DEPTH if depth is None else depth, role, ascending, depth_missing=depth is None)
