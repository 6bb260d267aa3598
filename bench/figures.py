"""Medians and tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, with the least and the greatest where there are several."""
    text = f"{median(values):,.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
    return text


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> None:
    """Print a table; all columns but the first are figures."""
    grid = Table(box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        grid.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    console.print(f"\n[bold]{title}[/bold]", soft_wrap=True)
    # Never cut: a narrow terminal wraps, a pipe has no width at all.
    wide = Console(highlight=False, width=max(console.width, 190)) if not console.is_terminal else console
    wide.print(grid)
    if note:
        console.print(note, style="dim", soft_wrap=True)


def progress(text: str) -> None:
    """Say what is going on."""
    console.print(text, style="dim", soft_wrap=True)
