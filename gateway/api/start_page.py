"""The page at `/`: where somebody who opens the gateway's address in a browser finds the rest."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter()

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Innkeeper</title>
<style>body { font: 16px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>Innkeeper is running</h1>
<p>This gateway runs node graphs as durable workflows. Give it one with
<code>innkeeper run FILE</code>, or over HTTP with <code>POST /api/prompt</code>.</p>
<ul>
<li><a href="/openapi.json">openapi.json</a>: every operation, with examples</li>
<li><a href="/api/nodes">api/nodes</a>: the node types that workflows can use here</li>
<li><a href="/api/workflow.schema.json">api/workflow.schema.json</a>: the format of workflows</li>
<li><a href="/api/executions">api/executions</a> and <a href="/api/history">api/history</a>: the runs</li>
</ul>
</html>
"""


@router.get("/", include_in_schema=False)
async def start_page() -> HTMLResponse:
    return HTMLResponse(PAGE, headers=HEADERS)
