"""What all settings classes have in common, shown on a small one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from innkeeper.nodes.process.settings import (
    FALSE_WORDS,
    TRUE_WORDS,
    Flag,
    Names,
    Number,
    ProcessSettings,
    SettingsError,
    Whole,
    setting,
)
from tests.effort import examples


class Toy(ProcessSettings):
    limit_s: Number = setting(1.5, "How long.", unit="seconds", low=0, high=10)
    size: Whole | None = setting(None, "How much.", unit="bytes", low=1, high=2**40)
    is_on: Flag = setting(False, "Whether.")
    names: Names = setting((), "Which.", variable="OTHER_NAMES")
    key: SecretStr | None = setting(None, "Opens.")
    url: str = setting("http://a", "Where.", empty_is_value=True)


def load(**variables: str) -> Toy:
    return Toy.load({f"INNKEEPER_{name}": text for name, text in variables.items()})


def refusal(**variables: str) -> str:
    with pytest.raises(SettingsError) as refused:
        load(**variables)
    return refused.value.message


@pytest.mark.parametrize("text", [*TRUE_WORDS, *FALSE_WORDS, "TRUE", "Off"])
def test_flags_take_all_words_in_any_case(text: str) -> None:
    assert load(IS_ON=text).is_on is (text.lower() in TRUE_WORDS)


def test_empty_variables_count_as_not_given_unless_empty_means_something() -> None:
    assert load(LIMIT_S="", SIZE="", IS_ON="", OTHER_NAMES="", KEY="", LOG_LEVEL="") == Toy()
    assert load(URL="").url == ""


def test_field_with_a_variable_of_another_name_reads_only_that() -> None:
    assert load(OTHER_NAMES="a, b,,c ").names == ("a", "b", "c")
    assert load(NAMES="a").names == ()


def test_arguments_hide_even_a_wrong_environment() -> None:
    assert Toy.load({"INNKEEPER_SIZE": "huge"}, size=3, limit_s=None).size == 3


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "-0.1", "10.1", "x", "1,5", " "])
def test_numbers_out_of_bounds_and_what_is_no_number_are_refused(text: str) -> None:
    assert refusal(LIMIT_S=text) == f"INNKEEPER_LIMIT_S={text!r} is not allowed; it must be a number between 0 and 10"


@pytest.mark.parametrize("text", ["2.5", "nan", "inf", "1e300", "0", "9" * 5000, "true"])
def test_whole_numbers_are_whole_and_within_bounds(text: str) -> None:
    assert "it must be a whole number between 1 and 1099511627776" in refusal(SIZE=text)
    assert len(refusal(SIZE=text)) < 300


@pytest.mark.parametrize(("text", "size"), [("7", 7), (" 7 ", 7), ("1e3", 1000), ("16.0", 16), ("1_000", 1000)])
def test_whole_numbers_may_be_written_in_several_ways(text: str, size: int) -> None:
    assert load(SIZE=text).size == size


def test_message_names_every_wrong_value_and_no_password() -> None:
    said = refusal(LIMIT_S="x", SIZE="y", LOG_FORMAT="http://me:canary@host", LOG_LEVEL="loud")
    assert said.startswith("4 settings cannot be used: ")
    assert "INNKEEPER_LOG_FORMAT='http://***@host' is not allowed; it must be one of json, text, auto" in said
    assert "INNKEEPER_LOG_LEVEL='loud'" in said
    assert "canary" not in said


def test_value_of_a_secret_is_never_told() -> None:
    with pytest.raises(SettingsError) as refused:
        Toy(key=("canary",))  # type: ignore[arg-type]
    assert refused.value.message == "INNKEEPER_KEY is not allowed; it must be text"
    # Nor does a traceback show it.
    assert refused.value.__context__ is None


def test_argument_that_is_no_setting_is_told_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match="no setting 'limit'; there are temporal_address"):
        Toy(limit=1)  # type: ignore[call-arg]


def test_rows_say_where_each_value_comes_from_and_mask_secrets() -> None:
    environ = {"INNKEEPER_KEY": "canary", "INNKEEPER_SIZE": "5", "INNKEEPER_URL": "http://me:canary@a"}
    rows = {row.variable: row for row in Toy.load(environ).rows(environ)}
    assert (rows["INNKEEPER_SIZE"].value, rows["INNKEEPER_SIZE"].source) == (5, "environment")
    assert (rows["INNKEEPER_KEY"].value, rows["INNKEEPER_KEY"].source) == ("***", "environment")
    assert (rows["INNKEEPER_LIMIT_S"].value, rows["INNKEEPER_LIMIT_S"].source) == (1.5, "default")
    assert rows["INNKEEPER_LIMIT_S"].unit == "seconds"
    assert rows["INNKEEPER_OTHER_NAMES"].allowed == "texts separated by commas"
    assert "canary" not in str(rows)


@given(st.dictionaries(st.sampled_from(["LIMIT_S", "SIZE", "IS_ON", "OTHER_NAMES", "LOG_LEVEL", "URL"]), st.text()))
@examples(200)
def test_any_environment_gives_settings_or_one_sentence(variables: dict[str, str]) -> None:
    environ = {f"INNKEEPER_{name}": text for name, text in variables.items()}
    loaded, said = outcome(environ)
    assert ("INNKEEPER_" in said) is (loaded is None)
    assert "\n" not in said
    assert loaded is None or 0 <= loaded.limit_s <= 10
    assert loaded is None or loaded.size is None or 1 <= loaded.size <= 2**40


def outcome(environ: dict[str, str]) -> tuple[Toy | None, str]:
    try:
        return Toy.load(environ), ""
    except SettingsError as error:
        return None, error.message
