"""`mess demo`: see it work."""

from __future__ import annotations

from typing import Annotated

import typer

from mess.cli.common import run_async


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Stop after so many seconds. Default: at Ctrl-C.", show_default=False),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="Watch this MongoDB instead of starting one; the demo keeps to a database of its own there, and drops "
            "it in the end.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=1000.0, help="How many writes a second the shop makes.")] = 4.0,
) -> None:
    """See it work: MongoDB, a sample shop that writes to it, the relay, and a receiver that shows each webhook.

    Everything runs on this machine, on free ports, and is removed in the end. Exit codes: those of `mess run`; 1 when
    MongoDB cannot be started here, or an event did not arrive.
    """
    from mess.demo.run import run_demo

    if not run_async(run_demo(seconds=seconds, url=url, rate=rate)):
        raise typer.Exit(1)
