"""Reading cards out of every kind of file, in every condition they are found in."""

from __future__ import annotations

import base64
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.cards import read_card
from innkeeper.nodes.tavern.cards.charx import MAX_FILES
from innkeeper.nodes.tavern.cards.png import MAX_CHUNKS, SIGNATURE, decode_base64, write_png_file
from innkeeper.nodes.tavern.cards.reading import read_card_json
from innkeeper.nodes.tavern.documents import MAX_TEXT_BYTES, parse_json
from innkeeper.nodes.tavern.environment import FormatError
from tests.effort import examples

Chunk = tuple[str, bytes]
CARD: dict[str, Any] = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Mira", "odd": {"x": [None]}}}
OTHER: dict[str, Any] = {"name": "Other"}
IHDR: Chunk = ("IHDR", b"\0\0\0\2\0\0\0\2\x08\2\0\0\0")
IDAT: Chunk = ("IDAT", b"pixels")
IEND: Chunk = ("IEND", b"")


def packed(card: Any = CARD) -> bytes:
    return base64.b64encode(json.dumps(card).encode())


def text(keyword: bytes, body: bytes) -> Chunk:
    return "tEXt", keyword + b"\0" + body


def compressed(keyword: bytes, body: bytes) -> Chunk:
    return "zTXt", keyword + b"\0\0" + zlib.compress(body)


def international(keyword: bytes, body: bytes, flag: int = 0) -> Chunk:
    head = keyword + b"\0" + bytes([flag, 0]) + b"en\0card\0"
    return "iTXt", head + (zlib.compress(body) if flag else body)


def png(*chunks: Chunk, end: bool = True) -> bytes:
    return write_png_file([IHDR, IDAT, *chunks, *([IEND] if end else [])])


def refused(data: bytes, name: str = "") -> str:
    with pytest.raises(FormatError) as failure:
        read_card(data, name)
    return failure.value.message


CHARA = text(b"chara", packed())


@pytest.mark.parametrize(
    "chunk",
    [
        CHARA,
        text(b"ccv3", packed()),
        text(b"ChArA", packed()),
        compressed(b"chara", packed()),
        international(b"ccv3", packed()),
        international(b"chara", packed(), flag=1),
        international(b"chara", json.dumps(CARD, ensure_ascii=False).encode()),
        text(b"chara", json.dumps(CARD).encode()),
        text(b"chara", packed().rstrip(b"=")),
        text(b"chara", b"\r\n".join(packed()[i : i + 60] for i in range(0, len(packed()), 60)) + b"\n"),
        text(b"chara", base64.urlsafe_b64encode(json.dumps({**CARD, "x": "\u07ff\u07ff??>>"}).encode())),
        text(b"chara", b"%" + packed() + b"\xff!"),
        text(b"chara", base64.b64encode(b"\xef\xbb\xbf" + json.dumps(CARD).encode())),
        text(b"chara", base64.b64encode(json.dumps(CARD).encode("utf-16"))),
        text(b"chara", base64.b64encode(b"\xfe\xff" + json.dumps(CARD).encode("utf-16-be"))),
    ],
    ids=lambda chunk: f"{chunk[0]}",
)
def test_card_is_found_however_it_is_packed(chunk: Chunk) -> None:
    card = read_card(png(chunk), "card.png")
    assert card.raw["data"] == CARD["data"]
    assert card.kind == "png"


def test_plain_tExt_card_gives_no_warning() -> None:
    assert read_card(png(CHARA)).warnings == ()


def test_place_of_the_chunk_does_not_matter() -> None:
    for order in ([IHDR, CHARA, IDAT, IEND], [IHDR, IDAT, CHARA, IDAT, IEND], [IHDR, IDAT, IEND, CHARA]):
        assert read_card(write_png_file(order)).raw == CARD


def test_ccv3_goes_before_chara_and_the_first_before_the_second() -> None:
    newer, older = text(b"ccv3", packed()), text(b"chara", packed(OTHER))
    assert read_card(png(older, newer)).raw == CARD
    assert read_card(png(CHARA, older)).raw == CARD
    assert read_card(png(compressed(b"chara", packed(OTHER)), CHARA)).raw == CARD
    assert read_card(write_png_file([IHDR, CHARA, IEND, text(b"ccv3", packed(OTHER))])).raw == CARD


@pytest.mark.parametrize("body", [b"%%%", packed()[:40], packed([1]), b"a\0b", packed()[:40] + b"\0"])
def test_chunk_that_cannot_be_read_falls_back_to_the_next_with_a_warning(body: bytes) -> None:
    card = read_card(png(CHARA, text(b"ccv3", body)))
    assert card.raw == CARD
    assert "another card chunk could not be read" in card.warnings[0]


def test_bytes_that_are_no_utf8_are_replaced_and_their_place_is_told() -> None:
    body = base64.b64encode('{"name": "René"}'.encode("latin-1"))
    card = read_card(png(text(b"chara", body)))
    assert card.raw == {"name": "Ren\ufffd"}
    assert any("byte 13" in warning for warning in card.warnings)


def test_lone_surrogates_are_replaced_and_pairs_are_kept() -> None:
    assert read_card(b'{"name": "\\ud83d\\ude00", "\\udc00": ["\\ud800x"]}').raw == {
        "name": "😀",
        "\ufffd": ["\ufffdx"],
    }


def test_wrong_checksum_no_end_and_trailing_bytes_are_overlooked_with_a_warning() -> None:
    whole = png(CHARA)
    place = whole.index(b"tEXt") + 4 + len(CHARA[1])
    wrong = whole[:place] + b"\0\0\0\0" + whole[place + 4 :]
    for damaged, word in ((wrong, "wrong CRC of the tEXt"), (png(CHARA, end=False), "IEND"), (whole[:-3], "longer")):
        card = read_card(damaged)
        assert card.raw == CARD
        assert any(word in warning for warning in card.warnings), card.warnings
    assert read_card(whole + b"trailing").raw == CARD


def test_damage_that_reaches_the_card_is_named() -> None:
    whole = png(CHARA)
    cut = whole[: whole.index(b"tEXt") + 60]
    assert "file is damaged (the tEXt chunk at byte" in refused(cut)
    flipped = bytearray(whole)
    flipped[whole.index(b"tEXt") + 12] ^= 0xFF
    assert "file is damaged (wrong CRC of the tEXt" in refused(bytes(flipped))
    huge = SIGNATURE + struct.pack(">I", 2**31 - 1) + b"tEXtchara\0" + packed()[:50]
    assert "longer than the rest of the file" in refused(huge)


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"", "", "empty"),
        (SIGNATURE, "", "nothing but the PNG signature"),
        (png(), "", "no character data"),
        (png(text(b"Comment", b"hello"), text(b"chara-ext-asset_:x", b"eA==")), "", "no character data"),
        (png(("tEXt", b"chara" + packed())), "", "no NUL between keyword and text"),
        (png(text(b"chara", packed()[:8] + b"\0" + packed()[8:])), "", "holds a NUL"),
        (png(text(b"chara", packed([1]))), "", "expected an object, got an array"),
        (png(text(b"chara", base64.b64encode(b'{"name": "x"'))), "", "line 1, column 13"),
        (png(("zTXt", b"chara\0\1" + zlib.compress(packed()))), "", "compressed in a way"),
        (png(("zTXt", b"chara\0\0" + zlib.compress(packed())[:-9])), "", "breaks off"),
        (png(("zTXt", b"chara\0\0nonsense")), "", "cannot be inflated"),
        (png(("iTXt", b"chara\0\0\0en")), "", "breaks off inside its head"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "card.png", "this is a JPEG"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "card.png", "this is a WebP"),
        (b"GIF89a\0\0", "", "this is a GIF"),
        (b"hello", "card.png", "not a PNG"),
        (b"\xff\xd8\xff\xe0JFIF", "card.png", "this is a JPEG; character data lives only in PNG"),
        (png(text(b"chara", b"!!no base64 at all!!")), "", "the chara chunk is not the base64 of a JSON object"),
        (png(text(b"chara", base64.b64encode(b"\x93\xfa\x96"))), "", "is not the base64 of a JSON object"),
        (b"hello", "card.charx", "not a ZIP"),
        (b"hello", "card.json", "not valid JSON at line 1, column 1"),
        (b"[]", "card.json", "expected an object, got an array"),
        (b"- a", "card.yaml", "expected an object, got an array"),
        (b'{"a": NaN}', "", "NaN"),
        (b'{"a": 1e999}', "", "out of range"),
        (b'{"a":' * 5000, "", "nested"),
        (b'{"a":' * 150 + b"1" + b"}" * 150, "", "nested"),
    ],
)
def test_file_without_a_card_is_refused_with_the_reason(data: bytes, name: str, reason: str) -> None:
    assert reason in refused(data, name)


def test_text_that_inflates_without_end_is_refused() -> None:
    assert "inflates to more than" in refused(png(compressed(b"chara", b" " * (MAX_TEXT_BYTES + 1))))
    assert "inflates to more than" in refused(png(international(b"chara", b" " * (MAX_TEXT_BYTES + 1), flag=1)))


def test_endless_chunks_are_refused() -> None:
    assert "more than" in refused(SIGNATURE + struct.pack(">I4sI", 0, b"IDAT", 0x35AF061E) * (MAX_CHUNKS + 1))


def test_big_picture_is_not_copied() -> None:
    data = write_png_file([IHDR, ("IDAT", bytes(16 * 1024 * 1024)), CHARA, IEND])
    tracemalloc.start()
    try:
        assert read_card(data).raw == CARD
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return out.getvalue()


def test_charx_is_read_also_behind_a_picture_or_a_program() -> None:
    whole = archive({"card.json": json.dumps(CARD).encode(), "assets/icon.png": b"x", "module.risum": b"x"})
    for prefix in (b"", b"\xff\xd8\xff\xe0\0\x10JFIF\0" * 9, b"MZ\0\0" * 40):
        card = read_card(prefix + whole)
        assert (card.raw, card.kind) == (CARD, "charx")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"other.json": b"{}"}, "no 'card.json'"),
        ({"card.json": b"{}", "../evil": b""}, "leads out of it"),
        ({"card.json": b"{}", "/evil": b""}, "leads out of it"),
        ({"card.json": b"{}", "C:\\evil": b""}, "leads out of it"),
        ({"card.json": b" " * (MAX_TEXT_BYTES + 1)}, "more than the limit"),
        ({f"{number}": b"" for number in range(MAX_FILES + 1)}, "too many files"),
        ({"card.json": b"[]"}, "expected an object"),
    ],
)
def test_charx_that_cannot_be_trusted_is_refused(files: dict[str, bytes], reason: str) -> None:
    # Packed here, not for the table: each process of pytest would do it while it collects.
    assert reason in refused(archive(files))


def test_charx_that_lacks_its_end_is_refused() -> None:
    assert "damaged" in refused(archive({"card.json": b"{}"})[:-12])


def test_json_and_yaml_files_are_read() -> None:
    assert read_card(b"\xef\xbb\xbf" + json.dumps(CARD).encode(), "c.json").raw == CARD
    assert read_card(json.dumps(CARD).encode("utf-16"), "c.json").raw == CARD
    assert read_card(b"name: Mira\ngreeting: 'yes'\non: no\n", "c.yml").raw == {
        "name": "Mira",
        "greeting": "yes",
        "on": "no",
    }
    renamed = read_card(json.dumps(CARD).encode(), "c.png")
    assert renamed.raw == CARD
    assert renamed.warnings


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"a: &a [*a]", "an alias"),
        (b"[" * 100_000, "nested"),
        (b"a: !!python/object/apply:os.system [x]", "constructor"),
        (b"? [1]\n: 2", "unhashable"),
        (b"a: .nan", "number that JSON does not have"),
        (b"a: [", "not valid YAML at line"),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(8)),
            "more than",
        ),
    ],
)
def test_yaml_that_explodes_or_is_no_json_is_refused(document: bytes, reason: str) -> None:
    assert reason in refused(document, "c.yaml")


def test_reading_in_a_process_of_its_own_takes_plain_json_at_its_word() -> None:
    warnings = [{"code": "no_card", "message": "the file holds a number, not a card"}]
    assert read_card_json("c.json", data=b"42") == {"raw": 42, "warnings": warnings, "kind": "json"}
    assert read_card_json("c.png", data=png(CHARA)) == {"raw": CARD, "warnings": [], "kind": "png"}
    with pytest.raises(FormatError, match="byte order mark"):
        read_card_json("c.json", data=b"\xef\xbb\xbf{}")
    with pytest.raises(FormatError, match="empty"):
        read_card_json("c.json")


def test_numbers_beyond_64_bits_become_floats() -> None:
    assert parse_json("[12345678901, 9223372036854775807, 123456789012345678901]") == [
        12345678901,
        2**63 - 1,
        1.2345678901234568e20,
    ]


@examples(200)
@given(st.binary(max_size=40))
def test_base64_of_any_bytes_comes_back(data: bytes) -> None:
    encoded = base64.b64encode(data)
    for text in (encoded, encoded.rstrip(b"="), base64.urlsafe_b64encode(data), b" ".join([encoded[:3], encoded[3:]])):
        assert decode_base64(text) == (data, 0)


def mutated(data: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    result = bytearray(data)
    for place, value in changes:
        result[place % len(result)] = value
    return bytes(result[: len(result) - cut % len(result)])


SEEDS = [
    png(CHARA),
    png(compressed(b"chara", packed()), international(b"ccv3", packed(OTHER), flag=1)),
    archive({"card.json": json.dumps(CARD).encode(), "x": b"y"}),
    b"a: &a {x: [1, *a]}\nb: !!int 3\n",
    json.dumps(CARD).encode(),
]


@examples(300)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.just(0) | st.integers(0, 300),
)
def test_any_damage_gives_a_card_or_a_format_error(seed: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    data = mutated(seed, changes, cut)
    for name in ("card.png", "card.yaml", "card.json"):
        try:
            card = read_card(data, name)
        except FormatError:
            continue
        json.dumps(card.raw).encode()


@examples(200)
@given(st.sampled_from([b"", SIGNATURE, b"PK\3\4", b"\xff\xd8\xff\0", b"{", b"- "]), st.binary(max_size=80))
def test_any_bytes_give_a_card_or_a_format_error(start: bytes, rest: bytes) -> None:
    for name in ("", "card.yaml", "card.charx"):
        try:
            read_card(start + rest, name)
        except FormatError:
            continue
