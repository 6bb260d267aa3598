"""How far a long command has come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mess.cli.common import say

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """Moves while a command is at its work; without a terminal there is none to move."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress

    def advance(self, count: int) -> None:
        """So many more are done."""
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0], count)


@contextmanager
def progress(doing: str, what: str, total: int | None = None) -> Iterator[Bar]:
    """A bar on standard error, or one plain line where that is no terminal: `replaying`, `3 dead letters`, 3.

    None is for a total that nobody knows.
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
