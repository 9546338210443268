"""World books."""

from __future__ import annotations

from tests.e2e.library_cases.case import Case

_YAML = b"name: Coast\nentries:\n  0:\n    key: [on, 1, ~]\n    content: The lamp is lit.\n"

CASES = [
    Case(
        "world_book_loader",
        [
            {
                "id": "book",
                "fullType": "core:WorldBookLoader",
                "configValues": {"worldBookResource": "user://library/coast.yaml"},
            }
        ],
        files={"user://library/coast.yaml": _YAML},
        expect={
            "book": {
                "worldBookData": {
                    "name": "Coast",
                    "entries": {"0": {"key": ["on", "1", "~"], "content": "The lamp is lit."}},
                }
            }
        },
    ),
    Case(
        "world_book_loader_bad_file",
        [
            {
                "id": "book",
                "fullType": "core:WorldBookLoader",
                "configValues": {"worldBookResource": "user://library/broken.json"},
            }
        ],
        files={"user://library/broken.json": b'{"entries": '},
        fails={"book": "invalid_format"},
    ),
]
