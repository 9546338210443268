"""Character cards in the libraries of a user and of all users, read for a list."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.resources import FolderResources
from innkeeper.nodes.tavern.cards import Card, normalise
from innkeeper.nodes.tavern.cards.reading import read_card_json
from innkeeper.nodes.tavern.environment import FormatError

logger = logging.getLogger("innkeeper.gateway.characters")

FOLDERS = ("user://library/characters/", "shared://library/characters/")
"""Of two files of one name that of the first folder counts."""
MAX_FILES = 2_000
MAX_CARD_BYTES = 16 * 1024 * 1024
MAX_TEXT_CHARS = 4_000
MAX_TAGS = 100
MAX_TAG_CHARS = 200
CARDS = (".png", ".json")
"""Of two cards that differ in these only the first is listed: a card in a picture, and the same one beside it."""
PICTURES = (".png", ".webp", ".jpg", ".jpeg", ".gif")

JsonObject = dict[str, Any]


class CharacterLibrary:
    """The cards of one user. Blocking: call in a thread, one at a time.

    Files are read again only when they changed. Of each card only what the list has is kept, some kilobytes.
    """

    def __init__(self, resources: FolderResources) -> None:
        self._resources = resources
        self._known: dict[str, tuple[tuple[float, int], JsonObject | None]] = {}

    def cards(self) -> list[JsonObject]:
        """Every card that can be read, by name. Damaged, strange and too large files are left out, with a log line."""
        paths = self._paths()
        candidates = [path for ending in CARDS for path in paths if _ending(path) == ending]
        if len(candidates) > MAX_FILES:
            logger.warning("of %d files of characters %d are read", len(candidates), MAX_FILES)
        found: dict[str, JsonObject] = {}
        for path in candidates[:MAX_FILES]:
            if PurePosixPath(path).stem not in found and (card := self._look(path)) is not None:
                found[PurePosixPath(path).stem] = card
        self._known = {path: self._known[path] for path in candidates if path in self._known}
        pictures = {stem: {"imageName": name} for stem, name in _pictures(paths).items()}
        cards = [{**card, **pictures.get(stem, {})} for stem, card in found.items()]
        return sorted(cards, key=lambda card: (card["name"].casefold(), card["id"]))

    def _paths(self) -> list[str]:
        """Files that stand in the folders themselves, not deeper; the user's hide those of all users."""
        found: dict[str, str] = {}
        for folder in FOLDERS:
            try:
                paths = self._resources.list_files_sync(folder)
            except ResourceError as error:
                logger.warning("cards of %s are left out: %s", folder, error.message)
                continue
            for path in paths:
                name = path.removeprefix(folder)
                if "/" not in name and name == _text(name):  # some names are bytes that no JSON can tell
                    found.setdefault(name, path)
        return sorted(found.values(), key=lambda path: (PurePosixPath(path).name.casefold(), path))

    def _look(self, path: str) -> JsonObject | None:
        try:
            info = self._resources.stat_sync(path)
            mark = (info.modified, info.size)
            if self._known.get(path, (None, None))[0] != mark:
                self._known[path] = (mark, self._read(path))
            return self._known[path][1]
        except ResourceError:
            return None  # gone since

    def _read(self, path: str) -> JsonObject | None:
        try:
            data = self._resources.read_sync(path, max_bytes=MAX_CARD_BYTES)
            return _listed(path, data)
        except (ResourceError, FormatError) as error:
            logger.warning("%s is left out of the characters: %s", path, error.message)
            return None


def _listed(path: str, data: bytes) -> JsonObject:
    """The card of a file, as the list has it.

    Raises:
        FormatError: It holds none.
    """
    file = PurePosixPath(path).name
    found = read_card_json(file, data)
    strange = [warning["message"] for warning in found["warnings"] if warning["code"] == "no_card"]
    if strange:
        raise FormatError(strange[0])
    return _to_json(path, normalise(found["raw"], file), found["raw"])


def _to_json(path: str, card: Card, raw: Mapping[str, Any]) -> JsonObject:
    optional = {
        "creator": card.creator,
        "creatorComment": card.creator_notes,
        "createDate": raw.get("create_date"),
        "characterVersion": card.character_version,
        "talkativeness": card.extensions.get("talkativeness", raw.get("talkativeness")),
    }
    texts = {key: _text(value) for key, value in optional.items()}
    return {
        "id": path,
        "name": _text(card.name),
        "description": _text(card.description),
        "tags": [_text(tag)[:MAX_TAG_CHARS] for tag in card.tags[:MAX_TAGS]],
        **{key: text for key, text in texts.items() if text},
        "favorite": card.extensions.get("fav", raw.get("fav")) is True,
    }


def _text(value: Any) -> str:
    """A text that any JSON can hold, of numbers their digits; empty for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return ""
    # A card may hold half of a character, which no answer can.
    return value[:MAX_TEXT_CHARS].encode(errors="replace").decode()


def _pictures(paths: Iterable[str]) -> dict[str, str]:
    """Stem to the name of the picture that has it."""
    found: dict[str, str] = {}
    names = [PurePosixPath(path).name for path in paths if _ending(path) in PICTURES]
    for name in sorted(names, key=lambda name: PICTURES.index(_ending(name))):
        found.setdefault(PurePosixPath(name).stem, name)
    return found


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
