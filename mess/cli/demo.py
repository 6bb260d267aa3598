"""`mess demo`: a local demonstration."""

from __future__ import annotations

from typing import Annotated

import typer

from mess.cli.common import run_async
from mess.cli.root import app


@app.command()
def demo(
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Stop after this many seconds. Default: at Ctrl-C.", show_default=False),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="Watch this MongoDB instead of starting one; the demo uses its own database there, and drops it "
            "at the end.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=1000.0, help="Writes per second to the sample shop.")] = 2.0,
    chaos: Annotated[
        bool,
        typer.Option(
            "--chaos",
            help="Let the receiver fail by a script that repeats every 90 seconds: an outage, slow answers, and events "
            "that it refuses.",
        ),
    ] = False,
) -> None:
    """Run a demonstration: MongoDB, a sample shop that writes to it, the relay, and a receiver that shows each webhook.

    The first lines name the pages to open in a browser. Everything runs on this machine, on free ports, and is removed
    at the end. Exit codes: those of `mess run`; 1 if MongoDB cannot be started here, or an event did not arrive.
    """
    from mess.demo.chaos import ACTS
    from mess.demo.run import run_demo

    if not run_async(run_demo(seconds=seconds, url=url, rate=rate, acts=ACTS if chaos else ())):
        raise typer.Exit(1)
