"""`innkeeper triggers apply` against a real gateway: what it does, asks, and says when it breaks off."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.cli import apply_command
from innkeeper.gateway.cli.secret_sources import new_secret
from innkeeper.gateway.client import GatewayClient
from tests.gateway.cli.conftest import Innkeeper
from tests.gateway.cli.test_library_commands import taking, with_group, write

pytestmark = pytest.mark.usefixtures("no_settings")


def office(name: str, more: str = "", *, cron: str = "0 3 * * *", publish: bool = True) -> None:
    """A file with a workflow and a schedule, both named like itself."""
    write(f"flows/{name}.json", taking(name))
    Path(f"{name}.yaml").write_text(
        f"name: {name}\n"
        f"workflows:\n  {name}: {{file: flows/{name}.json, publish: {str(publish).lower()}}}\n"
        f"triggers:\n"
        f"  {name}: {{kind: schedule, workflow: {{id: {name}}}, schedule: {{cron: {cron}}}}}\n{more}"
    )


async def apply(innkeeper: Innkeeper, name: str, *options: str) -> tuple[int, str, str]:
    code, out, err = await innkeeper("triggers", "apply", f"{name}.yaml", *options)
    return code, out.decode(), err


async def triggers(shared: Any, start: str) -> dict[str, Any]:
    async with GatewayClient(shared.url) as client:
        return {item["name"]: item for item in await client.triggers.find() if item["name"].startswith(start)}


async def test_file_is_applied_once_and_then_again(innkeeper: Innkeeper, shared: Any) -> None:
    office("apply-a")
    plan = "+ workflow apply-a (published)\n+ trigger apply-a\n"
    for options in ((), ("--dry-run", "--yes")):
        code, out, err = await apply(innkeeper, "apply-a", *options)
        assert (code, out, err) == (4, plan, "nothing was changed: --yes applies the plan\n")
    assert await triggers(shared, "apply-a") == {}
    code, out, _ = await apply(innkeeper, "apply-a", "--yes")
    done = "workflow apply-a is in version 1, which is published\nmade the trigger apply-a\n"
    assert (code, out) == (0, plan + done)
    for options in ((), ("--yes",), ("--dry-run",)):
        code, out, err = await apply(innkeeper, "apply-a", *options)
        kept = "= workflow apply-a\n= trigger apply-a\nwhat stands is what the file says\n"
        assert (code, out, err) == (0, kept, "")
    assert (await triggers(shared, "apply-a"))["apply-a"]["version"] == 1
    office("apply-a", cron="0 4 * * *")
    write("flows/apply-a.json", {**taking("apply-a"), "description": "new"})
    code, out, _ = await apply(innkeeper, "apply-a", "--yes")
    assert code == 0
    assert out.splitlines() == [
        "~ workflow apply-a (published)",
        "    ~ document",
        "        description",
        "~ trigger apply-a",
        '    schedule.cron: "0 3 * * *" -> "0 4 * * *"',
        "workflow apply-a is in version 2, which is published",
        "changed the trigger apply-a",
    ]


async def test_what_was_taken_out_of_the_file_goes_with_prune_only(innkeeper: Innkeeper, shared: Any) -> None:
    more = "  apply-p2: {kind: event, workflow: {id: apply-p}, event: {name: apply}}\n"
    office("apply-p", more)
    assert (await apply(innkeeper, "apply-p", "--yes"))[0] == 0
    office("apply-p")
    code, out, _ = await apply(innkeeper, "apply-p")
    assert (code, "apply-p2" in out) == (0, False)
    code, out, _ = await apply(innkeeper, "apply-p", "--prune", "--yes")
    assert (code, out.splitlines()[-2:]) == (0, ["- trigger apply-p2", "deleted the trigger apply-p2"])
    assert set(await triggers(shared, "apply-p")) == {"apply-p"}


async def test_url_of_a_new_webhook_is_told_once_and_secrets_are_sent_when_asked(
    innkeeper: Innkeeper, shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "sesame")
    more = (
        "  apply-hook:\n    kind: webhook\n    workflow: {id: apply-h}\n    webhook: {scheme: github}\n"
        "    secrets: [{env: A_SECRET}]\n"
    )
    office("apply-h", more)
    code, out, _ = await apply(innkeeper, "apply-h", "--yes")
    assert code == 0
    assert re.search(r"^URL of apply-hook, which is shown only now: http://\S+/hooks/\S+$", out, re.MULTILINE)
    assert "sesame" not in out
    code, out, _ = await apply(innkeeper, "apply-h")
    assert (code, "URL" in out) == (0, False)
    assert "= trigger apply-hook (1 secret not compared: --send-secrets sends them)" in out
    code, out, _ = await apply(innkeeper, "apply-h", "--send-secrets", "--yes")
    assert (code, "~ trigger apply-hook (1 secret sent again)" in out) == (0, True)
    assert (await triggers(shared, "apply-hook"))["apply-hook"]["version"] == 2


async def test_secret_of_a_callback_is_sent_once_and_again_when_its_address_changes(
    innkeeper: Innkeeper, shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = new_secret("standard")
    monkeypatch.setenv("A_SECRET", secret)

    def calling(host: str) -> str:
        callback = f"{{url: 'https://{host}/runs', secret: {{env: A_SECRET}}}}"
        return (
            f"  apply-c2:\n    {{kind: event, workflow: {{id: apply-c}}, event: {{name: x}}, callback: {callback}}}\n"
        )

    office("apply-c", calling("a.example"))
    code, out, err = await apply(innkeeper, "apply-c", "--yes")
    assert (code, secret in out + err) == (0, False)
    stored = (await triggers(shared, "apply-c"))["apply-c2"]["callback"]
    assert (stored["url"], stored["secret"].startswith("$secret:")) == ("https://a.example/runs", True)
    code, out, _ = await apply(innkeeper, "apply-c")
    assert (code, "= trigger apply-c2 (1 secret not compared" in out) == (0, True)
    office("apply-c", calling("b.example"))
    code, out, _ = await apply(innkeeper, "apply-c", "--yes")
    assert (code, secret in out) == (0, False)
    assert '    callback.url: "https://a.example/runs" -> "https://b.example/runs"' in out.splitlines()
    stored = (await triggers(shared, "apply-c"))["apply-c2"]["callback"]
    assert (stored["url"], stored["secret"].startswith("$secret:")) == ("https://b.example/runs", True)
    office("apply-c", calling("b.example").replace("/runs", "/runs?key=canary"))
    for options in ((), ("--json",)):
        code, out, err = await apply(innkeeper, "apply-c", *options)
        assert (code, "https://b.example/runs?***" in out, "canary" in out + err) == (4, True, False)


async def test_key_that_is_typed_into_a_workflow_is_in_no_plan(innkeeper: Innkeeper) -> None:
    office("apply-k", publish=False)

    def keyed(**values: str) -> None:
        node = {"id": "s", "type": "core:APISettings", "inputValues": values}
        write("flows/apply-k.json", {**taking("apply-k"), "nodes": [*taking("apply-k")["nodes"], node]})

    keyed(base_url="https://a.example/v1")
    assert (await apply(innkeeper, "apply-k", "--yes"))[0] == 0
    keyed(base_url="https://a.example/v1", api_key="sk-canary-1")
    for options in ((), ("--json",), ("--yes",)):
        code, out, err = await apply(innkeeper, "apply-k", *options)
        assert "inputValues.api_key" in out
        assert "canary" not in out + err
    assert code == 0
    # It is a reference now, which cannot be compared with what is typed.
    assert (await apply(innkeeper, "apply-k"))[0] == 0
    keyed(base_url="https://a.example/v2", api_key="sk-canary-1")
    code, out, err = await apply(innkeeper, "apply-k", "--yes")
    assert (code, "canary" in out + err) == (0, False)


async def test_with_json_the_plan_and_what_was_done_are_one_object(innkeeper: Innkeeper) -> None:
    office("apply-j")
    code, out, _ = await apply(innkeeper, "apply-j", "--json")
    told = json.loads(out)
    assert (code, told["done"], told["urls"]) == (4, [], {})
    assert [(step["action"], step["what"]) for step in told["plan"]] == [
        ("create", "workflow apply-j"),
        ("create", "trigger apply-j"),
    ]
    code, out, _ = await apply(innkeeper, "apply-j", "--json", "--yes")
    assert (code, json.loads(out)["done"]) == (0, ["workflow apply-j", "trigger apply-j"])


async def test_mistakes_are_told_with_lines_and_nothing_is_changed(innkeeper: Innkeeper, shared: Any) -> None:
    office("apply-m", "  apply-m2: {kind: event, workflow: {id: w}}\n  apply-m2: {}\n")
    code, out, err = await apply(innkeeper, "apply-m", "--yes")
    assert (code, out) == (2, "")
    assert "'apply-m.yaml' cannot be used as it is" in err
    assert "line 7: 'triggers.apply-m2' stands twice" in err
    assert await triggers(shared, "apply-m") == {}


async def test_step_that_goes_wrong_says_what_is_done_and_the_next_apply_goes_on(
    innkeeper: Innkeeper, shared: Any
) -> None:
    more = "  apply-f2: {kind: event, workflow: {id: apply-nowhere}, event: {name: apply}}\n"
    office("apply-f", more)
    code, out, err = await apply(innkeeper, "apply-f", "--yes")
    assert code == 2
    assert out.splitlines()[-1] == "made the trigger apply-f"
    assert "trigger apply-f2: " in err
    assert "apply-nowhere" in err
    assert "2 of 3 steps are done and stay" in err
    office("apply-f", more.replace("nowhere", "f"))
    code, out, _ = await apply(innkeeper, "apply-f", "--yes")
    assert (code, out.splitlines()[-1]) == (0, "made the trigger apply-f2")
    assert "= trigger apply-f\n" in out


async def test_workflow_that_does_not_compile_is_stored_but_not_published(innkeeper: Innkeeper) -> None:
    office("apply-d")
    write("flows/apply-d.json", with_group("apply-d", "apply-none"))
    code, _, err = await apply(innkeeper, "apply-d", "--yes")
    assert code == 1
    assert "workflow apply-d: " in err
    assert "0 of 2 steps are done" in err


async def test_somebody_elses_change_is_not_overwritten(
    innkeeper: Innkeeper, shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    office("apply-r")
    await apply(innkeeper, "apply-r", "--yes")
    office("apply-r", cron="0 5 * * *")
    carry_out = apply_command.carry_out

    async def meanwhile(client: GatewayClient, *arguments: Any, **options: Any) -> None:
        (found,) = [item for item in await client.triggers.find() if item["name"] == "apply-r"]
        await client.triggers.disable(found["id"], note="by hand")
        await carry_out(client, *arguments, **options)

    monkeypatch.setattr(apply_command, "carry_out", meanwhile)
    code, _, err = await apply(innkeeper, "apply-r", "--yes")
    assert (code, "trigger apply-r: " in err) == (1, True)
    found = (await triggers(shared, "apply-r"))["apply-r"]
    assert (found["enabled"], found["schedule"]["cron"], found["version"]) == (False, "0 3 * * *", 2)
    monkeypatch.undo()
    assert found["schedule"]["note"] == "by hand"


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 4), (b"y\n", 0)])
async def test_on_a_terminal_somebody_is_asked(shared: Any, answer: bytes, code: int) -> None:
    name = f"apply-q{code}"
    office(name)
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "innkeeper.gateway.cli.main", "triggers", "apply", f"{name}.yaml"),
        *("--url", shared.url),
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    os.write(ours, answer)
    out, err = await process.communicate()
    os.close(ours)
    os.close(theirs)
    assert b"apply this plan?" in err
    assert out.startswith(f"+ workflow {name} (published)\n+ trigger {name}\n".encode())
    assert process.returncode == code
    assert bool(await triggers(shared, name)) is (code == 0)
