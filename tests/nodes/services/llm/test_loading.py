from __future__ import annotations

from innkeeper.nodes.errors import NodeMustWait, ProviderError
from innkeeper.nodes.services.llm.loading import MAX_LOADING_S, MAX_MODELS, LoadingModels


def test_a_model_that_is_being_loaded_is_waited_for_ten_minutes_in_growing_steps() -> None:
    loading, now, waits = LoadingModels(), 1_000.0, list[float]()
    error = ProviderError("loading", code="overloaded_error", retryable=True)
    while isinstance(found := loading.wait(error, "u", "m", now), NodeMustWait):
        waits.append(found.delay_s)
        now += found.delay_s
    assert (found.code, found.retryable) == ("overloaded_error", True)
    assert MAX_LOADING_S < now - 1_000 <= MAX_LOADING_S + 30
    assert waits[0] == 2
    assert max(waits) == 30
    # Each model for itself, and anew when it was there in between.
    assert isinstance(loading.wait(error, "u", "other", now), NodeMustWait)
    assert isinstance(loading.wait(error, "u", "m", now), NodeMustWait)
    loading.forget("u", "m")
    again = loading.wait(error, "u", "m", now + 500)
    assert isinstance(again, NodeMustWait)
    assert again.delay_s == 2


def test_models_that_are_being_loaded_do_not_fill_the_memory() -> None:
    loading = LoadingModels()
    error = ProviderError("loading")
    for number in range(5_000):
        loading.wait(error, "u", str(number), 0.0)
    assert len(loading._since) == MAX_MODELS


def test_a_server_that_says_how_long_is_not_waited_for_for_ever_either() -> None:
    loading = LoadingModels()
    error = NodeMustWait("loading", delay_s=90.5, details={"code": "overloaded_error"})
    first = loading.wait(error, "u", "m", 0.0)
    assert isinstance(first, NodeMustWait)
    assert first.delay_s == 90.5
    last = loading.wait(error, "u", "m", MAX_LOADING_S + 1)
    assert isinstance(last, ProviderError)
    assert (last.code, last.retryable) == ("overloaded_error", True)
