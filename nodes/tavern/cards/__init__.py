"""Character cards: reading every kind of file they come in, their shapes, and writing them back without loss."""

from innkeeper.nodes.tavern.cards.card import Card, DepthPrompt, normalise
from innkeeper.nodes.tavern.cards.reading import CardFile, read_card
from innkeeper.nodes.tavern.cards.shapes import Validity, to_v2, to_v3, validate
from innkeeper.nodes.tavern.cards.writing import for_export, write_png

__all__ = [
    "Card",
    "CardFile",
    "DepthPrompt",
    "Validity",
    "for_export",
    "normalise",
    "read_card",
    "to_v2",
    "to_v3",
    "validate",
    "write_png",
]
