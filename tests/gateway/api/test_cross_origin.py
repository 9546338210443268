"""What a browser lets a page of another origin do: everything for a listed one, nothing for all others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.api.cross_origin import EXPOSED_HEADERS
from innkeeper.gateway.app import create_app
from innkeeper.gateway.settings import Settings
from tests.gateway.conftest import Stack
from tests.gateway.contract import document

CONSOLE = "https://console.example"
OTHER = "https://tools.example:8443"
TOKEN = {"authorization": "Bearer right"}


@pytest.fixture(scope="module")
async def http(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A real gateway that asks for a token and lists two origins."""
    options = {"access_token": "right", "allowed_origins": (CONSOLE, f"{OTHER}/")}
    stack = Stack(temporal, tmp_path_factory.mktemp("cors"), options)
    async with stack.gateway(), stack.http() as client:
        yield client
    stack.close()


class Page:
    """The CORS check of a browser for a page of `origin`: an answer that it may not read is None."""

    def __init__(self, http: httpx.AsyncClient, origin: str) -> None:
        self._http = http
        self._origin = origin

    async def fetch(self, method: str, path: str, **headers: str) -> httpx.Response | None:
        """`fetch` with headers of the page's own, so that it is preceded by a preflight."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if not await self._may_send(method, path, named):
            return None
        answer = await self._http.request(method, path, headers={**named, "origin": self._origin})
        return answer if self._is_readable(answer) else None

    async def _may_send(self, method: str, path: str, headers: dict[str, str]) -> bool:
        asked = {"access-control-request-method": method, "access-control-request-headers": ",".join(sorted(headers))}
        answer = await self._http.options(path, headers={**asked, "origin": self._origin})
        methods = answer.headers.get("access-control-allow-methods", "").split(", ")
        allowed = {name.strip().lower() for name in answer.headers.get("access-control-allow-headers", "").split(",")}
        return answer.is_success and self._is_readable(answer) and method in methods and set(headers) <= allowed

    def _is_readable(self, answer: httpx.Response) -> bool:
        return bool(answer.headers.get("access-control-allow-origin") == self._origin)


@pytest.mark.parametrize("origin", [CONSOLE, OTHER])
async def test_page_of_a_listed_origin_reads_writes_and_deletes(http: httpx.AsyncClient, origin: str) -> None:
    page = Page(http, origin)
    written = await page.fetch("PUT", "/api/files/user/page.txt", **TOKEN, if_none_match="*", content_type="text/plain")
    read = await page.fetch("GET", "/api/files/user/page.txt", **TOKEN, range="bytes=0-0", if_range='"x"')
    gone = await page.fetch("DELETE", "/api/files/user/page.txt", **TOKEN, if_match="*")
    assert [answer and answer.status_code for answer in (written, read, gone)] == [201, 200, 204]
    assert read is not None
    exposed = {name.strip().lower() for name in read.headers["access-control-expose-headers"].split(",")}
    assert {"etag", "content-disposition", "accept-ranges"} <= exposed & set(read.headers)


async def test_listed_page_may_use_the_headers_of_the_protocol(http: httpx.AsyncClient) -> None:
    page = Page(http, CONSOLE)
    assert await page.fetch("POST", "/api/prompt", **TOKEN, idempotency_key="k") is not None
    assert await page.fetch("GET", "/api/prompt/none/events", **TOKEN, last_event_id="a:1") is not None
    assert await page.fetch("GET", "/api/nodes", **TOKEN, x_other="1") is None


async def test_listed_page_can_read_why_it_was_refused(http: httpx.AsyncClient) -> None:
    page = Page(http, CONSOLE)
    refused = await page.fetch("GET", "/api/nodes", authorization="Bearer wrong")
    missing = await page.fetch("GET", "/nothing", **TOKEN)
    method = await page.fetch("DELETE", "/api/prompt", **TOKEN)
    assert [answer and answer.status_code for answer in (refused, missing, method)] == [401, 404, 405]


async def test_listed_page_can_read_a_defect_of_ours() -> None:
    app = create_app(Settings(allowed_origins=(CONSOLE,)))  # not started: routes find nothing to work with
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8090") as http:
        answer = await http.get("/api/nodes", headers={"origin": CONSOLE})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["access-control-allow-origin"] == CONSOLE
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{CONSOLE}.evil.example", f"{CONSOLE}:444", "http://console.example", "null", "*",
     f"{CONSOLE}/", CONSOLE.upper(), f"https://x.{CONSOLE.removeprefix('https://')}"],
)  # fmt: skip
async def test_page_of_another_origin_gets_no_cors_headers(http: httpx.AsyncClient, origin: str) -> None:
    asked = {"access-control-request-method": "GET", "origin": origin}
    for answer in (await http.options("/api/nodes", headers=asked), await http.get("/healthz", headers=asked)):
        assert [name for name in answer.headers if name.startswith("access-control")] == []


async def test_no_answer_takes_cookies_or_any_origin(http: httpx.AsyncClient) -> None:
    asked = {"access-control-request-method": "GET", "origin": CONSOLE}
    for answer in (await http.options("/api/nodes", headers=asked), await http.get("/healthz", headers=asked)):
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == CONSOLE


@pytest.mark.parametrize("headers", [{}, {"origin": CONSOLE}], ids=["own", "listed"])
async def test_caches_learn_that_answers_depend_on_the_origin(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await http.get("/api/nodes", headers={**TOKEN, **headers})
    assert "origin" in answer.headers["vary"].lower()


async def test_preflight_of_an_unknown_host_is_refused(http: httpx.AsyncClient) -> None:
    asked = {"access-control-request-method": "GET", "origin": CONSOLE, "host": "rebound.example"}
    assert (await http.options("/api/nodes", headers=asked)).status_code == 403


async def test_gateway_without_the_setting_has_no_cors_headers(shared: Stack) -> None:
    async with shared.http() as http:
        for headers in ({}, {"origin": shared.url}):
            answer = await http.get("/healthz", headers=headers)
            assert [name for name in answer.headers if name.startswith(("access-control", "vary"))] == []


def test_every_header_that_an_answer_declares_is_exposed(http: httpx.AsyncClient) -> None:
    declared = {
        name
        for item in document()["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
        for answer in operation["responses"].values()
        for name in answer.get("headers", {})
    }
    safelisted = {"Cache-Control", "Content-Length", "Content-Type", "Last-Modified"}
    assert declared - safelisted - {"Content-Security-Policy", "X-Content-Type-Options"} <= set(EXPOSED_HEADERS)
