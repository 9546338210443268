"""Plugins over HTTP, while runs go on: loaded anew, turned on and off, their settings and front ends."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from temporalio.client import Client
from websockets.asyncio.client import ClientConnection, connect

from innkeeper.gateway.api import plugins as routes
from innkeeper.gateway.plugins import service
from innkeeper.nodes.catalogue.plugin_settings import MASK, PLUGIN_SECRETS_FOLDER, SETTINGS_FOLDER
from innkeeper.nodes.catalogue.plugin_states import STATES_FILE
from tests.gateway.conftest import Stack

Json = dict[str, Any]

MANIFEST = """
name: pen
displayName: Pen
version: "1.2"
description: Writes.
nodes: {entry: nodes}
frontend:
  type: vanilla
  vanilla: {entry: main.js, styles: [look/pen.css]}
configOptions:
  - {key: ink, label: Ink, type: string, defaultValue: blue}
  - {key: width, label: Width, type: slider, min: 1, max: 9, defaultValue: 2}
  - {key: apiKey, label: Key, type: string, secret: true}
  - {key: test, label: Test, type: action-button, buttonText: Try}
"""
NODES = """
import asyncio
from pathlib import Path

from innkeeper.nodes.definition import NodeDefinition, Output

VERSION = {version!r}
GATE = Path({gate!r})


async def write(inputs, context):
    GATE.with_name("began").touch()
    while not GATE.exists():
        await asyncio.sleep(0.02)
    key = context.plugin_settings["apiKey"]
    length = 0 if key is None else len(await context.services.secrets.reveal(key))
    return {{"text": VERSION, "ink": context.plugin_settings["ink"], "length": length}}


def node(type):
    return NodeDefinition(
        type=type, category="Pen", display_name=type, description=type, execute=write,
        outputs={{"text": Output("STRING"), "ink": Output("STRING"), "length": Output("INTEGER")}},
    )


definitions = [node(type) for type in {types!r}]
"""


class Pen:
    """A plugin that tests write anew. Its nodes wait until the gate is open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "plugins" / "pen"
        self.gate = folder / "gate" / "open"
        self.gate.parent.mkdir()
        (self.folder / "nodes").mkdir(parents=True)
        (self.folder / "web" / "look").mkdir(parents=True)
        (self.folder / "plugin.yaml").write_text(MANIFEST)
        (self.folder / "web" / "main.js").write_text("export default 1;")
        (self.folder / "web" / "look" / "pen.css").write_text("a {}")
        self.write("first")

    def write(self, version: str, *types: str) -> None:
        text = NODES.format(version=version, gate=str(self.gate), types=types or ("Write",))
        (self.folder / "nodes" / "pen.py").write_text(text)

    def open(self) -> None:
        self.gate.touch()

    async def began(self) -> None:
        async with asyncio.timeout(20):
            while not self.gate.with_name("began").exists():
                await asyncio.sleep(0.01)


@pytest.fixture
def pen(tmp_path: Path) -> Pen:
    return Pen(tmp_path)


@pytest.fixture
def own(temporal: Client, tmp_path: Path, pen: Pen) -> Iterator[Stack]:
    stack = Stack(temporal, tmp_path / "data", plugins=(pen.folder.parent,))
    yield stack
    stack.close()


@contextlib.asynccontextmanager
async def listening(stack: Stack) -> AsyncIterator[ClientConnection]:
    async with connect(stack.ws_url, proxy=None) as socket:
        yield socket


async def heard(socket: ClientConnection, kind: str) -> Json:
    async with asyncio.timeout(10):
        while (message := orjson.loads(await socket.recv()))["type"] != kind:
            pass
    payload: Json = message["payload"]
    return payload


def writes(type: str = "Write") -> Json:
    return {"nodes": [{"id": "w", "fullType": f"pen:{type}"}], "edges": []}


async def outputs(http: httpx.AsyncClient, type: str = "Write") -> Json:
    body = {**writes(type), "wait": 15}
    result = (await http.post("/api/prompt", json=body)).json()
    assert result.get("status") == "complete", result.get("errorInfo", result)
    output: Json = result["nodeStatus"]["w"]["output"]
    return output


async def end_of(http: httpx.AsyncClient, run: str) -> Json:
    async with asyncio.timeout(20):
        while (view := (await http.get(f"/api/prompt/{run}")).json())["status"] not in ("complete", "error"):
            await asyncio.sleep(0.05)
    return dict(view)


async def test_reload_changes_what_begins_and_leaves_what_runs(own: Stack, pen: Pen) -> None:
    async with own.up() as http, listening(own) as socket:
        run = (await http.post("/api/prompt", json=writes())).json()["promptId"]
        await pen.began()
        pen.write("second", "Write", "Draw")
        answer = (await http.post("/api/nodes/reload")).json()
        assert answer["success"] is True
        assert answer["message"].startswith("1 plugin loaded, ")
        assert "worker" not in answer["message"]
        assert answer["count"] == len((await http.get("/api/nodes")).json())
        assert await heard(socket, "NODES_RELOADED") == answer
        told = await heard(socket, "plugins-reloaded")
        assert (told["reloadedPluginCount"], told["message"]) == (1, answer["message"])
        pen.open()
        old = await end_of(http, run)
        assert (old["status"], old["nodeStatus"]["w"]["output"]["text"]) == ("complete", "first")
        assert old["nodeStatus"]["w"]["attempts"] == 1
        assert (await outputs(http))["text"] == "second"
        assert (await outputs(http, "Draw"))["text"] == "second"
        assert (await http.post("/api/plugins/reload")).json()["count"] == 1


async def test_a_plugin_that_breaks_is_reported_and_runs_that_began_with_it_end(own: Stack, pen: Pen) -> None:
    shutil.copytree(pen.folder, pen.folder.with_name("quill"))
    manifest = pen.folder.with_name("quill") / "plugin.yaml"
    manifest.write_text(MANIFEST.replace("name: pen", "name: quill"))
    async with own.up() as http:
        run = (await http.post("/api/prompt", json=writes())).json()["promptId"]
        await pen.began()
        (pen.folder / "nodes" / "pen.py").write_text("import nothing_like_this")
        answer = (await http.post("/api/plugins/reload")).json()
        assert (answer["success"], answer["count"]) == (True, 1)
        assert "not loaded: pen: nodes/pen.py: ModuleNotFoundError" in answer["message"]
        listed = {item["name"]: item for item in (await http.get("/api/plugins")).json()}
        assert (listed["pen"]["loaded"], listed["quill"]["loaded"]) == (False, True)
        assert "frontend" not in listed["pen"]
        refused = (await http.post("/api/prompt", json=writes())).json()
        assert "its plugin 'pen' could not be loaded (nodes/pen.py" in refused["error"]
        pen.open()
        assert (await end_of(http, run))["status"] == "complete"


async def test_two_reloads_at_once_are_made_one_after_the_other(own: Stack, pen: Pen) -> None:
    pen.open()
    async with own.up() as http:
        answers = await asyncio.gather(*(http.post("/api/nodes/reload") for _ in range(3)))
        assert {(answer.status_code, answer.json()["success"]) for answer in answers} == {(200, True)}
        assert (await outputs(http))["text"] == "first"


async def test_reload_that_fails_keeps_what_was_loaded_and_tells_everybody(
    own: Stack, pen: Pen, monkeypatch: pytest.MonkeyPatch
) -> None:
    pen.open()

    def broken(*_: object, **__: object) -> None:
        raise TypeError("secret detail")

    async with own.up() as http, listening(own) as socket:
        with monkeypatch.context() as patched:
            patched.setattr(service, "load_catalogue", broken)
            answer = await http.post("/api/nodes/reload")
        assert answer.status_code == 500
        assert (answer.json()["success"], "secret" in answer.text) == (False, False)
        assert (await heard(socket, "NODES_RELOADED"))["success"] is False
        assert (await heard(socket, "plugins-reloaded"))["reloadedPluginCount"] == 0
        assert (await outputs(http))["text"] == "first"


async def test_a_worker_that_does_not_answer_is_told_and_asked_again_when_it_comes_back(
    own: Stack, pen: Pen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "WORKERS_S", 0.2)
    pen.open()
    async with own.gateway(), own.http() as http:
        assert "no worker is connected" in (await http.post("/api/nodes/reload")).json()["message"]
        async with own.worker():
            pen.write("second")
            async with asyncio.timeout(20):
                while (await http.get("/readyz")).status_code != 200:
                    await asyncio.sleep(0.02)
                # Asked when it connected: it has loaded what was there by then, or soon will have.
                while (await outputs(http))["text"] != "second":
                    assert (await http.post("/api/nodes/reload")).status_code == 200


async def test_a_disabled_plugin_is_gone_until_it_is_enabled_and_its_runs_go_on(own: Stack, pen: Pen) -> None:
    async with own.up() as http, listening(own) as socket:
        run = (await http.post("/api/prompt", json=writes())).json()["promptId"]
        await pen.began()
        answer = await http.put("/api/plugins/pen/state", json={"enabled": False})
        assert (answer.status_code, answer.json()["success"]) == (200, True)
        assert await heard(socket, "plugin-disabled") == {"pluginName": "pen"}
        assert orjson.loads((own.data / STATES_FILE).read_bytes()) == {"pen": {"enabled": False}}
        assert (await http.get("/api/nodes/pen:Write")).status_code == 404
        (listed,) = (await http.get("/api/plugins")).json()
        assert (listed["isEnabled"], listed["loaded"], listed["nodes"]) == (False, False, [])
        assert listed["configOptions"]
        assert (await http.get("/plugins/pen/web/main.js")).status_code == 404
        refused = await http.post("/api/prompt", json=writes())
        assert refused.status_code == 422
        assert "its plugin 'pen' is disabled; enable it" in refused.json()["error"]
        pen.open()
        assert (await end_of(http, run))["status"] == "complete"
        again = await http.post("/api/prompt", json={"baseRun": run, "fromNode": "w"})
        assert (again.status_code, again.json()["problems"][0]["code"]) == (422, "unknown_node_type")
    async with own.up() as http, listening(own) as socket:
        assert (await http.get("/api/nodes/pen:Write")).status_code == 404
        assert (await http.put("/api/plugins/pen/state", json={"enabled": True})).status_code == 200
        shown = (await heard(socket, "plugin-enabled"))["plugin"]
        assert (shown["name"], shown["isEnabled"], shown["nodes"]) == ("pen", True, ["pen:Write"])
        assert (await outputs(http))["text"] == "first"


async def test_states_that_cannot_be_set(own: Stack, pen: Pen) -> None:
    async with own.gateway(), own.http() as http:
        unknown = await http.put("/api/plugins/nobody/state", json={"enabled": True})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_plugin")
        assert (unknown.json()["success"], unknown.json()["message"]) == (False, unknown.json()["error"])
        for body in ({"enabled": "yes"}, {}):
            refused = await http.put("/api/plugins/pen/state", json=body)
            assert (refused.status_code, refused.json()["success"]) == (400, False)
        await http.put("/api/plugins/pen/state", json={"enabled": False})
        (pen.folder / "nodes" / "pen.py").write_text("1 +")
        broken = await http.put("/api/plugins/pen/state", json={"enabled": True})
        assert (broken.status_code, broken.json()["code"]) == (422, "plugin_load_failed")
        assert (await http.get("/api/plugins")).json()[0]["isEnabled"] is True


async def test_settings_are_merged_checked_and_given_to_nodes(own: Stack, pen: Pen) -> None:
    pen.open()
    url = "/api/plugins/pen/settings"
    async with own.up() as http:
        assert (await http.get(url)).json() == {"ink": "blue", "width": 2, "apiKey": None}
        saved = await http.post(url, json={"ink": "red", "width": None, "apiKey": "canary-4711"})
        assert saved.json()["success"] is True
        shown = await http.get(url)
        assert shown.json() == {"ink": "red", "width": 2, "apiKey": MASK}
        assert orjson.loads((own.data / SETTINGS_FOLDER / "pen.json").read_bytes()) == {"ink": "red"}
        file = own.data / PLUGIN_SECRETS_FOLDER / "pen.json"
        assert (b"$secret" in file.read_bytes(), b"canary" in file.read_bytes()) == (True, False)
        assert file.stat().st_mode & 0o077 == 0
        assert {key: value for key, value in (await outputs(http)).items() if key != "text"} == {
            "ink": "red",
            "length": len("canary-4711"),
        }
        await http.post(url, json={**shown.json(), "ink": "green"})
        assert (await outputs(http))["length"] == len("canary-4711")
        await http.post(url, json={"apiKey": ""})
        assert (await http.get(url)).json() == {"ink": "blue", "width": 2, "apiKey": None}
        assert (await outputs(http))["length"] == 0
        refused = await http.post(url, json={"width": 10, "apiKey": 5, "other": 1})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_settings")
        assert all(word in refused.json()["message"] for word in ("'width'", "'apiKey'", "'other'"))
        assert (await http.get("/api/plugins/nobody/settings")).json()["code"] == "unknown_plugin"


async def test_a_secret_of_a_setting_is_not_collected(own: Stack, pen: Pen) -> None:
    pen.open()
    own.options["blob_grace_s"] = 0.0
    own.__post_init__()
    async with own.up() as http:
        await http.post("/api/plugins/pen/settings", json={"apiKey": "canary-4711"})
        await asyncio.sleep(0.2)
        await http.post("/api/gc")
        assert (await outputs(http))["length"] == len("canary-4711")


async def test_front_end_is_served_from_its_folder_alone(own: Stack, pen: Pen) -> None:
    (pen.folder / "web" / "out.js").symlink_to(pen.folder / "plugin.yaml")
    (pen.folder / "web" / "away").symlink_to(pen.folder / "nodes")
    (pen.folder / "web" / ".hidden.js").write_text("1")
    (pen.folder / "web" / "data.bin").write_bytes(b"\0")
    (pen.folder / "website").mkdir()
    (pen.folder / "website" / "x.js").write_text("1")
    async with own.gateway(), own.http() as http:
        (listed,) = (await http.get("/api/plugins")).json()
        assert (listed["displayName"], listed["version"], listed["description"]) == ("Pen", "1.2", "Writes.")
        assert [option["key"] for option in listed["configOptions"]] == ["ink", "width", "apiKey", "test"]
        assert listed["frontend"] == {
            "entryUrl": "/plugins/pen/web/main.js",
            "styleUrls": ["/plugins/pen/web/look/pen.css"],
        }
        script = await http.get(listed["frontend"]["entryUrl"])
        assert (script.text, script.headers["x-content-type-options"]) == ("export default 1;", "nosniff")
        assert script.headers["content-type"].startswith("text/javascript")
        style = await http.get(listed["frontend"]["styleUrls"][0])
        assert style.headers["content-type"].startswith("text/css")
        assert (await http.get("/plugins/pen/web/data.bin")).headers["content-type"] == "application/octet-stream"
        for path in (
            *("web/out.js", "web/away/pen.py", "web/.hidden.js", "plugin.yaml", "nodes/pen.py", "website/x.js"),
            *("web", "web/", "web//main.js", "web/%2e%2e/plugin.yaml", "web/%00", "web/no.js", "main.js"),
            "web/" + "x" * 5_000,
        ):
            answer = await http.get(f"/plugins/pen/{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
        assert (await http.get("/plugins/nobody/web/main.js")).status_code == 404


def test_types_of_files_do_not_depend_on_the_machine() -> None:
    assert all(suffix.startswith(".") and "/" in kind for suffix, kind in routes.MEDIA_TYPES.items())
