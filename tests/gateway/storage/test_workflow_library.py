from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.gateway.storage.workflow_library import WorkflowFiles


def test_damaged_file_is_named_once_and_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "shared" / "library" / "workflows"
    folder.mkdir(parents=True)
    (folder / "good.json").write_text('{"id": "good", "nodes": [], "edges": []}')
    (folder / "bad.json").write_bytes(b'{"id": "bad", \x00\xff')
    library = WorkflowFiles.of(tmp_path)
    for _ in range(2):
        assert [stored.id for stored in library.scan()] == ["good"]
    assert [record.getMessage() for record in caplog.records if "bad.json" in record.getMessage()] == [
        "bad.json is left out: it is damaged, too large, or no workflow with an id"
    ]
