"""How much the tests try: `make test` little and always the same, `make test-long` (`TESTS_LONG=1`) much and at random.

What is drawn at random finds something new one day; that day must not be the one on which another change is tested.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable

from hypothesis import HealthCheck, settings

LONG = os.environ.get("TESTS_LONG", "0") != "0"


def use_profile() -> None:
    """Set what all tests with examples go by; before they are imported."""
    settings.register_profile(
        "innkeeper",
        derandomize=not LONG,
        deadline=None,  # no promise of ours is about milliseconds on a machine that does other things too
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("innkeeper")


def examples(count: int) -> settings:
    """Hypothesis settings for a test worth `count` examples: all of them in the long form, a sixth otherwise."""
    return settings(max_examples=count if LONG else max(count // 6, 12))


async def try_examples(check: Callable[[], None]) -> None:
    """Run a test of hypothesis in a thread, beside the loop that it asks.

    What runs there draws random numbers of its own now and then, for which hypothesis would blame the strategies.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Do not use the `random` module inside strategies")
        await asyncio.to_thread(check)
