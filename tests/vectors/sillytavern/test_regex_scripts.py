"""Recorded results of regex scripts."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.macros import MacroEnvironment, Macros
from innkeeper.nodes.tavern.regex_scripts import Stage, apply_scripts, read_scripts
from tests.vectors.sillytavern.deviations_regex_scripts import DEVIATIONS, OURS
from tests.vectors.sillytavern.recorded import Case, load, name_of


def _stage(given: dict[str, Any]) -> Stage:
    return "display" if given.get("is_markdown") else "prompt" if given.get("is_prompt") else "stored"


def _scripts(given: dict[str, Any]) -> list[dict[str, Any]]:
    scripts = list(given["scripts"])
    for kind in ("preset", "scoped"):
        if given.get(f"{kind}_allowed"):
            scripts += given.get(f"{kind}_scripts") or []
    return scripts


@pytest.mark.parametrize("case", load("regex_scripts"), ids=name_of)
def test_regex_scripts_give_what_was_recorded(case: Case) -> None:
    given = case["input"]
    scripts, _ = read_scripts(_scripts(given))
    macros = Macros(MacroEnvironment(user=given["user"], char=given["char"]))
    applied = apply_scripts(
        given["text"],
        scripts,
        placement=given["placement"],
        stage=_stage(given),
        depth=given.get("depth"),
        regexes=engine(),
        expand=macros,
        is_edit=bool(given.get("is_edit")),
    )
    is_deviation = ("regex_scripts", case["name"]) in DEVIATIONS
    assert applied.text == (OURS[case["name"]] if is_deviation else case["expected"])
