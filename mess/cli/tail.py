"""`mess tail`: watch what becomes of events."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.admin_client import AdminOption, TokenFileOption, admin_client
from mess.cli.common import ConfigOption, run_async, say
from mess.cli.root import app
from mess.errors import RelayUnreachable
from mess.telemetry.printable import printable, printable_json

if TYPE_CHECKING:
    from mess.cli.admin_client import AdminClient

_AGAIN = 1.0  # seconds
_KEY = 60  # characters


@app.command()
def tail(
    pipeline: Annotated[str | None, typer.Option(help="Only this pipeline.", show_default=False)] = None,
    step: Annotated[
        str | None, typer.Option(help="Only events that came to a step with this name.", show_default=False)
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(help="Only this database or database.collection; globs are allowed.", show_default=False),
    ] = None,
    operation: Annotated[
        list[str] | None, typer.Option(help="Only this operation, such as insert. Can be repeated.", show_default=False)
    ] = None,
    id_: Annotated[
        list[str] | None, typer.Option("--id", help="Only this event. Can be repeated.", show_default=False)
    ] = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            help="Only events that ended so: delivered, dropped, dead_letter or skipped. Can be repeated.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[float | None, typer.Option(help="Only this share of them.", min=0, max=1)] = None,
    count: Annotated[int | None, typer.Option(help="End after so many events.", min=1, show_default=False)] = None,
    bodies: Annotated[bool, typer.Option("--bodies", help="With the body after each step that changed it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Watch what becomes of events, from now on, until Ctrl-C.

    Delivery does not wait for this: of many events, only some are shown, and standard error says how many were not.
    When the relay restarts, the command waits for it and continues.

    Exit codes: 0 ended by Ctrl-C or --count, 2 config or token, 9 no relay answers.
    """
    query: dict[str, Any] = {
        "pipeline": pipeline,
        "step": step,
        "namespace": namespace,
        "operation": ",".join(operation) if operation else None,
        "id": ",".join(id_) if id_ else None,
        "outcome": ",".join(outcome) if outcome else None,
        "sample": sample,
        "bodies": "true" if bodies else None,
    }
    try:
        run_async(_tail(config, admin, token_file, query=query, count=count, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _tail(
    config: Path | None,
    admin: str | None,
    token_file: Path | None,
    *,
    query: dict[str, Any],
    count: int | None,
    as_json: bool,
) -> None:
    async with admin_client(config, admin, token_file) as client:
        await client.status()
        left = count
        while left is None or left > 0:
            try:
                async for kind, data in client.messages("/events", {**query, "limit": left}):
                    if kind == "lost":
                        say(f"({data['count']:,} events are not shown)", err=True)
                    elif kind == "change":
                        say(_line(data) if not as_json else printable_json(json.dumps(data, ensure_ascii=False)))
                        left = None if left is None else left - 1
            except RelayUnreachable as error:
                say(str(error), err=True)
            if left is None or left > 0:
                await _back(client)


async def _back(client: AdminClient) -> None:
    """Wait until the relay answers again, and a moment in any case: it, or a proxy, may refuse every tail at once."""
    told = False
    while True:
        await asyncio.sleep(_AGAIN)
        try:
            await client.status()
        except RelayUnreachable:
            if not told:
                say("the relay has stopped; waiting for it", err=True)
            told = True
        else:
            if told:
                say("the relay is back", err=True)
            return


def _line(event: dict[str, Any]) -> str:
    """An event on one line, with its bodies on further ones."""
    time = datetime.fromisoformat(event["time"])
    after = ""
    if event["committed"] is not None:
        seconds = (time - datetime.fromisoformat(event["committed"])).total_seconds()
        after = f" after {seconds:.2f} s"
    key = json.dumps(event["key"].get("_id"), ensure_ascii=False) if isinstance(event.get("key"), dict) else ""
    key = key if len(key) <= _KEY else key[:_KEY] + "…"
    parts = [
        f"{time.astimezone():%H:%M:%S}.{time.microsecond // 1000:03}",
        f"{event['outcome']:<11}",
        f"{event['operation']} {event['namespace']} {key}".rstrip() + ",",
        f"{event['pipeline']}{after}",
        event["id"],
    ]
    line = printable(" ".join(parts))
    if event["ended_at"] is not None:
        last = event["steps"][-1]
        why = f": {last['error']}" if last["error"] else ""
        line += printable(f" at step {event['ended_at']}{why}")
    if event["attempts"] > 1:
        line += f" ({event['attempts']} attempts)"
    shown = [("change", event)] if "change" in event else []
    shown += [(f"after {step['step']}", step) for step in event["steps"] if "body" in step]
    for name, holder in shown:
        value = holder["change" if name == "change" else "body"]
        text = printable_json(json.dumps(value, ensure_ascii=False))
        line += f"\n    {printable(name)}: {text}"
    return line
