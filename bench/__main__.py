"""`python -m bench [part]…`: the parts that are named, all of them by default."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import fields

from bench.figures import console
from bench.options import Options
from mess.errors import MessError

_PARTS = (
    "throughput",
    "brokers",
    "kafka",
    "latency",
    "startup",
    "idle",
    "memory",
    "growth",
    "scopes",
    "backfill",
    "admin",
    "takeover",
    "lease",
    "workers",
)
_HELP = {
    "rounds": "interleaved rounds, of which medians are taken",
    "events": "events to drain for the throughput",
    "seconds": "how long a latency run lasts",
    "idle_seconds": "how long the idle run lasts",
    "backlog": "events of the usual size in the memory runs",
    "big": "events of 64 KB in the memory runs",
    "down_seconds": "how long the sink is down in the memory runs",
    "documents": "documents that a backfill sends",
    "size": "their size in bytes of BSON",
    "lease": "seconds of the lease of processes that have a standby",
}


def main() -> int:
    """Run the parts that the command line names, one after another."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure MESS against what MongoDB and aiohttp can do at most. Figures: see bench/README.md.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(_PARTS)}; none stands for all")
    for field in fields(Options):
        kind = type(field.default)
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, default=field.default, metavar="N", help=_HELP[field.name])
    arguments = vars(parser.parse_args())
    parts = arguments.pop("parts") or _PARTS
    if unknown := set(parts) - set(_PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
    if not sys.platform.startswith("linux"):
        parser.error("the benchmark reads Linux's /proc")
    options = Options(**arguments)
    try:
        for part in parts:
            importlib.import_module(f"bench.{part}").run(options)
    except MessError as error:
        parser.exit(error.exit_code, f"{error}\n")
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
