from __future__ import annotations

from innkeeper.nodes.errors import NodeMustWait, ProviderError
from innkeeper.nodes.services.llm.loading import FORGET_S, MAX_MODELS, LoadingModels


def test_waits_for_a_model_that_is_being_loaded_grow() -> None:
    loading, now, waits = LoadingModels(), 1_000.0, list[float]()
    error = ProviderError("loading", code="overloaded_error", retryable=True)
    while now < 1_600.0:
        waits.append(loading.wait(error, "u", "m", now).delay_s)
        now += waits[-1]
    assert (waits[0], waits[-1]) == (2, 30)
    assert waits == sorted(waits)
    # Each model for itself, and anew when it was there in between.
    assert loading.wait(error, "u", "other", now).delay_s == 2
    loading.forget("u", "m")
    assert loading.wait(error, "u", "m", now).delay_s == 2


def test_a_server_that_loads_its_model_once_more_is_asked_soon() -> None:
    loading = LoadingModels()
    error = ProviderError("loading", code="overloaded_error", retryable=True)
    loading.wait(error, "u", "m", 0.0)
    # Nobody asked in between: whether it was there is not known, and hours later this is no long wait.
    assert loading.wait(error, "u", "m", 7_200.0).delay_s == 2
    assert loading.wait(error, "u", "m", 7_200.0 + FORGET_S - 1).delay_s == 30


def test_models_that_are_being_loaded_do_not_fill_the_memory() -> None:
    loading = LoadingModels()
    error = ProviderError("loading")
    for number in range(5_000):
        loading.wait(error, "u", str(number), 0.0)
    assert len(loading._seen) == MAX_MODELS


def test_a_server_that_says_how_long_is_waited_for_as_long() -> None:
    error = NodeMustWait("loading", delay_s=90.5, details={"code": "overloaded_error"})
    found = LoadingModels().wait(error, "u", "m", 0.0)
    assert (found.delay_s, found.details) == (90.5, {"code": "overloaded_error", "kind": "loading"})
