"""Small files written whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from innkeeper.nodes.services.files import delete_temporaries, write_temporary

KILLED = """
import os, signal, sys
from pathlib import Path
from innkeeper.nodes.services.files import write_temporary
write_temporary(Path(sys.argv[1]), b"x")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_deleted_when_it_is_old(tmp_path: Path) -> None:
    deep = tmp_path / "users" / "me"
    assert subprocess.run([sys.executable, "-c", KILLED, str(deep)]).returncode == -signal.SIGKILL
    (left,) = deep.iterdir()
    for name in ("note.txt", ".new-", ".new-not-ours", ".hidden"):
        (deep / name).write_text("a file of somebody")
    young = write_temporary(tmp_path, b"on its way")
    then = time.time() - 100
    for path in deep.iterdir():
        os.utime(path, (then, then))
    assert delete_temporaries(tmp_path, time.time() - 50) == 1
    assert not left.exists()
    assert young.exists()
    assert len(list(deep.iterdir())) == 4
