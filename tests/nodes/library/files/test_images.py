"""core:LoadImage and core:SaveImage: images in and out, damaged ones, bombs, and every format into every other."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from innkeeper.nodes.errors import InnkeeperError, NodeError, NodeInputError, ResourceError
from innkeeper.nodes.library.files import load_image, save_image
from innkeeper.nodes.library.files.images import FORMATS, MAX_PIXELS, read_image, write_image
from innkeeper.nodes.services.scripts import ScriptProcesses
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.testing import MemoryResources, memory_services, run_node
from tests.effort import examples


def drawn(format: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (3, 2), **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new(mode, size, **options).save(target, format)
    return target.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def uri(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def load(data: bytes, path: str = "user://a.png") -> dict[str, Any]:
    services = memory_services(files={path: data})
    return run_node(load_image.definition, {}, config={"imageResource": path}, services=services)


def save(image: Any, path: str) -> tuple[dict[str, Any], bytes]:
    services = memory_services()
    outputs = run_node(save_image.definition, {"image": image, "path": path}, services=services)
    assert isinstance(services.resources, MemoryResources)
    return outputs, services.resources.files[path]


@pytest.mark.parametrize(
    ("format", "mime"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp")]
)
def test_image_is_loaded_as_it_is(format: str, mime: str) -> None:
    data = drawn(format)
    assert load(data, "shared://any name") == {"image": uri(data, mime), "width": 3, "height": 2, "mime": mime}


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not a PNG, JPEG, GIF or WebP"),
        (b"hello", "not a PNG, JPEG, GIF or WebP"),
        (drawn("BMP"), "not a PNG, JPEG, GIF or WebP"),
        (drawn(size=(200, 200))[:-60], "damaged"),
        (drawn("JPEG", size=(200, 200))[:-60], "damaged"),
        (bomb(100_000, 100_000), "100000 x 100000 pixels"),
        (bomb(3_000, 3_000), "damaged"),
        (bomb(0, 5), "not a PNG"),
    ],
)
def test_what_is_no_whole_image_is_refused(data: bytes, word: str) -> None:
    with pytest.raises(NodeInputError, match=word) as caught:
        load(data)
    assert caught.value.message.startswith("failed to load image 'user://a.png': ")
    assert caught.value.code == "invalid_format"


def test_no_file_or_a_missing_one_is_told() -> None:
    with pytest.raises(NodeInputError, match="no file is chosen"):
        run_node(load_image.definition, {})
    with pytest.raises(ResourceError, match=r"failed to load image 'user://b\.png'"):
        run_node(load_image.definition, {}, config={"imageResource": "user://b.png"})


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP"])
def test_every_format_is_written_as_every_other(ending: str, format: str) -> None:
    data = drawn(format)
    outputs, written = save(uri(data), f"user://out.{ending.upper()}")
    image = Image.open(io.BytesIO(written))
    assert (image.format, image.size) == (FORMATS[ending], (3, 2))
    assert outputs == {
        "path": f"user://out.{ending.upper()}",
        "size": len(written),
        "width": 3,
        "height": 2,
        "mime": f"image/{FORMATS[ending].lower()}",
    }
    assert (written == data) == (FORMATS[ending] == format)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "webp"])
def test_every_colour_mode_can_be_written(mode: str, ending: str) -> None:
    source = "JPEG" if mode == "CMYK" else "PNG"
    _, written = save(drawn(source, mode), f"user://out.{ending}")
    Image.open(io.BytesIO(written)).load()


def test_transparency_becomes_white_in_jpeg_and_stays_elsewhere() -> None:
    clear = drawn("PNG", "RGBA", color=(255, 0, 0, 0))
    _, jpeg = save(clear, "user://a.jpg")
    assert Image.open(io.BytesIO(jpeg)).getpixel((0, 0)) == (255, 255, 255)
    _, webp = save(clear, "user://a.webp")
    pixel = Image.open(io.BytesIO(webp)).convert("RGBA").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert pixel[3] == 0


def test_grey_of_sixteen_bits_keeps_its_shades() -> None:
    _, written = save(drawn("PNG", "I;16", color=0x8000), "user://a.webp")
    pixel = Image.open(io.BytesIO(written)).convert("L").getpixel((0, 0))
    assert isinstance(pixel, int)
    assert abs(pixel - 0x80) <= 2


def test_animation_of_the_same_format_stays_whole() -> None:
    frames = [Image.new("L", (2, 2), shade) for shade in (0, 100, 200)]
    target = io.BytesIO()
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:])
    assert save(target.getvalue(), "user://a.gif")[1] == target.getvalue()
    assert Image.open(io.BytesIO(save(target.getvalue(), "user://a.png")[1])).format == "PNG"


@pytest.mark.parametrize(
    ("image", "path", "word"),
    [
        (uri(drawn()), "user://a", "must end in one of .png"),
        (uri(drawn()), "user://a.bmp", "must end in one of .png"),
        (uri(drawn()), "", "'path' is empty"),
        (uri(drawn()), None, "'path' is empty"),
        ("https://web.example/a.png", "user://a.png", "must be a data:image URI"),
        ("", "user://a.png", "must be a data:image URI"),
        (None, "user://a.png", "must be a data:image URI"),
        (7, "user://a.png", "must be a data:image URI"),
        ("data:image/png;base64,%%%", "user://a.png", "damaged"),
        ("data:image/png;base64,AAA", "user://a.png", "damaged"),
        ("data:image/svg+xml,<svg/>", "user://a.png", "without base64"),
        (uri(b"words of the user"), "user://a.png", "not a PNG"),
        (uri(bomb(60_000, 60_000)), "user://a.png", "pixels"),
    ],
)
def test_what_cannot_be_saved_is_refused(image: Any, path: Any, word: str) -> None:
    with pytest.raises(NodeInputError, match=word) as caught:
        save(image, path)
    assert "words of the user" not in caught.value.message


def test_nodes_write_below_user_only() -> None:
    with pytest.raises(ResourceError):
        save(uri(drawn()), "shared://a.png")


@examples(120)
@given(st.data(), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"]))
def test_damaged_files_are_read_or_refused(data: st.DataObject, format: str) -> None:
    image = bytearray(drawn(format, size=(20, 20)))
    for _ in range(data.draw(st.integers(1, 8))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(image)))
    for piece in (bytes(image), bytes(image[:cut])):
        with contextlib.suppress(FormatError):
            assert read_image("a", piece)["width"] > 0
        with contextlib.suppress(FormatError):
            write_image("JPEG", piece)


async def test_largest_allowed_image_fits_into_the_process() -> None:
    scripts = ScriptProcesses(1)
    side = int(MAX_PIXELS**0.5)
    large = drawn("PNG", "RGBA", (side, side))
    found = await scripts.call(
        "innkeeper.nodes.library.files.images:read_image", {"name": "a"}, data=large, timeout_s=30
    )
    assert found["width"] == side
    small = ScriptProcesses(1, 64)
    with pytest.raises(InnkeeperError) as caught:
        await small.call("innkeeper.nodes.library.files.images:read_image", {"name": "a"}, data=large, timeout_s=30)
    assert isinstance(caught.value, NodeError)
    assert caught.value.retryable is False
    await scripts.aclose()
    await small.aclose()
