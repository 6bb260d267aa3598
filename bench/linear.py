"""`python -m bench.linear [name]…`: whatever runs on text from outside takes time in proportion to its length.

For each function in `bench.on_text`, and each text that is worst for a careless one, 16 MB must take at most three
times as long as 8 MB, best of five. Where 8 MB take more than a second, a shorter text stands for it, as the output
says: what is not linear already shows there. It is no test, since it measures time; the tests have texts that would
take a careless function hours.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from bench.figures import console
from bench.on_text import FUNCTIONS
from mess.errors import MessError

_MOST = 8 * 1024 * 1024  # characters
_FIRST = 4096
_SECONDS = 1.0
_ROUNDS = 5
_ALLOWED = 3.0
_NOISE = 0.02  # seconds; a difference of so little says nothing


class Result(NamedTuple):
    """A text's size in characters, and the seconds that it and one of twice the size took."""

    size: int
    once: float
    twice: float

    @property
    def ratio(self) -> float:
        """How much longer the longer one took."""
        return (self.twice + _NOISE) / (self.once + _NOISE)


def main() -> int:
    """Measure the functions whose names hold one of the arguments, all of them by default."""
    wanted = sys.argv[1:]
    failed = 0
    for name, run, texts in FUNCTIONS:
        if wanted and not any(word in name for word in wanted):
            continue
        for text in texts:
            beginning, unit = ("", text) if isinstance(text, str) else text
            result = _measure(run, beginning, unit)
            bad = result.ratio > _ALLOWED
            failed += bad
            line = f"{name:30} {ascii(beginning + unit)[1:29]:28} {result.size:>9,} characters {result.once:6.3f} s, "
            print(f"{line}twice as many {result.twice:6.3f} s{', NOT LINEAR' if bad else ''}", flush=True)
    console.print(f"{failed} not linear" if failed else "all linear")
    return 1 if failed else 0


def _measure(run: Callable[[str], Any], beginning: str, unit: str) -> Result:
    size = _FIRST
    took = _time(run, beginning, unit, size)
    while size < _MOST and took < _SECONDS / 2:
        size *= 2
        took = _time(run, beginning, unit, size)
    once, twice = took, _time(run, beginning, unit, 2 * size)
    for _ in range(_ROUNDS - 1):
        if Result(size, once, twice).ratio <= _ALLOWED:
            break
        once = min(once, _time(run, beginning, unit, size))
        twice = min(twice, _time(run, beginning, unit, 2 * size))
    return Result(size, once, twice)


def _time(run: Callable[[str], Any], beginning: str, unit: str, size: int) -> float:
    text = beginning + unit * ((size - len(beginning)) // len(unit) + 1)
    gc.collect()
    gc.disable()
    began = time.process_time()
    try:
        with suppress(MessError, ValueError, RecursionError):
            run(text)
    finally:
        took = time.process_time() - began
        gc.enable()
    return took


if __name__ == "__main__":
    sys.exit(main())
