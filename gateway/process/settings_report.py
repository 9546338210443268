"""All settings of gateway, worker and commands, with values and sources: for `innkeeper settings` and its page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from innkeeper.gateway.settings import Settings
from innkeeper.nodes.process.log_values import JsonValue
from innkeeper.nodes.process.redaction import MASK, Redactor
from innkeeper.nodes.process.settings import SettingRow, SettingsError
from innkeeper.nodes.process.variables import OTHER_VARIABLES, PREFIX, OtherVariable

Report = dict[str, list[SettingRow]]
"""Section (`gateway`, `worker`, `other`) to its settings."""

WORKER_COMMAND = (sys.executable, "-P", "-m", "innkeeper.activities.settings")
"""A program of its own: gateway code must not import that of workers."""

_PAGE = """# Settings

What gateway, worker and commands take from the environment. This page is the output of `innkeeper settings --markdown`.

| question | answer |
|---|---|
| What wins? | an argument of the command line, then the environment, then the default |
| What holds here? | `innkeeper settings` shows each value and where it comes from; `--json` for programs |
| What if a value is wrong? | the process does not start and names every wrong value with what is allowed |
| What if a name is wrong? | the process starts and warns, with the nearest name that it knows |
| What is an empty variable? | the same as none, except where the table says so |
| Are files read? | no `.env` file; Temporal's own profile file, unless `innkeeper up` runs the server |
| What does `innkeeper up` set itself? | data directory, host, port, plugins, gateway URL, Temporal address, namespace |

Numbers may be written as `1e9`. Not-a-number and infinity are refused.
"""
_TITLES = {"gateway": "Gateway", "worker": "Worker", "other": "Commands and stored secrets"}


def report_of(environ: Mapping[str, str], arguments: Mapping[str, str] | None = None) -> Report:
    """The settings that processes started with this environment would have.

    Args:
        environ: The whole environment.
        arguments: Variables that a command line sets in it.

    Raises:
        SettingsError: What both processes would refuse, in one message.
    """
    given = arguments or {}
    whole = {**environ, **given}
    rows = {"gateway": _gateway_rows(whole), "worker": _worker_rows(whole)}
    complaints = [f"{process}: {found}" for process, found in rows.items() if isinstance(found, str)]
    if complaints:
        raise SettingsError("; ".join(complaints))
    report = {process: found for process, found in rows.items() if not isinstance(found, str)}
    report["other"] = [_other_row(variable, whole) for variable in OTHER_VARIABLES]
    return {section: [_with_argument(row, given) for row in found] for section, found in report.items()}


def report_json(report: Report) -> dict[str, list[dict[str, Any]]]:
    return {section: [asdict(row) for row in rows] for section, rows in report.items()}


def report_page(environ: Mapping[str, str]) -> str:
    """`docs/settings.md`: the same whatever `INNKEEPER_*` is set here."""
    report = report_of({name: value for name, value in environ.items() if not name.startswith(PREFIX)})
    sections = (f"## {_TITLES[section]}\n\n{_table(rows)}" for section, rows in report.items())
    return "\n".join((_PAGE, *sections))


def _gateway_rows(environ: Mapping[str, str]) -> list[SettingRow] | str:
    try:
        return Settings.load(environ).rows(environ)
    except SettingsError as error:
        return error.message


def _worker_rows(environ: Mapping[str, str]) -> list[SettingRow] | str:
    done = subprocess.run(WORKER_COMMAND, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    return [SettingRow(**row) for row in json.loads(done.stdout)]


def _other_row(variable: OtherVariable, environ: Mapping[str, str]) -> SettingRow:
    text = environ.get(variable.name)
    value = (MASK if variable.is_secret else Redactor()(text)) if text else variable.default
    return SettingRow(
        variable=variable.name,
        value=value,
        source="environment" if text else "default",
        default=variable.default,
        unit="",
        allowed=variable.allowed,
        meaning=variable.meaning,
    )


def _with_argument(row: SettingRow, arguments: Mapping[str, str]) -> SettingRow:
    return replace(row, source="argument") if row.variable in arguments else row


def _table(rows: list[SettingRow]) -> str:
    cells = ((f"`{row.variable}`", _default(row.default), row.unit, row.allowed, row.meaning) for row in rows)
    lines = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in cells)
    head = "| variable | default | unit | allowed | meaning |\n|---|---|---|---|---|\n"
    return head + "".join(f"| {line} |\n" for line in lines)


def _default(value: JsonValue) -> str:
    return "none" if value is None or value == [] else f"`{value_text(value)}`"


def value_text(value: JsonValue) -> str:
    """A value as a person would write it: `7` for 7.0, `true`, `a,b` for a list, `-` for none."""
    match value:
        case None | [] | "":
            return "-"
        case str():
            return value
        case float() if value.is_integer():
            return str(int(value))
        case list():
            return ",".join(map(value_text, value))
        case _:
            return json.dumps(value)
