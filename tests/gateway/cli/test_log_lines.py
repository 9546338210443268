"""The logs of all parts as one."""

from __future__ import annotations

import json
from pathlib import Path

from innkeeper.gateway.cli.log_lines import Logs, read_line


def line(moment: str, message: str, **more: object) -> str:
    return json.dumps({"ts": f"2026-05-10T{moment}+00:00", "level": "warning", "message": message, **more}) + "\n"


def test_lines_of_all_parts_come_in_the_order_of_their_time(tmp_path: Path) -> None:
    (tmp_path / "gateway.log").write_text(line("10:00:01.000", "first") + line("10:00:03.000", "third"))
    (tmp_path / "worker-1.log").write_text("no JSON\n" + line("10:00:02.000", "second") + "  more of it\n")
    (tmp_path / "gateway.life").write_text("x")
    told = [(found.part, found.fields.get("message", found.raw)) for found in Logs(tmp_path).new_lines()]
    assert told == [
        *[("worker-1", "no JSON"), ("gateway", "first"), ("worker-1", "second")],
        *[("worker-1", "  more of it"), ("gateway", "third")],
    ]
    assert {found.part for found in Logs(tmp_path, "gateway").new_lines()} == {"gateway"}


def test_what_comes_is_told_once_and_whole(tmp_path: Path) -> None:
    file = tmp_path / "gateway.log"
    file.write_text(line("10:00:01.000", "one") + "half a l")
    logs = Logs(tmp_path)
    assert len(logs.new_lines()) == 1
    with file.open("a") as opened:
        opened.write("ine\n")
    assert [found.raw for found in logs.new_lines()] == ["half a line"]
    assert logs.new_lines() == []
    file.write_text("cut\n")
    assert [found.raw for found in logs.new_lines()] == ["cut"]


def test_a_line_is_shown_with_its_facts_and_where_it_happened() -> None:
    raw = line("10:00:01.123", "it failed \x1b[31m", run="r1", node="n", where=["my.py:3 execute"]).strip()
    found = read_line("worker-1", raw)
    assert found.concerns("r1")
    shown = found.shown()
    assert shown.startswith("10:00:01.123  worker-1  WARNING it failed [31m  run=r1 node=n")
    assert shown.endswith("\n    my.py:3 execute")
