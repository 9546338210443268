"""Cards into pictures and back, without loss."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.cards import for_export, read_card, write_png
from innkeeper.nodes.tavern.cards.png import read_png, write_png_file
from innkeeper.nodes.tavern.environment import FormatError
from tests.effort import examples

HEAD = [("IHDR", b"\0" * 13), ("IDAT", b"pixels")]
END = ("IEND", b"")
PICTURE = write_png_file([*HEAD, END])
V3 = {"spec": "chara_card_v3", "spec_version": "3.0"}


def kinds(png: bytes) -> list[tuple[str, bytes]]:
    return [(chunk.kind, bytes(chunk.data)) for chunk in read_png(png).chunks]


def test_card_is_written_twice_before_the_end_and_again_replaces_it() -> None:
    once = write_png(PICTURE, {"name": "Mira"})
    assert [kind for kind, _ in kinds(once)] == ["IHDR", "IDAT", "tEXt", "tEXt", "IEND"]
    assert read_png(once).damage == ()
    again = write_png(once, {"name": "Tam"})
    assert [kind for kind, _ in kinds(again)] == ["IHDR", "IDAT", "tEXt", "tEXt", "IEND"]
    assert read_card(again).raw == {"name": "Tam", **V3}


def test_other_chunks_stay_and_what_is_behind_the_end_goes() -> None:
    others = [("tEXt", b"Software\0x"), ("iTXt", b"chara\0\0\0\0\0old"), ("eXIf", b"\0\1")]
    written = write_png(write_png_file([*HEAD, *others, END, ("tEXt", b"chara\0x")]) + b"junk", {"name": "Mira"})
    assert kinds(written)[2:5] == others
    assert kinds(written)[-1] == END
    assert read_card(written).raw["name"] == "Mira"


def test_text_that_is_no_json_object_is_written_as_it_is() -> None:
    for text in ("oops", "42", "null"):
        chunks = kinds(write_png(PICTURE, text))
        assert [body.split(b"\0")[0] for kind, body in chunks if kind == "tEXt"] == [b"chara"]
        assert base64.b64decode(chunks[2][1].split(b"\0")[1]) == text.encode()


@pytest.mark.parametrize("raw", [{"n": math.nan}, {"n": {1, 2}}, [1]])
def test_what_json_does_not_have_is_refused(raw: Any) -> None:
    with pytest.raises(FormatError):
        write_png(PICTURE, raw)


def test_damaged_picture_is_refused() -> None:
    for picture in (PICTURE[:-1], PICTURE[:-2] + b"xx", b"x", b""):
        with pytest.raises(FormatError):
            write_png(picture, {"name": "x"})


def test_card_to_give_away_holds_nothing_of_its_owner() -> None:
    raw = {"name": "x", "chat": "secret", "fav": True, "data": {"extensions": {"fav": True, "odd": 1}}}
    assert for_export(raw) == {"name": "x", "fav": False, "data": {"extensions": {"fav": False, "odd": 1}}}
    assert raw["fav"] is True


texts = st.text(max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@examples(150)
@given(st.dictionaries(texts, values, max_size=4), st.dictionaries(texts, values, max_size=4))
def test_any_card_survives_writing_and_reading_with_all_its_keys(top: dict[str, Any], data: dict[str, Any]) -> None:
    raw = {**top, "data": data}
    written = write_png(PICTURE, raw)
    assert read_card(written).raw == {**raw, **V3}
    older = write_png_file([(kind, body) for kind, body in kinds(written) if not body.startswith(b"ccv3")])
    assert read_card(older).raw == raw
    assert write_png(written, json.dumps(raw, ensure_ascii=False, separators=(",", ":"))) == written
