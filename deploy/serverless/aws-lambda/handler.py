"""The entry point of the function. Everything above `handler` happens once per instance, at its cold start."""

import json
import logging
import os
from pathlib import Path

# The only folder that a function may write.
DATA = Path("/tmp/innkeeper")


def lay_out_keys(folder: Path, files: str) -> None:
    """Write the key files of the gateway's data directory: JSON, file name to content."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in json.loads(files).items():
        path = folder / Path(name).name
        path.touch(mode=0o600)
        path.write_text(content)


# Taken out of the environment: code of nodes has no business with them.
lay_out_keys(DATA, os.environ.pop("KEY_FILES", "{}"))
os.environ.setdefault("INNKEEPER_DATA_DIR", str(DATA))
logging.getLogger().setLevel(os.environ.get("INNKEEPER_LOG_LEVEL", "INFO"))

from innkeeper.activities.serverless_worker import function_handler  # noqa: E402

handler = function_handler()
