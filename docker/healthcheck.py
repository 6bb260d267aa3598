"""Whether the relay in this container answers `/healthz`: exit 0 or 1. Only the standard library, as it runs often."""

import http.client
import os
import sys


def main() -> int:
    """Ask once. A process that has stopped, or whose event loop has, does not answer in time."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 3000), timeout=3)
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == 200 else 1
    except OSError as error:
        print(f"/healthz: {error}")  # noqa: T201 - `docker inspect` shows it
        return 1


if __name__ == "__main__":
    sys.exit(main())
