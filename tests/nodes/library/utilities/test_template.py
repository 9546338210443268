"""core:Template: what a template writes, what it is refused, and that it cannot leave its sandbox."""

from __future__ import annotations

import random
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeError, NodeInputError, NodeTimeout
from innkeeper.nodes.library.utilities import template_text
from innkeeper.nodes.library.utilities.template import RENDER, definition
from innkeeper.nodes.services.scripts import ScriptProcesses
from innkeeper.nodes.testing import run_node


def fill(template: str, values: Any = None, **inputs: Any) -> str:
    given = {} if values is None else {"values": values}
    text: str = run_node(definition, {"template": template, **given, **inputs})["text"]
    return text


def refused(template: str, values: Any = None, **inputs: Any) -> NodeInputError:
    with pytest.raises(NodeInputError) as caught:
        fill(template, values, **inputs)
    return caught.value


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("", {}, ""),
        ("Hello {{ name }}!", {"name": "Ann"}, "Hello Ann!"),
        (
            "{% for m in list %}{{ loop.index }}:{{ m.role }} {% endfor %}",
            {"list": [{"role": "a"}, {"role": "b"}]},
            "1:a 2:b ",
        ),
        ("{% if a %}yes{% else %}no{% endif %}", {"a": ""}, "no"),
        (
            "{{ a }}|{{ b }}|{{ c }}|{{ d }}|{{ e }}",
            {"a": None, "b": True, "c": 2.0, "d": [1, "酒"], "e": {"k": 1}},
            '|true|2|[1,"酒"]|{"k":1}',
        ),
        ("{{ missing | default('x') }}{% if missing is defined %}!{% endif %}", {}, "x"),
        ("{{ name | upper }} {{ words | join('-') }}", {"name": "ann", "words": ["a", "b"]}, "ANN a-b"),
        ("{{ '<b>' }}{{ '<b>' | e }}", {}, "<b>&lt;b&gt;"),
        ("{{ value | tojson }}", {"value": {"b": "ü"}}, '{"b": "\\u00fc"}'),
        ("line\n", {}, "line\n"),
        ("{% raw %}{{ kept }}{% endraw %}", {}, "{{ kept }}"),
        ("{% macro greet(n) %}Hi {{ n }}{% endmacro %}{{ greet('Ann') }}", {}, "Hi Ann"),
        ("{{ values['input'] if values is defined else input }}", {"input": 3}, "3"),
    ],
)
def test_template_is_filled_in(template: str, values: Any, text: str) -> None:
    assert fill(template, values) == text


def test_values_may_be_json_text_and_input_is_a_name() -> None:
    assert fill("{{ a }}", '{"a": "b"}') == "b"
    assert fill("{{ input }}", input=[1]) == "[1]"
    assert fill("{{ input }}{{ a }}", {"a": 2}, input=1) == "12"
    assert fill("{{ input }}", {"input": "of values"}, input="of the slot") == "of values"
    assert fill("plain", "") == fill("plain", "  ") == fill("plain", None) == "plain"


@pytest.mark.parametrize("values", ["[1]", "no json", [1], 7, "[" * 100_000])
def test_values_that_are_no_object_are_refused(values: Any) -> None:
    assert "'values'" in refused("x", values).message


@pytest.mark.parametrize(
    ("template", "line", "word"),
    [
        ("ok\n{{ name }}", 2, "'name' is undefined"),
        ("{{ a.b.c }}", 1, "has no attribute 'b'"),
        ("ok\n\n{{ a", 3, "unexpected end of template"),
        ("{% for %}", 1, "Expected an expression"),
        ("{% endif %}", 1, "unknown tag 'endif'"),
        ("{{ a | nothing }}", 1, "No filter named 'nothing'"),
        ("\n{{ a + 1 }}", 2, "TypeError in an expression"),
        ("{{ 1 / 0 }}", 1, "ZeroDivisionError"),
        ("{% include 'x' %}", 1, "another template"),
        ("{% extends 'x' %}", 1, "another template"),
        ("{{ range(10000000) | list | length }}", 1, "OverflowError"),
        ("{{ a[a.secret] }}", 1, "an item or attribute is not there"),
    ],
)
def test_mistake_is_told_with_its_line(template: str, line: int, word: str) -> None:
    error = refused(template, {"a": {"secret": "words of the user"}})
    assert error.code == "template_error"
    assert error.message.startswith(f"template, line {line}: ")
    assert word in error.message
    assert error.details == {"line": line}
    assert "words of the user" not in error.message


def test_mistake_in_what_needs_no_values_is_told() -> None:
    error = refused("{{ (2 ** 100000) | string }}")
    assert (error.code, error.message) == ("template_error", "template: ValueError in an expression")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ '' | attr('__class__') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ range.__class__ }}",
        "{{ '{0.__class__}'.format('') }}",
        "{{ '{x.__class__.__mro__}'.format_map({'x': ''}) }}",
        "{{ (('' | attr('format')) ~ '').__class__ }}",
        "{{ ['__class__'] | map('attr', '__class__') | list }}",
        "{% macro m() %}{% endmacro %}{{ m.__call__.__func__.__globals__ }}",
        "{{ list.append(1) }}",
        "{{ values.update({}) }}",
        "{{ lipsum() }}",
        "{{ dict.mro() }}",
        "{{ config }}",
        "{{ loop }}",
        "{% import 'os' as os %}{{ os.getcwd() }}",
    ],
)
def test_sandbox_is_not_left(template: str) -> None:
    assert refused(template, {"list": [], "values": {}}).code == "template_error"


def test_random_picks_the_same_when_the_node_runs_again() -> None:
    values = {"words": [str(number) for number in range(100)]}
    assert len({fill("{{ words | random }}{{ words | random }}", values) for _ in range(3)}) == 1


@pytest.mark.parametrize("limit", [0, -1, 61, float("nan"), "5", True, None])
def test_time_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(NodeInputError, match="'timeLimit'"):
        run_node(definition, {"template": "x"}, config={"timeLimit": limit})


def test_sizes_are_bounded() -> None:
    assert "longer than" in refused("x" * (template_text.MAX_TEMPLATE_CHARS + 1)).message
    error = refused("{% for i in range(1000) %}{{ text }}{% endfor %}", {"text": "x" * 10_000})
    assert "its text is longer" in error.message


async def test_template_that_never_ends_or_fills_the_memory_is_ended() -> None:
    scripts = ScriptProcesses(1, 128)
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    values = {"values": {}, "seed": random.getrandbits(8)}
    with pytest.raises(NodeTimeout):
        await scripts.call(RENDER, {"source": endless, **values}, timeout_s=0.3)
    for bomb in ("{{ 'a' * 10**10 }}", "{{ '%01000000000d' | format(1) }}", "{{ 'x' | center(10**10) }}"):
        with pytest.raises(NodeError) as caught:
            await scripts.call(RENDER, {"source": bomb, **values})
        assert caught.value.code == "script_out_of_memory"
    assert await scripts.call(RENDER, {"source": "{{ 1 }}", **values}) == "1"
    await scripts.aclose()
