"""The picture of the demo moves by itself, loads nothing, and shows its last frame where nothing moves."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from rich.text import Text

from tests.docs.make_images import Film, as_svg

SVG = "{http://www.w3.org/2000/svg}"


def film() -> Film:
    film = Film()
    film.take(1.0, Text("Story  running"))
    film.take(3.0, Text("Story  complete"), Text('said "<b> & so on"'))
    return film


def test_picture_is_valid_and_loads_nothing() -> None:
    picture = as_svg(film())
    ElementTree.fromstring(picture)
    assert re.findall(r"https?://[^\"\s]*", picture) == ["http://www.w3.org/2000/svg"]


def test_each_frame_holds_what_was_shown_then() -> None:
    root = ElementTree.fromstring(as_svg(film()))
    frames = [group for group in root.iter(f"{SVG}g") if group.get("class") == "frame"]
    texts = [" ".join("".join(frame.itertext()).replace("\xa0", " ").split()) for frame in frames]
    assert "Story running" in texts[0]
    assert "Story complete" in texts[1]
    assert 'said "<b> & so on"' in texts[1]
    assert "running" not in texts[1]


def test_frames_share_the_time_and_only_the_last_is_seen_without_motion() -> None:
    picture = as_svg(film())
    assert "animation: 4.0s step-end infinite" in picture
    assert "@keyframes show-0 { 0.00% { opacity: 1; } 25.00% { opacity: 0; } }" in picture
    assert "@keyframes show-1 { 0% { opacity: 0; } 25.00% { opacity: 1; } }" in picture
    assert re.findall(r"#frame-(\d+) \{[^}]*opacity: 1;", picture) == ["1"]
    assert ".frame { opacity: 0;" in picture
