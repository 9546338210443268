"""Plugins are loaded anew while somebody writes them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from innkeeper.gateway.cli.scaffold import plugin_files, write_files
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.plugin_watch import changed_files, changes, state_of


def test_files_of_plugins_count_and_their_tests_and_caches_do_not(tmp_path: Path) -> None:
    write_files(tmp_path / "mine", plugin_files("mine"))
    (tmp_path / "mine/mine/__pycache__").mkdir()
    (tmp_path / "mine/mine/__pycache__/x.py").write_text("")
    before = state_of([tmp_path, tmp_path / "nowhere"])
    assert {Path(path).name for path in before} == {"plugin.yaml", "conftest.py", "__init__.py", "shout.py"}
    (tmp_path / "mine/mine/shout.py").write_text("changed")
    (tmp_path / "mine/plugin.yaml").unlink()
    (tmp_path / "mine/new.py").write_text("")
    changed = changed_files(before, state_of([tmp_path]))
    assert [Path(path).name for path in changed] == ["shout.py", "new.py", "plugin.yaml"]


async def test_a_change_is_told_once_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("1")
    told = changes([tmp_path], look_s=0.05)
    waiting = asyncio.ensure_future(anext(told))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    file.write_text("22")
    assert await asyncio.wait_for(waiting, 30) == [str(file)]
    await told.aclose()  # type: ignore[attr-defined]


@pytest.mark.slow
async def test_a_running_stack_takes_up_what_was_changed(tmp_path: Path) -> None:
    [*_, node, _] = write_files(tmp_path / "plugins/mine", plugin_files("mine"))
    os.utime(node, (1, 1))
    said: list[str] = []
    async with LocalStack(StackOptions(tmp_path / "data", plugins=(tmp_path / "plugins",), watch=True)) as stack:
        before = stack.pids()
        watching = asyncio.create_task(stack.watch_plugins(said.append))
        await asyncio.sleep(0.2)
        node.write_text(node.read_text().replace('type="Shout"', 'type="Yell"'))
        async with asyncio.timeout(60):
            while "plugin mine: mine:Yell" not in said:
                await asyncio.sleep(0.1)
        now = stack.pids()
        watching.cancel()
    assert said[0] == "shout.py changed: loading the plugins anew"
    assert now["temporal"] == before["temporal"]
    assert {now["gateway"], now["worker-1"]}.isdisjoint(before.values())
