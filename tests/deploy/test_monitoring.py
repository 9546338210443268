"""Every metric that an alert or a graph names is one that a gateway gives."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import yaml
from temporalio.client import Client

from deploy.monitoring import make_dashboard
from tests.docs.pages import ROOT
from tests.gateway.conftest import Stack

MONITORING = ROOT / "deploy" / "monitoring"
METRIC = re.compile(r"\b(?:innkeeper|process)_[a-z_]+")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total", ""), "gauge": ("",)}


def expressions() -> dict[str, str]:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    found = {rule["alert"]: rule["expr"] for rule in rules}
    for panel in make_dashboard.dashboard()["panels"]:
        found |= {f"{panel['title']} {at['refId']}": at["expr"] for at in panel.get("targets", ())}
    return found


async def given(url: str) -> set[str]:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        text = (await http.get("/metrics")).text
    kinds = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    return {f"{name}{suffix}" for name, kind in kinds for suffix in SUFFIXES[kind]}


async def test_alerts_and_graphs_name_metrics_that_there_are(temporal: Client, tmp_path: Path) -> None:
    stack = Stack(temporal, tmp_path)
    async with stack.gateway():
        there = await given(stack.url)
    named = {name: set(METRIC.findall(expression)) for name, expression in expressions().items()}
    assert {name: missing for name, found in named.items() if (missing := found - there)} == {}
    assert sum(map(len, named.values())) > 30


def test_alerts_say_what_to_do() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules if {"summary", "action"} - rule["annotations"].keys()] == []


def test_dashboard_is_the_one_that_its_source_makes() -> None:
    assert make_dashboard.FILE.read_text() == make_dashboard.text()
