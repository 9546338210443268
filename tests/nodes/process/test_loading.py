from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest

from innkeeper.nodes.process.loading import collector_paused, without_pydantic_plugins

BEFORE_THE_GATEWAY = (
    "import gc, sys\n"
    "from innkeeper.gateway import serve\n"
    "def create_app(settings):\n"
    "    print(gc.isenabled(), gc.get_freeze_count() > 0)\n"
    "    raise SystemExit\n"
    "import types; app = types.ModuleType('innkeeper.gateway.app'); app.create_app = create_app\n"
    "sys.modules['innkeeper.gateway.app'] = app\n"
    "try: serve.serve(None, None)\n"
    "except SystemExit: print(gc.isenabled(), gc.get_freeze_count() > 1_000)\n"
)


class Ring:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _unfrozen() -> object:
    yield
    gc.unfreeze()


def test_collector_pauses_and_then_collects_what_is_new() -> None:
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    ring = weakref.ref(Ring())
    gc.collect()
    assert ring() is None


def test_collector_goes_on_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), collector_paused():
        import innkeeper.nodes.no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()


def test_what_was_loaded_is_not_looked_through_again() -> None:
    with collector_paused():
        ring = weakref.ref(Ring())
    gc.collect()
    assert ring() is not None
    assert gc.get_freeze_count() > 1_000


@pytest.mark.parametrize("own", [None, "", "logfire-plugin"])
def test_plugins_of_pydantic_are_left_out_meanwhile_unless_the_user_decides(
    own: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS", raising=False)
    if own is not None:
        monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", own)
    with without_pydantic_plugins():
        assert os.environ["PYDANTIC_DISABLE_PLUGINS"] == ("__all__" if own is None else own)
    assert os.environ.get("PYDANTIC_DISABLE_PLUGINS") == own


def test_gateway_loads_without_collecting_and_collects_when_it_serves() -> None:
    done = subprocess.run([sys.executable, "-c", BEFORE_THE_GATEWAY], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "False", "True", "True"], done.stderr
