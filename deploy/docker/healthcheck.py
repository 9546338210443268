#!/usr/bin/env -S python3 -I -S
"""Is the process of this container alive? Exit code 0: yes.

A worker touches the file that INNKEEPER_LIFE_FILE names every second, from its event loop. Without that variable there
is a gateway, which answers /healthz without a token.
"""

import http.client
import os
import sys
import time

LATE_S = 30.0


def main() -> int:
    """Ask, and say what is wrong."""
    try:
        if life_file := os.environ.get("INNKEEPER_LIFE_FILE"):
            age_s = time.time() - os.stat(life_file).st_mtime
            if age_s > LATE_S:
                print(f"the worker gave its last sign of life {age_s:.0f} s ago", file=sys.stderr)
                return 1
            return 0
        gateway = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("INNKEEPER_PORT", "8090")), timeout=4)
        gateway.request("GET", "/healthz")
        status = gateway.getresponse().status
        if status != 200:
            print(f"/healthz answers {status}", file=sys.stderr)
        return 0 if status == 200 else 1
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"no sign of life: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
