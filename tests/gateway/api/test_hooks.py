"""Webhooks on the real gateway: who is believed, what is read of a request, and what is kept of it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook
from temporalio.client import Client

from tests.effort import examples, try_examples
from tests.gateway.asking import until
from tests.gateway.conftest import Stack
from tests.gateway.hooking import Hook, definition, hook, store
from tests.gateway.triggers.senders import CHECKING, SIGNING, TIMED, b64

Json = dict[str, Any]
BODY = b'{"text": "hi", "id": "evt_1", "event_id": "Ev1"}'


def without(headers: Any, name: str) -> list[tuple[str, str]]:
    return [(known, value) for known, value in headers if known.lower() != name.lower()]


async def input_of(http: httpx.AsyncClient, run: str) -> Any:
    """What the run of a delivery was started with: its workflow gives its input back."""
    return (await until(http, run, "complete"))["outputs"]["line"]


# --- who is believed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [*CHECKING, "none"])
async def test_a_right_delivery_starts_one_run_with_its_input(http: httpx.AsyncClient, scheme: str) -> None:
    made = await hook(http, f"right {scheme}", scheme)
    answer = await made.deliver(BODY)
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "fired"
    assert await input_of(http, answer.json()["runId"]) == "hi"


async def test_requests_of_the_vendors_packages_are_believed(http: httpx.AsyncClient) -> None:
    now, text = datetime.now(UTC), BODY.decode()
    for scheme, package, prefix in (("standard", Webhook, "webhook"), ("svix", SvixWebhook, "svix")):
        made = await hook(http, f"package {scheme}", scheme)
        signature = package(made.secrets[0]).sign("msg_1", now, text)
        values = {"id": "msg_1", "timestamp": str(int(now.timestamp())), "signature": signature}
        answer = await made.post(BODY, [(f"{prefix}-{name}", value) for name, value in values.items()])
        assert answer.json()["status"] == "fired"
    made = await hook(http, "package slack", "slack")
    stamp = str(int(now.timestamp()))
    signature = str(SignatureVerifier(made.secrets[0]).generate_signature(timestamp=stamp, body=text))
    answer = await made.post(BODY, [("X-Slack-Signature", signature), ("X-Slack-Request-Timestamp", stamp)])
    assert answer.json()["status"] == "fired"


@pytest.mark.parametrize("scheme", SIGNING)
async def test_what_was_not_signed_is_refused_and_noted(http: httpx.AsyncClient, scheme: str) -> None:
    made = await hook(http, f"wrong {scheme}", scheme)
    right = made.signed(BODY)
    name, signature = next(pair for pair in right if "sig" in pair[0].lower() or pair[0].startswith(("X-Sum", "X-Sho")))
    wrong = {
        "tampered": (BODY + b" ", right, "bad_signature"),
        "other secret": (BODY, Hook(http, made.trigger, scheme, made.secrets[:0] + others(scheme)).signed(BODY), None),
        "no signature": (BODY, without(right, name), "malformed"),
        "doubled": (BODY, [*right, (name, signature)], "malformed"),
        "wrong encoding": (BODY, [*without(right, name), (name, f"{signature[:10]}ä{signature[11:]}")], None),
    }
    for what, (body, headers, reason) in wrong.items():
        answer = await made.post(body, [(key, value.encode("latin-1")) for key, value in headers])
        assert (answer.status_code, answer.json()["code"]) == (401, "webhook_refused"), what
        assert reason in (None, answer.json()["details"]["reason"]), what
    assert (await made.until_result("refused"))["reason"]
    assert {result["outcome"] for result in await made.results()} == {"refused"}
    assert "hi" not in str(await made.results())  # nothing is kept of what nobody vouches for


def others(scheme: str) -> tuple[str, ...]:
    if scheme in ("standard", "svix"):
        return ("whsec_" + base64.b64encode(b"x" * 32).decode(),)
    return ("some other secret",)


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize("off", [-3_600, 3_600], ids=["expired", "future"])
async def test_what_was_signed_at_another_time_is_stale(http: httpx.AsyncClient, scheme: str, off: int) -> None:
    made = await hook(http, f"stale {scheme} {off}", scheme)
    answer = await made.post(BODY, made.signed(BODY, at=time.time() + off))
    assert (answer.status_code, answer.json()["details"]["reason"]) == (401, "stale")


@pytest.mark.parametrize("scheme", [*CHECKING, "none"])
async def test_a_delivery_that_is_sent_again_is_told_of_its_first_run(http: httpx.AsyncClient, scheme: str) -> None:
    made = await hook(http, f"again {scheme}", scheme)
    headers = made.signed(BODY)
    first, again = (await made.post(BODY, headers)).json(), await made.post(BODY, headers)
    if scheme in ("basic", "none"):  # without an id each call is a new event
        assert (again.status_code, again.json()["status"]) == (202, "fired")
        assert again.json()["runId"] != first["runId"]
    else:
        assert (again.status_code, again.json()["status"]) == (200, "duplicate")
        assert again.json()["runId"] == first["runId"]


async def test_a_copy_with_another_id_is_no_new_delivery(http: httpx.AsyncClient) -> None:
    """GitHub does not sign its id, so there a copy can only be told by the id; where the time is signed it is told."""
    made = await hook(http, "copies", "slack", dedupe="none")
    body = b'{"text": "no id in here"}'
    headers = made.signed(body)
    first = (await made.post(body, headers)).json()
    copy = await made.post(body, headers)
    assert (copy.status_code, copy.json()["runId"]) == (200, first["runId"])


async def test_many_copies_at_once_start_one_run(http: httpx.AsyncClient) -> None:
    made = await hook(http, "at once", "standard")
    headers = made.signed(BODY)
    answers = await asyncio.gather(*(made.post(BODY, headers) for _ in range(20)))
    assert {answer.json()["runId"] for answer in answers} == {answers[0].json()["runId"]}
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]


async def test_both_secrets_count_while_one_replaces_the_other(http: httpx.AsyncClient) -> None:
    made = await hook(http, "two secrets", "stripe", secrets=2)
    for number in range(2):
        body = json.dumps({"text": "hi", "id": f"evt_{number}"}).encode()
        assert (await made.post(body, made.signed(body, secret=number))).status_code == 202


async def test_an_unknown_token_is_not_found_whatever_comes_with_it(http: httpx.AsyncClient) -> None:
    made = await hook(http, "known", "github")
    for token in ("x", "x" * 5_000, "%F0%9F%98%80", "%00", made.trigger["id"], made.trigger["token"][:-1]):
        for headers in ([], made.signed(BODY)):
            answer = await http.post(f"/hooks/{token}", content=BODY, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found"), token


async def test_only_post_and_put_are_taken(http: httpx.AsyncClient) -> None:
    made = await hook(http, "methods", "none")
    assert (await http.put(made.url, json={"text": "hi"})).status_code == 202
    for method in ("GET", "DELETE", "PATCH"):
        assert (await http.request(method, made.url)).status_code == 405


async def test_slack_gets_its_challenge_back_only_when_it_has_proved_who_it_is(http: httpx.AsyncClient) -> None:
    made = await hook(http, "challenge", "slack")
    body = b'{"type": "url_verification", "challenge": "c-123"}'
    assert (await made.post(body, made.signed(body))).json() == {"challenge": "c-123"}
    await http.post(f"{made.path}/disable")  # it is asked before anything is switched on
    assert (await made.post(body, made.signed(body))).json() == {"challenge": "c-123"}
    refused = await made.post(body, made.signed(b"something else"))
    assert refused.status_code == 401
    assert "c-123" not in refused.text
    assert await made.results() == [] or {item["outcome"] for item in await made.results()} == {"refused"}


# --- pages, tokens, sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "status"), [("none", 403), ("basic", 403), ("token", 202), ("standard", 202)])
async def test_a_page_elsewhere_needs_a_proof_that_no_browser_adds(
    http: httpx.AsyncClient, scheme: str, status: int
) -> None:
    made = await hook(http, f"pages {scheme}", scheme)
    page = [("Origin", "https://elsewhere.example")]
    assert (await made.post(BODY, [*made.signed(BODY), *page])).status_code == status
    assert (await http.get("/api/triggers", headers=page)).status_code == 403
    assert (await made.post(BODY, [*made.signed(BODY, "d_2"), ("Host", "elsewhere.example")])).status_code == 403


async def test_a_webhook_asks_for_no_access_token(temporal: Client, tmp_path: Any) -> None:
    stack = Stack(temporal, tmp_path, {"access_token": "of the gateway"})
    async with stack.gateway(), stack.http() as stranger:
        async with stack.http(headers={"Authorization": "Bearer of the gateway"}) as http:
            made = await hook(http, "open", "github")
        made.http = stranger
        assert (await made.deliver()).status_code == 202
        assert (await stranger.post("/hooks/unknown", content=b"")).status_code == 404
        for path in ("/api/triggers", made.path, "/hooks", "/hooksome"):
            assert (await stranger.get(path)).status_code == 401
    stack.close()


async def test_a_body_over_five_megabytes_is_refused(http: httpx.AsyncClient) -> None:
    made = await hook(http, "large", "github", mapping={"what": {"body": True}})

    async def pieces() -> Any:
        for _ in range(51):
            yield b"x" * 100_000

    for content in (b"x" * 5_000_001, pieces()):
        answer = await http.post(made.url, content=content)
        assert (answer.status_code, answer.json()["details"]["limit"]) == (413, 5_000_000)
    text = b"y" * 5_000_000
    answer = await http.post(made.url, content=text, headers=[("Content-Type", "text/plain"), *made.signed(text)])
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("content", "content_type", "more", "status"),
    [
        (b"{", "application/json", [], 400),
        (b"[" * 200 + b"]" * 200, "application/json", [], 400),
        (b"a=1&" * 2_000, "application/x-www-form-urlencoded", [], 413),
        (b"--b", "multipart/form-data; boundary=b", [], 400),
        (b"x", "multipart/form-data", [], 400),
        (b"\x1f\x8b", "application/json", [("Content-Encoding", "gzip")], 415),
    ],
)
async def test_a_genuine_body_that_cannot_be_read_is_refused(
    http: httpx.AsyncClient, content: bytes, content_type: str, more: Any, status: int
) -> None:
    made = await hook(http, f"unreadable {content_type} {len(content)} {more}", "github")
    headers = [("Content-Type", content_type), *more]
    answer = await http.post(made.url, content=content, headers=[*headers, *made.signed(content)])
    assert answer.status_code == status, answer.text
    assert (await made.until_result("refused"))["reason"]
    # Who proves nothing does not even learn that it cannot be read.
    assert (await http.post(made.url, content=content, headers=headers)).status_code == 401


# --- what the mapping sees ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "content_type", "expression", "expected"),
    [
        (b'{"a": [1, {"b": "x"}]}', "application/json", "body.a[1].b", "x"),
        (b"a=1&a=2&b%5B%5D=3", "application/x-www-form-urlencoded", "join(' ', [body.a[1], body.b[0]])", "2 3"),
        (b'payload={"user": {"id": "U1"}}', "application/x-www-form-urlencoded", "body.payload.user.id", "U1"),
        ("grüße".encode(), "text/plain", "body", "grüße"),
        (b"<a/>", "application/xml", "body", "<a/>"),
        (b"{}", "application/json", 'headers."x-kind"', "big"),
        (b"{}", "application/json", "join(' ', query.tag)", "one two"),
    ],
)
async def test_body_headers_and_query_reach_the_mapping(
    http: httpx.AsyncClient, content: bytes, content_type: str, expression: str, expected: str
) -> None:
    mapping = {"what": {"expression": expression}}
    made = await hook(http, f"maps {expression} {len(content)}", "github", mapping=mapping)
    headers = [("Content-Type", content_type), ("X-Kind", "big"), *made.signed(content)]
    answer = await http.post(f"{made.url}?tag=one&tag=two", content=content, headers=headers)
    assert await input_of(http, answer.json()["runId"]) == expected


async def test_the_proof_reaches_neither_the_run_nor_the_results(http: httpx.AsyncClient) -> None:
    made = await hook(http, "hidden", "token", mapping={"what": {"expression": "to_string(headers)"}})
    answer = await made.deliver()
    assert "accept" in str(await input_of(http, answer.json()["runId"]))
    assert "It's a Secret" not in str(await input_of(http, answer.json()["runId"]))
    assert "It's a Secret" not in str(await made.results())


# --- files ----------------------------------------------------------------------------------------------------------


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


async def test_a_binary_body_is_a_file_that_a_run_can_read(http: httpx.AsyncClient) -> None:
    mapping = {"what": {"expression": "to_string(files[0])"}}
    made = await hook(http, "binary", "github", mapping=mapping)
    headers = [("Content-Type", "image/png"), *made.signed(PNG)]
    answer = await http.post(made.url, content=PNG, headers=headers)
    file = json.loads(await input_of(http, answer.json()["runId"]))
    assert (file["mime"], file["size"], file["filename"], file["field"]) == ("image/png", len(PNG), None, "")
    assert file["dataUri"] == "data:image/png;base64," + b64(PNG)
    assert file["path"].startswith(f"user://webhooks/{made.trigger['id']}/")
    assert file["path"].endswith(".png")
    stored = await http.get(f"/api/files/user/{file['path'].removeprefix('user://')}")
    assert stored.content == PNG


async def test_files_of_a_form_are_kept_beside_its_fields(http: httpx.AsyncClient) -> None:
    mapping = {"what": {"expression": "to_string({who: body.who, files: files[*].[field, filename, size, path]})"}}
    made = await hook(http, "form files", "none", mapping=mapping)
    files = [("a", ("../../etc/passwd", b"one", "text/plain")), ("b", ("b.bin", b"two", "no type"))]
    answer = await http.post(made.url, data={"who": "ada"}, files=files)
    found = json.loads(await input_of(http, answer.json()["runId"]))
    assert found["who"] == "ada"
    assert [file[:3] for file in found["files"]] == [["a", "../../etc/passwd", 3], ["b", "b.bin", 3]]
    for file, content in zip(found["files"], (b"one", b"two"), strict=True):
        assert "passwd" not in file[3]
        assert (await http.get(f"/api/files/user/{file[3].removeprefix('user://')}")).content == content


async def test_files_are_bounded_and_those_of_filtered_deliveries_are_not_kept(http: httpx.AsyncClient) -> None:
    made = await hook(http, "many files", "none", filter="body.who == 'ada'")
    many = [("f", (f"{number}.txt", b"x", "text/plain")) for number in range(21)]
    assert (await http.post(made.url, files=many)).status_code == 413
    answer = await http.post(made.url, data={"who": "bob"}, files=many[:1])
    assert answer.json()["status"] == "filtered"
    listed = (await http.get(f"/api/files/user/webhooks/{made.trigger['id']}/")).json()
    assert listed == []


# --- whatever comes -------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        *("content-type", "content-encoding", "x-hub-signature-256", "x-github-delivery", "stripe-signature"),
        *("webhook-id", "webhook-signature", "webhook-timestamp", "authorization", "origin", "x-other", "cookie"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *(b"application/json", b"multipart/form-data; boundary=b", b"text/plain; charset=utf-7", b"image/png"),
            *(b"application/x-www-form-urlencoded", b"gzip", b"v1,a,b", b"v1,YWJj  v1,", b"t=1,v1=00", b"sha256=00"),
        ]
    ),
    st.binary(max_size=40).map(lambda data: bytes(byte for byte in data if byte >= 32 and byte != 127).strip()),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(st.none() | st.text(max_size=8) | st.integers(), lambda inner: st.lists(inner, max_size=3)).map(
        lambda value: json.dumps({"text": value}).encode()
    ),
)


@pytest.mark.parametrize("scheme", ["none", "standard", "stripe", "basic"])
async def test_no_request_is_answered_with_a_fault_of_ours(http: httpx.AsyncClient, scheme: str, shared: Stack) -> None:
    made = await hook(http, f"fuzzed {scheme}", scheme, filter="headers.\"x-other\" == 'never'")

    @examples(200)
    @given(st.lists(st.tuples(NAMES, VALUES), max_size=6), BODIES, st.booleans(), st.binary(max_size=20))
    def check(headers: list[tuple[str, bytes]], body: bytes, is_signed: bool, query: bytes) -> None:
        proof = made.signed(body) if is_signed else []
        raw = [*((name.encode(), value) for name, value in headers), *((n.encode(), v.encode()) for n, v in proof)]
        url = httpx.URL(shared.url + made.url).copy_with(query=query.hex().encode())
        with httpx.Client(trust_env=False) as client:
            answer = client.post(url, content=body, headers=raw)
        assert answer.status_code < 500, answer.text

    await try_examples(check)


# --- the public vectors ---------------------------------------------------------------------------------------------


async def test_the_vector_of_github_starts_a_run(http: httpx.AsyncClient) -> None:
    await store(http)
    body = definition("vector", webhook={"scheme": "github"}, mapping={"what": {"body": True}})
    made = (await http.post("/api/triggers", json={**body, "secrets": ["It's a Secret to Everybody"]})).json()
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"X-Hub-Signature-256": signature, "Content-Type": "text/plain"}
    answer = await http.post(made["url"], content=b"Hello, World!", headers=headers)
    assert await input_of(http, answer.json()["runId"]) == "Hello, World!"


async def test_the_old_vectors_are_genuine_and_stale(http: httpx.AsyncClient) -> None:
    """Their signatures fit, as a wrong one would be told, and they are from years ago."""
    await store(http)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = definition("old vector", webhook={"scheme": "standard"})
    made = (await http.post("/api/triggers", json={**body, "secrets": [secret]})).json()
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    answer = await http.post(made["url"], content=b'{"test": 2432232314}', headers=headers)
    assert answer.json()["details"]["reason"] == "stale"
