"""Which runs a new socket hears of."""

from __future__ import annotations

from innkeeper.gateway.runs.socket_runs import ENDED_S, MAX_RUNS, SocketRuns


def ended(run: str, status: str = "complete") -> list[dict[str, object]]:
    return [{"type": "EXECUTION_STATUS_UPDATE", "payload": {"promptId": run, "status": status}}]


def test_newest_open_runs_of_the_user_and_those_that_have_just_ended() -> None:
    now = [0.0]
    runs = SocketRuns(lambda: now[0])
    for number in range(MAX_RUNS + 5):
        runs.add(f"r{number}", "me")
    runs.add("hers", "another")
    newest = [f"r{number}" for number in range(MAX_RUNS + 4, 4, -1)]
    assert runs.newest("me") == newest
    runs.observe(ended("r24", "paused"))
    runs.observe(ended("of HTTP"))
    assert runs.newest("me") == newest
    runs.observe(ended("r24"))
    runs.observe(ended("hers"))
    assert runs.newest("me") == ["r24", *newest[1:], "r4"]
    now[0] = ENDED_S + 1
    assert runs.newest("me") == [*newest[1:], "r4"]
    assert runs.newest("another") == []


def test_ended_runs_are_bounded() -> None:
    runs = SocketRuns(lambda: 0.0)
    for number in range(100):
        runs.add(str(number), "me")
        runs.observe(ended(str(number), "error"))
    assert runs.newest("me") == [str(number) for number in range(80, 100)]
