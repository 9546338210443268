"""`innkeeper settings`: what gateway and worker would be told here, and by whom."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Column, Table
from rich.text import Text

from innkeeper.gateway.process.settings_report import Report, value_text

_TITLES = {"gateway": "gateway", "worker": "worker", "other": "commands and stored secrets"}
_STYLES = {"argument": "cyan", "environment": "green", "default": "dim"}


def as_arguments(given: Mapping[str, object]) -> dict[str, str]:
    """Variables for the options of a command line that were given; 0 is given, None is not."""
    return {name: str(value) for name, value in given.items() if value is not None}


def settings_tables(report: Report) -> list[Table]:
    """One table per process."""
    tables = []
    for section, rows in report.items():
        table = Table(
            Column("variable", no_wrap=True),
            Column("value", overflow="fold"),
            Column("unit", no_wrap=True),
            Column("from", no_wrap=True),
            title=_TITLES[section],
            title_justify="left",
            box=None,
        )
        for row in rows:
            table.add_row(row.variable, Text(value_text(row.value)), row.unit, Text(row.source, _STYLES[row.source]))
        tables.append(table)
    return tables
