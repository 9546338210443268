"""The entry point of the function. What stands here happens once per instance, at its cold start."""

import os

from innkeeper.activities.serverless_worker import function_handler, take_keys

# The only folder that a function may write.
os.environ.setdefault("INNKEEPER_DATA_DIR", "/tmp/innkeeper")
take_keys(os.environ)

handler = function_handler()
