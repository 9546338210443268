"""What docs/adapters.md says of protocols is what the code speaks."""

from __future__ import annotations

from innkeeper.nodes.node import ChatRequest
from innkeeper.nodes.services.channel_file import read_channels
from innkeeper.nodes.services.channels import BUILT_IN_ADAPTERS
from innkeeper.nodes.services.llm.media import FETCH_S, MAX_BYTES, MAX_BYTES_IN_ALL, MAX_MEDIA
from innkeeper.nodes.services.llm.registry import PROTOCOLS
from tests.docs.pages import DOCS, code_blocks

PAGE = (DOCS / "adapters.md").read_text()
ROWS = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in PAGE.split("\n") if row.startswith("| `")]


def test_channels_of_the_page_are_read() -> None:
    (text,) = code_blocks(PAGE, "yaml")
    assert read_channels(text.encode()).problems == ()


def test_protocols_addresses_and_keys_are_those_of_the_code() -> None:
    said = {row[0]: row for row in ROWS[1 : len(BUILT_IN_ADAPTERS) + 1]}
    assert tuple(said) == BUILT_IN_ADAPTERS
    for protocol in PROTOCOLS:
        _, _, base_url, key, path = said[protocol.name]
        request = protocol.request(
            ChatRequest(base_url, "MODEL", [{"role": "user", "content": "Hi"}], "the-key"), stream=False
        )
        assert request.url == base_url + path
        (header,) = (name for name, value in request.headers.items() if "the-key" in value)
        assert key.startswith(header)


def test_bounds_are_those_of_the_code() -> None:
    megabytes, in_all = MAX_BYTES // 2**20, MAX_BYTES_IN_ALL // 2**20
    assert f"{MAX_MEDIA} media, {megabytes} MB each, {in_all} MB in all, {FETCH_S:.0f} s" in PAGE
