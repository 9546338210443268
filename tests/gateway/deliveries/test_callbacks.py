"""Others are told how runs go: signed, once or more, whatever is away; on the real stack with a real receiver."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from temporalio.client import Client

from innkeeper.gateway.deliveries.callbacks import Callbacks
from innkeeper.gateway.deliveries.intake import Arrival
from innkeeper.gateway.triggers.reading import read_trigger
from innkeeper.nodes.services.webhook_signing import new_secret
from innkeeper.workflows.engine import callback_workflow
from tests.gateway.api.test_control import until_open
from tests.gateway.api.test_prompts import graph, node
from tests.gateway.asking import submit, until, until_ready
from tests.gateway.conftest import Stack
from tests.gateway.deliveries.receiver import answer, receiving
from tests.gateway.realtime.talking import hear, say, socket_to

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def up(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack whose worker may reach this machine, as its operator has allowed."""
    options = {"allowed_hosts": ("127.0.0.1",)}
    stack = Stack(temporal, tmp_path_factory.mktemp("callbacks"), worker_options=options)
    async with stack.up():
        yield stack
    stack.close()


@pytest.fixture
async def http(up: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with up.http() as client:
        yield client


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_workflow, "FIRST_PAUSE_S", 0.2)


async def told(
    http: httpx.AsyncClient, run: str, is_so: Callable[[list[Json]], bool], timeout_s: float = 30
) -> list[Json]:
    """The deliveries of a run's first callback, as soon as they are so."""
    found: list[Json] = []
    try:
        async with asyncio.timeout(timeout_s):
            while not is_so(found):
                await asyncio.sleep(0.05)
                (callback, *_) = (await http.get(f"/api/prompt/{run}")).json()["callbacks"]
                found = callback["deliveries"]
    except TimeoutError:
        raise AssertionError(found) from None
    return found


def all_are(*statuses: str) -> Callable[[list[Json]], bool]:
    return lambda found: [delivery["status"] for delivery in found] == list(statuses)


def said(callback: Json, text: str = "hi") -> Json:
    return {**graph(node("a", "Say", text=text), outputs={"out": ("a", "text")}), "callback": callback}


# --- what is told -------------------------------------------------------------------------------------------------


async def test_an_end_is_told_with_links_and_a_signature_that_the_vendors_package_believes(
    http: httpx.AsyncClient,
) -> None:
    secret = new_secret()
    async with receiving() as receiver:
        run = await submit(http, said({"url": receiver.url, "secret": secret}))
        (message,) = await receiver.until_got(1)
        (delivery,) = await told(http, run, all_are("delivered"))
    body = Webhook(secret).verify(message.body, message.headers)
    assert body == message.json
    assert (body["type"], body["data"]["runId"], body["data"]["status"]) == ("run.complete", run, "complete")
    assert body["data"]["workflowName"] == "A toy"
    links = body["data"]["links"]
    assert (await http.get(links["run"])).json()["promptId"] == run
    assert (await http.get(links["outputs"]["out"])).json() == "hi"
    assert message.headers["content-type"] == "application/json"
    assert (delivery["id"], delivery["event"], delivery["attempts"], delivery["lastStatus"]) == (
        message.id, "complete", 1, 204,
    )  # fmt: skip
    assert "deliveredAt" in delivery


async def test_without_a_secret_a_message_is_not_signed(http: httpx.AsyncClient) -> None:
    async with receiving() as receiver:
        run = await submit(http, said({"url": receiver.url}))
        (message,) = await receiver.until_got(1)
    assert "webhook-signature" not in message.headers
    assert message.headers["webhook-id"]
    assert (await http.get(f"/api/prompt/{run}")).json()["callbacks"][0]["signed"] is False


async def test_a_failure_is_told_with_its_reason(http: httpx.AsyncClient) -> None:
    async with receiving() as receiver:
        await submit(http, {**graph(node("a", "Fail")), "callback": {"url": receiver.url, "on": ["error"]}})
        (message,) = await receiver.until_got(1)
    assert message.json["type"] == "run.error"
    assert "no luck today" in message.json["data"]["error"]["message"]


async def test_only_what_was_asked_for_is_told(http: httpx.AsyncClient) -> None:
    async with receiving() as receiver:
        run = await submit(http, said({"url": receiver.url, "on": ["error", "interrupted"]}))
        await until(http, run, "complete")
        held = await submit(
            http, {**graph(node("a", "Hold")), "callback": {"url": receiver.url, "on": ["interrupted"]}}
        )
        await http.post(f"/api/interrupt/{held}")
        (message,) = await receiver.until_got(1)
        assert message.json["data"]["runId"] == held
        assert (await http.get(f"/api/prompt/{run}")).json()["callbacks"][0]["deliveries"] == []
        assert len(receiver.got) == 1


async def test_each_wait_for_somebody_is_told_once_without_what_is_to_be_approved(http: httpx.AsyncClient) -> None:
    asks = {"id": "ask", "fullType": "core:Approval", "inputs": {"data": "a private draft"}}
    waits = {"id": "bell", "fullType": "core:WaitForEvent", "configValues": {"name": "bell"}}
    pause = {"id": "nap", "fullType": "core:Delay", "configValues": {"seconds": 0.1}}
    async with receiving() as receiver:
        body = {"nodes": [asks, waits, pause], "edges": [], "callback": {"url": receiver.url, "on": ["waiting"]}}
        run = await submit(http, body)
        messages = await receiver.until_got(2)
        await told(http, run, all_are("delivered", "delivered"))
        await http.post(f"/api/prompt/{run}/approvals/ask", json={"approved": True})
        await http.post(f"/api/prompt/{run}/events", json={"name": "bell"})
        await until(http, run, "complete")
        assert len(receiver.got) == 2
    waited = {message.json["data"]["wait"]["nodeId"]: message.json for message in messages}
    assert waited.keys() == {"ask", "bell"}
    assert waited["ask"]["type"] == "run.waiting"
    assert waited["ask"]["data"]["wait"]["kind"] == "approval"
    assert waited["bell"]["data"]["wait"]["name"] == "bell"
    assert all(b"private" not in message.body for message in messages)
    approvals = (await http.get(waited["ask"]["data"]["links"]["approvals"])).json()["approvals"]
    assert [item["approvalId"] for item in approvals] == ["ask"]


async def test_a_submission_over_a_socket_names_a_callback_too(http: httpx.AsyncClient, up: Stack) -> None:
    async with receiving() as receiver, socket_to(up.ws_url) as socket:
        await say(socket, "PROMPT_REQUEST", requestId="1", **said({"url": receiver.url}))
        run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        (message,) = await receiver.until_got(1)
        assert message.json["data"]["runId"] == run
        await say(socket, "PROMPT_REQUEST", requestId="2", **said({"url": receiver.url, "when": "soon"}))
        refusal = await hear(socket, "error")
        assert [problem["code"] for problem in refusal["payload"]["problems"]] == ["invalid_callback"]


# --- who is told --------------------------------------------------------------------------------------------------


async def test_a_stored_workflow_tells_of_each_run_beside_what_the_submission_names(
    http: httpx.AsyncClient, up: Stack
) -> None:
    secret = new_secret()
    async with receiving() as its, receiving() as mine:
        document = {"id": "telling", "name": "telling", "nodes": [{"id": "a", "type": "toys:Say"}], "edges": []}
        document["callback"] = {"url": its.url, "secret": secret, "note": "kept"}
        saved = await http.post("/api/workflows", json=document)
        assert (saved.status_code, saved.json()["valid"]) == (201, True)
        shown = (await http.get("/api/workflows/telling")).json()["callback"]
        assert shown["secret"].startswith("$secret:")
        assert {**shown, "secret": secret} == document["callback"]
        run = await submit(http, {"workflowId": "telling", "callback": {"url": mine.url}})
        (signed,) = await its.until_got(1)
        (plain,) = await mine.until_got(1)
        again = await submit(http, {"baseRun": run})
        await its.until_got(2)
        preview = await submit(http, {"baseRun": run, "preview": True, "changed": ["a"]})
        await until(http, preview, "complete")
        callbacks = (await http.get(f"/api/prompt/{run}")).json()["callbacks"]
    Webhook(secret).verify(signed.body, signed.headers)
    assert plain.json["data"]["workflowId"] == "telling"
    assert [(item["source"], item["url"], item["signed"]) for item in callbacks] == [
        ("submission", mine.url, False),
        ("workflow", its.url, True),
    ]
    assert [message.json["data"]["runId"] for message in its.got] == [run, again]
    assert "callbacks" not in (await http.get(f"/api/prompt/{preview}")).json()


async def test_a_trigger_tells_of_its_runs_with_its_labels(http: httpx.AsyncClient, up: Stack) -> None:
    await http.post("/api/workflows", json={"id": "t", "name": "t", "nodes": [{"id": "a", "type": "toys:Say"}]})
    secret, user = new_secret(), up.settings.user
    async with receiving() as receiver:
        raw = {"name": "t", "kind": "event", "event": {"name": "t"}, "workflow": {"id": "t"}, "labels": {"team": "inn"}}
        raw["callback"] = {"url": f"{receiver.url}?to=me", "secret": secret}
        definition = read_trigger(await up.container.triggers.with_sealed_callback(raw, user))
        assert definition.callback is not None
        assert definition.callback.secret != secret
        trigger, _ = await up.container.triggers.create(user, definition)
        handled = await up.container.intake.take(trigger, Arrival({"data": {}}))
        (message,) = await receiver.until_got(1)
    assert message.path == "/hook?to=me"
    Webhook(secret).verify(message.body, message.headers)
    assert message.json["data"]["labels"] == {"team": "inn"}
    (callback,) = (await http.get(f"/api/prompt/{handled.run}")).json()["callbacks"]
    assert (callback["source"], callback["url"]) == ("trigger", f"{receiver.url}?***")


# --- what receivers do --------------------------------------------------------------------------------------------


async def test_a_receiver_that_fails_is_asked_again_with_the_same_id_and_a_new_signature(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback_workflow, "FIRST_PAUSE_S", 1.2)
    secret = new_secret()
    async with receiving([answer(500), answer(404)]) as receiver:
        run = await submit(http, said({"url": receiver.url, "secret": secret}))
        pending = await told(http, run, lambda found: bool(found and found[0].get("lastStatus")))
        assert (pending[0]["status"], pending[0]["lastError"]) == ("pending", "the receiver answered 500")
        assert "nextAttemptAt" in pending[0]
        messages = await receiver.until_got(3)
        (delivery,) = await told(http, run, all_are("delivered"))
    assert (delivery["attempts"], delivery["lastStatus"]) == (3, 204)
    assert "nextAttemptAt" not in delivery
    assert len({message.id for message in messages}) == 1
    assert len({message.body for message in messages}) == 1
    assert len({message.headers["webhook-signature"] for message in messages}) == 3
    for message in messages:
        Webhook(secret).verify(message.body, message.headers)


async def test_a_receiver_that_is_gone_gets_nothing_more_until_somebody_asks(http: httpx.AsyncClient) -> None:
    waits = {"id": "bell", "fullType": "core:WaitForEvent", "configValues": {"name": "bell"}}
    callback = {"on": ["waiting", "complete"]}
    async with receiving([answer(410)]) as receiver:
        body = {"nodes": [waits], "edges": [], "callback": {"url": receiver.url, **callback}}
        run = await submit(http, body)
        (first,) = await told(http, run, all_are("stopped"))
        assert (first["attempts"], first["lastStatus"]) == (1, 410)
        assert "wants no more" in first["lastError"]
        await http.post(f"/api/prompt/{run}/events", json={"name": "bell"})
        _, end = await told(http, run, all_are("stopped", "stopped"))
        assert (end["event"], end["attempts"]) == ("complete", 0)
        assert len(receiver.got) == 1
        resent = await http.post(f"/api/prompt/{run}/callbacks/0/resend", params={"event": "complete"})
        assert resent.json()["ids"] == [end["id"]]
        await told(http, run, all_are("stopped", "delivered"))
        assert [message.id for message in receiver.got] == [first["id"], end["id"]]


async def test_a_redirect_is_not_followed(http: httpx.AsyncClient) -> None:
    async with receiving() as other, receiving() as receiver:
        receiver.answers.append(answer(307, f"Location: {other.url}\r\n"))
        run = await submit(http, said({"url": receiver.url}))
        await told(http, run, all_are("delivered"))
        assert (len(receiver.got), other.got) == (2, [])


async def test_an_answer_in_a_coding_of_its_own_and_without_end_counts_by_its_status(http: httpx.AsyncClient) -> None:
    endless = b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: 1000000000\r\n\r\nxx"
    async with receiving([endless]) as receiver:
        run = await submit(http, said({"url": receiver.url}))
        (delivery,) = await told(http, run, all_are("delivered"), timeout_s=10)
    assert (delivery["attempts"], delivery["lastStatus"]) == (1, 200)


async def test_a_private_address_is_refused_with_the_reason(temporal: Client, tmp_path: Path) -> None:
    stack = Stack(temporal, tmp_path)  # nobody has allowed it
    async with receiving() as receiver, stack.up() as http:
        run = await submit(http, said({"url": receiver.url}))
        (delivery,) = await told(http, run, all_are("failed"))
        assert "leads to a loopback address" in delivery["lastError"]
        assert "INNKEEPER_NODE_ALLOWED_HOSTS" in delivery["lastError"]
        assert receiver.got == []
    stack.close()


async def test_a_message_is_given_up_in_the_end(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_workflow, "GIVE_UP_AFTER_S", 4.0)
    async with receiving() as receiver:
        receiver.otherwise = answer(503)
        run = await submit(http, said({"url": receiver.url}))
        (delivery,) = await told(http, run, all_are("failed"))
    assert delivery["attempts"] > 1
    assert delivery["lastError"] == f"the receiver answered 503; given up after {delivery['attempts']} attempts"


# --- sending anew -------------------------------------------------------------------------------------------------


async def test_what_has_ended_is_sent_anew_with_the_same_id(http: httpx.AsyncClient) -> None:
    async with receiving() as receiver:
        run = await submit(http, said({"url": receiver.url}))
        await told(http, run, all_are("delivered"))
        for count in (2, 3):
            resent = await http.post(f"/api/prompt/{run}/callbacks/0/resend")
            assert resent.json() == {"success": True, "promptId": run, "number": 0, "ids": [receiver.got[0].id]}
            await receiver.until_got(count)
            await told(http, run, all_are("delivered"))
        assert len({(message.id, message.body) for message in receiver.got}) == 1


async def test_what_waits_for_its_next_attempt_is_sent_at_once(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback_workflow, "FIRST_PAUSE_S", 600.0)
    async with receiving([answer(500)]) as receiver:
        run = await submit(http, said({"url": receiver.url}))
        await told(http, run, lambda found: bool(found and found[0].get("nextAttemptAt")))
        assert (await http.post(f"/api/prompt/{run}/callbacks/0/resend")).status_code == 200
        (delivery,) = await told(http, run, all_are("delivered"))
    assert delivery["attempts"] == 2


async def test_what_cannot_be_sent_anew_is_said(http: httpx.AsyncClient) -> None:
    run = await submit(http, said({"url": "https://example.org/hook", "on": ["waiting"]}))
    await until(http, run, "complete")
    for path, code in (
        ("nobody/callbacks/0", "run_not_found"),
        (f"{run}/callbacks/1", "callback_not_found"),
        (f"{run}/callbacks/0", "callback_not_found"),
    ):
        response = await http.post(f"/api/prompt/{path}/resend")
        assert (response.status_code, response.json()["code"]) == (404, code)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("callback", "told_of"),
    [
        ([], "must be an object, found a list"),
        ({"url": "https://a.example", "secrets": "x"}, "'url', 'secret' and 'on'; found 'secrets'"),
        ({}, "'url' of 'callback' must be an http or https URL, found null"),
        ({"url": "ftp://a.example"}, "must be an http or https URL"),
        ({"url": "https://me:canary-pw@a.example/"}, "must not hold a user name or a password"),
        ({"url": "https://a.example", "secret": "canary-pw"}, "must begin with 'whsec_'"),
        ({"url": "https://a.example", "secret": "$secret:canary-pw"}, "refers to no stored secret"),
        ({"url": "https://a.example", "secret": "$secret:" + "0" * 64}, "stored secret that is not known"),
        ({"url": "https://a.example", "on": []}, "'complete', 'error', 'interrupted', 'waiting', each once"),
        ({"url": "https://a.example", "on": ["complete", "complete"]}, "each once"),
        ({"url": "https://a.example", "on": "complete"}, "must be a list"),
    ],
)
async def test_a_submission_with_a_wrong_callback_is_refused(
    http: httpx.AsyncClient, callback: Any, told_of: str
) -> None:
    for path in ("/api/prompt", "/api/validate"):
        response = await http.post(path, json=said(callback))
        assert response.status_code == (422 if path == "/api/prompt" else 200)
        (problem,) = response.json()["problems"]
        assert problem["code"] in ("invalid_callback", "unknown_secret")
        assert told_of in problem["message"]
        assert "canary-pw" not in response.text


async def test_a_secret_of_one_host_signs_for_no_other(http: httpx.AsyncClient) -> None:
    secret = new_secret()
    document = {"id": "bound", "name": "bound", "nodes": [{"id": "a", "type": "toys:Say"}], "edges": []}
    document["callback"] = {"url": "https://a.example/hook", "secret": secret}
    await http.post("/api/workflows", json=document)
    reference = (await http.get("/api/workflows/bound")).json()["callback"]["secret"]
    for url, status in (("https://evil.example/hook", 422), ("https://a.example/other", 200)):
        response = await http.post("/api/prompt", json=said({"url": url, "secret": reference, "on": ["waiting"]}))
        assert response.status_code == status
    assert "not for evil.example:443" in (await http.post(
        "/api/prompt", json=said({"url": "https://evil.example/hook", "secret": reference})
    )).json()["problems"][0]["message"]  # fmt: skip


async def test_a_stored_workflow_whose_secret_cannot_sign_is_a_draft(http: httpx.AsyncClient) -> None:
    document = {"id": "weak", "name": "weak", "nodes": [{"id": "a", "type": "toys:Say"}], "edges": []}
    document["callback"] = {"url": "https://a.example/hook", "secret": "plain"}
    saved = (await http.post("/api/workflows", json=document)).json()
    assert saved["valid"] is False
    assert [problem["code"] for problem in saved["problems"]] == ["invalid_callback"]


# --- whatever is away ---------------------------------------------------------------------------------------------


async def test_what_was_not_told_when_the_gateway_stopped_is_told_by_the_next_one(
    temporal: Client, tmp_path: Path
) -> None:
    stack = Stack(temporal, tmp_path, worker_options={"allowed_hosts": ("127.0.0.1",)})
    gate = tmp_path / "gate"
    waits = {"id": "bell", "fullType": "core:WaitForEvent", "configValues": {"name": "bell"}}
    async with receiving() as receiver, contextlib.AsyncExitStack() as working:
        callback = {"url": receiver.url, "on": ["waiting", "complete"]}
        async with stack.gateway(), stack.http() as http:
            await working.enter_async_context(stack.worker())
            await until_ready(http)
            run = await submit(
                http, {"nodes": [node("a", "Hold", gate=str(gate)), waits], "edges": [], "callback": callback}
            )
            await receiver.until_got(1)
            await http.post(f"/api/prompt/{run}/events", json={"name": "bell"})
        gate.touch()
        await asyncio.sleep(1)
        assert len(receiver.got) == 1
        async with stack.gateway(), stack.http() as http:
            await receiver.until_got(2)
            await told(http, run, all_are("delivered", "delivered"))
        assert [message.json["type"] for message in receiver.got] == ["run.waiting", "run.complete"]
    stack.close()


async def test_a_wait_that_the_gateway_did_not_get_to_write_down_is_told_by_the_next_one(
    temporal: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(temporal, tmp_path, worker_options={"allowed_hosts": ("127.0.0.1",)})
    asks = [{"id": "ask", "fullType": "core:Approval"}, {"id": "over", "fullType": "core:Approval"}]
    waits = {"id": "bell", "fullType": "core:WaitForEvent", "configValues": {"name": "bell"}}
    async with receiving() as receiver, contextlib.AsyncExitStack() as working:
        with monkeypatch.context() as dying:
            dying.setattr(Callbacks, "observe", lambda self, events: None)
            async with stack.gateway(), stack.http() as http:
                await working.enter_async_context(stack.worker())
                await until_ready(http)
                callback = {"url": receiver.url, "on": ["waiting"]}
                run = await submit(http, {"nodes": [*asks, waits], "edges": [], "callback": callback})
                await until_open(http, run, 2)
                await http.post(f"/api/prompt/{run}/approvals/over", json={"approved": True})
                await until(http, run, "waiting")
        assert receiver.got == []
        async with stack.gateway(), stack.http() as http:
            await told(http, run, lambda found: len(found) == 3 and {one["status"] for one in found} == {"delivered"})
            await http.post(f"/api/interrupt/{run}")
            await until(http, run, "interrupted")
    assert sorted(message.json["data"]["wait"]["nodeId"] for message in receiver.got) == ["ask", "bell", "over"]
    stack.close()


async def test_secrets_stay_as_long_as_their_run(temporal: Client, tmp_path: Path) -> None:
    stack = Stack(temporal, tmp_path, {"blob_grace_s": 0.0}, worker_options={"allowed_hosts": ("127.0.0.1",)})
    secrets = tmp_path / "secrets"
    async with receiving() as receiver, stack.up() as http:
        run = await submit(http, said({"url": f"{receiver.url}?key=1", "secret": new_secret()}))
        await told(http, run, all_are("delivered"))
        await asyncio.sleep(0.1)
        await http.post("/api/gc")
        assert len(list(secrets.glob("[0-9a-f]*"))) == 2
        await http.post(f"/api/prompt/{run}/callbacks/0/resend")
        await receiver.until_got(2)
        await told(http, run, all_are("delivered"))
        assert (await http.delete(f"/api/history/{run}")).status_code == 204
        await asyncio.sleep(0.1)
        await http.post("/api/gc")
        assert list(secrets.glob("[0-9a-f]*")) == []
    stack.close()
