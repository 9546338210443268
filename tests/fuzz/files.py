"""Files that graphs read, and workflow documents: the readers run as they do in a script's process or the gateway."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from innkeeper.gateway.process.offline_check import check_document
from innkeeper.gateway.storage.workflow_library import WorkflowFiles
from innkeeper.nodes.catalogue.plugins import Catalogue, load_catalogue
from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow
from innkeeper.nodes.library.files.images import read_image, write_image
from innkeeper.nodes.services.channel_file import read_channels
from innkeeper.nodes.tavern.cards import normalise
from innkeeper.nodes.tavern.cards.reading import read_card_json
from innkeeper.nodes.tavern.history.reading import read_messages_json
from innkeeper.nodes.tavern.presets import load_preset, read_preset
from innkeeper.nodes.tavern.regex_rules import load_rules
from innkeeper.nodes.tavern.world_info.book_file import read_book_file
from innkeeper.nodes.tavern.world_info.conversion import to_world_info
from innkeeper.workflows.document.model import load_json
from tests.fuzz import seeds
from tests.fuzz.campaign import Broken, Target
from tests.fuzz.mutation import Mutator, keys_in

Named = tuple[str, bytes]
"""Name and content of a file."""
MAX_MESSAGE = 2_000


def checked(read: Callable[[], Any]) -> Any:
    """What a reader gives, which must be JSON data; None when it says in a few words what is wrong."""
    try:
        value = read()
    except InnkeeperError as error:
        if not 0 < len(error.message) <= MAX_MESSAGE:
            raise Broken(f"a message of {len(error.message)} characters") from error
        # What is wrong goes into answers and events.
        orjson.dumps([error.message, error.details])
        return None
    orjson.dumps(value)
    return value


def file_targets(mutator: Mutator, folder: Path) -> list[Target]:
    """All readers of files. `folder` holds the stored workflows that one of them reads."""
    return [
        Target("cards", 72, lambda: _card(mutator), lambda file: _read_card(*file)),
        Target("books", 72, _json_file(mutator, seeds.books()), lambda file: _read_book(*file)),
        Target("presets", 72, _json_file(mutator, seeds.presets()), lambda file: _read_preset(*file)),
        Target("regex-rules", 60, _json_file(mutator, seeds.rules()), lambda file: _read(load_rules, *file)),
        Target("chats", 72, lambda: _chat(mutator), lambda file: _read(read_messages_json, *file)),
        Target("images", 40, lambda: ("i.png", _picture(mutator)), lambda file: _read_image(*file)),
        Target("channels", 5, lambda: _channels(mutator), _read_channels),
        _stored_workflows(mutator, folder),
    ]


def document_target(mutator: Mutator, data_dir: Path) -> Target:
    """Reader, validator and compiler of workflows, with groups from the library of `data_dir`."""
    catalogue, found = load_catalogue(), seeds.documents()
    keys = keys_in(found)
    return Target(
        "documents",
        80,
        lambda: mutator.json_input(found, keys),
        lambda data: _compile(data, catalogue, data_dir),
    )


def _json_file(mutator: Mutator, found: list[Any]) -> Callable[[], Named]:
    keys = keys_in(found)

    def make() -> Named:
        data = mutator.json_input(found, keys)
        if mutator.rng.random() < 0.05:
            data = data.decode(errors="replace").encode("utf-16")
        return mutator.rng.choice(("f.json", "f.json", "f.json", "f.yaml", "f.png", "f.txt", "")), data

    return make


def _card(mutator: Mutator) -> Named:
    choice = mutator.rng.random()
    found = seeds.cards()
    if choice < 0.5:
        return "c.json", mutator.json_input(found)
    if choice < 0.75:
        picture = seeds.card_png(mutator.json_input(found), mutator.rng.choice(("chara", "ccv3", "naidata", "x")))
        return "c.png", picture
    if choice < 0.85:
        return "c.png", mutator.spoiled(mutator.rng.choice(seeds.pictures()), seeds.pictures())
    if choice < 0.95:
        return "c.charx", mutator.spoiled(seeds.charx())
    return "c.yaml", mutator.spoiled(b"name: Mira\ndescription: |\n  A keeper.\ntags: [a, &b c]\n", seeds.CHANNELS)


def _chat(mutator: Mutator) -> Named:
    changed = mutator.json_input(seeds.CHATS)
    if mutator.rng.random() < 0.5:
        return "c.json", changed
    lines = mutator.changed(seeds.CHATS[0])
    lines = lines if isinstance(lines, list) else [lines]
    text = b"\n".join(mutator.text(line) for line in lines)
    return "c.jsonl", mutator.spoiled(text) if mutator.rng.random() < 0.4 else text


def _picture(mutator: Mutator) -> bytes:
    data = mutator.spoiled(mutator.rng.choice(seeds.pictures()), seeds.pictures())
    if data.startswith(b"\x89PNG") and mutator.rng.random() < 0.7:
        data = _with_sums(data)
    return b"data:image/png;base64," + base64.b64encode(data) if mutator.rng.random() < 0.2 else data


def _with_sums(data: bytes) -> bytes:
    """A PNG whose checksums are right again, so that the damage is read and not refused by its sum."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + size]
        out += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + size
    return bytes(out)


def _channels(mutator: Mutator) -> bytes:
    if mutator.rng.random() < 0.3:
        return mutator.text(mutator.changed({"channels": [{"id": "a", "baseUrl": "http://h/v1", "apiKey": "env:A"}]}))
    return mutator.spoiled(mutator.rng.choice(seeds.CHANNELS), seeds.CHANNELS)


def _read(reader: Callable[[str, bytes], Any], name: str, data: bytes) -> None:
    checked(lambda: reader(name, data))


def _read_card(name: str, data: bytes) -> None:
    _read_further(read_card_json, normalise, (name, data))


def _read_book(name: str, data: bytes) -> None:
    _read_further(read_book_file, to_world_info, (name, data))


def _read_preset(name: str, data: bytes) -> None:
    _read_further(load_preset, read_preset, (name, data))


def _read_further(load: Callable[[str, bytes], Any], use: Callable[[Any], Any], file: Named) -> None:
    """Load a file, then do with its content what the builder of prompts does."""
    loaded = checked(lambda: load(*file))
    if isinstance(loaded, dict) and isinstance(raw := loaded["raw"], dict):
        checked(lambda: use(raw) and None)


def _read_image(name: str, data: bytes) -> None:
    checked(lambda: read_image(name, data))
    checked(lambda: write_image("PNG", data))


def _read_channels(data: bytes) -> None:
    found = read_channels(data)
    if (found.config is None) != bool(found.errors):
        raise Broken("a file without channels and without a reason")
    orjson.dumps([str(problem) for problem in found.problems])


def _stored_workflows(mutator: Mutator, folder: Path) -> Target:
    library = WorkflowFiles.of(folder)
    place = folder / "shared" / "library" / "workflows"
    place.mkdir(parents=True, exist_ok=True)
    found = [{"id": "stored", "name": "n", **body} for body in seeds.documents()[:20]]

    def feed(data: bytes) -> None:
        (place / "a.json").write_bytes(data)
        orjson.dumps([stored.name for stored in library.scan()])
        checked(lambda: library.load("stored") and None)

    return Target("stored-workflows", 3, lambda: mutator.json_input(found), feed)


def _compile(data: bytes, catalogue: Catalogue, data_dir: Path) -> None:
    try:
        raw = load_json(data)
    except InvalidWorkflow as error:
        orjson.dumps([problem.to_json() for problem in error.problems])
        return
    verdict = check_document(raw, catalogue, data_dir)
    # Every problem goes into an answer.
    json.loads(orjson.dumps([problem.to_json() for problem in verdict.problems]))
