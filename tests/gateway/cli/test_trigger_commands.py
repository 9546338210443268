"""`innkeeper triggers ...` against a real gateway."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from innkeeper.gateway.client import GatewayClient
from tests.gateway.cli.conftest import Innkeeper, call
from tests.gateway.cli.test_library_commands import taking, write

pytestmark = pytest.mark.usefixtures("no_settings")
Json = dict[str, Any]


@pytest.fixture(autouse=True)
async def _workflow(innkeeper: Innkeeper) -> None:
    write("w.json", taking("cli-target"))
    await innkeeper("workflows", "save", "w.json")


async def ok(innkeeper: Innkeeper, *arguments: object) -> str:
    code, out, err = await innkeeper("triggers", *arguments)
    assert code == 0, err
    return out.decode()


async def told(innkeeper: Innkeeper, *arguments: object) -> Any:
    return json.loads(await ok(innkeeper, *arguments, "--json"))


async def refused(innkeeper: Innkeeper, *arguments: object) -> tuple[int, str]:
    code, out, err = await innkeeper("triggers", *arguments)
    assert out == b""
    return code, err


def hook(name: str, *more: object) -> tuple[object, ...]:
    return ("add", name, "-w", "cli-target", "--webhook", "token", "--config", "header=X-Token", *more)


async def send(url: str, token: str, body: Json) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.post(url, json=body, headers={"X-Token": token})


async def test_webhook_from_its_making_to_its_end(innkeeper: Innkeeper) -> None:
    Path("token.txt").write_text("sesame\n")
    out = await ok(innkeeper, *hook("cli-hook", "--secret-file", "token.txt", "--map", "who=body.who"))
    lines = out.splitlines()
    assert lines[0] == "made the trigger 'cli-hook': token webhook starts 'cli-target'"
    (url,) = re.findall(r"^URL: (http://\S+/hooks/\S+)$", out, re.MULTILINE)
    assert "sesame" not in out
    assert (await send(url, "guessed", {"who": "Eve"})).status_code == 401
    assert (await send(url, "sesame", {"who": "Ann"})).status_code == 202
    found = await told(innkeeper, "results", "cli-hook")
    assert sorted(item["outcome"] for item in found["results"]) == ["fired", "refused"]
    out = await ok(innkeeper, "results", "cli-hook")
    assert out.splitlines()[-1] == "fired 1, refused 1"
    assert re.search(r"fired +[0-9a-f]{20}", out)
    assert url not in await ok(innkeeper, "show", "cli-hook", "--json")
    new = re.findall(r"^URL: (\S+)$", await ok(innkeeper, "rotate-token", "cli-hook", "--yes"), re.MULTILINE)
    assert [(await send(at, "sesame", {"who": "Bo"})).status_code for at in (url, *new)] == [404, 202]
    assert await ok(innkeeper, "delete", "cli-hook", "--yes") == "deleted the trigger 'cli-hook'\n"
    code, err = await refused(innkeeper, "show", "cli-hook")
    assert (code, err) == (1, "innkeeper: there is no trigger 'cli-hook': 'innkeeper triggers list' lists them\n")


async def test_secret_that_is_made_is_shown_once_and_works(innkeeper: Innkeeper) -> None:
    made = await told(innkeeper, *hook("cli-new", "--new-secret", "--whole", "who"))
    assert (await send(made["url"], made["secret"], {})).status_code == 202
    assert made["secret"] not in json.dumps(await told(innkeeper, "show", "cli-new"))
    out = await ok(innkeeper, *hook("cli-new-2", "--new-secret"))
    assert re.search(r"^secret: [0-9a-f]{64}$", out, re.MULTILINE)


async def test_what_is_shown_is_what_add_takes(innkeeper: Innkeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "sesame")
    await ok(
        innkeeper,
        *hook("cli-shown", "--secret-env", "A_SECRET", "--filter", "headers.\"x-a\" == 'ä'", "--label", "on=off"),
    )
    head, _, definition = (await ok(innkeeper, "show", "cli-shown")).partition("\n\n")
    assert head.splitlines()[1].startswith("enabled, 1 secret, version 1, changed 20")
    read = yaml.safe_load(definition)
    assert not {"id", "version", "secretCount", "secrets"} & read.keys()
    Path("copy.yaml").write_text(definition + "secrets:\n  - {env: A_SECRET}\n")
    await ok(innkeeper, "add", "cli-copy", "--file", "copy.yaml")
    first, second = [await told(innkeeper, "show", name) for name in ("cli-shown", "cli-copy")]
    own = ("id", "name", "createdAt", "updatedAt")
    assert {**first, **dict.fromkeys(own)} == {**second, **dict.fromkeys(own)}


async def test_mistakes_in_a_file_have_lines_and_all_are_told(innkeeper: Innkeeper) -> None:
    Path("t.yaml").write_text(
        "name: cli-bad\nkind: schedule\nworkflow: {id: cli-target}\nschedule:\n  cron: 0 99 * * *\nfilter: 'a =='\n"
    )
    code, err = await refused(innkeeper, "add", "--file", "t.yaml")
    assert code == 2
    assert "\n  line 5: 'schedule.cron' is wrong: '99' in hour" in err
    assert "\n  line 6: 'filter' must be a JMESPath expression" in err
    code, err = await refused(
        innkeeper, "add", "cli-bad", "-w", "cli-target", "--cron", "0 99 * * *", "--filter", "a =="
    )
    assert (code, err.count("\n  ")) == (2, 2)
    assert "'schedule.cron' is wrong: '99' in hour" in err
    Path("t.json").write_text('{"name": "x",\n "kind": }')
    code, err = await refused(innkeeper, "add", "--file", "t.json")
    assert (code, "line 2" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("add", "x", "--every", 5), 2, "a trigger needs a NAME and a --workflow, or a --file"),
        (("add", "x", "--file", "f.yaml", "--every", 5), 2, "a --file holds the whole definition"),
        (("add", "x", "--file", "f.yaml"), 2, "cannot read 'f.yaml'"),
        (("add", "x", "-w", "cli-target", "--every", 5, "--new-secret"), 2, "only a webhook has secrets"),
        (("add", "x", "-w", "cli-target", "--webhook", "github"), 2, "needs a secret before it is enabled"),
        (("add", "x", "-w", "cli-target", "--webhook", "github", "--secret-env", "NONE"), 2, "'NONE' of a secret"),
        (("add", "x", "-w", "cli-nowhere", "--every", 5), 2, "cli-nowhere"),
        (("test", "cli-none"), 1, "there is no trigger 'cli-none'"),
        (("test", "cli-none", "--payload", "p", "--data", "1"), 2, "give either --payload or --data"),
        (("test", "cli-none", "--payload", "p"), 2, "cannot read the payload in 'p'"),
        (("test", "cli-none", "--header", "x"), 2, "--header 'x' is not understood"),
        (("delete", "cli-none"), 1, "there is no trigger 'cli-none'"),
    ],
)
async def test_what_cannot_be_done_is_told(
    innkeeper: Innkeeper, arguments: tuple[object, ...], code: int, said: str
) -> None:
    found, err = await refused(innkeeper, *arguments)
    assert (found, said in err) == (code, True), err


async def test_nothing_is_deleted_or_rotated_where_nobody_can_be_asked(innkeeper: Innkeeper) -> None:
    await ok(innkeeper, *hook("cli-kept", "--new-secret"))
    for command, what in (("delete", "delete the trigger 'cli-kept'"), ("rotate-token", "give 'cli-kept' a new URL")):
        code, err = await refused(innkeeper, command, "cli-kept")
        assert code == 2
        assert f"nobody can be asked here whether to {what}" in err
    assert (await told(innkeeper, "show", "cli-kept"))["version"] == 1


async def test_trying_a_trigger_says_what_would_run(innkeeper: Innkeeper) -> None:
    await ok(
        innkeeper,
        *hook("cli-try", "--new-secret", "--map", "who=body.who", "--filter", 'headers."x-kind" == query.kind'),
    )
    Path("p.json").write_text('{"who": "Cy"}')
    sample = ("test", "cli-try", "--payload", "p.json", "--header", "X-Kind=a", "--query")
    assert await ok(innkeeper, *sample, "kind=a") == 'fired\n    who = "Cy"\n'
    assert (await ok(innkeeper, *sample, "kind=b")).startswith("filtered: the filter gave false\n")
    assert (await told(innkeeper, "results", "cli-try"))["results"] == []
    out = await ok(innkeeper, *sample, "kind=a", "--run")
    assert re.match(r"fired, run [0-9a-f]{20}\n", out)
    assert (await ok(innkeeper, "test", "cli-try", "--data", "words", "--header", "X-Kind=a")).startswith("filtered: ")
    assert (await ok(innkeeper, "results", "cli-try")).splitlines()[-1] == "fired 1"


async def test_schedule_is_tried_at_this_moment_and_previewed(innkeeper: Innkeeper) -> None:
    await ok(
        innkeeper, "add", "cli-clock", "-w", "cli-target", "--cron", "0 3 * * *", "--map", "who=schedule.scheduledAt"
    )
    assert re.match(r'fired\n    who = "20\d\d-\d\d-\d\dT', await ok(innkeeper, "test", "cli-clock"))
    times = (await ok(innkeeper, "preview", "cli-clock", "--count", 2)).splitlines()
    assert [moment[11:16] for moment in times] == ["03:00", "03:00"]
    await ok(innkeeper, "disable", "cli-clock", "--note", "the printer is away")
    assert "note: the printer is away" in await ok(innkeeper, "show", "cli-clock")
    listed = await ok(innkeeper, "list")
    assert re.search(r"^cli-clock +schedule +0 3 \* \* \* \(UTC\) +cli-target +disabled$", listed, re.MULTILINE)
    assert await ok(innkeeper, "enable", "cli-clock") == "'cli-clock' is enabled\n"
    await ok(innkeeper, "delete", "cli-clock", "--yes")


async def test_results_are_followed_as_they_come(
    shared: Any, innkeeper: Innkeeper, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    made = await told(innkeeper, *hook("cli-follow", "--new-secret", "--map", "who=body.who"))
    await send(made["url"], made["secret"], {"who": "one"})
    following = asyncio.create_task(
        asyncio.to_thread(call, monkeypatch, "triggers", "results", "cli-follow", "-f", "--json", "--url", shared.url)
    )
    said = ""
    async with asyncio.timeout(30):
        while said.count('"outcome": "fired"') < 1:
            await asyncio.sleep(0.1)
            said += capsysbinary.readouterr().out.decode()
        await send(made["url"], made["secret"], {"who": "two"})
        while said.count('"outcome": "fired"') < 2:
            await asyncio.sleep(0.1)
            said += capsysbinary.readouterr().out.decode()
        async with GatewayClient(shared.url) as client:
            await client.triggers.delete(made["id"], etag="*")
        assert await following == 1  # the trigger is gone
    assert said.index('"one"') < said.index('"two"')


def test_without_a_gateway_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert call(monkeypatch, "triggers", "list") == 3
    assert b"innkeeper up" in capsysbinary.readouterr().err
