"""The files of deploy/ are ones that their programs take, and agree with the code and with each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from deploy import check
from innkeeper.activities.serverless_worker import CLOSING_S
from innkeeper.activities.settings import WorkerSettings
from innkeeper.gateway.process.temporal_server import DYNAMIC_CONFIG
from innkeeper.gateway.settings import Settings
from innkeeper.nodes.call import SERVERLESS_ATTEMPT_S, SERVERLESS_QUEUE
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.process.variables import KNOWN_VARIABLES
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import parse_document
from innkeeper.workflows.engine.engine_activities import HEARTBEAT_TIMEOUT
from tests.docs.pages import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPOSE = DEPLOY / "compose"
# Of the compose files themselves, not of Innkeeper.
OWN_VARIABLES = {"INNKEEPER_TAG", "INNKEEPER_VERSION", "INNKEEPER_WORKERS", "INNKEEPER_MEMORY"}
VERSIONING = {"INNKEEPER_DEPLOYMENT", "INNKEEPER_BUILD_ID"}
SLOW = {"aws-lambda/template.yaml"}
QUICK = [one for one in check.checks() if not one.is_slow and one.name not in SLOW]
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.suffix not in (".pyc", ".json")]


@pytest.mark.parametrize("one", QUICK, ids=lambda one: one.name)
def test_the_program_that_reads_it_takes_it(one: check.Check) -> None:
    try:
        found = one.run()
    except check.NotRun as reason:
        pytest.skip(str(reason))
    assert found == ""


def test_the_checks_notice_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text("services: {one: {image: x, dependson: [two]}}\n")
    try:
        compose, hadolint = check.program("docker-compose"), check.program("hadolint")
    except check.NotRun as reason:
        pytest.skip(str(reason))
    assert "dependson" in check.complaints(compose, "-f", wrong, "config", "--quiet")
    wrong.write_text("FROM debian\nRUN apt-get install x\n")
    assert "DL3015" in check.complaints(hadolint, wrong)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_every_setting_that_is_named_is_known(file: Path) -> None:
    named = set(re.findall(r"INNKEEPER_[A-Z_]*[A-Z]", file.read_text()))
    assert named - KNOWN_VARIABLES - OWN_VARIABLES - VERSIONING == set()


def scaled_object() -> dict[str, Any]:
    item: dict[str, Any] = yaml.safe_load((KUBERNETES / "workers" / "scaling.yaml").read_text())
    return item


def test_scaling_keeps_to_our_rules_for_it() -> None:
    schema = json.loads((KUBERNETES / "scaled-object.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(scaled_object())] == []
    to_zero = scaled_object()
    to_zero["spec"]["minReplicaCount"] = 0
    assert not validator.is_valid(to_zero)
    workflows_only = scaled_object()
    del workflows_only["spec"]["triggers"][0]["metadata"]["queueTypes"]
    assert not validator.is_valid(workflows_only)


def test_dockerfiles_get_what_they_copy() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in allowed)
    packages = {f"../../{path.name}" for path in ROOT.iterdir() if f"!{path.name}" in _ignored() and path.is_dir()}
    links = {str(link.readlink()) for link in (ROOT / "src" / "innkeeper").iterdir() if link.is_symlink()}
    assert links <= packages
    for file in DEPLOY.rglob("Dockerfile"):
        copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", file.read_text(), re.MULTILINE)
        assert {name for line in copied for name in line.split()} - {"."} <= allowed


def _ignored() -> list[str]:
    return (ROOT / ".dockerignore").read_text().splitlines()


def test_temporal_beside_is_told_what_the_embedded_one_is() -> None:
    told = yaml.safe_load((COMPOSE / "temporal.yaml").read_text())
    values = {key: str(value) for key, [constrained] in told.items() for value in constrained.values()}
    assert values == {key: value.strip('"') for key, value in DYNAMIC_CONFIG.items()}


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_workers_get_the_time_that_they_take_to_stop() -> None:
    services = yaml.safe_load((COMPOSE / "compose.scaled.yaml").read_text())["services"]
    worker = services["worker"]
    assert seconds(worker["stop_grace_period"]) > float(worker["environment"]["INNKEEPER_STOP_GRACE_S"])
    assert seconds(services["gateway"]["stop_grace_period"]) > 30  # INNKEEPER_FLUSH_TIMEOUT_S
    pod = yaml.safe_load((KUBERNETES / "workers" / "worker.yaml").read_text())["spec"]["template"]["spec"]
    variables = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    grace_s = float(variables["INNKEEPER_STOP_GRACE_S"])
    assert pod["terminationGracePeriodSeconds"] > grace_s > HEARTBEAT_TIMEOUT.total_seconds()


def rendered(overlay: str) -> list[dict[str, Any]]:
    try:
        return list(yaml.safe_load_all(check.manifests(KUBERNETES / "overlays" / overlay)))
    except check.NotRun as reason:
        pytest.skip(str(reason))


def pods(items: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for item in items:
        if "template" in item.get("spec", {}):
            yield item, item["spec"]["template"]


@pytest.mark.parametrize("overlay", ["small", "large"])
def test_selectors_find_the_pods_that_they_mean(overlay: str) -> None:
    """Also what the API server alone would notice, and what nobody would: a policy that fits no pod."""
    items = rendered(overlay)
    labels = [template["metadata"]["labels"] for _, template in pods(items)]
    for item in items:
        selector = item["spec"].get("selector") or item["spec"].get("podSelector") if "spec" in item else None
        if selector and item["kind"] != "PersistentVolumeClaim":
            wanted = selector.get("matchLabels", selector).items()
            assert any(wanted <= found.items() for found in labels), f"{item['kind']} {item['metadata']['name']}"
    for item, template in pods(items):
        wanted = item["spec"].get("selector", {}).get("matchLabels", {})
        assert wanted.items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("overlay", ["small", "large"])
def test_pods_run_locked_down_and_name_secrets_by_reference(overlay: str) -> None:
    for item, template in pods(rendered(overlay)):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False, item["metadata"]["name"]
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            for variable in container["env"]:
                is_secret = re.search(r"TOKEN|_KEY$", variable["name"])
                assert not is_secret or "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_scaler_of_a_build_follows_that_build() -> None:
    items = rendered("large")
    (deployment,) = [item for item in items if item["kind"] == "Deployment"]
    (scaler,) = [item for item in items if item["kind"] == "ScaledObject"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item.get("value") for item in container["env"]}
    for trigger in scaler["spec"]["triggers"]:
        assert trigger["metadata"]["workerDeploymentName"] == variables["INNKEEPER_DEPLOYMENT"]
        assert trigger["metadata"]["workerDeploymentBuildId"] == variables["INNKEEPER_BUILD_ID"]
    assert "replicas" not in deployment["spec"]


PAGES = sorted(DEPLOY.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DEPLOY)))
def test_pages_have_short_lines_and_links_that_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_example_of_the_page_is_one_that_the_compiler_takes() -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```$", (DEPLOY / "serverless" / "README.md").read_text(), re.M | re.S)
    node = {**json.loads(example), "inputs": {"method": "GET", "url": "http://example.org"}}
    compiled = compile_document(parse_document({"nodes": [node]}), load_catalogue(()), secret_id=lambda value: value)
    assert compiled.plan.nodes[0].queue == SERVERLESS_QUEUE


def test_function_has_time_for_an_attempt_after_it_has_taken_it() -> None:
    text = (DEPLOY / "serverless" / "aws-lambda" / "template.yaml").read_text()
    (timeout,) = re.findall(r"Type: AWS::Serverless::Function\n.*?PackageType: Image.*?Timeout: (\d+)", text, re.S)
    assert int(timeout) > 2 * SERVERLESS_ATTEMPT_S + CLOSING_S


def image_variables() -> dict[str, str]:
    """What the Dockerfile sets of ours."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    return dict(re.findall(r"(INNKEEPER_\w+)=(\S+)", text[text.index("ENV PATH") :]))


def containers() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Name, command and variables of each container that runs our image."""
    for file in sorted(COMPOSE.glob("compose*.yaml")):
        for name, service in yaml.safe_load(file.read_text())["services"].items():
            if str(service["image"]).startswith("innkeeper:"):
                yield f"{file.name} {name}", service["command"], service["environment"]
    for file in sorted(KUBERNETES.rglob("*.yaml")):
        for item in yaml.safe_load_all(file.read_text()):
            for container in (item or {}).get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
                variables = {
                    one["name"]: one.get("value", "from-a-secret-of-enough-characters") for one in container["env"]
                }
                yield file.name, container["args"], variables


@pytest.mark.parametrize(("name", "command", "variables"), list(containers()), ids=lambda value: str(value)[:40])
def test_containers_start_with_the_settings_that_they_get(
    name: str, command: list[str], variables: dict[str, str]
) -> None:
    filled = {key: re.sub(r"\$\{\w+:\?.*\}", "x" * 32, str(value)) for key, value in variables.items()}
    filled = {key: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value) for key, value in filled.items()}
    settings = WorkerSettings if command[0] == "worker" else Settings
    settings.load(image_variables() | filled)  # a command that talks to Temporal reads those of a gateway
