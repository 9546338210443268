"""Workers that keep one run in memory replay it at nearly every workflow task; those that keep many seldom do."""

from __future__ import annotations

import pytest

CACHE = "INNKEEPER_MAX_CACHED_WORKFLOWS"
CACHES = [pytest.param("1", id="evicted"), pytest.param("500", id="cached", marks=pytest.mark.slow)]
"""What is not asked of the cache in the ordinary tests is tried with the larger one by the other files."""
