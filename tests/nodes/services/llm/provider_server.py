"""Servers that play providers: each answers in its own protocol with what `provider_answers` holds.

The model that is asked names the scenario. Whoever talks to it, our adapters or a provider's own client, gets the same.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from tests.nodes.services.llm.provider_answers import ANSWERS

KINDS = {"ollama": "application/x-ndjson"}
MODELS: dict[str, Any] = {
    "anthropic": {
        "data": [
            {
                **{"id": "claude-test-1", "type": "model", "display_name": "Claude", "lifecycle": "active"},
                "created_at": "2026-01-01T00:00:00Z",
            }
        ],
        **{"has_more": False, "first_id": "claude-test-1", "last_id": "claude-test-1"},
    },
    "openai-responses": {
        "object": "list",
        "data": [{"id": "gpt-test-1", "object": "model", "created": 1_760_000_000, "owned_by": "test"}],
    },
    "gemini": {"models": [{"name": "models/gemini-test-1", "displayName": "Gemini", "version": "1"}]},
    "ollama": {"models": [{"name": "llama-test", "model": "llama-test", "size": 1}]},
}


class ProviderServer:
    """All protocols in one app.

    Attributes:
        requests: Of each request: protocol, path with its query, headers with names in lower case, and body.
    """

    def __init__(self) -> None:
        self.app = FastAPI()
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.app.add_api_route("/anthropic/v1/messages", self._messages, methods=["POST"])
        self.app.add_api_route("/openai/v1/responses", self._responses, methods=["POST"])
        self.app.add_api_route("/gemini/v1beta/models/{call:path}", self._gemini, methods=["POST"])
        self.app.add_api_route("/ollama/api/chat", self._ollama, methods=["POST"])
        for path, name in (
            *(("/anthropic/v1/models", "anthropic"), ("/openai/v1/models", "openai-responses")),
            *(("/gemini/v1beta/models", "gemini"), ("/ollama/api/tags", "ollama")),
        ):
            self.app.add_api_route(path, self._listing(name), methods=["GET"])

    @property
    def body(self) -> Any:
        """Of the last request."""
        return self.requests[-1][3]

    async def _messages(self, request: Request) -> Response:
        body = await self._noted("anthropic", request)
        return _answer("anthropic", body["model"], stream=body.get("stream") is True)

    async def _responses(self, request: Request) -> Response:
        body = await self._noted("openai-responses", request)
        return _answer("openai-responses", body["model"], stream=body.get("stream") is True)

    async def _gemini(self, call: str, request: Request) -> Response:
        await self._noted("gemini", request)
        model, _, method = call.partition(":")
        return _answer("gemini", model, stream=method == "streamGenerateContent")

    async def _ollama(self, request: Request) -> Response:
        body = await self._noted("ollama", request)
        return _answer("ollama", body["model"], stream=body.get("stream", True) is True)

    def _listing(self, name: str) -> Any:
        async def listing(request: Request) -> Response:
            self.requests.append((name, _path(request), dict(request.headers), None))
            return JSONResponse(MODELS[name])

        return listing

    async def _noted(self, name: str, request: Request) -> Any:
        body = await request.json()
        self.requests.append((name, _path(request), dict(request.headers), body))
        return body


def _path(request: Request) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def _answer(name: str, scenario: str, *, stream: bool) -> Response:
    recorded = ANSWERS[name][scenario]
    if not stream:
        return JSONResponse(recorded.whole)
    return Response(recorded.stream, media_type=KINDS.get(name, "text/event-stream"))
