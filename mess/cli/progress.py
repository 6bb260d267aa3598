"""Progress of long commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mess.cli.common import say
from mess.telemetry.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """A progress bar; without a terminal it does nothing."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress

    def advance(self, count: int) -> None:
        """Add to the number done."""
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0], count)

    def say(self, text: str) -> None:
        """Print a line to standard error, above the bar."""
        if self._progress is None:
            say(text, err=True)
        else:
            self._progress.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(doing: str, what: str, total: int | None = None) -> Iterator[Bar]:
    """A progress bar on standard error, or one plain line if that is not a terminal: `replaying`, `3 dead letters`, 3.

    `total` is None if it is unknown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        say(f"{doing} {what}", err=True)
        yield Bar()
        return
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        shown.add_task(doing, total=total)
        yield Bar(shown)
