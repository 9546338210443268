from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.utilities import random_number
from innkeeper.nodes.library.utilities.random_number import MAX_VALUE, definition
from innkeeper.nodes.testing import run_node

SCRIPT = Path(random_number.__file__).parent / "client-scripts" / "RandomNumberNode.js"


def number(**inputs: Any) -> Any:
    return run_node(definition, inputs)["number"]


@pytest.mark.parametrize("value", [0, 7, -1, MAX_VALUE, 2**32, 1.5, "7", None])
def test_a_fixed_value_passes_as_it_is(value: Any) -> None:
    assert number(value=value) == value
    assert number(value=value, mode="固定") == value
    assert number(value=value, mode="fixed") == value


@pytest.mark.parametrize(
    ("mode", "value", "result"),
    [
        ("增加", 41, 42),
        ("increment", 41, 42),
        ("减少", 41, 40),
        ("decrement", 41, 40),
        ("增加", "41", 42),
        ("增加", 1.5, 2),
        ("增加", None, 1),
        ("增加", MAX_VALUE, MAX_VALUE),
        ("增加", "Infinity", MAX_VALUE),
        ("减少", 0, 0),
        ("减少", -7, 0),
        ("减少", 2**40, MAX_VALUE),
    ],
)
def test_counting_goes_one_step_and_stops_at_the_ends(mode: str, value: Any, result: int) -> None:
    assert number(mode=mode, value=value) == result


@pytest.mark.parametrize("mode", ["增加", "固定", None])
@pytest.mark.parametrize("value", ["abc", {"a": 1}])
def test_what_is_no_number_fails(mode: str | None, value: Any) -> None:
    with pytest.raises(NodeInputError, match="'value' is not a number"):
        number(mode=mode, value=value)


@pytest.mark.parametrize("mode", ["随机", "random", "no such mode", 3])
def test_random_ignores_the_value_and_repeats_when_the_node_runs_again(mode: Any) -> None:
    first = number(mode=mode, value=1)
    assert 0 <= first <= MAX_VALUE
    assert number(mode=mode, value=2) == first


def test_without_inputs_it_is_0() -> None:
    assert number() == 0


def test_the_client_script_reports_and_rerolls_but_applies_no_mode() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, to run the script")
    program = """
        const { readFileSync } = require("node:fs");
        const source = readFileSync(process.argv[1], "utf8").replace("export function", "function");
        const setup = new Function(`${source}; return setupClientNode;`)();
        const seen = [];
        const hooks = setup({}, {}, { updateInputValue: (slot, value) => seen.push([slot, value]) });
        hooks.onNodeComplete({ number: 42 });
        hooks.onNodeComplete({ number: "x" });
        hooks.onNodeComplete(undefined);
        hooks.onButtonClick("other");
        for (let i = 0; i < 50; i++) hooks.onButtonClick("reroll");
        const rolled = seen.slice(1);
        const fits = ([slot, value]) => slot === "value" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
        if (JSON.stringify(seen[0]) !== '["value",42]') throw new Error("the reported number is not stored");
        if (rolled.length !== 50 || !rolled.every(fits)) throw new Error("reroll gives no 32-bit number");
        if (!rolled.some(([, value]) => value > 2 ** 24)) throw new Error("reroll uses 24 bits only");
        if (hooks.onWorkflowExecute) throw new Error("the mode would be applied twice");
    """
    done = subprocess.run([node, "-e", program, str(SCRIPT)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


def test_the_definition_names_its_script_and_range() -> None:
    data = definition.to_json()
    assert data["clientScriptUrl"] == "client-scripts/RandomNumberNode.js"
    assert data["inputs"]["value"]["config"]["max"] == 4294967295
    assert [entry["value"] for entry in data["inputs"]["mode"]["config"]["suggestions"]] == [
        "固定",
        "增加",
        "减少",
        "随机",
    ]
    assert data["bypassBehavior"]["passThrough"] == {"number": "value"}
