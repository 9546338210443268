"""What docs/models.md says of addresses, channels and errors is what the code takes and does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from innkeeper.gateway.process.offline_check import check_document
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.library.llm_test.api_settings import definition as api_settings
from innkeeper.nodes.node import ModelWish
from innkeeper.nodes.services.channel_file import read_channels
from innkeeper.nodes.services.channels import Channel, route
from innkeeper.nodes.services.llm import errors
from innkeeper.nodes.testing import run_node
from tests.docs.pages import DOCS, code_blocks, examples, table_rows

PAGE = (DOCS / "models.md").read_text()
FLOWS: dict[str, Any] = {name: flow for name, flow in examples().items() if name.startswith("models-")}
ADDRESSES = [row[1].strip("`") for row in table_rows(PAGE, "Addresses") if re.match(r"`(https?:|demo)", row[1])]


@pytest.mark.parametrize("name", FLOWS)
def test_workflow_compiles(name: str, tmp_path: Path) -> None:
    verdict = check_document(FLOWS[name], load_catalogue(()), tmp_path)
    assert (verdict.is_valid, verdict.problems) == (True, ())


@pytest.mark.parametrize("address", ADDRESSES)
def test_address_is_taken_as_it_is_by_both_ways(address: str) -> None:
    assert Channel.model_validate({"id": "a", "baseUrl": address}).base_url == address
    given = run_node(api_settings, {"base_url": address})["api_settings"]
    assert given["base_url"] == address


def test_channels_of_the_page_are_read_and_chosen_as_it_says() -> None:
    text, traits = code_blocks(PAGE, "yaml")
    assert read_channels(traits.encode()).problems == ()
    found = read_channels(text.encode())
    assert found.problems == ()
    assert found.config is not None
    chosen = [
        route(wish, found.config)[0]
        for wish in (ModelWish(capabilities=("llm", "chat")), ModelWish(capabilities=("vision",)), ModelWish("llama3"))
    ]
    assert [(way.model_id, way.channel_id) for way in chosen] == [
        ("deepseek-chat", "deepseek"),
        ("llava", "at-home"),
        ("llama3", "at-home"),
    ]


def test_codes_and_statuses_are_those_of_the_code() -> None:
    section = PAGE.split("## When a provider fails", 1)[1]
    named = section.split("one code for all providers:", 1)[1].split(".", 1)[0]
    # Told by the engine, not by a provider.
    assert set(re.findall(r"`(\w+)`", named)) == {*get_args(errors.ErrorCode)} - {"cancelled"}
    assert f"at most {errors.MAX_WAIT_S / 3600:g} hours" in section
    rows = [row[0] for row in table_rows(PAGE, "When a provider fails")]
    again, never = ([int(status) for status in re.findall(r"\b\d{3}\b", row)] for row in rows[2:4])
    assert {errors.status_error("host", status, {}, None).retryable for status in (*again, 500, 503)} == {True}
    assert {errors.status_error("host", status, {}, None).retryable for status in never} == {False}
