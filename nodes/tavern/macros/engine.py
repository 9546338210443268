"""The entry: a text in, the same text with its macros replaced out."""

from __future__ import annotations

from typing import Literal

from innkeeper.nodes.tavern.macros.environment import MacroEnvironment
from innkeeper.nodes.tavern.macros.expansion import Budget, Expansion
from innkeeper.nodes.tavern.macros.legacy import expand_legacy

Engine = Literal["new", "legacy"]


class Macros:
    """Replaces the macros of texts; an `Expand`.

    Args:
        environment: What the macros are made from. Its variables are changed by macros that set them.
        engine: `new` reads macros with a parser, from the inside out, each once; `legacy` replaces kind by kind over
            the whole text, as older programs did.
    """

    def __init__(self, environment: MacroEnvironment, *, engine: Engine = "new") -> None:
        self.environment = environment
        self.engine = engine

    def __call__(self, text: str, *, original: str | None = None) -> str:
        """Expand `text`.

        Args:
            text: May hold macros of any kind; an unknown one stays as it is.
            original: The text that this one overrides, for `{{original}}`.

        Raises:
            MacroLimit: The macros go deeper, grow larger or are more than the limits allow.
        """
        if "{" not in text and "}" not in text and "<" not in text:
            return text
        budget = Budget(self.environment.limits)
        if self.engine == "legacy":
            return expand_legacy(text, self.environment, budget, original=original)
        return Expansion(self.environment, budget, original=original).run(text)

    def field(self, key: str, text: str) -> str:
        """Expand a text of card or persona; `key` is its name in `CardFields`, or `persona`.

        Its own macro is '' inside of it (`{{description}}` in the description): it would never end.

        Raises:
            MacroLimit: As for other texts.
        """
        text = text.strip()
        if self.engine == "legacy":
            return self(text).replace("\r", "")
        return Expansion(self.environment, Budget(self.environment.limits)).field(key, text)
