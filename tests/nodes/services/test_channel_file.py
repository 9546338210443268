"""`channels.yaml` as people write it: every problem with its line, no key in any message, nothing that crashes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.channel_file import MAX_FILE_BYTES, ChannelFile, read_channels
from innkeeper.nodes.services.channels import ChannelConfig
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
    assert [channel.id for channel in found.config.channels] == ["demo", "openai"]


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
    assert problems[5].startswith("line 9: colour is not used; known keys are channels, models, routing")


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
