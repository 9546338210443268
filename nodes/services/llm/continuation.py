"""An answer of a model that broke off: whether it can be gone on with, how that is asked for, and how the two pieces
are joined. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from innkeeper.nodes.kept_stream import KeptStream
from innkeeper.nodes.node import ChatRequest, PrefixKind
from innkeeper.nodes.services.llm.estimates import OUTPUT_LIMITS, estimate_text

PREFIX_KINDS: Mapping[str, Sequence[PrefixKind]] = {
    "anthropic": ("trailing",),
    "gemini": ("trailing",),
    "ollama": ("trailing",),
    "openai-responses": (),
}
"""Ways to go on that a protocol has; of those that are not named here, all."""
ECHO_CERTAIN = 16
"""Characters. An answer that ends inside the text it should go on from, and has so many of it, is an echo cut short."""
_PLAIN_KINDS = frozenset({"text_chunk", "usage_chunk"})
_WHY_NOT_PLAIN = {
    "hole": "some of its chunks were dropped",
    "too_large": "it is too large",
    "tool_call_chunk": "it had called tools",
    "reasoning_chunk": "it held reasoning",
    "error_chunk": "it had ended with an error",
}
_FORMATS = (
    *("response_format", "format", "json_schema", "structured_outputs", "grammar"),
    *("responseSchema", "response_schema", "responseMimeType", "response_mime_type"),
    *("guided_json", "guided_regex", "guided_choice", "guided_grammar"),
)
"""How the protocols say that an answer keeps to one."""
_TEXT_FORMATS = (None, "", "text", "text/plain")
_FREE_CHOICES = (None, "", "auto", "none")
_OFF = (None, False, "", "disabled", "none")


class CannotContinue(Exception):
    """The endpoint or the request does not allow to go on with an answer. The argument says why, as half a sentence."""


class NothingLeft(Exception):
    """The answer is as long as it may be."""


def why_not(kept: KeptStream, request: ChatRequest) -> str | None:
    """Why an answer that broke off cannot be gone on with, whatever the endpoint; None: it can."""
    return _why_not_text(kept) or _why_not_request(request)


def continued(target: ChatRequest, text: str) -> ChatRequest:
    """The request for the rest of an answer, at one endpoint.

    White space at the end is not sent: providers refuse it, or strip it. `Seam` accounts for it.

    Raises:
        CannotContinue: The endpoint does not say that it takes the beginning of an answer.
        NothingLeft: The answer has used up its tokens, by estimate.
    """
    kind, adapter = target.traits.prefix, target.adapter
    if kind == "none":
        what = f"channel {target.channel_id!r}" if target.channel_id else "its endpoint"
        raise CannotContinue(f"{what} takes no beginning of an answer (`prefix`)")
    if kind not in PREFIX_KINDS.get(adapter, (kind,)):
        # Its adapter would leave the beginning out, and the model would give all of another answer.
        raise CannotContinue(f"the protocol {adapter!r} does not know the `prefix` {kind!r} of its channel")
    parameters = _shortened(target, estimate_text(text))
    return replace(target, parameters=parameters, prefix=text.rstrip())


class Seam:
    """Joins the rest of an answer to its beginning: what the provider sends again is left out.

    Some send all of the beginning before the rest; the first characters are held back until that is clear. Some send
    the white space again that stood at the end. Each piece is looked at once, however long the beginning is.
    """

    def __init__(self, text: str) -> None:
        stem = text.rstrip()
        # Some strip the beginning before they repeat it.
        self._echoes = list(dict.fromkeys((stem, stem.lstrip())))
        self._space = text[len(stem) :]
        self._held: list[str] = []
        self._length = 0  # of what is held back
        self._is_echo_settled = self._is_settled = False

    def feed(self, piece: str) -> str:
        """What is new of a piece, as far as it is clear."""
        if self._is_settled or not piece:
            return piece
        if self._is_echo_settled:
            return self._behind_space(piece)
        self._echoes = [echo for echo in self._echoes if _agree(echo, piece, self._length)]
        self._held.append(piece)
        self._length += len(piece)
        if any(self._length < len(echo) for echo in self._echoes):
            return ""
        return self._settle_echo(len(self._echoes[0]) if self._echoes else 0)

    def end(self) -> str:
        """What was held back and is new, when nothing follows."""
        if self._is_echo_settled:
            return ""
        return self._settle_echo(self._length if self._length >= ECHO_CERTAIN else 0)

    def _settle_echo(self, length: int) -> str:
        held, self._held = "".join(self._held), []
        self._is_echo_settled = True
        return self._behind_space(held[length:])

    def _behind_space(self, piece: str) -> str:
        pairs = zip(self._space, piece, strict=False)
        again = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._space = self._space[again:]
        self._is_settled = not self._space or again < len(piece)
        return piece[again:]


def _agree(echo: str, piece: str, begin: int) -> bool:
    """Is the piece what stands at `begin` of the echo, as far as that goes?"""
    return echo.startswith(piece, begin) if begin + len(piece) <= len(echo) else piece.startswith(echo[begin:])


def _why_not_text(kept: KeptStream) -> str | None:
    if odd := kept.kinds - _PLAIN_KINDS:
        return next((why for kind, why in _WHY_NOT_PLAIN.items() if kind in odd), "it held more than text")
    return None if kept.text.strip() else "no text had come"


def _why_not_request(request: ChatRequest) -> str | None:
    parameters = request.parameters
    if parameters.get("n") not in (None, 1):
        return "several answers were asked for"
    if request.response_schema is not None or any(_is_format(value) for value in _formats(parameters)):
        return "the answer has a format"
    if any(_kind(parameters.get(name)) not in _FREE_CHOICES for name in ("tool_choice", "function_call")):
        return "a tool was forced"
    if parameters.get("audio") is not None or parameters.get("modalities") not in (None, ["text"]):
        return "more than text was asked for"
    if _kind(parameters.get("thinking")) not in _OFF:
        return "the model was asked to think"
    if request.prefix or (request.messages and request.messages[-1].get("role") == "assistant"):
        return "the conversation ends with a turn of the assistant"
    return None


def _formats(parameters: Mapping[str, Any]) -> Iterator[Any]:
    yield from (parameters.get(name) for name in _FORMATS)
    if isinstance(text := parameters.get("text"), Mapping):  # OpenAI's Responses
        yield text.get("format")


def _is_format(value: Any) -> bool:
    return _kind(value) not in _TEXT_FORMATS


def _kind(value: Any) -> Any:
    """The word of a setting that is a word or an object with a `type`; anything else that is set is `set`."""
    if isinstance(value, Mapping):
        value = value.get("type", "set")
    return value if isinstance(value, str | bool | None) else "set"


def _shortened(target: ChatRequest, spent: int) -> dict[str, Any]:
    """The parameters with what is left of the answer's tokens, also where the channel sets how many there are."""
    found = {**target.traits.defaults, **target.parameters}
    limits = {name: found[name] for name in OUTPUT_LIMITS if type(found.get(name)) is int}
    if any(limit <= spent for limit in limits.values()):
        raise NothingLeft
    return {**target.parameters, **{name: limit - spent for name, limit in limits.items()}}
