"""The files of the console, as a browser asks for them: public, checked for changes, under a strict policy."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from temporalio.client import Client

from innkeeper.gateway.api import console
from innkeeper.gateway.api.console import FOLDER, MEDIA_TYPES
from tests.gateway.conftest import Stack

FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*"))


def policy_of(answer: httpx.Response) -> dict[str, str]:
    directives = answer.headers["content-security-policy"].split("; ")
    return {name: value for name, _, value in (directive.partition(" ") for directive in directives)}


async def test_every_file_is_served_under_the_policy(http: httpx.AsyncClient) -> None:
    for path in ["/", *(f"/console/{name}" for name in FILES)]:
        answer = await http.get(path)
        assert answer.status_code == 200, path
        suffix = ".html" if path == "/" else Path(path).suffix
        assert answer.headers["content-type"] == MEDIA_TYPES[suffix]
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = policy_of(answer)
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"


async def test_a_file_that_the_browser_has_is_not_sent_again(http: httpx.AsyncClient) -> None:
    first = await http.get("/console/main.js")
    for tag in (first.headers["etag"], f"W/{first.headers['etag']}", f'"other", {first.headers["etag"]}'):
        again = await http.get("/console/main.js", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert (await http.get("/console/main.js", headers={"If-None-Match": '"other"'})).status_code == 200
    head = await http.head("/")
    assert (head.status_code, head.content) == (200, b"")


async def test_the_tag_of_the_page_changes_with_any_of_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By it a page that was open while its gateway was replaced learns that it is an old one."""
    monkeypatch.setattr(console, "FOLDER", tmp_path)
    (tmp_path / "index.html").write_text("<!doctype html>")
    app = FastAPI()
    app.include_router(console.router)
    tags = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        for module in ("one", "one", "two"):
            (tmp_path / "main.js").write_text(module)
            _forget_files()  # as a new process does
            tags.append((await http.head("/")).headers["etag"])
    _forget_files()
    assert tags[0] == tags[1] != tags[2]


def _forget_files() -> None:
    for cached in (console._files, console._version):
        cached.cache_clear()


@pytest.mark.parametrize(
    "name",
    ["none.js", "../app.py", "%2e%2e/app.py", "..%2fapp.py", "lib", "lib/", "", "/etc/passwd", "lib/../main.js%00"],
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(f"/console/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


async def test_the_files_are_public_and_the_data_is_not(temporal: Client, tmp_path: Path) -> None:
    stack = Stack(temporal, tmp_path, {"access_token": "let me in"})
    async with stack.gateway(), stack.http() as http:
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/console/main.js")).status_code == 200
        assert (await http.get("/console/none.js")).status_code == 404
        for path in ("/api/executions", "/api/history", "/api/nodes", "/openapi.json", "/console", "//console/main.js"):
            assert (await http.get(path)).status_code == 401, path
        assert (await http.get("/", headers={"host": "evil.example"})).status_code == 403
    stack.close()


async def test_without_scripts_the_page_says_what_there_is(http: httpx.AsyncClient) -> None:
    page = (await http.get("/")).text
    assert "<noscript>" in page
    for address in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert (await http.get(f"/{address}")).status_code == 200, address


def test_demo_is_the_example() -> None:
    """A copy, for the wheel has no examples: 'make pages' writes it."""
    assert (FOLDER / "demo.json").read_bytes() == (Path(__file__).parents[3] / "examples/story.json").read_bytes()
