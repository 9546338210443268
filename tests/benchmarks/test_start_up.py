from __future__ import annotations

import subprocess
import sys

from tests.benchmarks.start_up import ENTRIES, cpu_at_ready, top_imports

TIMED = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |     fastapi.routing
import time:       900 |       1000 |   fastapi
import time:      2500 |       2500 |     innkeeper.gateway.api.prompts
import time:       500 |       3000 |   innkeeper.gateway.app
import time:        40 |         40 |   re
"""


def test_imports_are_summed_by_package_and_the_dearest_comes_first() -> None:
    assert top_imports(TIMED) == [("innkeeper.gateway", 3.0), ("fastapi", 1.0), ("re", 0.04)]
    assert top_imports(TIMED, 1) == [("innkeeper.gateway", 3.0)]


def test_python_writes_what_is_read() -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", "import json"], capture_output=True, text=True)
    assert "json" in dict(top_imports(done.stderr, 1_000))


def test_every_process_and_the_sum_have_a_line() -> None:
    parts = cpu_at_ready("ready", [{"gateway": 1.0, "worker": 0.5}, {"gateway": 2.0, "worker": 0.5}])
    assert [(part.name, part.figures["s"]) for part in parts] == [
        ("gateway", 1.5),
        ("worker", 0.5),
        ("all together", 2.0),
    ]
    assert cpu_at_ready("ready", []) == []


def test_entries_are_modules() -> None:
    done = subprocess.run([sys.executable, "-c", f"import {', '.join(ENTRIES.values())}"], capture_output=True)
    assert done.returncode == 0
