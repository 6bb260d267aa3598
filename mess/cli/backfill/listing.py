"""`mess backfill list` and `show`."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mess.cli.backfill.control import IdArgument
from mess.cli.backfill.group import group, not_running, unknown
from mess.cli.common import ConfigOption, JsonOption, UrlOption, load_config, print_json, run_async, say, say_fields
from mess.cli.common import show as show_table
from mess.cli.connecting import TimeoutOption
from mess.cli.state import with_store
from mess.commands import command
from mess.telemetry.printable import printable
from mess.telemetry.redact import redact

if TYPE_CHECKING:
    from mess.state.store import Backfill, StateStore

_NOT_YET = {"paused": "pausing", "cancelled": "being cancelled", "running": "resuming"}


@group.command("list")
def list_(
    as_json: JsonOption = False, config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None
) -> None:
    """List all backfills, oldest first: their state, how far they are done, and why they wait or have ended.

    Those that have ended are removed with old dead letters.
    """

    async def read(store: StateStore) -> tuple[list[Backfill], str | None]:
        return await _all(store), await not_running(store)

    found, absent = run_async(with_store(load_config(config, mongodb__url=url), read, timeout))
    if absent is not None and not all(each.ended for each in found):
        say(f"no relay {absent!r} runs at present; the backfills continue when it does: {command('run')}", err=True)
    if as_json:
        print_json([shape(each) for each in found])
        return
    from rich.table import Table

    table = Table("id", "namespace", "state", "documents", "rate", "time left", "reason")
    table.columns[0].no_wrap = True  # ids are meant to be copied
    for each in found:
        cells = (str(each.namespace), state_of(each), done_of(each), _rate(each), _left(each), _reason(each))
        table.add_row(*map(printable, (each.id, *cells)))
    show_table(table)


@group.command()
def show(
    id: IdArgument,  # noqa: A002
    as_json: JsonOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Print one backfill: what was asked for, and how far it is done."""
    from mess.state.keys import shown_key

    found = run_async(with_store(load_config(config, mongodb__url=url), _all, timeout))
    backfill = next((each for each in found if each.id == id), None)
    if backfill is None:
        raise unknown(id)
    if as_json:
        print_json([shape(backfill)])
        return
    progress = backfill.progress
    fields = {
        "id": backfill.id,
        "namespace": str(backfill.namespace),
        "origin": backfill.origin,
        "match": backfill.match,
        "step": backfill.step,
        "pipeline": backfill.pipeline,
        "rate limit": None if backfill.rate is None else f"{backfill.rate:g}/s",
        "state": state_of(backfill),
        "reason": _reason(backfill),
        "documents": done_of(backfill),
        "last _id": shown_key(_key(backfill)),
        "rate": _rate(backfill),
        "time left": _left(backfill),
        "created": _time(backfill.created),
        "started": _time(progress.started),
        "updated": _time(progress.updated),
        "ended": _time(progress.ended),
    }
    say_fields(fields)


async def _all(store: StateStore) -> list[Backfill]:
    return await store.backfills()


def shape(backfill: Backfill) -> dict[str, Any]:
    """A backfill as programs see it; `last` is the document's `_id`."""
    return {
        "id": backfill.id,
        "namespace": str(backfill.namespace),
        "origin": backfill.origin,
        "created": backfill.created,
        "match": None if backfill.match is None else json.loads(backfill.match),
        "step": backfill.step,
        "pipeline": backfill.pipeline,
        "rate": backfill.rate,
        "wanted": backfill.wanted,
        **backfill.progress.fields(),
        "reason": _reason(backfill) or None,
        "last": _key(backfill).get("_id"),
    }


def state_of(backfill: Backfill) -> str:
    """The state; with what is wanted, if the relay has not done that yet."""
    state, wanted = backfill.progress.state, backfill.wanted
    reached = backfill.ended or state == wanted or (wanted == "running" and state != "paused")
    return state if reached else f"{state}, {_NOT_YET[wanted]}"


def done_of(backfill: Backfill) -> str:
    """`1,200 of about 3,000 (40 %)`."""
    done, estimated = backfill.progress.documents, backfill.progress.estimated
    if estimated is None or backfill.progress.state == "done":
        return f"{done:,}"
    share = min(done / estimated, 1.0) if estimated else 0.0
    return f"{done:,} of about {estimated:,} ({share:.0%})"


def _speed(backfill: Backfill) -> float | None:
    """Documents per second since the start; None if unknown."""
    progress = backfill.progress
    if progress.started is None:
        return None
    until = progress.ended or (datetime.now(timezone.utc) if progress.state == "running" else progress.updated)
    seconds = 0.0 if until is None else (until - progress.started).total_seconds()
    return progress.documents / seconds if seconds > 0 else None


def _rate(backfill: Backfill) -> str:
    speed = _speed(backfill)
    return "" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"


def _left(backfill: Backfill) -> str:
    from mess.options.values import spoken

    progress, speed = backfill.progress, _speed(backfill)
    if progress.state != "running" or not speed or progress.estimated is None:
        return ""
    return spoken(max(0, progress.estimated - progress.documents) / speed)


def _reason(backfill: Backfill) -> str:
    return redact(backfill.progress.reason or "")


def _key(backfill: Backfill) -> dict[str, Any]:
    """The key of the last document that is done; empty if there is none."""
    import bson

    from mess.state.letters import OPTIONS

    last = backfill.progress.last
    return {} if last is None else bson.decode(last, OPTIONS)


def _time(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"
