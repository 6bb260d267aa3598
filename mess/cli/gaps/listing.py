"""`mess gaps list` and `show`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mess.cli.common import ConfigOption, JsonOption, UrlOption, load_config, print_json, run_async, say_fields
from mess.cli.common import show as show_table
from mess.cli.connecting import TimeoutOption
from mess.cli.gaps.group import IdArgument, group, known
from mess.cli.state import with_store
from mess.telemetry.printable import printable
from mess.telemetry.redact import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bson import Timestamp

    from mess.state.store import Backfill, Gap, StateStore


@group.command("list")
def list_(
    as_json: JsonOption = False, config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None
) -> None:
    """List every gap, oldest first: what was not delivered of which collections, between which times, and why.

    Kinds: history_lost (no longer in the oplog), unreadable (a change that cannot be read), skipped (by a step with
    `on_failure: skip`), reset (an operator moved the position).
    """

    async def read(store: StateStore) -> tuple[list[Gap], list[Backfill]]:
        return await store.gaps(), await store.backfills()

    found, backfills = run_async(with_store(load_config(config, mongodb__url=url), read, timeout))
    repairs = _by_gap(backfills)
    if as_json:
        print_json([shape(gap, repairs[gap.id]) for gap in found])
        return
    from rich.table import Table

    table = Table("id", "kind", "stream or step", "namespaces", "count", "since", "until", "state", "reason")
    table.columns[0].no_wrap = True  # ids are meant to be copied
    for gap in found:
        place, namespaces = printable(_place(gap)), "\n".join(map(printable, gap.namespaces))
        state = _state(gap, repairs[gap.id])
        cells = (_count(gap), _shown(gap.since), _shown(gap.until), state, redact(gap.reason))
        table.add_row(gap.id, gap.kind, place, namespaces, *map(printable, cells))
    show_table(table)


@group.command()
def show(
    id: IdArgument,  # noqa: A002
    as_json: JsonOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Print one gap, and what of it is repaired."""

    async def read(store: StateStore) -> tuple[Gap, list[Backfill]]:
        return await known(store, id), await store.backfills()

    gap, backfills = run_async(with_store(load_config(config, mongodb__url=url), read, timeout))
    repairs = _by_gap(backfills)[gap.id]
    if as_json:
        print_json([shape(gap, repairs)])
        return
    fields = {
        "id": gap.id,
        "kind": gap.kind,
        "stream": gap.stream,
        "pipeline": gap.pipeline,
        "step": gap.step,
        "namespaces": ", ".join(gap.namespaces),
        "count": _count(gap),
        "since": _shown(gap.since),
        "until": _shown(gap.until),
        "first event": gap.first,
        "last event": gap.last,
        "state": _state(gap, repairs),
        "backfills": ", ".join(each.id for each in repairs),
        "reason": redact(gap.reason),
        "recorded": f"{gap.time:%Y-%m-%d %H:%M:%S} UTC",
    }
    say_fields(fields)


def shape(gap: Gap, repairs: Sequence[Backfill]) -> dict[str, Any]:
    """A gap as programs see it, given the backfills that were started for it."""
    from mess.relay.gap_status import described

    return {**described(gap), "state": _state(gap, repairs), "backfills": [each.id for each in repairs]}


def _by_gap(backfills: Sequence[Backfill]) -> defaultdict[str, list[Backfill]]:
    """The backfills that were started for each gap, by its id. There may be thousands of both."""
    found: defaultdict[str, list[Backfill]] = defaultdict(list)
    for each in backfills:
        found[each.origin].append(each)
    return found


def _state(gap: Gap, repairs: Sequence[Backfill]) -> str:
    from mess.relay.healing import healed

    return "open: the stream is stopped" if gap.open else healed(gap, repairs)


def _place(gap: Gap) -> str:
    return gap.stream if gap.step is None else f"{gap.step} of {gap.pipeline}"


def _count(gap: Gap) -> str:
    return "unknown" if gap.count is None else f"{gap.count:,}"


def _shown(time: Timestamp | None) -> str:
    return "unknown" if time is None else f"{time.as_datetime():%Y-%m-%d %H:%M:%S} UTC"
