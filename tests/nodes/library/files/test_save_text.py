"""core:SaveText: a text becomes a file."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ResourceError
from innkeeper.nodes.library.files.save_text import definition
from innkeeper.nodes.testing import MemoryResources, memory_services, run_node


def save(text: Any, path: Any = "user://notes/a.txt") -> tuple[dict[str, Any], dict[str, bytes]]:
    services = memory_services(files={"user://notes/a.txt": b"old"})
    outputs = run_node(definition, {"text": text, "path": path}, services=services)
    assert isinstance(services.resources, MemoryResources)
    return outputs, services.resources.files


@pytest.mark.parametrize(
    ("text", "data"), [("酒\r\n", "酒\r\n".encode()), ("", b""), (None, b""), (1.0, b"1"), ({"a": 1}, b'{"a":1}')]
)
def test_text_is_written_as_utf8_over_the_old_one(text: Any, data: bytes) -> None:
    outputs, files = save(text)
    assert outputs == {"path": "user://notes/a.txt", "size": len(data)}
    assert files == {"user://notes/a.txt": data}


def test_path_is_trimmed_and_must_be_there() -> None:
    assert save("x", " user://b.txt\n")[0]["path"] == "user://b.txt"
    for path in ("", "  ", None, 7):
        with pytest.raises(NodeInputError, match="'path' is empty"):
            save("x", path)


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(NodeInputError, match="surrogate"):
        save("a\ud800")


@pytest.mark.parametrize("path", ["shared://a.txt", "system://a.txt", "a.txt", "/etc/passwd"])
def test_only_the_users_own_files_are_written(path: str) -> None:
    with pytest.raises(ResourceError):
        save("x", path)
