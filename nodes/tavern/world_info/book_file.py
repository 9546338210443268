"""Book files: bytes to the object in them."""

from __future__ import annotations

from typing import Any

import yaml

from innkeeper.nodes.tavern.cards.png import SIGNATURE, decode_base64, find_text, read_png
from innkeeper.nodes.tavern.cards.text import BOOK_KEYWORD
from innkeeper.nodes.tavern.documents import CodedWarning, decode, warnings_json
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.file_kinds import BOOK, CARD, parse_document
from innkeeper.nodes.tavern.world_info.book import read_book
from innkeeper.nodes.tavern.yaml_text import load_yaml

MAX_WARNINGS = 20
_KEY_FIELDS = {"key", "keysecondary", "keys", "secondary_keys", "keywords", "secondkey"}
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_book_file(name: str, data: bytes = b"") -> dict[str, Any]:
    """The book of a JSON or YAML file, or of a picture of Novel AI, as `{"raw", "warnings"}`.

    `raw` is the value as it stands in the file, warnings are `{"code", "message"}`.
    Bytes of a JSON file that are not UTF-8 become U+FFFD.

    Raises:
        FormatError: Neither JSON nor, by the ending of its name, YAML; or a value of none of the known shapes.
    """
    if not data.strip():
        raise FormatError("the file is empty")
    if data.startswith(SIGNATURE):
        text, warnings = _text_in_png(data)
        raw = parse_document(text, BOOK)
        return {"raw": raw, "warnings": warnings_json([*warnings, *_warnings(raw, name)], "odd_world_book")}
    if name.lower().endswith((".yaml", ".yml")):
        raw = load_yaml(data)
        _keep_keys_as_written(raw, yaml.compose(data.decode("utf-8-sig"), Loader=_Loader))
        return {"raw": raw, "warnings": warnings_json(_warnings(raw, name), "odd_world_book")}
    decoded = decode(data)
    raw = parse_document(decoded.text, BOOK, CARD)
    return {"raw": raw, "warnings": warnings_json([*decoded.warnings, *_warnings(raw, name)], "odd_world_book")}


def _text_in_png(data: bytes) -> tuple[str, tuple[str, ...]]:
    """The book in a picture of Novel AI, and what had to be overlooked to read it."""
    has_mark = BOOK_KEYWORD.encode() in data
    png = read_png(data) if has_mark else None
    found = find_text(png, BOOK_KEYWORD) if png else None
    if png is None or found is None:
        raise FormatError("this is a PNG image: load it with core:CharacterCardLoader; a card brings its book along")
    decoded = decode(decode_base64(found.text())[0])
    damage = [CodedWarning("damaged_file", damage) for damage in png.damage]
    return decoded.text, (*damage, *decoded.warnings)


def _warnings(raw: Any, name: str) -> list[str]:
    return list(read_book(raw, name).warnings[:MAX_WARNINGS])


def _keep_keys_as_written(value: Any, node: yaml.Node | None) -> None:
    """Give keys such as `007` or `~`, which YAML reads as a number or nothing, their own text back."""
    if isinstance(value, dict) and isinstance(node, yaml.MappingNode):
        for name_node, item_node in node.value:
            name = name_node.value
            if isinstance(name, str) and name in value:
                value[name] = _as_written(value[name], item_node) if name in _KEY_FIELDS else value[name]
                _keep_keys_as_written(value[name], item_node)
    elif isinstance(value, list) and isinstance(node, yaml.SequenceNode):
        for item, item_node in zip(value, node.value, strict=False):
            _keep_keys_as_written(item, item_node)


def _as_written(value: Any, node: yaml.Node) -> Any:
    if isinstance(value, list) and isinstance(node, yaml.SequenceNode):
        return [_as_written(item, inner) for item, inner in zip(value, node.value, strict=False)]
    return node.value if isinstance(node, yaml.ScalarNode) and not isinstance(value, str) else value
