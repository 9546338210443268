"""What a refused submission looks like as a run that ended."""

from __future__ import annotations

from innkeeper.gateway.errors import TooManyRuns
from innkeeper.gateway.runs.rate_limit import RateLimit
from innkeeper.gateway.runs.refusals import MAX_NODES, MAX_PROBLEMS, MAX_TOLD, Refusal, outcome_of_refusal
from innkeeper.nodes.errors import InvalidWorkflow, Problem


def test_each_node_fails_once_with_all_its_problems_and_warnings_count_for_nothing() -> None:
    problems = [
        Problem("missing_input", "a is missing", node="n", slot="a"),
        Problem("odd", "an oddity", "warning", node="w"),
        Problem("missing_input", "b is missing", node="n", slot="b"),
        Problem("cycle", "there is a cycle"),
    ]
    refusal = Refusal("r", True, outcome_of_refusal(InvalidWorkflow(problems)))
    (kind, node), (_, status) = refusal.events()
    assert (kind, node["nodeId"], node["errorDetails"]["message"]) == ("NODE_ERROR", "n", "a is missing; b is missing")
    assert status["errorInfo"]["message"] == (
        "the workflow has 3 problems: a is missing; b is missing; there is a cycle"
    )
    assert [problem["code"] for problem in status["errorInfo"]["problems"]] == ["missing_input"] * 2 + ["cycle"]


def test_thousands_of_problems_make_a_short_answer() -> None:
    problems = [Problem("bad", "m" * 5000, node=f"n{number}") for number in range(5000)]
    problems.append(Problem("bad", "long name", node="n" * 100_000))
    refusal = Refusal("r", True, outcome_of_refusal(InvalidWorkflow(problems)))
    *nodes, (_, status) = refusal.events()
    assert len(nodes) == MAX_NODES
    assert max(len(payload["errorDetails"]["message"]) for _, payload in nodes) == 2000
    assert len(status["errorInfo"]["problems"]) == MAX_PROBLEMS
    assert len(status["errorInfo"]["message"]) < 4000
    assert status["errorInfo"]["message"].endswith(f"and {5001 - MAX_TOLD} more")


def test_other_errors_are_told_as_over_http_and_faults_of_ours_without_their_text() -> None:
    assert outcome_of_refusal(TooManyRuns("too many")).error == {"message": "too many", "code": "too_many_waiting_runs"}
    fault = outcome_of_refusal(ValueError("what happened")).error
    assert fault is not None
    assert fault["code"] == "internal_error"
    assert "what happened" not in fault["message"]


def test_rate_limit_lets_a_burst_and_then_the_rate() -> None:
    now = [0.0]
    rate = RateLimit(2, 1.0, lambda: now[0])
    assert [rate.take() for _ in range(1000)] == [True, True] + [False] * 998
    now[0] = 10  # a flood is over when it is over
    assert [rate.take() for _ in range(3)] == [True, True, False]
