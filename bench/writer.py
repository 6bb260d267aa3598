"""Writes orders at a steady pace, each with the time at which it was sent.

Run as `python -m bench.writer URL DATABASE RATE [COLLECTION]`, it writes until its standard input ends, then prints how
many it wrote in how many seconds, as JSON.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from pymongo import MongoClient

from bench.backlog import COLLECTION, order

_THREADS = 4


def write(
    url: str, database: str, rate: float, stop: threading.Event, collection: str = COLLECTION
) -> dict[str, float]:
    """Write until `stop`, one by one in each of four threads.

    Writes are acknowledged by the majority, which is MongoDB's default. A change stream tells only of what the
    majority has, and with w:1 that is not hurried: an event then waits for the journal, 50 ms on average.
    """
    counts = [0] * _THREADS
    began = time.monotonic()

    def loop(thread: int) -> None:
        while not stop.is_set():
            # By the clock, not by pauses: one late write must not slow down all that follow.
            pause = began + (counts[thread] * _THREADS + thread) / rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            # Just before the insert, so that what is measured is never less than from commit to received.
            orders.insert_one(order(counts[thread], sent=time.time()))
            counts[thread] += 1

    with MongoClient[dict[str, Any]](url) as client, ThreadPoolExecutor(_THREADS) as pool:
        orders = client[database][collection]
        list(pool.map(loop, range(_THREADS)))
        return {"count": sum(counts), "seconds": time.monotonic() - began}


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()


if __name__ == "__main__":
    end = threading.Event()
    threading.Thread(target=_wait_for_end, args=[end], daemon=True).start()
    print(orjson.dumps(write(sys.argv[1], sys.argv[2], float(sys.argv[3]), end, *sys.argv[4:])).decode())
