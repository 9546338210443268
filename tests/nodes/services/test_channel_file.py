"""`channels.yaml` as people write it: every problem with its line, no key in any message, nothing that crashes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.hosts import host_of
from innkeeper.nodes.node import ModelWish, SecretRef
from innkeeper.nodes.services.channel_file import MAX_FILE_BYTES, ChannelFile, read_channels
from innkeeper.nodes.services.channels import BUILT_IN_ADAPTERS, ChannelConfig, route
from tests.effort import examples

KEY = "sk-canary-1234567890abcdef"
EXAMPLE = Path(__file__).parents[3] / "examples" / "channels.yaml"


def read(text: str) -> ChannelFile:
    return read_channels(text.encode())


def config_of(text: str) -> ChannelConfig:
    found = read(text)
    assert found.config is not None, found.problems
    return found.config


def told(text: str) -> list[str]:
    return [str(problem) for problem in read(text).problems]


def test_the_example_is_good() -> None:
    found = read_channels(EXAMPLE.read_bytes())
    assert found.problems == ()
    assert found.config is not None
    first, *others = found.config.channels
    assert (first.id, first.disabled) == ("demo", False)
    assert all(channel.disabled for channel in others), "until the key is there"
    assert {channel.adapter_type for channel in others} == set(BUILT_IN_ADAPTERS) - {"openai-responses"}
    at_home = [channel for channel in others if channel.api_key is None]
    assert (len(others) - len(at_home), len(at_home)) == (10, 4)
    assert all((host_of(channel.base_url) or "").startswith("127.0.0.1") for channel in at_home)
    there = tuple(item.model_copy(update={"disabled": False}) for item in found.config.channels)
    enabled = found.config.model_copy(update={"channels": there})
    assert [way.channel_id for way in route(ModelWish("fast"), enabled)] == ["openai", "anthropic", "gemini"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "channels:\nmodels:\n"])
def test_an_empty_file_has_no_channels(text: str) -> None:
    assert config_of(text) == ChannelConfig()


def test_values_are_read_as_people_mean_them() -> None:
    (channel,) = config_of(
        "channels:\n"
        "  - id: 7\n"
        "    baseUrl: http://h:1/v1/\n"
        "    label:\n"
        "    disabled: no\n"
        "    createdAt: 2024-01-01\n"
        "    supportedModels: [gpt-4, 4]\n"
    ).channels
    assert (channel.id, channel.base_url, channel.label, channel.disabled) == ("7", "http://h:1/v1", "", False)
    assert channel.created_at is not None
    assert channel.created_at.isoformat() == "2024-01-01T00:00:00+00:00"
    assert channel.supported_models == ("gpt-4", "4")


@pytest.mark.parametrize(
    ("written", "ref"),
    [
        ("env:MY_KEY", SecretRef("env:MY_KEY")),
        ("{$secret: env:MY_KEY}", SecretRef("env:MY_KEY")),
        (f"{{$secret: {'a' * 64}}}", SecretRef("a" * 64)),
        ("''", None),
        ("", None),
    ],
)
def test_keys_are_references(written: str, ref: SecretRef | None) -> None:
    (channel,) = config_of(f"channels:\n- id: a\n  baseUrl: http://h/v1\n  apiKey: {written}\n").channels
    assert channel.api_key == ref


@pytest.mark.parametrize("written", [KEY, "a" * 64, f"{{$secret: {KEY}}}", f"[{KEY}]", "env:not-a-name", "12345"])
def test_a_key_in_plain_text_is_refused_with_what_to_do_and_not_repeated(written: str) -> None:
    (problem,) = told(f"channels:\n- id: a\n  baseUrl: http://h/v1\n  apiKey: {written}\n")
    assert problem.startswith("line 4: channels[0].apiKey must be a reference: 'env:NAME'")
    assert "--store-key" in problem
    assert written not in problem


@pytest.mark.parametrize(
    "url",
    [
        "host/v1",
        "ftp://host/v1",
        f"https://u:{KEY}@host/v1",
        "https://host/v1?k=1",
        "https://good\\\\@evil/v1",
        "https://h:99999999/v1",
        "'https://h /v1'",
        "https://höst/v1",
    ],
)
def test_an_address_on_which_programs_could_disagree_is_refused(url: str) -> None:
    (problem,) = told(f'channels:\n- id: a\n  baseUrl: "{url}"\n')
    assert problem.startswith("line 3: channels[0].baseUrl must be an http or https URL")
    assert KEY not in problem


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    problems = told(
        "channels:\n"
        "  - id: a\n"
        "    base_url: http://h/v1\n"
        "  - just text\n"
        "models:\n"
        "  - modelId: m\n"
        "    modelType: magic\n"
        "    capabilities: chat\n"
        "colour: red\n"
    )
    assert problems[:4] == [
        "line 2: channels[0].baseUrl is missing",
        "line 4: channels[1] must be a mapping",
        "line 7: models[0].modelType input should be 'llm', 'embedding' or 'unknown'",
        "line 8: models[0].capabilities must be a list",
    ]
    assert problems[4].startswith("line 3: channels[0].base_url is not used; known keys are id, baseUrl, label")
    assert problems[5].startswith("line 9: colour is not used; known keys are channels, models, modelGroups, routing")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("channels:\n- {id: a, baseUrl: 'http://h'}\n- {id: a, baseUrl: 'http://i'}", "line 3: channels[1].id 'a' is"),
        ("models:\n- {modelId: a}\n- {modelId: a}", "line 3: models[1].modelId 'a' is taken"),
        ("models:\n- {modelId: a, defaultChannelRef: x}", "line 2: models[0].defaultChannelRef names no channel"),
        ("channels: []\nchannels: []", "line 2: channels stands twice"),
        ("channels: {a: 1}", "line 1: channels must be a list"),
        ("- a", "line 1: the file must hold a mapping"),
        ("channels: [", "not valid YAML"),
        ("channels:\n\t- a", "line 2: it is not valid YAML"),
        ("a: &x 1\nb: *x", "aliases"),
        ("a: !!python/object:os.system 1", "line 1: it is not valid YAML"),
        (f"a: !!int {KEY}", "line 1: it is not valid YAML: a value does not fit its type"),
        ("a: 2024-13-45", "a value does not fit"),
        ("[" * 5000, "nested too deeply"),
        ('a: 1\n"b\\ud800": 1', "line 2: it is not valid YAML: a text holds half a character"),
        ('a: "\\udfff"', "line 1: it is not valid YAML: a text holds half a character"),
        ("a: " + "[" * 30 + "]" * 30, "line 1: it is not valid YAML: it is nested too deeply"),
    ],
)
def test_a_broken_file_has_no_config_and_says_why(text: str, problem: str) -> None:
    found = read(text)
    assert found.config is None
    assert problem in str(found.errors[0])
    assert KEY not in str(found.errors)


def test_odd_things_are_warnings() -> None:
    found = read(
        "channels:\n- {id: a, baseUrl: 'http://h', adapterType: telepathy, supportedModels: [x]}\n"
        "models:\n- modelId: m\nrouting: {preferredModels: [nobody]}\n"
    )
    assert found.config is not None
    assert {problem.level for problem in found.problems} == {"warning"}
    assert [str(problem).split(",")[0] for problem in found.problems] == [
        "line 2: channels[0].adapterType is not known",
        "line 4: models[0] 'm' has no channel",
        "line 5: routing.preferredModels[0] 'nobody' is no model of this file",
    ]


def test_a_large_file_is_refused_before_it_is_parsed() -> None:
    assert "larger than" in str(read_channels(b" " * (MAX_FILE_BYTES + 1)).errors[0])


def test_a_file_with_thousands_of_problems_tells_the_first() -> None:
    assert len(read("channels:\n" + "- 1\n" * 2000).problems) == 50


@examples(150)
@given(st.one_of(st.binary(max_size=200), st.text("abc:-[]{}&*!#|>%@`'\"\n 0123.$~?,\t", max_size=120).map(str.encode)))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    found = read_channels(data)
    assert (found.config is None) == bool(found.errors)


@examples(100)
@given(
    st.dictionaries(
        st.sampled_from(["id", "baseUrl", "apiKey", "supportedModels", "weight", "createdAt", "disabled", "priority"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers())),
    )
)
def test_no_values_crash_the_reader(channel: dict[str, object]) -> None:
    import yaml

    found = read_channels(yaml.safe_dump({"channels": [channel]}).encode())
    assert (found.config is None) == bool(found.errors)


def traits(text: str) -> list[str]:
    return told(f"channels:\n- id: a\n  baseUrl: http://h/v1\n  supportedModels: [m]\n{text}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("  headers: {Authorization: x}", "line 5: channels[0].headers must not hold 'Authorization': keys go into"),
        ("  headers: {X-API-Key: x}", "line 5: channels[0].headers must not hold 'X-API-Key'"),
        ("  headers: {Content-Length: '1'}", "line 5: channels[0].headers must not hold 'Content-Length': it is set"),
        ('  headers: {X-A: "a\\r\\nX-B: b"}', "line 5: channels[0].headers must be names of headers with plain texts"),
        ("  headers: {'X A': b}", "line 5: channels[0].headers must be names of headers with plain texts"),
        ("  headers: [X-A]", "line 5: channels[0].headers must be a mapping"),
        ("  query: {key: x}", "line 5: channels[0].query must not hold 'key'"),
        ('  query: {a: "b\\n"}', "line 5: channels[0].query must be names with texts"),
        ("  parameters: {drop: [messages]}", "line 5: channels[0].parameters.drop must not hold 'messages'"),
        ("  parameters: {rename: {a: stream}}", "line 5: channels[0].parameters.rename must not hold 'stream'"),
        ("  parameters: {rename: {a: c, b: c}}", "line 5: channels[0].parameters.rename must give each parameter"),
        ("  parameters: {defaults: {model: x}}", "line 5: channels[0].parameters.defaults must not hold 'model'"),
        ("  parameters: {defaults: {at: 2024-01-01}}", "line 5: channels[0].parameters.defaults.at"),
        ("  parameters: {defaults: {at: .nan}}", "line 5: channels[0].parameters.defaults must not hold numbers"),
        ("  prefix: echo", "line 5: channels[0].prefix input should be 'none', 'trailing'"),
        ("  thinkTags: maybe", "line 5: channels[0].thinkTags must be true or false"),
        ("  limits:\n    requestsPerMinute: 0", "line 6: channels[0].limits.requestsPerMinute must be more than 0"),
        ("  limits:\n    concurrent: many", "line 6: channels[0].limits.concurrent must be a whole number"),
        ("  limits:\n    perHour: 1", "line 6: channels[0].limits.perHour is not used; known keys are requestsPer"),
        ("  perModel:\n    m:\n      prefix: x", "line 7: channels[0].perModel.m.prefix input should be"),
        (
            "  perModel:\n    m:\n      baseUrl: x",
            "line 7: channels[0].perModel.m.baseUrl is not used; known keys are hea",
        ),
        ("  perModel:\n    m:\n      limits: {x: 1}", "line 7: channels[0].perModel.m.limits.x is not used"),
        ("  perModel:\n    other: {prefix: none}", "line 6: channels[0].perModel.other is not used: the channel's"),
        ("modelGroups:\n- {id: g, models: []}", "line 6: modelGroups[0].models must not be empty"),
        ("modelGroups:\n- {id: g, models: [m], strategy: best}", "line 6: modelGroups[0].strategy input should be"),
        ("modelGroups:\n- {id: g, models: [x]}", "line 6: modelGroups[0].models[0] 'x' has no channel"),
        ("modelGroups:\n- {id: 'channel:g', models: [m]}", "line 6: modelGroups[0].id must not begin with 'channel:'"),
        ("modelGroups:\n- {id: g, models: [m]}\n- {id: g, models: [m]}", "line 7: modelGroups[1].id 'g' is taken"),
        ("models: [{modelId: m}]\nmodelGroups:\n- {id: m, models: [m]}", "line 7: modelGroups[0].id 'm' is a model's"),
    ],
)
def test_every_problem_of_traits_and_groups_has_its_line(text: str, problem: str) -> None:
    problems = traits(text)
    assert len(problems) == 1, problems
    assert problems[0].startswith(problem)


def test_a_key_in_a_header_is_not_repeated() -> None:
    assert KEY not in str(traits(f"  headers: {{Authorization: Bearer {KEY}}}\n  query: {{key: {KEY}}}\n"))
