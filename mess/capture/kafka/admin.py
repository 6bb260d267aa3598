"""Questions about a consumer group and its brokers. All of them block."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mess.capture.kafka.settings import LOG, PLACE, Protocol, client, protocol
from mess.config.model import KafkaSource
from mess.errors import ConfigError, Problem
from mess.options.kafka import hosts_of
from mess.steps.queue.kafka_unreachable import kafka_unreachable

WORKER = "mess-"
"""What the client ids of workers begin with."""
_ASK_SECONDS = 5.0
_PROTOCOL = f"{PLACE}.config.group.protocol"
_DEFAULT_SESSION = 45.0
_NO_ID = "A" * 22  # 16 zero bytes in Base64


class Terms(NamedTuple):
    """What the brokers offer a member: the `protocol`, and after how many seconds without a heartbeat its `session`
    ends. `known` is whether they say."""

    protocol: Protocol
    session: float
    known: bool = True


class GroupAdmin:
    """Asks about the `source`'s group, connected with these `settings`. Every method raises KafkaException."""

    def __init__(self, source: KafkaSource, settings: Mapping[str, Any], *, client_id: str = "mess") -> None:
        self._kafka = client()
        self._source = source
        own = ("security.", "sasl.", "ssl.", "socket.", "enable.ssl.")
        self._settings = {
            **settings,
            **{name: each for name, each in source.config.items() if name.startswith(own)},
            "error_cb": self._on_error,
        }
        self._client: Any = None
        self.client_id = client_id
        self.member: str | None = None
        """The id in the group of the member with this `client_id`; None until `members` was called."""
        self.present = False
        """Whether the group had a member with this `client_id` when `members` was called."""
        self.partitions: int | None = None
        """How many partitions the topics have together; None until `members` was called."""
        self.missing: Sequence[str] = ()
        """The topics that did not exist, or that this user may not see, when `members` was called."""
        self.strangers: Sequence[str] = ()
        """Members that are not workers, when `members` was called: another program reads with this group."""
        self.topic_ids: Mapping[str, str] = {}
        """The topics' ids when `members` or `ids` was called; without those that brokers before 2.8 do not have."""
        self.cluster_id = ""
        """The cluster's id; empty until `ids` was called."""
        self.trouble: str | None = None
        """Why a connection last failed, as the client says it."""

    @property
    def _admin(self) -> Any:
        found = self._client  # another thread may discard it
        if found is None:
            found = self._client = self._kafka.admin.AdminClient(self._settings, logger=LOG)
        return found

    def serve(self) -> None:
        """Find out about `trouble` that there has been."""
        self._admin.poll(0)

    def topics(self) -> Mapping[str, Any]:
        """The brokers' topics by name, with their partitions."""
        found: Mapping[str, Any] = self._admin.list_topics(timeout=_ASK_SECONDS).topics
        return found

    def unreachable(self, error: Any) -> str:
        """Why no broker could be asked, and the remedy; `error` is the KafkaException, which mostly says less."""
        self.serve()
        return self.away(self.trouble or error.args[0].str())

    def away(self, reason: str) -> str:
        """That the brokers cannot be reached for this reason, and the remedy."""
        return str(kafka_unreachable(hosts_of(self._source.url), reason))

    def _on_error(self, error: Any) -> None:
        if error.code() != self._kafka.KafkaError._ALL_BROKERS_DOWN:  # which does not say why
            self.trouble = error.str()

    def numbers(self, topic: str) -> Collection[int]:
        """The numbers of a topic's partitions."""
        found: Mapping[int, Any] = self._admin.list_topics(topic, timeout=_ASK_SECONDS).topics[topic].partitions
        return found.keys()

    def ids(self, topics: Iterable[str]) -> Mapping[str, str]:
        """The ids of those topics that exist, empty where brokers have none. Every topic has another, even one that has
        replaced one with its name."""
        wanted = list(topics)
        if not self.cluster_id and wanted:
            self.cluster_id = str(self._admin.list_topics(wanted[0], timeout=_ASK_SECONDS).cluster_id or "")
        names = self._kafka.TopicCollection(wanted)
        found: dict[str, str] = {}
        for name, asked in self._admin.describe_topics(names, request_timeout=_ASK_SECONDS).items():
            try:
                topic_id = str(self._answer(asked).topic_id)
            except self._kafka.KafkaException as error:
                if error.args[0].code() != self._kafka.KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
            else:
                found[name] = "" if topic_id == _NO_ID else topic_id
        self.topic_ids = {**self.topic_ids, **{name: each for name, each in found.items() if each}}
        return found

    def members(self) -> int:
        """How many members the group has."""
        topics = self.topics()
        self.partitions = sum(len(topics[name].partitions) for name in self._source.topics if name in topics)
        self.missing = [name for name in self._source.topics if name not in topics or not topics[name].partitions]
        if existing := [name for name in self._source.topics if name not in self.missing]:
            self.ids(existing)
        found = self._admin.describe_consumer_groups([self._source.group], request_timeout=_ASK_SECONDS)
        members = self._answer(found[self._source.group]).members
        own = next((each.member_id for each in members if each.client_id == self.client_id), None)
        self.present = own is not None
        self.member = own or self.member
        self.strangers = sorted(
            {
                f"{each.client_id} at {each.host.lstrip('/')}"
                for each in members
                if not each.client_id.startswith(WORKER)
            }
        )
        return len(members)

    def behind(self) -> int | None:
        """How many messages lie between the group's offsets and the partitions' ends, without partitions that it has no
        offset for; None if it has none at all."""
        found, topics = self._kafka.TopicPartition, self.topics()
        partitions = [
            found(name, number) for name in self._source.topics if name in topics for number in topics[name].partitions
        ]
        if not partitions:
            return None
        asked = self._kafka.ConsumerGroupTopicPartitions(self._source.group, partitions)
        answer = self._admin.list_consumer_group_offsets([asked], request_timeout=_ASK_SECONDS)
        committed = self._answer(answer[self._source.group]).topic_partitions
        offsets: dict[tuple[str, int], int] = {
            (each.topic, each.partition): each.offset for each in committed if each.offset >= 0
        }
        if not offsets:
            return None
        latest = self._kafka.admin.OffsetSpec.latest()
        ends = self._admin.list_offsets({found(*key): latest for key in offsets}, request_timeout=_ASK_SECONDS)
        newest = {(key.topic, key.partition): int(self._answer(end).offset) for key, end in ends.items()}
        return sum(max(0, newest[key] - offset) for key, offset in offsets.items())

    def terms(self) -> Terms:
        """The terms for a member: the newer protocol if the brokers have it and the config does not ask for another.

        Under that one, the session's length is up to the brokers. Where this user may not see their configs, it is the
        older one, which all have. Raises ConfigError if the config asks for a protocol that the brokers do not have.
        """
        wanted = protocol(self._source)
        if wanted == "classic":
            return Terms("classic", self._source.session_timeout)
        brokers = self._admin.list_topics(timeout=_ASK_SECONDS).brokers
        kinds = self._kafka.admin.ResourceType
        try:
            broker = self._configs(kinds.BROKER, str(next(iter(brokers))))
        except self._kafka.KafkaException as error:
            if error.args[0].code() != self._kafka.KafkaError.CLUSTER_AUTHORIZATION_FAILED:
                raise
            return Terms(wanted or "classic", min(self._source.session_timeout, _DEFAULT_SESSION), known=False)
        offered = broker.get("group.coordinator.rebalance.protocols", wanted or "classic")
        if "consumer" not in offered.split(","):
            if wanted == "consumer":  # librdkafka would wait without a word
                remedy = "leave it out, or set group.coordinator.rebalance.protocols there"
                raise ConfigError([Problem(f"the brokers do not have this protocol; {remedy}", _PROTOCOL)])
            return Terms("classic", self._source.session_timeout)
        session = broker.get("group.consumer.session.timeout.ms")
        # A group has no configs before Kafka 4.0, or this user may not see them.
        with contextlib.suppress(self._kafka.KafkaException):
            session = self._configs(kinds.GROUP, self._source.group).get("consumer.session.timeout.ms", session)
        if session is None:
            return Terms("consumer", min(self._source.session_timeout, _DEFAULT_SESSION), known=False)
        return Terms("consumer", int(session) / 1000)

    def _configs(self, kind: Any, name: str) -> dict[str, str]:
        resource = self._kafka.admin.ConfigResource(kind, name)
        found = self._answer(self._admin.describe_configs([resource], request_timeout=_ASK_SECONDS)[resource])
        return {entry.name: entry.value for entry in found.values() if entry.value is not None}

    def _answer(self, asked: Any) -> Any:
        try:
            return asked.result(_ASK_SECONDS + 1)
        except Exception as error:
            if isinstance(error, self._kafka.KafkaException) and error.args[0].code() > 0:
                raise  # a broker has answered
            # A late answer to a request that has timed out may abort the process, and later requests may never be
            # answered (https://github.com/confluentinc/librdkafka/issues/4605). Another client does not have it.
            self._client = None
            if isinstance(error, TimeoutError):
                kinds = self._kafka.KafkaError
                raise self._kafka.KafkaException(kinds(kinds._TIMED_OUT)) from error
            raise
