"""What docs/models.md says of addresses, channels and errors is what the code takes and does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from innkeeper.gateway.process.offline_check import check_document
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.llm import answer, asking, settings, structured
from innkeeper.nodes.library.llm_test.api_settings import definition as api_settings
from innkeeper.nodes.node import ModelWish
from innkeeper.nodes.services.channel_file import read_channels
from innkeeper.nodes.services.channels import Channel, route
from innkeeper.nodes.services.llm import errors
from innkeeper.nodes.services.llm.retry_hints import MAX_WAIT_S
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
    told = {row[0].strip("`"): row[1] for row in table_rows(PAGE, "Errors")}
    of_nodes = {NodeInputError.code, structured.INVALID}
    # `cancelled` is told by the engine, not by a provider.
    assert set(told) - of_nodes == {*get_args(errors.ErrorCode)} - {"cancelled"}
    for code, means in told.items():
        statuses = [int(status) for status in re.findall(r"\b[45]\d\d\b", means.partition("or a 429")[0])]
        assert {errors.refused("host", errors.Refusal(status, {}, None)).code for status in statuses} <= {code}


def test_what_is_tried_again_is_what_the_page_says() -> None:
    section = PAGE.split("## When a provider fails", 1)[1]
    assert f"at most {MAX_WAIT_S / 3600:g} hours" in section
    rows = [row[0] for row in table_rows(PAGE, "When a provider fails")]
    again, never = ([int(status) for status in re.findall(r"\b\d{3}\b", row)] for row in rows[2:4])
    assert {errors.refused("host", errors.Refusal(status, {}, None)).retryable for status in (*again, 500, 503)} == {
        True
    }
    assert {errors.refused("host", errors.Refusal(status, {}, None)).retryable for status in never} == {False}


def test_warnings_and_settings_of_the_page_are_those_of_the_nodes() -> None:
    section = PAGE.split("## Nodes", 1)[1].split("## Parameters", 1)[0]
    assert all(f"`{name}`" in section for name in (*settings.SETTINGS, *answer.OUTPUTS))
    source = "".join(Path(inspect.getfile(module)).read_text() for module in (answer, asking, structured))
    warned = set(re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \|", section.split("| warning |", 1)[1], re.MULTILINE))
    assert all(f'"{code}"' in source for pair in warned for code in pair if code)
    assert len({code for pair in warned for code in pair if code}) == 7
