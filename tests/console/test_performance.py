"""What the page of a run costs its browser, in the long form; the figures: `python -m tests.console.measure`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.measure import MEASURES, Rig

if TYPE_CHECKING:
    from playwright.async_api import Browser

GENEROUS = 3


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("measure", MEASURES)
async def test_page_of_a_large_run_stays_light(chromium: Browser, stack: LocalStack, measure: str) -> None:
    async with GatewayClient(stack.url) as client:
        figures = await MEASURES[measure](Rig(chromium, stack.url, client))
    assert {figure.name: figure.value for figure in figures if figure.value > GENEROUS * figure.bound} == {}
