"""The gaps that operators make when they move positions forward, or forget them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timezone

from bson import Timestamp

from mess.capture.arrangement import Recorded
from mess.capture.region import Region
from mess.relay.gaps import regions_of
from mess.state.store import Gap, StateStore


async def record_reset(
    store: StateStore,
    recorded: Recorded,
    chosen: Collection[str],
    until: Timestamp | None,
    *,
    unwatched: str,
    announce: bool,
) -> None:
    """Record what is skipped when everything that the `chosen` streams cover continues at `until`; None if that is only
    known when the relay starts. `unwatched` is the name for what no stream covers.

    Called before the positions are changed. Streams that wait after lost history have a gap already.
    """
    waiting = {gap.stream for gap in await store.gaps() if gap.open}
    begins: dict[str, Timestamp] = {}
    regions: dict[str, list[str]] = {}
    for rule in recorded.folded():
        stream, since = rule.value.stream or unwatched, rule.value.time
        if since is None or stream not in chosen or stream in waiting or (until is not None and since >= until):
            continue
        begins[stream] = min(since, begins.get(stream, since))
        regions.setdefault(stream, []).append(str(rule.region))
    for stream, since in begins.items():
        await store.record_gap(_gap(stream, since, until, tuple(regions[stream]), announce=announce))


async def record_unknown(store: StateStore, stream: str | None) -> None:
    """Record that a damaged position was forgotten: that of `stream`, or all of them."""
    await store.record_gap(_gap(stream or "", None, None, (), announce=False))


async def undone(
    store: StateStore, streams: Collection[str], time: Timestamp, regions: Collection[Region] = ()
) -> None:
    """Remove the gaps of earlier resets that end with these streams, or only these regions, continuing at `time`."""
    for gap in await store.gaps():
        if gap.kind != "reset" or gap.since is None or gap.since < time:
            continue
        whole = gap.stream in streams and not regions
        if whole or (regions and all(any(own.within(each) for each in regions) for own in regions_of(gap.namespaces))):
            await store.remove_gap(gap)


def _gap(
    stream: str, since: Timestamp | None, until: Timestamp | None, namespaces: tuple[str, ...], *, announce: bool
) -> Gap:
    return Gap(
        stream=stream,
        since=since,
        until=until,
        reason="an operator moved or reset the position",
        time=datetime.now(timezone.utc),
        namespaces=namespaces,
        kind="reset",
        unannounced=namespaces if announce else (),
    )
