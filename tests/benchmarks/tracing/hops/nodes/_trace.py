"""Loaded as a plugin by gateway and worker, so that the product holds no line for being measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if "BENCH_HOPS" in os.environ:
    sys.path.append(str(Path(__file__).resolve().parents[5]))  # where `tests` is
    from tests.benchmarks import hops_trace

    hops_trace.begin(Path(os.environ["BENCH_HOPS"]))
