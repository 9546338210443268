"""When a message is sent again, when it is given up, and that nobody but the gateway has one sent."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from innkeeper.gateway.runs.signing_client import SigningClient
from innkeeper.nodes.call import SEND_CALLBACK, CallbackAnswer, CallbackCall
from innkeeper.nodes.services.signing_keys import SIGNING_FILE, SigningKeys, create_signing_keys
from innkeeper.workflows.engine import callback_workflow
from innkeeper.workflows.engine.callback_workflow import (
    CALLBACK_QUEUE,
    GIVE_UP_AFTER_S,
    MAX_PAUSE_S,
    MEMO,
    CallbackWorkflow,
    Clock,
    Delivery,
    after_attempt,
    pause_s,
)
from innkeeper.workflows.engine.signature_check import install_signer
from innkeeper.workflows.engine.signing_interceptors import SigningInterceptor
from innkeeper.workflows.signing import Signer
from tests.workflows.engine.test_signing import client_with
from tests.workflows.replaying import replay

NOW = 1_800_000_000.0


def after(answer: CallbackAnswer, attempts: int = 1, *, began: float = NOW, jitter: float = 0.0) -> Delivery:
    return after_attempt(attempts, answer, Clock(began, NOW, jitter))


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_every_2xx_is_delivered(status: int) -> None:
    assert after(CallbackAnswer(status), 2) == Delivery("delivered", 2, status, delivered_at=NOW)


@pytest.mark.parametrize("status", [100, 302, 400, 401, 404, 409, 429, 500, 503, 599])
def test_every_other_status_is_tried_again(status: int) -> None:
    found = after(CallbackAnswer(status))
    assert (found.status, found.last_status, found.next_attempt_at) == ("pending", status, NOW + 5)


def test_410_stops() -> None:
    assert after(CallbackAnswer(410)).status == "stopped"


def test_what_no_attempt_can_mend_is_given_up_at_once() -> None:
    found = after(CallbackAnswer(error="it leads to a private address", is_final=True))
    assert (found.status, found.last_error) == ("failed", "it leads to a private address")


def test_attempts_fill_a_day_and_end() -> None:
    now, attempts = 0.0, 0
    moments = []
    while True:
        attempts += 1
        moments.append(now)
        found = after_attempt(attempts, CallbackAnswer(500), Clock(0.0, now))
        if found.next_attempt_at is None:
            break
        now = found.next_attempt_at
    assert found.status == "failed"
    assert f"given up after {attempts} attempts" in str(found.last_error)
    assert 10 <= attempts <= 20
    assert GIVE_UP_AFTER_S - MAX_PAUSE_S < moments[-1] <= GIVE_UP_AFTER_S
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses == sorted(pauses)


@pytest.mark.parametrize(
    ("status", "asked", "pause"),
    [(503, 60.0, 60.0), (429, 60.0, 60.0), (503, 1.0, 5.0), (503, 1e9, 14_400.0), (500, 60.0, 5.0), (503, None, 5.0)],
)
def test_a_busy_receiver_says_how_long_within_bounds(status: int, asked: float | None, pause: float) -> None:
    assert pause_s(1, CallbackAnswer(status, retry_after_s=asked), 0.0) == pause


def test_pauses_differ_by_a_fifth_and_do_not_grow_for_ever() -> None:
    answer = CallbackAnswer(500)
    assert [pause_s(1, answer, jitter) for jitter in (-1.0, 1.0)] == [4.0, 6.0]
    assert pause_s(10_000, answer, 0.0) == MAX_PAUSE_S


def test_a_redirect_says_why_it_is_none() -> None:
    assert after(CallbackAnswer(302)).last_error == "the receiver answered 302; redirects are not followed"


# --- with a real server -------------------------------------------------------------------------------------------

CALL = CallbackCall("https://a.example", message_id="m", secret="0" * 64)


@dataclass
class Sender:
    """A worker whose activity answers as it is told to."""

    owner: Client
    stranger: Client
    queue: str = field(default_factory=lambda: f"q-{uuid.uuid4()}")
    sent: list[tuple[str, CallbackCall]] = field(default_factory=list)
    answers: list[CallbackAnswer] = field(default_factory=list)

    @activity.defn(name=SEND_CALLBACK)
    async def send_callback(self, body: str, call: CallbackCall) -> CallbackAnswer:
        self.sent.append((body, call))
        return self.answers.pop(0) if self.answers else CallbackAnswer(204)


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Signer]:
    create_signing_keys(tmp_path / SIGNING_FILE, b"s" * 32, ())
    signer = Signer(SigningKeys(tmp_path / SIGNING_FILE, b"s" * 32))
    install_signer(signer)
    yield signer
    install_signer(None)


@pytest.fixture
async def sender(temporal: Client, signer: Signer) -> AsyncIterator[Sender]:
    sender = Sender(client_with(temporal, SigningClient(signer)), temporal)
    common = {"interceptors": [SigningInterceptor()]}
    main = Worker(temporal, task_queue=sender.queue, workflows=[CallbackWorkflow], **common)  # type: ignore[arg-type]
    queue = f"{sender.queue}.{CALLBACK_QUEUE}"
    other = Worker(temporal, task_queue=queue, activities=[sender.send_callback], **common)  # type: ignore[arg-type]
    async with main, other:
        yield sender


async def test_a_message_is_sent_until_it_is_taken_and_its_memo_says_how_far_it_is(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback_workflow, "FIRST_PAUSE_S", 600.0)
    sender.answers = [CallbackAnswer(500)]
    args = [b'{"a": 1}', CALL]
    handle = await sender.owner.start_workflow(
        "CallbackWorkflow", args=args, id=str(uuid.uuid4()), task_queue=sender.queue
    )
    async with asyncio.timeout(30):
        while not (memo := await (await handle.describe()).memo()):
            await asyncio.sleep(0.05)
        assert (memo[MEMO]["status"], memo[MEMO]["last_status"]) == ("pending", 500)
        await handle.signal("send_now")
        result = await handle.result()
    assert (result["status"], result["attempts"]) == ("delivered", 2)
    assert (await (await handle.describe()).memo())[MEMO] == result
    assert sender.sent == [('{"a": 1}', CALL)] * 2
    await replay(await handle.fetch_history())


async def test_a_stranger_has_nothing_sent(sender: Sender) -> None:
    starting = {"id": str(uuid.uuid4()), "task_queue": sender.queue}
    with pytest.raises(WorkflowFailureError) as refused:
        await sender.stranger.execute_workflow("CallbackWorkflow", args=[b"{}", CALL], **starting)  # type: ignore[misc]
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "not_started_here"
    assert sender.sent == []
