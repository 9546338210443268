"""What a page in a user's browser may do with the gateway: only our own pages, and those the operator names."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from innkeeper.gateway.api import console


def port_of(http: httpx.AsyncClient) -> int:
    assert http.base_url.port is not None
    return http.base_url.port


async def status(http: httpx.AsyncClient, **headers: str) -> int:
    return (await http.get("/api/nodes", headers=headers)).status_code


async def test_pages_of_the_own_port_are_served(http: httpx.AsyncClient) -> None:
    port = port_of(http)
    for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}", f"https://localhost:{port}"):
        assert await status(http, origin=origin) == 200


@pytest.mark.parametrize(
    "origin",
    ["http://127.0.0.1:1", "http://localhost", "https://localhost", "https://evil.example", "null", "file://", "",
     "http://127.0.0.1.evil.example", "http://user@127.0.0.1", "http://127.0.0.1:x", "http://127.0.0.1/path"],
)  # fmt: skip
async def test_pages_of_other_programs_are_not(http: httpx.AsyncClient, origin: str) -> None:
    assert await status(http, origin=origin) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_pages_elsewhere_embed_nothing_and_may_link(http: httpx.AsyncClient, site: str) -> None:
    embedded = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    refused = await http.get("/api/fam/list/user:%2F%2Fembedded%2F?ensureExists=true", headers=embedded)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    names = [item["name"] for item in (await http.get("/api/fam/list/user:%2F%2F")).json()]
    assert "embedded" not in names
    linked = {**embedded, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert (await http.get("/", headers=linked)).status_code == 200
    own = {**embedded, "sec-fetch-site": "same-origin"}
    assert (await http.get("/console/main.js", headers=own)).status_code == 200
    typed = {**embedded, "sec-fetch-site": "none"}
    assert (await http.get("/api/nodes", headers=typed)).status_code == 200


async def test_default_port_of_a_proxy_in_front_counts(http: httpx.AsyncClient) -> None:
    assert await status(http, host="localhost", origin="https://localhost") == 200
    assert await status(http, host="localhost", origin="http://localhost:80") == 200
    assert await status(http, host="localhost:8090", origin="https://localhost") == 403


async def test_name_that_was_rebound_to_this_machine_is_not_served(http: httpx.AsyncClient) -> None:
    assert await status(http, host=f"evil.example:{port_of(http)}") == 403


@pytest.mark.parametrize(
    "path", ["/api/nodes", "/healthz", "/nothing", "/api/prompt/none", "/openapi.json", "/console/none.js"]
)
async def test_every_answer_is_no_page_and_stays_with_its_origin(shared: Any, path: str) -> None:
    async with shared.http() as http:
        answers = [await http.get(path), await http.get(path, headers={"origin": "https://evil.example"})]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        policy = answer.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "require-trusted-types-for 'script'", "frame-ancestors 'none'"} <= {*policy}
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_an_unexpected_error_is_no_page_either(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, Any]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(console, "_files", broken)
    answer = await http.get("/console/main.js")
    assert answer.status_code == 500
    assert "disk" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_values_and_files_keep_their_stricter_policy(http: httpx.AsyncClient) -> None:
    page = b"<script>alert(document.domain)</script>"
    names = ("page.html", "page.svg", "page.xhtml", "page.pdf")
    for name in names:
        assert (await http.put(f"/api/files/user/{name}", content=page)).is_success
        answer = await http.get(f"/api/files/user/{name}", headers={"accept": "text/html"})
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["content-security-policy"].startswith("sandbox;")
        assert answer.headers["x-content-type-options"] == "nosniff"
