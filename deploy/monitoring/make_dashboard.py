"""Writes dashboard.json, the Grafana dashboard, from the rows below: `python deploy/monitoring/make_dashboard.py`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("dashboard.json")
RATE = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """One graph: its title, its unit as Grafana names it, and a query for each legend."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


def quantile(share: float, metric: str, by: str = "le") -> str:
    return f'histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket{{instance=~"$instance"}}[{RATE}])))'


def gauge(name: str) -> str:
    return f'sum(innkeeper_{name}{{instance=~"$instance"}})'


def rate(name: str, by: str = "") -> str:
    return f'sum{f" by ({by})" if by else ""} (rate(innkeeper_{name}{{instance=~"$instance"}}[{RATE}]))'


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Is it well?",
        tuple(
            Panel(title, "short", ((title, f'min(innkeeper_{name}{{instance=~"$instance"}})'),), "stat")
            for title, name in (
                ("Temporal answers", "temporal_reachable"),
                ("Event log writes", "event_log_healthy"),
                ("Workers", "workers_connected"),
                ("Clients", "clients_connected"),
            )
        ),
    ),
    (
        "Runs",
        (
            Panel(
                "Runs now",
                "short",
                (("running", gauge("runs_running")), ("queued", gauge("runs_queued")), ("waiting", gauge("runs_idle"))),
            ),
            Panel("Runs closed a second", "ops", (("{{status}}", rate("runs_closed_total", "status")),)),
            Panel(
                "From submission to the first node",
                "s",
                (
                    ("half", quantile(0.5, "innkeeper_run_first_event_seconds")),
                    ("95 %", quantile(0.95, "innkeeper_run_first_event_seconds")),
                    ("95 % until Temporal took it", quantile(0.95, "innkeeper_run_queue_seconds")),
                ),
            ),
        ),
    ),
    (
        "Nodes",
        (
            Panel("Nodes a second", "ops", (("{{type}}", rate("node_duration_seconds_count", "type")),)),
            Panel(
                "95 % of a node's time",
                "s",
                (("{{type}}", quantile(0.95, "innkeeper_node_duration_seconds", "le, type")),),
            ),
        ),
    ),
    (
        "Events",
        (
            Panel(
                "Events a second",
                "ops",
                (("written", rate("log_events_total")), ("sent to clients", rate("frames_sent_total"))),
            ),
            Panel(
                "Commit, and lag of chunks",
                "s",
                (
                    ("99 % of commits", quantile(0.99, "innkeeper_log_commit_seconds")),
                    ("95 % of chunks", quantile(0.95, "innkeeper_chunk_lag_seconds")),
                ),
            ),
            Panel(
                "Messages dropped or refused a second",
                "ops",
                tuple(
                    (name, rate(f"log_{name}_total"))
                    for name in ("fenced", "late", "resend", "unknown_run", "protocol_errors")
                ),
            ),
        ),
    ),
    (
        "Process and disk",
        (
            Panel("Memory of the gateway", "bytes", (("", 'process_resident_memory_bytes{instance=~"$instance"}'),)),
            Panel("Cores used", "short", (("", f'rate(process_cpu_seconds_total{{instance=~"$instance"}}[{RATE}])'),)),
            Panel("Stored values", "bytes", (("kept", gauge("blob_bytes_kept")),)),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it: 24 columns, one row of panels for each row above."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append(
            {"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "id": len(panels) + 1}
        )
        height = 4 if row[0].kind == "stat" else 8
        for at, panel in enumerate(row):
            width = 24 // len(row)
            place = {"x": at * width, "y": y + 1, "w": width, "h": height}
            panels.append(_panel(panel, place, len(panels) + 1))
        y += height + 1
    source = {"type": "prometheus", "uid": "${source}"}
    instances = "label_values(innkeeper_temporal_reachable, instance)"
    return {
        "title": "Innkeeper",
        "uid": "innkeeper",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": "Data source"},
                {"name": "instance", "type": "query", "query": instances, "datasource": source, "includeAll": True}
                | {"multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "refresh": 2},
            ]
        },
        "panels": panels,
    }


def _panel(panel: Panel, place: dict[str, int], number: int) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "id": number,
        "gridPos": place,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(65 + at), "expr": query, "legendFormat": legend}
            for at, (legend, query) in enumerate(panel.queries)
        ],
    }


def text() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
