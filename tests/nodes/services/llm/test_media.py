"""Media that messages only name."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ProviderError, RequestRefused
from innkeeper.nodes.node import ChatRequest, HttpRequest, HttpResponse
from innkeeper.nodes.services.llm import media as media_module
from innkeeper.nodes.services.llm.media import MAX_BYTES, MediaLoader, mime_of
from innkeeper.nodes.services.resources import FolderResources

PNG = b"\x89PNG\r\n\x1a\n" + b"." * 40
URI = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


class Web:
    """Answers every address with one response, and counts."""

    def __init__(self, answer: HttpResponse | Exception | None = None) -> None:
        self.answer = answer or HttpResponse(200, {"Content-Type": "image/png; x=1"}, PNG)
        self.asked: list[str] = []

    async def request(self, request: HttpRequest) -> HttpResponse:
        self.asked.append(request.url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def asked(*parts: dict[str, Any]) -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": list(parts)}])


def loader(folder: Path, web: Web | None = None) -> MediaLoader:
    return MediaLoader(FolderResources(folder, "ann"), web or Web())


def put(folder: Path, name: str, data: bytes) -> None:
    file = folder / "users" / "ann" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


async def first_part(made: MediaLoader, request: ChatRequest, *taken: str) -> Any:
    return (await made.loaded(request, taken)).messages[0]["content"][0]


async def test_a_file_of_the_user_is_put_into_the_message(tmp_path: Path) -> None:
    put(tmp_path, "cat.png", PNG)
    assert await first_part(loader(tmp_path), asked(image("user://cat.png"))) == image(URI)


async def test_a_web_address_stays_where_the_provider_fetches_it(tmp_path: Path) -> None:
    web = Web()
    part = image("https://x.example/cat.png")
    assert await first_part(loader(tmp_path, web), asked(part), "https://") == part
    assert web.asked == []


async def test_a_web_address_is_fetched_once_for_all_channels(tmp_path: Path) -> None:
    web = Web()
    made = loader(tmp_path, web)
    part = image("https://x.example/cat.png")
    for _ in range(2):
        assert await first_part(made, asked(part, part)) == image(URI)
    assert web.asked == ["https://x.example/cat.png"]


async def test_recordings_and_files_get_the_form_of_chat_completions(tmp_path: Path) -> None:
    put(tmp_path, "a.mp3", b"ID3sound")
    put(tmp_path, "a.pdf", b"%PDF-1.7")
    put(tmp_path, "a.txt", b"text")
    made = loader(tmp_path)
    sound = await first_part(made, asked({"type": "input_audio", "input_audio": {"data": "user://a.mp3"}}))
    assert sound["input_audio"] == {"data": base64.b64encode(b"ID3sound").decode(), "format": "mp3"}
    for name, mime in (("a.pdf", "application/pdf"), ("a.txt", "text/plain")):
        file = await first_part(made, asked({"type": "file", "file": {"file_data": f"user://{name}"}}))
        assert file["file"]["filename"] == name
        assert file["file"]["file_data"].startswith(f"data:{mime};base64,")


async def test_media_in_the_result_of_a_tool_are_loaded_too(tmp_path: Path) -> None:
    put(tmp_path, "cat.png", PNG)
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image("user://cat.png")]}
    assert (await first_part(loader(tmp_path), asked(result)))["content"] == [image(URI)]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("user://none.png", "there is no file"),
        ("user://../bob/cat.png", "refused"),
        ("user://notes.txt", "no image of a type that is known"),
        ("system://secrets.png", "its address is none of user://"),
        ("file:///etc/passwd", "its address is none of user://"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_its_place(tmp_path: Path, url: str, why: str) -> None:
    put(tmp_path, "notes.txt", b"my diary")
    with pytest.raises(NodeInputError) as caught:
        await loader(tmp_path).loaded(asked(image(url)), ())
    assert caught.value.message.startswith("messages[0].content[0]")
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (HttpResponse(404, {}, b""), NodeInputError, False),
        (HttpResponse(503, {}, b""), ProviderError, True),
        (HttpResponse(200, {"content-type": "text/html"}, b"<html>"), NodeInputError, False),
        (RequestRefused("not allowed"), RequestRefused, False),
        (ProviderError("gone", code="connection_error", retryable=True), ProviderError, True),
    ],
)
async def test_a_web_server_that_gives_no_image_is_told(
    tmp_path: Path, answer: Any, kind: type[Exception], retryable: bool
) -> None:
    with pytest.raises(kind) as caught:
        await loader(tmp_path, Web(answer)).loaded(asked(image("https://x.example/a?token=sk-canary")), ())
    assert "messages[0].content[0]" in str(caught.value)
    assert "sk-canary" not in str(caught.value)
    assert getattr(caught.value, "retryable", None) is retryable


async def test_media_are_bounded_one_by_one_and_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "big.png", PNG + bytes(MAX_BYTES))
    with pytest.raises(NodeInputError, match="over the limit"):
        await loader(tmp_path).loaded(asked(image("user://big.png")), ())
    with pytest.raises(NodeInputError, match="has more than"):
        await loader(tmp_path).loaded(asked(image("data:image/png;base64," + "A" * (MAX_BYTES * 4 // 3 + 40))), ())
    with pytest.raises(NodeInputError, match="at most 64 media"):
        await loader(tmp_path).loaded(asked(*[image(URI)] * 65), ())
    monkeypatch.setattr(media_module, "MAX_BYTES_IN_ALL", 100)
    with pytest.raises(NodeInputError, match="bytes in all"):
        await loader(tmp_path).loaded(asked(*[image(URI)] * 3), ())


async def test_a_server_that_never_answers_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Web):
        async def request(self, request: HttpRequest) -> HttpResponse:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(media_module, "FETCH_S", 0.02)
    with pytest.raises(ProviderError) as caught:
        await loader(tmp_path, Silent()).loaded(asked(image("https://x.example/a.png")), ())
    assert (caught.value.code, caught.value.retryable) == ("timeout_error", True)


async def test_messages_without_parts_are_not_touched(tmp_path: Path) -> None:
    request = ChatRequest(messages=[{"role": "user", "content": "user://cat.png"}])
    assert await loader(tmp_path).loaded(request, ()) is request


@pytest.mark.parametrize(
    ("kind", "data", "told", "mime"),
    [
        ("image", b"\xff\xd8\xff", "image/png", "image/jpeg"),
        ("image", b"RIFF....WEBP", "", "image/webp"),
        ("image", b"secret", "image/png", ""),
        ("image", b"%PDF-1.7", "image/png", ""),
        ("audio", b"RIFF....WAVE", "", "audio/wav"),
        ("audio", b"????", "audio/aac", "audio/aac"),
        ("audio", b"????", "text/plain", ""),
        ("file", b"\0\1", "", "application/octet-stream"),
        ("file", b"a,b", "text/csv", "text/csv"),
    ],
)
def test_the_type_is_that_of_the_bytes(kind: str, data: bytes, told: str, mime: str) -> None:
    assert mime_of(kind, data, told) == mime
