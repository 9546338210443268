"""Mounts of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.nodes.process.file_systems import file_system_of


@pytest.mark.parametrize(("path", "kind"), [("/data/x", "nfs4"), ("/my dir/y", "cifs"), ("/other", "ext4")])
def test_file_system_of_takes_the_deepest_mount(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n"
        "30 21 0:40 / /data rw - nfs4 server:/export rw\n"
        "31 21 0:41 / /my\\040dir rw - cifs //server/share rw\n"
    )
    assert file_system_of(Path(path), mounts) == kind
