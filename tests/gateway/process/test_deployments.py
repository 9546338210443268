"""What is made of the server's answers about versions; with a server: tests/e2e/test_deployments.py."""

from __future__ import annotations

import pytest
from temporalio.api.deployment.v1 import WorkerDeploymentOptions
from temporalio.api.taskqueue.v1 import PollerInfo

from innkeeper.gateway.process.deployments import POLL_AGE_S, DeploymentError, checked_name, workers_of


def test_workers_are_counted_by_build_while_they_ask_for_work() -> None:
    def poller(identity: str, name: str, build: str, at: float) -> PollerInfo:
        options = WorkerDeploymentOptions(deployment_name=name, build_id=build)
        found = PollerInfo(identity=identity, deployment_options=options)
        found.last_access_time.FromSeconds(int(at))
        return found

    now = 1_000.0
    pollers = [
        poller("1@a", "inn", "new", now),
        poller("1@a", "inn", "new", now - 1),  # one process polls several times at once
        poller("2@a", "inn", "new", now),
        poller("1@b", "inn", "old", now),
        poller("2@b", "inn", "old", now - POLL_AGE_S - 1),
        poller("3@c", "other", "new", now),
        poller("4@d", "", "", now),
    ]
    assert workers_of(pollers, "inn", now) == {"new": 2, "old": 1}


@pytest.mark.parametrize("name", ["", "two words", "a'b", "a:b", "x" * 101])
def test_what_can_be_no_name_never_reaches_a_query(name: str) -> None:
    with pytest.raises(DeploymentError, match="is no name"):
        checked_name(name)
