"""What stands before and behind each request to a provider: limits shared by all workers, budgets, accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from innkeeper.nodes.node import USUAL_PRIORITY

Outcome = Literal["ok", "failed", "cut", "not_sent"]
"""`cut`: it ended before the answer was whole, by us or by the provider. `not_sent`: nothing can have been spent."""


@dataclass(frozen=True)
class CallOrigin:
    """Whose requests these are: one attempt of one node."""

    run: str = ""
    node: str = ""
    attempt: int = 1
    user: str = "default_user"


@dataclass(frozen=True)
class CallStart:
    """A request that is about to be made.

    Attributes:
        id: Names this one request; the same when it is asked for again.
        channel: Id of the operator's channel; "" for an address in the graph.
        host: `name:port` of the server.
        key: Fingerprint of the API key, which tells nothing of it; "" for none.
        input_tokens, output_tokens: Estimates: of the prompt, and the most that the answer may have.
        priority: Of those that wait, 1 goes before all others and 5 behind them.
    """

    id: str
    origin: CallOrigin
    channel: str
    host: str
    adapter: str
    model: str
    key: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    priority: int = USUAL_PRIORITY


@dataclass(frozen=True)
class CallEnd:
    """How a request ended.

    Attributes:
        code: Why it failed, a word of `nodes.services.llm.errors`; "" when it did not.
        usage: As `ChatResponse.usage`; None when the provider said nothing.
        output_chars: Of the text and reasoning that came, to estimate what a cut answer has cost.
        retry_after_s: What the provider asked to wait.
        headers: Its `x-ratelimit-*` and `retry-after*` headers, in lower case.
        first_ms, whole_ms: Until the first piece, and until the end; None when there was none.
        lost_of: An attempt that died before it could tell, of which a later one tells this: it counts for those
            requests of it that are still open. Which of them wrote the text, only the gateway knows.
    """

    id: str
    outcome: Outcome
    code: str = ""
    model: str = ""
    usage: Mapping[str, Any] | None = None
    output_chars: int = 0
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    first_ms: int | None = None
    whole_ms: int | None = None
    lost_of: CallOrigin | None = None


class CallGate(Protocol):
    """Lets requests pass. All workers share what is behind it."""

    async def begin(self, start: CallStart) -> None:
        """Returns when the request may be made now.

        Raises:
            NodeMustWait: There is no room for it now; it has a place in the line and is to be asked for again then.
            BudgetReached: It could go past what may be spent.
        """

    def end(self, end: CallEnd) -> None:
        """Tell how it went. Returns at once and never raises; it is delivered when the gateway is there again."""


class OpenGate:
    """Lets everything pass: for a worker without a gateway, and for tests."""

    async def begin(self, start: CallStart) -> None:
        pass

    def end(self, end: CallEnd) -> None:
        pass
