"""The entry point of a worker pool: serves until SIGTERM."""

import asyncio
import os
import signal

from innkeeper.activities.serverless_worker import serve_until, take_keys


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve_until(stop)


if __name__ == "__main__":
    os.environ.setdefault("INNKEEPER_DATA_DIR", "/tmp/innkeeper")
    take_keys(os.environ)
    asyncio.run(main())
