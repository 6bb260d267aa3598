"""The backfills of a running relay: follows their records, and gives each collection's documents to its stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from bson import Timestamp

from mess.capture.client import LacksPrivilege
from mess.capture.exclude import without
from mess.capture.existing import matching, why_not
from mess.capture.existing_documents import ExistingDocuments
from mess.capture.plan import plan
from mess.capture.preflight import with_role
from mess.commands import command
from mess.config.match import checked, parsed
from mess.config.model import Config
from mess.config.scope import resolve
from mess.errors import SourceError, StateError
from mess.event import Namespace
from mess.relay.backfill_job import BackfillJob
from mess.relay.backfill_request import unfit
from mess.relay.narrowing import narrow
from mess.relay.pipeline import Pipeline
from mess.relay.stream_chunks import StreamChunks
from mess.state.backfills import Backfill, BackfillProgress
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_LOOK = 0.75  # seconds between two looks at the records
_STREAM = "waiting for its stream: "


class Covering(Protocol):
    """The stream that delivers a collection's changes."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def waits(self) -> str | None:
        """Why existing documents cannot be merged into it at present."""


class Streams(Protocol):
    """The running streams."""

    def covering(self, namespace: Namespace) -> Covering | None:
        """The stream that delivers a collection's changes; None if none does."""

    def since(self, namespace: Namespace) -> Timestamp | None:
        """The cluster time from which a collection's changes are delivered."""


class Backfills:
    """Runs the backfills of a relay, beside its streams.

    `client` reads the documents, in chunks of at most `max_bytes` bytes of BSON, as of `started` or later: the cluster
    time at which the relay started. Until a stream has passed that, it may repeat changes that an earlier process
    delivered; a receiver that drops those would keep an older document that was read between them. It is
    None, and no document is read, while such a process may still deliver. `pipelines` are those in use. `count`
    counts the documents that are done. `moved` and `stored` are for whoever stores the progress. A backfill of which
    every document has been read is no obstacle for the next one.
    """

    def __init__(
        self,
        store: StateStore,
        client: Any,
        config: Config,
        pipelines: Mapping[str, Pipeline],
        *,
        max_bytes: int,
        started: Timestamp | None,
        count: Callable[[int], None],
    ) -> None:
        self._store = store
        self._client = client
        self.config = config
        self._pipelines = pipelines
        self._max_bytes = max_bytes
        self.started = started
        self._count = count
        self._streams: Streams | None = None
        self._jobs: dict[str, BackfillJob] = {}
        self._homes: dict[str, StreamChunks] = {}
        self._stored: dict[str, BackfillProgress] = {}
        self._chunks: dict[str, StreamChunks] = {}
        self._narrowed = False
        self._looking = asyncio.Lock()
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the records cannot be followed at present; None if they can."""
        return self._problem

    @property
    def jobs(self) -> Sequence[BackfillJob]:
        """Those that are not over."""
        return list(self._jobs.values())

    def chunks(self, stream: str) -> StreamChunks:
        """The chunks that the stream with this name is to merge."""
        return self._chunks.setdefault(stream, StreamChunks(self._jobs))

    def moved(self) -> dict[str, BackfillProgress]:
        """Progress that is not stored yet, by id."""
        return {name: job.progress for name, job in self._jobs.items() if self._stored.get(name) is not job.progress}

    def stored(self, progress: Mapping[str, BackfillProgress]) -> None:
        """This progress has been stored."""
        self._stored.update(progress)

    def join(self, pipelines: Iterable[Pipeline]) -> None:
        """These pipelines will be used, too."""
        if self._narrowed:
            for pipeline in pipelines:
                narrow(pipeline)

    async def restart(self, streams: Collection[str], now: Timestamp) -> None:
        """These streams are read again from where they are done, since `now`: what is on its way in them is not done,
        and is to be read once more."""
        if self.started is not None:
            self.started = max(self.started, now)
        async with self._looking:
            homes = [home for name, home in self._chunks.items() if name in streams]
            for name in [name for name, home in self._homes.items() if home in homes]:
                self._forget(name)

    async def begin(self, streams: Streams) -> None:
        """Look at the records for the first time, before `streams` are read: a change among the first ones may end a
        backfill."""
        self._streams = streams
        await self._look()

    async def run(self) -> None:
        """Follow the records, forever."""
        while True:
            await asyncio.sleep(_LOOK)
            await self._look()

    async def _look(self) -> None:
        try:
            async with self._looking:
                await self._follow()
            self._problem = None
        except (StateError, SourceError) as error:
            if self._problem is None:
                log.warning("backfills cannot be followed at present", error=str(error))
            self._problem = str(error)

    async def _follow(self) -> None:
        # A failed one whose record does not say so any more, although that was stored before, is wanted again.
        ended = [name for name, job in self._jobs.items() if job.ended and self._stored.get(name) is job.progress]
        over = [name for name in ended if not self._jobs[name].in_flight]
        records = {record.id: record for record in await self._store.backfills(active=True)}
        for name in ended:
            if name not in over and name in records:
                self._jobs[name].resume()
        removed = [name for name, job in self._jobs.items() if name not in records and not job.ended]
        for name in {*over, *removed}:
            self._forget(name)
        active = [*(job.record for job in self._jobs.values()), *records.values()]
        self._narrow(any(record.step is not None for record in active))  # before any document of theirs is read
        for record in records.values():
            if record.id not in self._jobs:
                self._store.closed_gaps.add(record.origin)
                self._jobs[record.id] = await self._job(record)
            if (job := self._jobs[record.id]).ended:
                continue
            job.paused = record.wanted == "paused"
            if job.progress.state == "paused" and not job.paused:
                job.resume()
            if record.wanted == "cancelled":
                job.end("cancelled", "cancelled by the operator")
            else:
                self._place(job)
        for job in self.jobs:
            job.notice_sinks()
        for chunks in self._chunks.values():
            chunks.say_whose_turn()
            chunks.changed()

    async def _job(self, record: Backfill) -> BackfillJob:
        namespace = record.namespace
        facts, reason = None, None
        try:
            found = await matching(self._client, self.config, str(namespace))
            # A name may look like a glob.
            facts = next((each for each in found if each.namespace == namespace), None)
            reason = None if facts is None else why_not(facts)
        except LacksPrivilege as error:
            again = command(f"backfill resume {record.id}")
            reason = f"{self._not_permitted(error)}. Once that is fixed, {again} continues it"
        options = resolve(self.config, *namespace)
        if options is None:
            reason = "the config does not select the collection"
        elif problems := list(unfit(self.config, namespace, record)):  # the config may have changed
            again = command(f"backfill resume {record.id}")
            reason = f"{'; '.join(problems)}. Once that is fixed, {again} continues it"
        stages: list[dict[str, Any]] = []
        if options is not None and options.match:
            stages.append({"$match": parsed(options.match)})
        if record.match is not None:
            try:
                stages.append({"$match": parsed(checked(json.loads(record.match)))})
            except ValueError as error:  # somebody has edited it
                reason = f"its --match: {error}. Start another backfill"
        if options is not None:
            stages += without(options.exclude)
        if record.progress.estimated is None and facts is not None:
            record = replace(record, progress=replace(record.progress, estimated=facts.documents))
        job = BackfillJob(
            record,
            ExistingDocuments(
                self._client, namespace, record.id, stages=stages, clustered=facts is not None and facts.clustered
            ),
            average=None if facts is None else facts.average,
            max_bytes=self._max_bytes,
            since=partial(self._since, record),
            changed=partial(self._changed, record.id),
            count=self._count,
            not_permitted=self._not_permitted,
        )
        if reason is not None:
            job.end("failed", reason)
        return job

    def _not_permitted(self, error: Exception) -> str:
        return with_role(error, plan(self.config), self.config.state.database)

    def _place(self, job: BackfillJob) -> None:
        """Give a job to the stream that delivers its collection's changes; that may have become another one."""
        assert self._streams is not None
        stream = self._streams.covering(job.record.namespace)
        home = None
        if stream is None:
            job.wait_for(_STREAM + "no stream delivers its changes yet")
        elif stream.waits is not None:
            job.wait_for(_STREAM + stream.waits)
        else:
            home = self.chunks(stream.name)
            if job.paused:
                job.wait_for("paused by the operator")
        known = self._homes.get(job.record.id)
        if home is known:
            return
        if known is not None:
            known.jobs.remove(job)
            del self._homes[job.record.id]
        if home is not None:
            home.jobs.append(job)
            self._homes[job.record.id] = home

    def _forget(self, name: str) -> None:
        job = self._jobs.pop(name)
        self._stored.pop(name, None)
        if (home := self._homes.pop(name, None)) is not None:
            home.jobs.remove(job)

    def _since(self, record: Backfill) -> Timestamp | None:
        """The cluster time from which a backfill's documents may be read for the stream that it was given to; None if
        another one delivers the changes by now: what is not its own, a stream leaves out."""
        assert self._streams is not None
        stream, home = self._streams.covering(record.namespace), self._homes.get(record.id)
        if stream is None or stream.waits is not None or home is None or home is not self._chunks.get(stream.name):
            return None
        since = self._streams.since(record.namespace)
        return None if since is None or self.started is None else max(since, self.started)

    def _changed(self, name: str) -> None:
        if (home := self._homes.get(name)) is not None:
            home.changed()

    def _narrow(self, narrowed: bool) -> None:
        """While a backfill is for one step alone, let its documents bypass the others."""
        if narrowed == self._narrowed:
            return
        self._narrowed = narrowed
        for pipeline in self._pipelines.values():
            narrow(pipeline, narrowed=narrowed)
