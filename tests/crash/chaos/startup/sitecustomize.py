"""Put on PYTHONPATH of a process, this lets a test block its main thread, and so its event loop.

On SIGUSR1 the main thread sleeps for the seconds in the file `<pid>` of the folder that `CHAOS_BLOCKS` names. All other
threads go on: sockets stay open, the Temporal client keeps polling.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def _block(*_: object) -> None:
    folder = os.environ.get("CHAOS_BLOCKS", "")
    time.sleep(float((Path(folder) / str(os.getpid())).read_text()))


if os.environ.get("CHAOS_BLOCKS"):
    signal.signal(signal.SIGUSR1, _block)
