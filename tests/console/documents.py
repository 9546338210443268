"""Documents of runs for the page, where a test has the document and not its run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

Json = dict[str, Any]


async def give_documents(page: Page, documents: dict[str, Json]) -> None:
    """Answer `GET /api/prompt/ID/document?path=` by path."""

    async def answer(route: Route) -> None:
        path = parse_qs(urlsplit(route.request.url).query).get("path", [""])[0]
        await route.fulfill(json={"promptId": "", "path": path, "document": documents[path]})

    await page.route(re.compile("/api/prompt/[^/]+/document"), answer)
