"""`mess event`: where is an event?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.admin_client import AdminOption, TokenFileOption, admin_client
from mess.cli.common import ConfigOption, UrlOption, load_config, print_json, run_async, say
from mess.cli.connecting import TimeoutOption, connecting, watched
from mess.cli.progress import progress
from mess.cli.root import app
from mess.cli.times import moment
from mess.errors import ConfigError
from mess.ids import is_id
from mess.telemetry.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from mess.config.load import Loaded

_STEPS = 1000


@app.command()
def event(
    id_: Annotated[str, typer.Argument(help="The event's id, such as the header webhook-id.", metavar="ID")],
    search: Annotated[
        bool, typer.Option("--search", help="Look in MongoDB's oplog instead of asking the relay.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Search from this time on: an ISO time, or an age like 2h. Default: from MongoDB's oldest change.",
            parser=moment,
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    admin: AdminOption = None,
    token_file: TokenFileOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Say where an event is: delivered, waiting and for what, a dead letter, dropped, or not seen.

    The running relay knows the events in flight, the last 20,000 that were finished, and all dead letters. --search
    works without it and takes a while: it says when the change was committed, and whether the relay's checkpoint is
    past it.

    Exit codes: 0 it is known, 1 not seen, 2 config or token, 3 MongoDB cannot be read, 4 the oplog does not reach back
    that far, 5 the state cannot be read, 9 no relay answers.
    """
    if not is_id(id_):
        raise ConfigError(f"{id_!r} is no event id; they look like msg_ and 52 capital letters and digits")
    if since is not None and not search:
        raise ConfigError("--since is for --search")
    if search:
        loaded = load_config(config, mongodb__url=url)
        found = run_async(_search(loaded, id_, since, timeout=timeout))
    else:
        found = run_async(_ask(config, admin, token_file, event_id=id_))
    if as_json:
        print_json(found)
    else:
        say(found["text"])
    raise typer.Exit(1 if found["state"] == "not_seen" else 0)


async def _ask(config: Path | None, admin: str | None, token_file: Path | None, *, event_id: str) -> dict[str, Any]:
    async with admin_client(config, admin, token_file) as client:
        await client.status()
        found: dict[str, Any] = await client.get(f"/events/{event_id}")
        return found


async def _search(loaded: Loaded, event_id: str, since: datetime | None, *, timeout: float | None) -> dict[str, Any]:
    from mess.options.values import written_time
    from mess.replay.search import OplogSearch, conclusion
    from mess.stores import store_for

    connect = connecting(timeout)
    async with watched(loaded) as client:
        with _bar() as moved:
            searched = await OplogSearch(loaded, client, progress=moved).find(event_id, since, connect)
        extent = f"from {written_time(searched.since.as_datetime())} to {written_time(searched.until.as_datetime())}"
        found = searched.found
        if found is None:
            text = (
                f"not seen: the config's streams deliver no such change {extent}. It may be older, or not be "
                "selected by the config, or be an existing document, which a backfill has sent"
            )
            return {"id": event_id, "state": "not_seen", "text": text}
        async with store_for(loaded.config, connect) as store:
            state, text = await conclusion(event_id, found, store)
    return {
        "id": event_id,
        "state": state,
        "text": redact(text),
        "stream": found.stream,
        "pipeline": found.pipeline,
        "namespace": found.namespace,
        "operation": found.operation,
        "committed": found.time.as_datetime(),
    }


@contextmanager
def _bar() -> Iterator[Callable[[float, int], None]]:
    with progress("searching", "MongoDB's oplog", _STEPS) as bar:
        shown = 0

        def moved(share: float, events: int) -> None:
            nonlocal shown
            bar.advance(int(share * _STEPS) - shown)
            shown = int(share * _STEPS)

        yield moved
