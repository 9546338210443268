"""Reruns over HTTP: answers, idempotency, what is refused and why, and what the store keeps."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from innkeeper.gateway.cli.run_command import takeover_words
from innkeeper.gateway.runs.outcome import RunOutcome, announced
from innkeeper.gateway.runs.reruns import missing_types
from innkeeper.gateway.store.engine import open_engine, sqlite_url
from innkeeper.workflows.plan import NodeId, PlannedNode, RunPlan
from tests.gateway.api.test_prompts import Json, edge, graph, node, run
from tests.gateway.asking import until_ready
from tests.gateway.conftest import Stack


def pair(text: str = "ab", times: int = 1) -> Json:
    return graph(
        node("a", "Say", text=text), node("b", "Shout", times=times), edge("a", "b"), outputs={"out": ("b", "text")}
    )


async def post(http: httpx.AsyncClient, body: Json, **headers: str) -> httpx.Response:
    return await http.post("/api/prompt", json=body, headers=headers)


async def test_answer_tells_what_is_taken_over_and_status_keeps_it(http: httpx.AsyncClient) -> None:
    base = (await run(http, pair()))["promptId"]
    answer = (await post(http, {**pair(times=2), "baseRun": base})).json()
    assert {key: answer[key] for key in ("baseRun", "reused", "runs", "counts")} == {
        "baseRun": base, "reused": ["a"], "runs": ["b"], "counts": {"reused": 1, "runs": 1}
    }  # fmt: skip
    status = await run(http, {**pair(times=2), "baseRun": base})
    assert (status["status"], status["outputs"], status["baseRun"]) == ("complete", {"out": "ABAB"}, base)
    assert status["nodeStatus"]["a"]["reused"] is True
    assert "differs" not in status
    plain = (await http.get(f"/api/prompt/{base}")).json()
    assert "baseRun" not in plain
    assert "isPreview" not in plain


async def test_same_key_gives_the_same_rerun_and_another_wish_is_refused(http: httpx.AsyncClient) -> None:
    base = (await run(http, pair()))["promptId"]
    body = {"baseRun": base, "fromNode": "b"}
    first = (await post(http, body, **{"Idempotency-Key": "rerun-1"})).json()
    assert (await post(http, body, **{"Idempotency-Key": "rerun-1"})).json() == first
    assert first["runs"] == ["b"]
    other = await post(http, {"baseRun": base, "fromNode": "a"}, **{"Idempotency-Key": "rerun-1"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


@pytest.mark.parametrize(
    ("asked", "status", "code", "says"),
    [
        ({"baseRun": "nobody"}, 404, "run_not_found", "to start from"),
        ({"baseRun": 7}, 400, "bad_request", "'baseRun' must be the id"),
        ({"fromNode": "a"}, 400, "bad_request", "'fromNode' needs 'baseRun'"),
        ({"targets": {"a": 1}}, 400, "bad_request", "list of such ids"),
        ({"targets": ["a", "zz"]}, 422, "invalid_workflow", "it has 'a', 'b', 'out'"),
        ({"preview": True}, 400, "bad_request", "needs 'baseRun'"),
        ({"noCache": "yes"}, 400, "bad_request", "true or false"),
        ({"changed": "a"}, 400, "bad_request", "is for previews"),
    ],
)
async def test_wish_that_cannot_be_is_refused(
    http: httpx.AsyncClient, asked: Json, status: int, code: str, says: str
) -> None:
    answer = await post(http, {**pair(), **asked})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert says in answer.json()["error"]


async def test_unknown_from_node_of_a_base_names_what_exists(http: httpx.AsyncClient) -> None:
    base = (await run(http, pair()))["promptId"]
    answer = await post(http, {"baseRun": base, "fromNode": "zz"})
    assert answer.status_code == 422
    assert [problem["code"] for problem in answer.json()["problems"]] == ["unknown_node"]
    preview = await post(http, {"baseRun": base, "preview": True, "changed": "a", "targets": "b"})
    assert preview.status_code == 400


async def test_secret_of_the_base_stays_a_reference(http: httpx.AsyncClient, shared: Stack) -> None:
    slot = {"key": "key", "dataFlowType": "STRING", "config": {"default": "sk-hidden-1"}}
    keyed = {**graph(node("in", "x"), node("k", "KeyLength"), edge("in", "k", "key", "api_key")),
             "interfaceInputs": {"key": slot}}  # fmt: skip
    keyed["nodes"][0]["fullType"] = "core:GroupInput"
    base = await run(http, keyed)
    assert base["nodeStatus"]["k"]["output"] == {"length": 11}
    again = await run(http, {"baseRun": base["promptId"], "fromNode": "k"})
    assert again["nodeStatus"]["k"]["output"] == {"length": 11}
    other = await run(http, {"baseRun": base["promptId"], "inputs": {"key": "sk-hidden-22"}})
    assert other["nodeStatus"]["k"]["output"] == {"length": 12}
    for file in shared.data.rglob("*"):
        if file.is_file():
            assert b"sk-hidden-2" not in file.read_bytes(), file


async def test_value_that_has_gone_is_computed_again(http: httpx.AsyncClient, shared: Stack) -> None:
    base = await run(http, pair(text="gone", times=3000))
    blob = base["outputs"]["out"]["$blob"]
    (shared.data / "blobs" / blob[:2] / blob).unlink()
    again = await run(http, {"baseRun": base["promptId"]})
    assert (again["reused"], again["runs"]) == (["a"], ["b"])
    assert (await http.get(again["outputs"]["out"]["url"])).json() == "GONE" * 3000


async def test_run_without_a_kept_plan_is_no_base(http: httpx.AsyncClient, shared: Stack) -> None:
    base = (await run(http, pair()))["promptId"]
    engine = open_engine(sqlite_url(shared.data / "gateway.db"))
    forget_plan = text("UPDATE runs SET plan_hash = NULL WHERE id = :id").bindparams(id=base)
    await engine.write(lambda connection: connection.execute(forget_plan))
    await engine.dispose()
    answer = await post(http, {"baseRun": base})
    assert (answer.status_code, answer.json()["code"]) == (409, "base_unusable")
    assert "run the workflow anew" in answer.json()["error"]


async def test_rerun_waits_in_the_queue_and_begins_after_a_restart(stack: Stack) -> None:
    stack.settings = stack.settings.changed(max_concurrent_runs=1)
    async with stack.worker():
        async with stack.gateway(), stack.http() as http:
            await until_ready(http)
            base = (await run(http, pair()))["promptId"]
            holder = (await post(http, graph(node("h", "Hold", seconds=30)))).json()["promptId"]
            waiting = (await post(http, {"baseRun": base, "fromNode": "b"})).json()
            assert waiting["reused"] == ["a"]
        async with stack.gateway(), stack.http() as http:
            await until_ready(http)
            await http.delete(f"/api/interrupt/{holder}")
            async with asyncio.timeout(30):
                while (status := (await http.get(f"/api/prompt/{waiting['promptId']}")).json())["status"] != "complete":
                    await asyncio.sleep(0.05)
    assert status["nodeStatus"]["a"]["reused"] is True
    assert status["outputs"] == {"out": "AB"}


def test_what_a_rerun_would_run_of_a_disabled_plugin_is_a_problem_also_inside_groups() -> None:
    inner = {"nodes": [{"type": "off:A"}, {"type": "core:B"}]}
    bypassed = {"nodes": [{"type": "off:A", "bypass": {}}, {"type": "core:Group", "group": "inner"}]}
    nodes = (
        PlannedNode(NodeId("a"), "off:A"),
        PlannedNode(NodeId("b"), "core:B"),
        PlannedNode(NodeId("g"), "core:Group", group="bypassed"),
    )
    plan = RunPlan(nodes=nodes, groups={"inner": inner, "bypassed": bypassed})

    def absence(kind: str) -> str | None:
        return "it is disabled" if kind.startswith("off:") else None

    problems = missing_types(plan, ["b", "g"], absence)
    assert [(problem.node, problem.code) for problem in problems] == [("g", "unknown_node_type")]
    assert "'off:A', which is not there: it is disabled" in problems[0].message
    assert missing_types(plan, ["b"], absence) == []


def test_stream_of_another_run_is_announced_whole() -> None:
    interface = {"k": {"node": "s", "slot": "out", "stream": True, "streamed": True}}
    value = {"text": "abc", "chunks": 3}
    outcome = RunOutcome("complete", {"k": value}, {"s": {"status": "complete", "reused": True}})
    assert announced(interface, {"k": value}, outcome.nodes) == {"k": value}
    assert announced(interface, {"k": value}, {})["k"]["type"] == "stream_placeholder"


def test_what_is_taken_over_in_words() -> None:
    words = takeover_words({"reused": ["a", "b"], "runs": [], "leftOut": ["x"]})
    assert words == "taken over: a, b; left out: x; to run: nothing"


async def test_command_reruns_and_says_what_is_taken_over(
    http: httpx.AsyncClient, shared: Stack, tmp_path: Path
) -> None:
    base = (await run(http, pair()))["promptId"]
    code, shown, notes = await cli("rerun", base, "--from", "b", "--url", shared.url)
    assert (code, "taken over: a; to run: b" in notes) == (0, True), notes
    assert "a: complete  reused" in notes
    assert shown == "AB\n"
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(pair(times=2)))
    code, shown, notes = await cli("rerun", base, str(file), "--json", "--url", shared.url)
    assert (code, '"ABAB"' in shown) == (0, True)


async def cli(*words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "innkeeper.gateway.cli.commands", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
