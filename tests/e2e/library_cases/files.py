"""Files read and written by nodes."""

from __future__ import annotations

import io

from PIL import Image

from tests.e2e.library_cases.case import Case
from tests.e2e.library_cases.tools import node


def _drawn() -> bytes:
    target = io.BytesIO()
    Image.new("RGBA", (4, 3), (255, 0, 0, 128)).save(target, "PNG")
    return target.getvalue()


CASES = [
    Case(
        "image_is_loaded_converted_saved_and_loaded_again",
        [
            node("l", "LoadImage", {"imageResource": "shared://pictures/a.png"}),
            node("s", "SaveImage", path="user://made/b.jpg"),
        ],
        ["l.image > s.image"],
        {
            "l": {"width": 4, "height": 3, "mime": "image/png", "image": lambda uri: uri.startswith("data:image/png;")},
            "s": {"path": "user://made/b.jpg", "mime": "image/jpeg", "size": lambda size: size > 100},
        },
        files={"shared://pictures/a.png": _drawn()},
    ),
    Case(
        "image_that_is_none",
        [node("l", "LoadImage", {"imageResource": "user://a.png"})],
        files={"user://a.png": b"words"},
        fails={"l": "failed to load image 'user://a.png'"},
    ),
    Case(
        "text_is_saved",
        [node("s", "SaveText", text="酒馆", path="user://notes/a.txt")],
        expect={"s": {"path": "user://notes/a.txt", "size": 6}},
    ),
    Case(
        "text_is_not_saved_for_others",
        [
            node("s", "SaveText", text="x", path="shared://a.txt"),
            node("t", "SaveText", text="x", path="user://../b.txt"),
        ],
        fails={"s": "resource_refused", "t": "resource_refused"},
    ),
]
