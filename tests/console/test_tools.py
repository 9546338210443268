"""What happens where the tools of the page's tests are missing."""

from __future__ import annotations

import pytest

from tests.console import tools


@pytest.mark.parametrize("find", [tools.browser, tools.deno])
def test_missing_tool_skips_with_the_reason_and_fails_in_ci(find, monkeypatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "TOOLS", tmp_path)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"is here: install|'make console' installs it"):
        find()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception):
        find()
