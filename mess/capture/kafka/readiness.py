"""Checks whether Kafka can serve a worker, before it joins the group: for `mess check`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from mess.capture.kafka import settings
from mess.capture.kafka.admin import GroupAdmin, Terms
from mess.capture.kafka.missing import missing_topics
from mess.capture.preflight import Finding
from mess.config.model import KafkaSource
from mess.errors import ConfigError
from mess.options.kafka import hosts_of

_PAUSE = 0.2  # seconds


async def examine(source: KafkaSource, directory: Path, within: float) -> AsyncIterator[Finding]:
    """The findings about the brokers, the topics and the group; brokers have `within` seconds to answer. Raises
    ConfigError if the client library is missing or does not accept the settings."""
    settings.check(source, directory)
    for finding in await asyncio.to_thread(lambda: list(_findings(source, directory, within))):
        yield finding


def _findings(source: KafkaSource, directory: Path, within: float) -> Iterator[Finding]:
    kafka = settings.client()
    admin = GroupAdmin(source, settings.connection(source, directory))
    topics = None
    deadline = time.monotonic() + within
    while topics is None:
        try:
            topics = admin.topics()
        except kafka.KafkaException as error:
            admin.serve()
            if admin.trouble or time.monotonic() > deadline:
                yield Finding(False, admin.unreachable(error))
                return
    terms = _terms(admin, kafka)
    yield Finding(True, f"kafka at {hosts_of(source.url)} answers; {terms}")
    for topic in source.topics:
        yield _topic(topic, topics.get(topic))
    yield _group(source, admin, kafka, deadline)


def _group(source: KafkaSource, admin: GroupAdmin, kafka: Any, deadline: float) -> Finding:
    name = source.group
    while True:
        try:
            count = admin.members()
        except kafka.KafkaException as error:
            code = error.args[0].code()
            # A new cluster creates its topic of offsets only now.
            if code != kafka.KafkaError.GROUP_AUTHORIZATION_FAILED and time.monotonic() < deadline:
                time.sleep(_PAUSE)
                continue
            reason = error.args[0].str() or error.args[0].name()
            remedy = "allow this user to read the group"
            return Finding(False, f"group {name}: {reason}", remedy, exit_code=ConfigError.exit_code)
        members = f"{count} member{'' if count == 1 else 's'} now"
        return Finding(True, f"group {name} may be read, and has {members}; {_lag(source, admin, kafka)}")


def _lag(source: KafkaSource, admin: GroupAdmin, kafka: Any) -> str:
    try:
        behind = admin.behind()
    except kafka.KafkaException as error:
        return f"its offsets cannot be read: {error.args[0].str() or error.args[0].name()}"
    if behind is None:
        return f"it has no offsets yet, and will begin with `start: {source.start}`"
    return f"{behind:,} message{'' if behind == 1 else 's'} behind"


def _terms(admin: GroupAdmin, kafka: Any) -> str:
    try:
        terms: Terms = admin.terms()
    except kafka.KafkaException as error:
        return f"its configs cannot be read: {error.args[0].str()}"
    return f"group protocol {terms.protocol}, session timeout {terms.session:g} s"


def _topic(name: str, found: Any) -> Finding:
    if found is None or not found.partitions:
        text, remedy = missing_topics([name])
        why = "" if found is None or found.error is None else f": {found.error.str()}"
        return Finding(False, text + why, remedy)
    count = len(found.partitions)
    text = f"topic {name} has {count} partition{'' if count == 1 else 's'}"
    return Finding(True, f"{text}: that many workers can share it")
