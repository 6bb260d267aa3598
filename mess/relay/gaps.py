"""Records changes that a stream could not deliver, and reports them to receivers with `gaps: deliver`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Protocol

from mess.capture.arrangement import StreamStart, main_stream
from mess.capture.region import Region
from mess.capture.source import Batch, LostHistory, PlacedEvent, Source, Unreadable
from mess.capture.tokens import has_passed
from mess.event import Event, Namespace
from mess.relay.gap_events import GapEvent, gap_events
from mess.relay.growing_gaps import GrowingGaps, Loss
from mess.relay.ha.leading import Leading
from mess.relay.router import Claim
from mess.state.store import DeadLetter, Gap
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")


class Keeper(Protocol):
    """Stores events that were not delivered; for example a `StateStore`."""

    @property
    def known_gaps(self) -> Sequence[Gap]:
        """The gaps so far."""

    @property
    def closed_gaps(self) -> Collection[str]:
        """The ids of gaps that do not grow any more."""

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Store these dead letters. Raises StateError."""

    async def record_gap(self, gap: Gap) -> None:
        """Store a gap. Raises StateError."""

    def defer_gap(self, gap: Gap) -> None:
        """Have a gap stored before the next position is."""


class StreamGaps:
    """Records what the batches of one stream could not deliver, as soon as `leading` returns: a process that was frozen
    for long may miss what another has delivered.

    With `deliver`, it adds the reports to the batches: those of this stream's own gaps at their place, and those that
    are still to be sent of earlier gaps before everything else.
    """

    def __init__(
        self, start: StreamStart, source: Source, claim: Claim, keeper: Keeper, *, deliver: bool, leading: Leading
    ) -> None:
        self._leading = leading
        self._start = start
        self._plan = start.plan
        self._source = source
        self._claim = claim
        self._keeper = keeper
        self._deliver = deliver
        self._unreadable = GrowingGaps("unreadable", keeper, stream=start.name)
        self._began = False

    async def passed(self, batch: Batch) -> Batch:
        """The batch with the reports that belong into it, after everything is recorded. Raises StateError, and Halted
        if the relay stops meanwhile."""
        if not (batch.unreadable or batch.lost or (self._deliver and not self._began)):
            return batch
        await self._leading()
        found: list[GapEvent] = []
        if batch.unreadable:
            found += await self._record_unreadable(batch)
        if batch.lost is not None:
            found += await self._record_lost(batch.lost)
        if not self._deliver:
            return batch
        events = self._inserted(batch.events, found)
        if not self._began:
            self._began = True
            return self._with_earlier(replace(batch, events=events))
        return replace(batch, events=events)

    async def _record_unreadable(self, batch: Batch) -> list[GapEvent]:
        await self._keeper.add_dead_letters([self._letter(each) for each in batch.unreadable])
        found: list[GapEvent] = []
        gaps: dict[str, Gap] = {}
        for each in batch.unreadable:
            log.error(
                "change cannot be read, kept as a dead letter", stream=self._plan.name, id=each.id, error=each.reason
            )
            regions = self._affected(each)
            place = batch.position if each.position.time is None else each.position
            lost = Loss(each.id, tuple(region.text for region in regions), place.time)
            gap = self._unreadable.add(each.reason, [lost])
            gaps[gap.id] = gap
            found += gap_events(
                replace(gap, count=1, since=place.time, until=place.time), place, regions, cause=each.id
            )
        for gap in gaps.values():
            await self._keeper.record_gap(gap)
        return found

    async def _record_lost(self, lost: LostHistory) -> list[GapEvent]:
        regions = self._claim.regions()
        gap = Gap(
            stream=self._plan.name,
            since=lost.since.time,
            until=lost.until.time,
            reason=lost.reason,
            time=datetime.now(timezone.utc),
            namespaces=tuple(map(str, regions)),
            first=lost.first,
            last=lost.last,
            count=lost.count,
        )
        await self._keeper.record_gap(gap)
        return gap_events(gap, lost.until, regions)

    def _affected(self, unreadable: Unreadable) -> Sequence[Region]:
        """The collection of a change that cannot be read; if that is unknown, all of the stream's."""
        ns = unreadable.change.get("ns")
        if isinstance(ns, dict) and isinstance(ns.get("db"), str) and isinstance(ns.get("coll"), str):
            return [Region.of(ns["db"], ns["coll"])]
        return [region for region in self._claim.regions() if not region.of_databases]

    def _letter(self, unreadable: Unreadable) -> DeadLetter:
        return DeadLetter(
            id=unreadable.id,
            pipeline="",
            step="capture",
            namespace=self._namespace(unreadable.change),
            operation=unreadable.change.get("operationType", ""),
            key=unreadable.change.get("documentKey"),
            reason=unreadable.reason,
            error="SourceError",
            attempts=1,
            time=datetime.now(timezone.utc),
            event=dict(unreadable.change),
            body=None,
        )

    def _namespace(self, change: Mapping[str, Any]) -> Namespace:
        """Where a change belongs, as far as is known."""
        ns = change.get("ns", {})
        return Namespace(ns.get("db", self._plan.database or ""), ns.get("coll", ""))

    def _inserted(self, events: Sequence[Event], reports: Sequence[GapEvent]) -> Sequence[Event]:
        merged = list(events)
        for report in reports:
            later = (index for index, each in enumerate(merged) if self._follows(each, report))
            merged.insert(next(later, len(merged)), report)
        return merged

    def _follows(self, event: Event, report: GapEvent) -> bool:
        if isinstance(event, GapEvent):
            return False
        return has_passed(self._source.position_after(event), report.place) and not isinstance(event, PlacedEvent)

    def _with_earlier(self, batch: Batch) -> Batch:
        """The batch behind the reports of earlier gaps. When everything up to its position is done, these have been
        sent."""
        place = self._start.position
        reports: list[Event] = []
        sent: dict[str, set[str]] = {}
        for gap in self._keeper.known_gaps:
            if gap.open or not gap.unannounced:
                continue
            regions = [region for region in regions_of(gap.unannounced) if self._owns(gap, region)]
            if regions:
                reports += gap_events(gap, place, regions)
                sent[gap.id] = {region.text for region in regions}
        if not sent:
            return batch
        return replace(batch, events=[*reports, *batch.events], reached=partial(self._sent, sent, batch))

    def _owns(self, gap: Gap, region: Region) -> bool:
        affected = Namespace(region.dbs[0], region.colls[0])
        if self._claim.any(affected) is None:
            return main_stream(gap.stream) == self._plan.name
        return self._claim.own(affected) is not None

    def _sent(self, sent: dict[str, set[str]], batch: Batch) -> None:
        for gap in self._keeper.known_gaps:
            if gap.id in sent:
                left = tuple(region.text for region in regions_of(gap.unannounced) if region.text not in sent[gap.id])
                self._keeper.defer_gap(replace(gap, unannounced=left))
        if batch.reached is not None:
            batch.reached()


def regions_of(namespaces: Sequence[str]) -> list[Region]:
    """The regions of a gap's namespaces, without events of whole databases."""
    return [Region.parse(text) for text in namespaces if "." in text and not text.endswith(".")]
