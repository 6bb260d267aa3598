"""The parts of a relay that reads Kafka while it runs, made from its config. A reload changes them."""

from __future__ import annotations

import secrets
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from bson import Timestamp

from mess.capture.arrangement import StreamStart
from mess.capture.kafka import settings
from mess.capture.kafka.admin import WORKER, GroupAdmin, Terms
from mess.capture.kafka.consumer import GroupMember
from mess.capture.kafka.formats.decoder import decoder
from mess.capture.kafka.heartbeat import Heard
from mess.capture.kafka.partition import PartitionSource
from mess.capture.kafka.places import GroupOffset, PartitionKey, Start
from mess.capture.kafka.record import position
from mess.capture.kafka.session import Session
from mess.capture.plan import StreamPlan
from mess.capture.region import Region
from mess.capture.selection import Selection
from mess.config.load import Loaded
from mess.config.model import Config, KafkaSource
from mess.event import Namespace
from mess.relay.build import Steps
from mess.relay.core import RelayContext, RelayCore
from mess.relay.engine import Engine
from mess.relay.kafka.group import KafkaGroup
from mess.relay.kafka.group_watch import GroupWatch
from mess.relay.kafka.offsets import OffsetCommits
from mess.relay.kafka.streams import KafkaStreams
from mess.relay.pauses import Pauses
from mess.relay.router import Claim
from mess.relay.runner import StreamRunner
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

T = TypeVar("T")

_ALWAYS = Timestamp(0, 1)


class Worker(RelayCore):
    """A member of a consumer group, with its streams and pipelines, and what runs beside them.

    It has no positions of its own: the group's offsets are its progress. Its store keeps dead letters, gaps and pauses.
    """

    backfills = None
    oplog = None
    lease_client = None
    plans: Sequence[StreamPlan] = ()

    def __init__(self, loaded: Loaded, source: KafkaSource, context: RelayContext) -> None:
        super().__init__(loaded, context)
        self.source = source
        self.client_id = WORKER + secrets.token_hex(6)
        self._decoder = decoder(self.source.format)
        self.streams: KafkaStreams
        self.member: GroupMember
        self.checkpointer: OffsetCommits
        self.session: Session
        self.watch: GroupWatch
        self.engine: Engine

    @property
    def runners(self) -> Sequence[StreamRunner]:
        """The runners of the streams."""
        return self.streams.runners

    async def begin(self, steps: Steps) -> None:
        """Make all parts. Raises ConfigError, StateError."""
        config, source = self.config, self.source
        await self.store.gaps()
        self._assemble(steps, self.store)
        self.pauses = Pauses(self.store, self)
        self.streams = KafkaStreams(
            self._open,
            self.store,
            grace=lambda: min(self.config.shutdown_grace, source.session_timeout / 3),
            go_on=lambda: self.config.on_history_lost != "stop",
            affected=lambda: [region.text for region in self._regions()],
            share_out=self._share_out,
        )
        self.admin = GroupAdmin(source, settings.connection(source, self.loaded.directory), client_id=self.client_id)
        self.member = GroupMember(
            source, self.admin, self._settings, Listening(self), fence=lambda: self.session.fence()
        )
        self.checkpointer = OffsetCommits(
            self.member, self.streams, self.store, interval=config.checkpoint.interval, stopping=self.stopping
        )
        self.session = Session(self.leadership, source.session_timeout, self.checkpointer.prove)
        self.watch = GroupWatch(
            source,
            self.admin,
            lambda: self.streams.partitions,
            heard_at=lambda: self.session.heard_at,
            trouble=lambda: self.streams.problem,
            idle=self.streams.idle,
        )
        await self.pauses.begin()
        self.engine = Engine(
            self.parts.pipelines, self.checkpointer, self.stopping, grace=lambda: self.config.shutdown_grace
        )

    async def run(self) -> None:
        """Join the group, and deliver until it is to stop; then leave the group."""
        self.member.join()
        try:
            await self.engine.run(self.streams)
        finally:
            await self.member.close()

    @property
    def group(self) -> KafkaGroup:
        """What operators see of the group."""
        return self.watch.group

    def tasks(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What is to run beside the engine."""
        return self._prune(), self.pauses.run(), self.stored.run(), self.watch.run()

    def planned(self, config: Config) -> list[StreamPlan]:
        """None: a config never changes partitions."""
        return []

    def put_in_force(self, loaded: Loaded) -> None:
        """See `mess.relay.running.Running`."""
        self.loaded = loaded
        self.checkpointer.interval = loaded.config.checkpoint.interval

    def _settings(self, protocol: settings.Protocol) -> dict[str, Any]:
        share = self._share
        options = settings.consumer_settings(
            self.source, self.loaded.directory, protocol, max_bytes=share.reply_bytes, records=share.reply_events
        )
        # Kafka's own tools show it. Its id in the group is not used: asking librdkafka for it may block the process.
        return {**options, "client.id": self.client_id}

    def _open(self, start: Start) -> tuple[PartitionSource, StreamRunner]:
        source = PartitionSource(start, self._decoder, self.member.backpressure.used)
        nowhere = StreamPlan(
            name=source.name,
            database=None,
            selection=Selection(()),
            match=None,
            full_document="off",
            full_document_before_change="off",
        )
        place = StreamStart(nowhere, position(*start.key, start.offset))
        runner = self.parts.runner(source, place, Claim(self._since, self._since, self._regions), self._share)
        runner.hold(held=self.pauses.of_stream(source.name) is not None)
        return source, runner

    def _since(self, namespace: Namespace) -> Timestamp | None:
        return _ALWAYS

    def _regions(self) -> list[Region]:
        return [
            Region.of(db, coll)
            for db, database in self.config.databases.items()
            for coll in database.collections or ("*",)
        ]

    def _share_out(self, partitions: int) -> None:
        super()._share_out(partitions)
        backpressure = self.member.backpressure
        backpressure.max_records, backpressure.max_bytes = self._share.reply_events, self._share.reply_bytes


class Listening:
    """What a worker's consumer group tells it: to its streams, and to its session."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        streams = worker.streams
        self.assigned, self.expired = streams.assigned, streams.expired
        self.received, self.reached = streams.received, streams.reached
        self.trouble, self.failed = streams.trouble, streams.failed

    @property
    def patience(self) -> float:
        return self._worker.streams.patience

    def revoked(self, keys: Any) -> Coroutine[Any, Any, Mapping[PartitionKey, GroupOffset]]:
        return self._then_release(self._worker.streams.revoked(keys))

    def lost(self, keys: Any) -> Coroutine[Any, Any, None]:
        return self._then_release(self._worker.streams.lost(keys))

    async def _then_release(self, work: Coroutine[Any, Any, T]) -> T:
        found = await work
        self._worker.session.release()
        return found

    def heard(self, heard: Heard, statistics: Mapping[str, Any]) -> None:
        self._worker.session.heard(heard)
        self._worker.watch.heard(statistics)

    def joining(self, terms: Terms) -> None:
        self._worker.session.timeout = terms.session
        self._worker.watch.joining(terms.protocol)
        source = self._worker.source
        log.info(
            "joining the consumer group",
            group=source.group,
            topics=list(source.topics),
            protocol=terms.protocol,
            session_timeout=f"{terms.session:g}s",
            **({} if terms.known else {"note": "the brokers do not let this user see their configs"}),
        )
