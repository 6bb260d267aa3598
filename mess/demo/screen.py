"""The demo's output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mess.demo.bin import Received

_COLOURS = {"read": "cyan", "insert": "green", "update": "yellow", "replace": "magenta", "delete": "red"}
_ID_SHOWN = 12
_BODY_SHOWN = 120
_EXISTING_SHOWN = 5


class Screen:
    """Prints to `console`, and keeps each change's latency for the summary.

    Of the existing documents, of which there are many at once, it shows the first few, and says when `existing` have
    come.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.existing = 0
        self._read = 0
        self._latencies: list[float] = []

    def say(self, title: str, text: str) -> None:
        """Print a line about what is happening."""
        self.console.print(Text.assemble((f"{title:<9} ", "bold cyan"), text), soft_wrap=True)

    def open(self, console: str, page: str) -> None:
        """Print the addresses to open in a browser, before anything else."""
        self.console.print()
        for title, address, text in (
            ("Console", console, "what the relay does; ready in a few seconds"),
            ("Request bin", page, "what it sends, live"),
        ):
            self.console.print(Text.assemble(f"  {title:<13}", (address, "bold green"), f"  {text}"), soft_wrap=True)
        self.console.print()

    def act(self, title: str, text: str) -> None:
        """Print what the receiver does from now on."""
        self.console.print(Text.assemble("\n", (f"{title:<9} ", "bold magenta"), (text, "bold"), "\n"), soft_wrap=True)

    def config(self, path: Path) -> None:
        """Print the relay's config file."""
        self.say("config", str(path))
        for line in path.read_text().splitlines():
            self.console.print(Text(f"          {line}", "dim"), soft_wrap=True)

    def event(self, event: Received) -> None:
        """Print a webhook that has just arrived."""
        if event.exists and not event.again:
            self._read += 1
            if self._read > _EXISTING_SHOWN:
                if self._read == self.existing:
                    more = f"… and {self._read - _EXISTING_SHOWN} more documents that existed before"
                    self.console.print(Text.assemble((" " * 13 + "read     ", "bold cyan"), more), soft_wrap=True)
                return
        latency = None if event.exists else _latency(event)
        if latency is not None and not event.again:
            self._latencies.append(latency)
        key = event.key[1]
        operation = event.operation or "?"
        place = f"{event.namespace} {'' if key is None else key}"
        arrived = datetime.fromtimestamp(event.time).strftime("%H:%M:%S.%f")[:-3]
        terminal = self.console.is_terminal
        self.console.print(
            Text.assemble(
                (arrived, "dim"),
                (f" {operation:<8}", f"bold {_COLOURS.get(operation, 'blue')}"),
                f" {place:<24}",
                (f" {'' if latency is None else f'{latency:.0f} ms':>6} ", "cyan"),
                (f" {event.id[:_ID_SHOWN]}… ", "dim"),
                _brief(event.body),
                (" (again)" if event.again else "", "bold red"),
                (" (replayed)" if event.replayed else "", "bold magenta"),
            ),
            # On a terminal, keep each event on one line.
            **({"no_wrap": True, "overflow": "ellipsis"} if terminal else {"soft_wrap": True}),
        )

    def summary(
        self, written: Counter[Any], received: Counter[Any], again: int, *, replayed: int = 0, lost_existing: int = 0
    ) -> int:
        """Print the result; returns how many of the written changes, and of the existing documents, have not
        arrived."""
        lost = (written - received).total() + lost_existing
        notes = [f"{replayed} of them as replayed dead letters"] * bool(replayed) + [f"and {again} again"] * bool(again)
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        if self.existing:
            table.add_row("existing documents", f"{self.existing}, {self.existing - lost_existing} received")
        table.add_row("events written", str(written.total()))
        table.add_row("received", f"{received.total()}" + (f" ({', '.join(notes)})" if notes else ""))
        table.add_row("lost", Text(str(lost), "bold red" if lost else "bold green"))
        if self._latencies:
            p50, p99 = percentiles(self._latencies, (50, 99))
            table.add_row("latency", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, from commit to received")
        self.console.print()
        self.console.print(table)
        return lost


def percentiles(values: Iterable[float], percents: Iterable[float]) -> list[float]:
    """The given percentiles of `values` (nearest rank). Raises ValueError if there are no values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    last = len(ordered)
    return [ordered[max(0, min(last, -int(-percent * last // 100)) - 1)] for percent in percents]


def _latency(event: Received) -> float | None:
    """Milliseconds from the commit, by MongoDB's wall clock (from 6.0 on), to the arrival."""
    wall = event.body.get("wallTime")
    if not isinstance(wall, str):
        return None
    # The wall clock is MongoDB's, in whole milliseconds.
    return max(0.0, (event.time - datetime.fromisoformat(wall).timestamp()) * 1000)


def _brief(body: dict[str, Any]) -> str:
    change = body.get("updateDescription")
    if change:
        shown = dict(change.get("updatedFields") or {})
        shown.update(dict.fromkeys(change.get("removedFields") or ()))
    else:
        shown = {name: value for name, value in (body.get("fullDocument") or {}).items() if name != "_id"}
    text = orjson.dumps(shown).decode() if shown else ""
    return text if len(text) <= _BODY_SHOWN else text[: _BODY_SHOWN - 1] + "…"
