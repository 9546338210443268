"""Scripts of node types, for the editor."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from innkeeper.gateway.api.client_scripts import script_file
from innkeeper.gateway.errors import NotFound
from innkeeper.nodes.definition import NodeDefinition

AT = "/api/nodes/core/RandomNumber/client-script"


async def test_a_script_is_served_where_its_definition_says(http: httpx.AsyncClient) -> None:
    url = (await http.get("/api/nodes/core:RandomNumber")).json()["clientScriptUrl"]
    answer = await http.get(f"{AT}/{url}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "export function setupClientNode(" in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{AT}/client-scripts/Other.js", 404),
        (f"{AT}/random_number.py", 400),
        (f"{AT}/client-scripts/..%2Frandom_number.js", 400),
        (f"{AT}/client-scripts/a%00b.js", 400),
        (f"{AT}/{'a' * 300}.js", 400),
        (f"{AT}/client-scripts/{'%F0%9F%92%A5' * 90}.js", 404),
        (f"{AT}/elsewhere.js", 403),
        (f"{AT}/%2Fetc%2Felsewhere.js", 403),
        ("/api/nodes/core/TextMerge/client-script/a.js", 404),
        ("/api/nodes/core/Nothing/client-script/a.js", 404),
    ],
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await http.get(path)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"]
    assert str(Path(__file__).parents[3]) not in answer.text


def test_scripts_of_plugins_are_found_but_a_link_leads_nowhere(tmp_path: Path) -> None:
    scripts = tmp_path / "plugin" / "nodes" / "web"
    scripts.mkdir(parents=True)
    (scripts / "node.js").write_text("export {}")
    (scripts / "shared.js").write_text("export {}")
    (tmp_path / "secret.js").write_text("no")
    (scripts / "link.js").symlink_to(tmp_path / "secret.js")
    file_path = str(scripts.parent / "node.py")
    node = NodeDefinition("N", "c", "N", "", client_script_url="web/node.js", file_path=file_path)
    assert script_file(node, "web/node.js").name == "node.js"
    assert script_file(node, "web/shared.js").name == "shared.js"
    with pytest.raises(Exception, match="not in the folder"):
        script_file(node, "web/link.js")
    with pytest.raises(NotFound):
        script_file(node, "web/none.js")
