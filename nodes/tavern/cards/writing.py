"""Cards into PNG files."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.tavern.cards.png import Chunk, Png, read_png, write_png_file
from innkeeper.nodes.tavern.cards.shapes import V3
from innkeeper.nodes.tavern.cards.text import is_card_chunk
from innkeeper.nodes.tavern.documents import check_depth, kind_of, parse_json
from innkeeper.nodes.tavern.environment import FormatError


def write_png(png: bytes, raw: Mapping[str, Any] | str) -> bytes:
    """Put a card into a picture: chunk `chara` with the card as it is, `ccv3` with the same card called V3.

    A card that is in the picture already (tEXt `chara`, `ccv3`) is replaced; all other chunks stay as they are. What
    stands behind IEND is left out.

    Args:
        raw: The card, or its JSON text. A text that is no JSON object goes into `chara` alone.

    Raises:
        FormatError: The picture is no undamaged PNG, or the card cannot be written as JSON.
    """
    text = raw if isinstance(raw, str) else dump_card(raw)
    chunks = _intact(read_png(png))
    kept: list[tuple[str, bytes | memoryview]] = [(chunk.kind, chunk.data) for chunk in chunks]
    cards = [_text_chunk("chara", text)]
    if (newer := _as_v3(text)) is not None:
        cards.append(_text_chunk("ccv3", newer))
    return write_png_file([*kept[:-1], *cards, kept[-1]])


def for_export(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A card to give away: nobody's favourite, and without the name of its owner's chat."""
    card = copy.deepcopy(dict(raw))
    card.pop("chat", None)
    card["fav"] = False
    data = card.get("data")
    if isinstance(data, dict):
        extensions = data.get("extensions")
        data["extensions"] = {**(extensions if isinstance(extensions, dict) else {}), "fav": False}
    return card


def dump_card(raw: Mapping[str, Any]) -> str:
    """A card as JSON text. Raises FormatError when it is no object or holds what JSON has not."""
    if not isinstance(raw, Mapping):
        raise FormatError(f"expected an object, got {kind_of(raw)}")
    check_depth(raw)
    try:
        return dump_json(raw, allow_nan=False)
    except (TypeError, ValueError):
        raise FormatError("the card holds a value that JSON does not have") from None


def _intact(png: Png) -> tuple[Chunk, ...]:
    if png.damage:
        raise FormatError(f"the picture is damaged ({png.damage[0]}); a card can only be written into a whole PNG")
    return tuple(chunk for chunk in png.chunks if not chunk.after_end and not is_card_chunk(chunk))


def _as_v3(text: str) -> str | None:
    """The same card with the marks of V3; None when the text is neither object nor array."""
    try:
        value = parse_json(text)
    except FormatError:
        return None
    if isinstance(value, dict):
        value = {**value, "spec": V3, "spec_version": "3.0"}
    return dump_json(value) if isinstance(value, dict | list) else None


def _text_chunk(keyword: str, text: str) -> tuple[str, bytes]:
    # Half characters, which UTF-8 cannot hold, become their JSON escapes.
    data = text.encode("utf-8", "backslashreplace")
    return "tEXt", keyword.encode() + b"\0" + base64.b64encode(data)
