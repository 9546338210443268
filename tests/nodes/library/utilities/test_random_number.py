from __future__ import annotations

import json
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


def run_script(program: str) -> str:
    """Run a program that finds `setup`, the function of the client script, and throws what is wrong; what it writes."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, to run the script")
    begin = """
        const { readFileSync } = require("node:fs");
        const source = readFileSync(process.argv[1], "utf8").replace("export function", "function");
        const setup = new Function(`${source}; return setupClientNode;`)();
        const same = (found, wanted) => {
            if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(JSON.stringify(found));
        };
    """
    done = subprocess.run([node, "-e", begin + program, str(SCRIPT)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_script_reports_and_rerolls() -> None:
    run_script("""
        const seen = [];
        const hooks = setup({}, {}, { updateInputValue: (slot, value) => seen.push([slot, value]) });
        hooks.onNodeComplete({ number: 42 });
        hooks.onNodeComplete({ number: "x" });
        hooks.onNodeComplete(undefined);
        hooks.onButtonClick("other");
        for (let i = 0; i < 50; i++) hooks.onButtonClick("reroll");
        same(seen[0], ["value", 42]);
        const rolled = seen.slice(1);
        const fits = ([slot, value]) => slot === "value" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
        if (rolled.length !== 50 || !rolled.every(fits)) throw new Error("reroll gives no 32-bit number");
        if (!rolled.some(([, value]) => value > 2 ** 24)) throw new Error("reroll uses 24 bits only");
    """)


@pytest.mark.parametrize("tells_results", [False, True])
@pytest.mark.parametrize(
    ("mode", "start", "numbers"),
    [
        ("增加", 41, [42, 43, 44, 101, 102]),
        ("increment", None, [1, 2, 3, 101, 102]),
        ("减少", 2, [1, 0, 0, 99, 98]),
        ("增加", MAX_VALUE - 1, [MAX_VALUE, MAX_VALUE, MAX_VALUE, 101, 102]),
        ("固定", 7, [7, 7, 7, 100, 100]),
    ],
)
def test_successive_runs_of_an_editor_count_on(
    mode: str, start: int | None, numbers: list[int], tells_results: bool
) -> None:
    """What the script gives each run, given to the node itself; before the fourth run somebody types 100."""
    program = f"""
        const fields = {{ mode: {json.dumps(mode)}, value: {json.dumps(start)} }};
        const context = {{
            updateInputValue: (slot, value) => {{ fields[slot] = value; }},
            getNodeInputValue: (slot) => fields[slot] === null ? undefined : fields[slot],
        }};
        const hooks = setup({{}}, {{ id: "n" }}, context);
        const given = [];
        {json.dumps(numbers)}.forEach((number, run) => {{
            if (run === 3) fields.value = 100;
            hooks.onWorkflowExecute({{ nodeId: "n", workflowContext: {{ nodes: [], edges: [] }} }});
            given.push(fields.value);
            if ({json.dumps(tells_results)}) hooks.onNodeComplete({{ number }});
        }});
        require("node:fs").writeFileSync(1, JSON.stringify(given));
    """
    given = json.loads(run_script(program))
    assert [number(mode=mode, **({} if value is None else {"value": value})) for value in given] == numbers


def test_the_script_finds_the_values_of_a_node_whose_editor_has_no_reader_for_them() -> None:
    run_script("""
        const inputs = { mode: { value: "increment" }, value: { value: 5 } };
        const seen = [];
        const updateInputValue = (slot, value) => { seen.push(value); inputs[slot].value = value; };
        const hooks = setup({}, {}, { updateInputValue });
        const called = { nodeId: "n", workflowContext: { nodes: [{ id: "n", data: { inputs } }], edges: [] } };
        for (let run = 0; run < 3; run++) hooks.onWorkflowExecute(called);
        same(seen, [6, 7]);
    """)


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
