"""`make campaign MINUTES=10`: scenarios with new seeds until the time is over; `--seed N` plays one again."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from mess.demo.replica_set import ReplicaSet
from tests.campaign.player import Player
from tests.campaign.processes.campaign import ProcessCampaign
from tests.campaign.scenario import Kind, scenario
from tests.checker.verdict import Verdict
from tests.servers.redis import RedisServer

PROCESS_KINDS = ("standby", "kafka-workers")


class Campaign:
    """Plays scenarios on servers that it starts when they are first needed, and ends in the end. Used as `with`."""

    def __init__(self, kind: Kind | None = None, *, verbose: bool) -> None:
        self._kind = kind
        self._stack = ExitStack()
        self._sets: dict[int, ReplicaSet] = {}
        self._redis: RedisServer | None = None
        self._verbose = verbose

    def play(self, seed: int) -> Verdict:
        """Play a seed's scenario, and print what came of it."""
        chosen = scenario(seed, self._kind)
        print(
            f"seed {chosen.seed}: {chosen.kind}, {chosen.nodes} mongod, state in {chosen.state}, sinks {chosen.sinks}, "
            f"start {chosen.start}, {len(chosen.faults)} faults in {chosen.seconds:.0f} s"
            f"{', drops' if chosen.drops else ''}{', filters' if chosen.filters else ''}",
            flush=True,
        )
        if self._redis is None:
            self._redis = self._stack.enter_context(RedisServer())
        if chosen.nodes not in self._sets:
            self._sets[chosen.nodes] = self._stack.enter_context(ReplicaSet(chosen.nodes, oplog_mb=512))
        folder = Path(tempfile.mkdtemp(prefix=f"mess-campaign-{chosen.seed}-"))
        say = print if self._verbose else lambda line: None
        began = time.monotonic()
        try:
            verdict = asyncio.run(Player(chosen, self._sets[chosen.nodes], self._redis, folder, say).play())
        except Exception:  # whatever it is, the next scenario may find something
            verdict = Verdict(problems={"the campaign itself": [traceback.format_exc()]})
        word = "ok" if verdict.ok else "FAILED"
        print(f"  {word} after {time.monotonic() - began:.0f} s: {verdict}", flush=True)
        if verdict.ok:
            shutil.rmtree(folder)
        else:
            print(f"  configs and logs: {folder}\n  again: make campaign SEED={chosen.seed}", flush=True)
        return verdict

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def main() -> int:
    """Exit code 0 if every promise was kept in every scenario."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long new scenarios are begun (default: 10)")
    parser.add_argument("--seed", type=int, action="append", default=[], help="play this seed; may be repeated")
    parser.add_argument("--kind", choices=(*get_args(Kind), *PROCESS_KINDS), help="scenarios of this kind only")
    parser.add_argument("--setup", help="of several processes: in this setup only")
    parser.add_argument(
        "--fault", type=lambda text: text.replace("-", " "), help="of several processes: this fault only (kill-again)"
    )
    parser.add_argument("--rounds", type=int, default=8, help="faults in each scenario of several processes")
    parser.add_argument("--times", type=int, default=1, help="how often each --seed is played")
    parser.add_argument("--down", type=float, default=10.0, help="of workers: seconds for which the endpoint is down")
    parser.add_argument("--verbose", action="store_true", help="print everything that happens")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    failed: list[int] = []
    played = 0
    verbose = options.verbose or bool(options.seed)
    several = options.kind in PROCESS_KINDS
    with (
        ProcessCampaign(
            options.kind,
            setup=options.setup,
            fault=options.fault,
            rounds=options.rounds,
            down=options.down,
            verbose=verbose,
        )
        if several
        else Campaign(options.kind, verbose=verbose)
    ) as campaign:
        seeds = iter(options.seed * options.times)
        while True:
            if options.seed:
                seed = next(seeds, None)
            else:
                seed = random.randrange(1_000_000) if time.monotonic() < deadline else None
            if seed is None:
                break
            played += 1
            if not campaign.play(seed).ok:
                failed.append(seed)
    print(f"{played} scenarios, {len(failed)} failed{': seeds ' + ', '.join(map(str, failed)) if failed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
