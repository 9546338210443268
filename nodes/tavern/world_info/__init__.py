"""World info (lorebooks): reading books of every shape, and deciding which entries a chat wakes.

`read_book` makes a `WorldBook` of any known shape, `activate` decides over a `Scan` and gives an `Activation`.
Random numbers, token counts, regular expressions, macros and the state of timed effects are passed in.
"""

from innkeeper.nodes.tavern.world_info.activation import activate
from innkeeper.nodes.tavern.world_info.book import WorldBook, read_book
from innkeeper.nodes.tavern.world_info.conversion import to_character_book, to_world_info
from innkeeper.nodes.tavern.world_info.entry import Entry, Logic, Position
from innkeeper.nodes.tavern.world_info.result import Activation, ActiveEntry, DepthGroup, EntryReport, Example, Reason
from innkeeper.nodes.tavern.world_info.scan import Books, Scan, ScanMessage, ScanTexts
from innkeeper.nodes.tavern.world_info.settings import Settings, Strategy, book_settings, read_settings

__all__ = [
    "Activation",
    "ActiveEntry",
    "Books",
    "DepthGroup",
    "Entry",
    "EntryReport",
    "Example",
    "Logic",
    "Position",
    "Reason",
    "Scan",
    "ScanMessage",
    "ScanTexts",
    "Settings",
    "Strategy",
    "WorldBook",
    "activate",
    "book_settings",
    "read_book",
    "read_settings",
    "to_character_book",
    "to_world_info",
]
