"""Chat completions of OpenAI and of the many servers that speak its protocol, through the `openai` client."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from innkeeper.nodes.errors import NodeInputError, ResourceError
from innkeeper.nodes.json_values import NotJsonData, TextJoiner, mended, text_or_empty, whole_text
from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk
from innkeeper.nodes.services.llm import errors

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

    from innkeeper.nodes.services.http import AddressPolicy

MAX_ANSWER_CHARS = 16 * 1024 * 1024
CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 600.0
_OWN_FIELDS = frozenset({"model", "messages", "stream"})
_SENT_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "transfer-encoding",
        "user-agent",
    }
)


class OpenAIAdapter:
    """Asks OpenAI-compatible servers, each request at the `base_url` and with the key it names.

    One pool of connections serves all requests; the client around it is made per call (tens of microseconds), so no
    key outlives its call. Nothing of the process's environment reaches a provider.
    """

    def __init__(self, policy: AddressPolicy, *, max_answer_chars: int = MAX_ANSWER_CHARS) -> None:
        self._policy = policy
        self._max_chars = max_answer_chars
        self._http: httpx2.AsyncClient | None = None
        self._loaded = False

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask for a whole answer.

        Raises:
            ProviderError: The provider cannot be reached or refuses; `code` says why, `retryable` whether it may pass.
            NodeMustWait: The provider asks to come back later (429 with Retry-After).
            RequestRefused: `base_url` leads to an address that is not allowed.
            NodeInputError: `base_url` is no http(s) URL.
        """
        host = _host(request.base_url)
        with _provider_errors(host):
            answer = _plain(await self._request_completion(request, stream=False), host)
        data = _mended(answer, host)
        if not isinstance(data.get("choices"), list):
            raise errors.unusable_answer(host, "did not answer with a chat completion; check the base URL")
        response = _response(data, request.model)
        self._check_size(host, len(response.text))
        return response

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Ask for an answer in pieces: `text_chunk`, `usage_chunk`, one last `finish_reason_chunk`.

        Raises:
            ProviderError: As `chat`; also when the stream breaks off before its finish reason.
            NodeMustWait, RequestRefused, NodeInputError: As `chat`.
        """
        host = _host(request.base_url)
        answer = _Answer()
        with _provider_errors(host):
            parts = await self._request_completion(request, stream=True)
        async with parts:
            while (part := await _next_part(parts, host, answer)) is not None:
                for chunk in answer.read(part, host):
                    yield chunk
                self._check_size(host, answer.size)
        if rest := answer.rest():
            yield rest
        if answer.finish_reason is None:
            raise errors.transport_error(host, "connection_error", "broke the stream off before its end")
        yield answer.finish()

    async def list_models(self, base_url: str, api_key: str = "") -> tuple[Mapping[str, Any], ...]:
        """The models that a server says it has, each with its `id`.

        Raises:
            ProviderError, NodeMustWait, RequestRefused, NodeInputError: As `chat`.
        """
        host = _host(base_url)
        request = ChatRequest(base_url, "", [], api_key)
        with _provider_errors(host):
            await self.warm_up()
            page = await self._client(request).models.list(extra_headers=_headers(request))
        models = _mended(_plain(page, host), host).get("data")
        if not isinstance(models, list):
            raise errors.unusable_answer(host, "did not answer with a list of models; check the base URL")
        return tuple(model for model in models if isinstance(model, Mapping) and isinstance(model.get("id"), str))

    async def warm_up(self) -> None:
        """Load the client library off the event loop: it takes most of a second, in which nothing else would run."""
        if not self._loaded:
            await asyncio.to_thread(importlib.import_module, "openai.resources.chat")
            self._loaded = True

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _request_completion(self, request: ChatRequest, *, stream: bool) -> Any:
        # `Any` and `extra_body`: messages and parameters that the client library does not know travel unchanged.
        messages: Any = request.messages
        await self.warm_up()
        return await self._client(request).chat.completions.create(
            model=request.model,
            messages=messages,
            stream=stream,
            extra_body={key: value for key, value in request.parameters.items() if key not in _OWN_FIELDS},
            extra_headers=_headers(request),
        )

    def _client(self, request: ChatRequest) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        client = AsyncOpenAI(
            base_url=request.base_url,
            # Never None: the client would look into the environment for one.
            api_key=request.api_key or "none",
            max_retries=0,
            http_client=self._pool(),
        )
        client.organization = client.project = None
        return client

    def _pool(self) -> httpx2.AsyncClient:
        if self._http is None:
            import httpx2

            from innkeeper.nodes.services.http import GuardedTransport

            self._http = httpx2.AsyncClient(
                transport=GuardedTransport(self._policy),
                timeout=httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                follow_redirects=True,
                max_redirects=5,
                # The pool is shared: a cookie would carry from one user's request to another's.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                event_hooks={"request": [_keep_known_headers]},
            )
        return self._http

    def _check_size(self, host: str, size: int) -> None:
        if size > self._max_chars:
            raise errors.unusable_answer(host, f"answered with more than {self._max_chars} characters")


class _Answer:
    """What a stream has said so far."""

    def __init__(self) -> None:
        self._joiner = TextJoiner()
        self._texts: list[str] = []
        self._usage: Mapping[str, Any] | None = None
        self.size = 0
        self.finish_reason: str | None = None

    def read(self, part: Mapping[str, Any], host: str) -> Iterator[Chunk]:
        usage = part.get("usage")
        if isinstance(usage, Mapping):
            self._usage = _mended(usage, host)
            yield Chunk("usage_chunk", dict(self._usage))
        choice = _first_choice(part)
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, Mapping) else None
        # Servers that cut by bytes or by UTF-16 send the two halves of an emoji in two parts.
        if isinstance(text, str) and (whole := self._joiner.feed(text)):
            yield self._text_chunk(whole)
        if choice.get("finish_reason"):
            self.finish_reason = whole_text(str(choice["finish_reason"]))

    def rest(self) -> Chunk | None:
        """The end of the text, when it broke off inside a character."""
        rest = self._joiner.end()
        return self._text_chunk(rest) if rest else None

    def _text_chunk(self, text: str) -> Chunk:
        self._texts.append(text)
        self.size += len(text)
        return Chunk("text_chunk", text)

    def finish(self) -> Chunk:
        content = {
            "finish_reason": self.finish_reason,
            "accumulated_text": "".join(self._texts),
            "usage": self._usage,
        }
        return Chunk("finish_reason_chunk", content)


@contextmanager
def _provider_errors(host: str, answer: _Answer | None = None) -> Iterator[None]:
    """Turn what the client library raises into our errors.

    An answer that has its finish reason is whole: what happens on the wire after it is of no interest.
    """
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        raise errors.status_error(host, error.status_code, error.response.headers, error.body) from None
    except openai.APITimeoutError:
        if not (answer and answer.finish_reason):
            raise errors.transport_error(host, "timeout_error", "did not answer in time") from None
    except openai.APIConnectionError:
        if not (answer and answer.finish_reason):
            raise errors.transport_error(host, "connection_error", "cannot be reached, or broke off") from None
    except openai.APIResponseValidationError:
        raise errors.unusable_answer(host, "sent an answer that is no chat completion") from None
    except openai.APIError as error:
        raise errors.stream_error(host, error.body) from None
    except (json.JSONDecodeError, UnicodeDecodeError, httpx2.DecodingError):
        raise errors.unusable_answer(host, "sent an answer that is not valid JSON") from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise NodeInputError("base_url is not an http or https URL") from error
    except ResourceError as error:
        raise errors.unusable_answer(host, f"sent an answer that cannot be taken: {error.message}") from error
    except UnicodeEncodeError:  # what is asked, not what is answered
        raise
    except (ValueError, RecursionError):  # the client library reads JSON without bounds: thousands of digits or levels
        raise errors.unusable_answer(
            host, "sent an answer that is nested too deeply, or holds a number that is none"
        ) from None


async def _next_part(parts: Any, host: str, answer: _Answer) -> Mapping[str, Any] | None:
    part = None
    with _provider_errors(host, answer):
        part = await anext(parts, None)
    return None if part is None else _plain(part, host)


def _headers(request: ChatRequest) -> dict[str, Any]:
    from openai import Omit

    headers: dict[str, Any] = {"Authorization": f"Bearer {request.api_key}" if request.api_key else Omit()}
    if request.idempotency_key:
        headers["Idempotency-Key"] = request.idempotency_key
    return headers


async def _keep_known_headers(request: httpx2.Request) -> None:
    # The client library adds headers from variables of the environment (OPENAI_CUSTOM_HEADERS, ...), which belong to
    # the operator and not to whatever server a graph names.
    for name in set(request.headers) - _SENT_HEADERS:
        del request.headers[name]


def _host(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or "?" in base_url or "#" in base_url:
        raise NodeInputError(
            "base_url is not an http or https URL without '?' and '#'; it looks like 'https://host/v1'"
        )
    return host


def _plain(answer: Any, host: str) -> Mapping[str, Any]:
    """The answer as plain data; an empty mapping when the server sent something else (an HTML page, say)."""
    try:
        data = answer.to_dict(mode="json", warnings=False) if hasattr(answer, "to_dict") else answer
    except (ValueError, RecursionError):
        raise errors.unusable_answer(host, "sent an answer that is nested too deeply") from None
    return data if isinstance(data, Mapping) else {}


def _mended(data: Mapping[str, Any], host: str) -> Mapping[str, Any]:
    """The answer as JSON that can be stored: the client library also reads NaN, and what no UTF-8 can hold."""
    try:
        found: Mapping[str, Any] = mended(data)
    except NotJsonData as error:
        raise errors.unusable_answer(host, f"sent an answer that {error}") from None
    return found


def _first_choice(data: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else {}


def _response(data: Mapping[str, Any], asked_model: str) -> ChatResponse:
    choice = _first_choice(data)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, Mapping) else None
    usage = data.get("usage")
    return ChatResponse(
        text=text_or_empty(text),
        model=str(data.get("model") or asked_model),
        finish_reason=choice.get("finish_reason"),
        usage=usage if isinstance(usage, Mapping) else None,
        response_id=data.get("id"),
        choices=tuple(choice for choice in data["choices"] if isinstance(choice, Mapping)),
        raw_response=data,
    )
