"""Macros of the SillyTavern community: `{{user}}`, variables, conditions, dice, dates, and the older text markers."""

from innkeeper.nodes.tavern.macros.engine import Macros
from innkeeper.nodes.tavern.macros.environment import (
    CardFields,
    Chat,
    MacroEnvironment,
    MacroLimit,
    MacroLimits,
    MacroMessage,
    Variables,
)

__all__ = [
    "CardFields",
    "Chat",
    "MacroEnvironment",
    "MacroLimit",
    "MacroLimits",
    "MacroMessage",
    "Macros",
    "Variables",
]
