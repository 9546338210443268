"""What the nodes that ask a model give: outputs, warnings, and the last word of a stream that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.definition import Output
from innkeeper.nodes.errors import BudgetReached, InnkeeperError, NodeMustWait, ProviderError
from innkeeper.nodes.json_values import text_or_empty
from innkeeper.nodes.node import ChatResponse, Chunk, NodeContext

OUTPUTS = {
    "finish_reason": Output(
        "STRING",
        display_name="Why it ended",
        description="stop, length, tool_calls, content_filter, interrupted, or the provider's own word.",
        match_categories=("LlmOutput",),
    ),
    "reasoning": Output(
        "STRING",
        display_name="Reasoning",
        description="What the model thought, where it tells.",
        match_categories=("LlmOutput",),
    ),
    "usage": Output("OBJECT", display_name="Usage", description="Counts of tokens.", match_categories=("LlmOutput",)),
}


def outputs_of(response: ChatResponse) -> dict[str, Any]:
    """The outputs that all these nodes have. `usage` is null when the provider does not tell."""
    return {
        "finish_reason": response.finish_reason or "stop",
        "reasoning": response.reasoning,
        "usage": dict(response.usage) if response.usage is not None else None,
    }


class Collected:
    """The answer that the chunks of a stream make."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._usage: Mapping[str, Any] | None = None
        self._end: Mapping[str, Any] = {}

    def add(self, chunk: Chunk) -> None:
        if chunk.type == "text_chunk":
            self._text.append(chunk.content)
        elif chunk.type == "reasoning_chunk":
            self._reasoning.append(chunk.content)
        elif chunk.type == "usage_chunk" and isinstance(chunk.content, Mapping):
            self._usage = chunk.content
        elif chunk.type == "finish_reason_chunk" and isinstance(chunk.content, Mapping):
            self._end = chunk.content

    def response(self, model: str) -> ChatResponse:
        """`model` is what was asked, for a provider that does not tell what answered."""
        end = self._end
        return ChatResponse(
            text=end.get("accumulated_text") or "".join(self._text),
            model=end.get("model") or model,
            finish_reason=end.get("finish_reason"),
            usage=end.get("usage") or self._usage,
            response_id=end.get("response_id"),
            reasoning=end.get("reasoning") or "".join(self._reasoning),
            tool_calls=tuple(end.get("tool_calls") or ()),
            channel_id=end.get("channel_id") or "",
            tried=tuple(end.get("tried") or ()),
        )


def check_answer(response: ChatResponse, context: NodeContext) -> None:
    """Warn of what a reader of the text alone would not see.

    Raises:
        ProviderError: There is no text though the model was not done: that is no answer.
    """
    if response.tried:
        context.warn("model_failed_over", _failed_over(response))
    if response.text or response.tool_calls:
        if response.finish_reason == "length":
            context.warn("cut_by_length", "the answer reached its limit of tokens and is cut; raise 'max_tokens'")
        elif response.finish_reason == "content_filter":
            context.warn("content_filter", "the provider's content filter ended the answer; it is not whole")
    elif response.finish_reason == "length":
        thinking = " the model spent all of them on reasoning;" if response.reasoning else ""
        message = f"the limit of tokens was reached before any text came;{thinking} raise 'max_tokens'"
        raise ProviderError(message, code="bad_answer", details=_told_of(response), retryable=False)
    elif response.finish_reason == "content_filter":
        message = "the provider's content filter let no text through"
        raise ProviderError(message, code="content_filter", details=_told_of(response), retryable=False)
    elif response.finish_reason != "tool_calls":
        context.warn("empty_answer", "the model's answer is empty")


def _told_of(response: ChatResponse) -> dict[str, Any]:
    return {"finish_reason": response.finish_reason, "usage": dict(response.usage or {})}


def _failed_over(response: ChatResponse) -> str:
    # The message of a provider stands last: it is what may be cut.
    failed = "; ".join(
        f"{text_or_empty(one.get('channel'))!r} ({text_or_empty(one.get('model'))!r}) did not: "
        f"{text_or_empty(one.get('code'))}: {text_or_empty(one.get('message'))[:200]}"
        for one in response.tried
    )
    return f"channel {response.channel_id!r} ({response.model!r}) answered; {failed}"


def is_final(error: InnkeeperError, context: NodeContext) -> bool:
    """Whether the node has failed for good with this error.

    An attempt that is made again begins the stream anew; a reader that saw an error in it would give up before.
    """
    return not isinstance(error, NodeMustWait | BudgetReached) and (not error.retryable or context.is_last_attempt)
