"""Triggers over HTTP on the real gateway."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Stack
from tests.gateway.hooking import definition, hook, store, workflow

Json = dict[str, Any]
EVENT = {"event": {"name": "orders.*"}}


async def make(http: httpx.AsyncClient, body: Json, status: int = 201) -> Json:
    answer = await http.post("/api/triggers", json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def refused(http: httpx.AsyncClient, body: Json) -> dict[str, str]:
    """Path to message of what keeps a trigger from being saved."""
    error = await make(http, body, 422)
    assert error["code"] == "invalid_trigger"
    return {problem["path"]: problem["message"] for problem in error["details"]["problems"]}


async def test_a_trigger_is_made_read_changed_and_deleted(http: httpx.AsyncClient) -> None:
    await store(http)
    answer = await http.post("/api/triggers", json=definition("crud", "event", **EVENT))
    made = answer.json()
    assert (answer.status_code, answer.headers["etag"], made["version"]) == (201, '"1"', 1)
    url = answer.headers["location"]
    assert url == f"/api/triggers/{made['id']}"
    read = await http.get(url)
    assert read.json() == made
    assert read.headers["etag"] == '"1"'
    assert made in [{**item, "warnings": []} for item in (await http.get("/api/triggers")).json()]

    changed = await http.put(url, json={**read.json(), "filter": "data.ok"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["version"], changed.headers["etag"]) == (200, 2, '"2"')
    assert (await http.get(url)).json()["filter"] == "data.ok"
    assert (await http.delete(url, headers={"If-Match": '"1"'})).status_code == 412
    assert (await http.delete(url, headers={"If-Match": '"2"'})).status_code == 204
    assert (await http.get(url)).json()["code"] == "trigger_not_found"


async def test_a_change_needs_the_version_that_was_read(http: httpx.AsyncClient) -> None:
    await store(http)
    made = await make(http, definition("conditions", "event", **EVENT))
    url, body = f"/api/triggers/{made['id']}", definition("conditions", "event", **EVENT)
    for method, more in (("PUT", {"json": body}), ("DELETE", {})):
        assert (await http.request(method, url, **more)).json()["code"] == "precondition_required"
        stale = await http.request(method, url, headers={"If-Match": '"7"'}, **more)
        assert (stale.status_code, stale.json()["code"]) == (412, "version_mismatch")
    assert (await http.put(url, json=body, headers={"If-Match": "*"})).status_code == 200
    assert (await http.put(url, json={**body, "id": "other"}, headers={"If-Match": "*"})).status_code == 400


async def test_names_are_unique_and_kinds_stay(http: httpx.AsyncClient) -> None:
    await store(http)
    made = await make(http, definition("only one", "event", **EVENT))
    assert (await make(http, definition("only one", "event", **EVENT), 409))["code"] == "name_taken"
    other = await make(http, definition("another", "event", **EVENT))
    taken = definition("only one", "event", **EVENT)
    answer = await http.put(f"/api/triggers/{other['id']}", json=taken, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")
    file = definition("only one", "file", file={"folder": "user://in"})
    answer = await http.put(f"/api/triggers/{made['id']}", json=file, headers={"If-Match": "*"})
    assert [problem["path"] for problem in answer.json()["details"]["problems"]] == ["kind"]


async def test_every_problem_is_told_with_its_place(http: httpx.AsyncClient) -> None:
    await store(http)
    body = definition("wrong", "event", filter="a ==", event={"name": ""}, mapping={"what": {}}, rate={"limit": 0})
    places = {"filter", "event.name", "mapping.what", "rate.limit", "rate.perSeconds"}
    assert places <= (await refused(http, body)).keys()
    assert "secrets" in await refused(http, {**definition("w", webhook={"scheme": "basic"}), "secrets": ["no colon"]})


async def test_the_workflow_must_be_there(http: httpx.AsyncClient) -> None:
    await store(http)
    assert "workflow.id" in await refused(http, definition("lost", "event", workflow="nobody", **EVENT))
    pinned = {**definition("pinned", "event", **EVENT), "workflow": {"id": "says", "version": 99}}
    assert "workflow.version" in await refused(http, pinned)
    elsewhere = {**definition("elsewhere", "event", **EVENT), "workflow": {"id": "says", "project": "nowhere"}}
    made = await make(http, elsewhere)  # as for runs, the default project has it
    assert made["workflow"]["project"] == "nowhere"


async def test_what_does_not_fit_the_workflow_is_a_warning(http: httpx.AsyncClient) -> None:
    await store(http)
    body = definition("odd", "event", **EVENT, mapping={"waht": {"literal": 1}}, inputs={"more": 2})
    warnings = " ".join((await make(http, {**body, "workflow": {"id": "says", "published": True}}))["warnings"])
    assert "published" in warnings
    warnings = " ".join((await make(http, {**body, "name": "odder"}))["warnings"])
    for word in ("'waht'", "'more'", "nothing gives the workflow's input 'what'"):
        assert word in warnings
    chain = {**definition("chain", "run"), "run": {"statuses": ["error"], "workflow": {"id": "nobody"}}}
    assert any("run.workflow" in warning for warning in (await make(http, chain))["warnings"])
    answer = {"mode": "wait", "outputs": ["nothing"]}
    waits = definition("waits for nothing", webhook={"scheme": "none", "answer": answer})
    assert any("no output 'nothing'" in warning for warning in (await make(http, waits))["warnings"])


async def test_a_workflow_that_goes_away_later_is_a_warning(http: httpx.AsyncClient) -> None:
    await store(http, workflow("passing"))
    made = await make(http, definition("orphan", "event", workflow="passing", **EVENT))
    await http.delete("/api/workflows/passing", headers={"If-Match": "*"})
    assert "passing" in (await http.get(f"/api/triggers/{made['id']}")).json()["warnings"][0]


async def test_secrets_are_never_shown(http: httpx.AsyncClient, shared: Stack) -> None:
    made = await hook(http, "secretive", "github", secrets=2)
    texts = [(await http.get(path)).text for path in ("/api/triggers", made.path, f"{made.path}/results")]
    texts.append((await http.get("/api/triggers", params={"kind": "webhook"})).text)
    assert made.trigger["secretCount"] == made.trigger["webhook"]["secretCount"] == 2
    for text in (str(made.trigger), *texts):
        assert "It's a Secret" not in text
        assert "another secret" not in text
    token = made.trigger["token"]
    assert token not in "".join(texts)
    store_files = b"".join(path.read_bytes() for path in shared.data.glob("gateway.db*"))
    assert token.encode() not in store_files
    assert b"It's a Secret" not in store_files


async def test_secrets_stay_unless_they_are_sent(http: httpx.AsyncClient) -> None:
    made = await hook(http, "keeps", "github", secrets=2)
    body = definition("keeps", webhook={"scheme": "github"})
    put = {"headers": {"If-Match": "*"}}
    assert (await http.put(made.path, json=body, **put)).json()["secretCount"] == 2
    assert (await made.deliver()).status_code == 202
    answer = await http.put(made.path, json={**body, "secrets": []}, **put)
    assert [problem["path"] for problem in answer.json()["details"]["problems"]] == ["enabled"]
    assert (await http.put(made.path, json={**body, "secrets": ["new one"]}, **put)).json()["secretCount"] == 1
    assert (await made.deliver(delivery="d_2")).status_code == 401


async def test_a_scheme_without_a_secret_refuses_to_be_enabled(http: httpx.AsyncClient) -> None:
    await store(http)
    body = definition("no secret", webhook={"scheme": "github", "secretCount": 1})
    assert "enabled" in await refused(http, body)
    made = await make(http, {**body, "enabled": False})
    url = f"/api/triggers/{made['id']}"
    answer = await http.post(f"{url}/enable")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_trigger")
    await http.put(url, json={**body, "enabled": False, "secrets": ["s"]}, headers={"If-Match": "*"})
    assert (await http.post(f"{url}/enable")).json()["enabled"] is True


async def test_a_trigger_is_switched_off_and_on(http: httpx.AsyncClient) -> None:
    made = await hook(http, "switched")
    off = await http.post(f"{made.path}/disable", json={"note": "holidays"})
    assert (off.json()["enabled"], off.headers["etag"]) == (False, '"2"')
    assert (await made.deliver()).json()["code"] == "trigger_disabled"
    assert (await http.post(f"{made.path}/disable")).json()["enabled"] is False
    assert (await http.post(f"{made.path}/disable", json={"note": 1})).status_code == 400
    assert (await http.post(f"{made.path}/enable")).json()["enabled"] is True
    assert (await made.deliver()).status_code == 202


async def test_a_rotated_token_makes_the_old_address_unknown(http: httpx.AsyncClient) -> None:
    made = await hook(http, "rotated")
    old = made.url
    new = (await http.post(f"{made.path}/rotate-token")).json()
    assert new["url"] == f"/hooks/{new['token']}" != old
    assert (await made.deliver()).json()["code"] == "webhook_not_found"
    made.trigger["url"] = new["url"]
    assert (await made.deliver()).status_code == 202


async def test_what_other_kinds_have_not_is_refused(http: httpx.AsyncClient) -> None:
    await store(http)
    url = f"/api/triggers/{(await make(http, definition('an event', 'event', **EVENT)))['id']}"
    assert (await http.post(f"{url}/rotate-token")).json()["code"] == "wrong_kind"
    assert (await http.get(f"{url}/preview")).json()["code"] == "wrong_kind"


async def test_a_sample_says_what_would_run_and_runs_only_when_asked(http: httpx.AsyncClient) -> None:
    made = await hook(http, "tried", filter="query.go == 'yes'")
    sample = {"payload": {"text": "hi"}, "query": {"go": "yes"}, "headers": {"X-A": "b"}}
    told = (await http.post(f"{made.path}/test", json=sample)).json()
    assert (told["outcome"], told["inputs"], told["problems"]) == ("fired", {"what": "hi"}, [])
    assert "runId" not in told
    assert await made.results() == []
    told = (await http.post(f"{made.path}/test", json={**sample, "query": {}})).json()
    assert told["outcome"] in ("refused", "filtered")
    ran = (await http.post(f"{made.path}/test", json={**sample, "run": True, "deliveryId": "t1"})).json()
    assert ran["outcome"] == "fired"
    again = (await http.post(f"{made.path}/test", json={**sample, "run": True, "deliveryId": "t1"})).json()
    assert (again["outcome"], again["runId"]) == ("duplicate", ran["runId"])
    await http.post(f"{made.path}/disable")
    told = (await http.post(f"{made.path}/test", json=sample)).json()
    assert (told["outcome"], "disabled" in told["notes"][-1]) == ("fired", True)


@pytest.mark.parametrize(
    "body",
    [
        {"deliveryId": ""},
        {"deliveryId": 1},
        {"run": "yes"},
        {"headers": []},
        {"headers": {"a": 1}},
        {"query": {"a": [1]}},
    ],
)
async def test_a_sample_that_is_none_is_refused(http: httpx.AsyncClient, body: Json) -> None:
    made = await hook(http, f"samples {body}")
    assert (await http.post(f"{made.path}/test", json=body)).status_code == 400


async def test_samples_of_other_kinds_are_what_the_mapping_sees(http: httpx.AsyncClient) -> None:
    await store(http)
    url = f"/api/triggers/{(await make(http, definition('sampled', 'event', **EVENT)))['id']}/test"
    for payload in ({"text": "hi"}, {"data": {"text": "hi"}}, {"data": {"text": "hi"}, "event": {"name": "orders.x"}}):
        told = (await http.post(url, json={"payload": payload})).json()
        assert (told["outcome"], told["inputs"]) == ("fired", {"what": "hi"})
    assert (await http.post(url, json={"payload": {}, "headers": {"a": "b"}})).status_code == 400


async def test_results_tell_each_delivery_the_newest_first(http: httpx.AsyncClient) -> None:
    made = await hook(http, "told", filter="body.text != 'no'")
    fired = (await made.deliver(delivery="a")).json()["runId"]
    await made.deliver(b'{"text": "no"}', delivery="b")
    await made.deliver(delivery="a")
    answer = (await http.get(f"{made.path}/results")).json()
    assert [result["outcome"] for result in answer["results"]] == ["duplicate", "filtered", "fired"]
    assert answer["results"][2]["runId"] == answer["results"][0]["runId"] == fired
    assert answer["counters"]["fired"] == answer["counters"]["filtered"] == 1
    assert len((await http.get(f"{made.path}/results", params={"limit": 1})).json()["results"]) == 1
    assert (await http.get(f"{made.path}/results", params={"limit": 0})).status_code == 400


async def test_bodies_that_are_no_triggers_are_refused(http: httpx.AsyncClient) -> None:
    await store(http)
    for content, status in ((b"[]", 400), (b"{", 400), (b'{"a": "' + b"x" * 600_000 + b'"}', 413)):
        assert (await http.post("/api/triggers", content=content)).status_code == status
    assert (await http.get("/api/triggers", params={"kind": "hand"})).status_code == 400


async def test_triggers_outlive_the_gateway(stack: Stack) -> None:
    async with stack.gateway(), stack.http() as http:
        made = await hook(http, "stays", "standard")
    async with stack.gateway(), stack.http() as http:
        made.http = http
        read = (await http.get(made.path)).json()
        assert (read["name"], read["secretCount"]) == ("stays", 1)
        assert (await made.deliver()).json()["status"] == "fired"


async def test_secret_of_a_callback_is_stored_and_never_told(http: httpx.AsyncClient) -> None:
    await store(http)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    callback = {"url": "https://receiver.example/runs", "secret": secret, "on": ["error"]}
    made = await make(http, definition("telling", "event", **EVENT, callback=callback))
    url = f"/api/triggers/{made['id']}"
    read = await http.get(url)
    assert secret not in read.text
    assert "$secret" in str(read.json()["callback"]["secret"])
    # What was read may be sent back.
    again = await http.put(url, json=read.json(), headers={"If-Match": "*"})
    assert again.json()["callback"] == read.json()["callback"]
    broken = {**callback, "secret": "no secret of this kind"}
    assert "callback" in str(await refused(http, definition("other", "event", **EVENT, callback=broken)))
