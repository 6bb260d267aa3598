"""Relays that do not exist, as the admin API would describe them: idle, busy, in trouble, with 200 collections."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from mess.admin.api import models as m

SCENARIOS = (
    "empty",
    "busy",
    "failing",
    "many",
    "paused",
    "disconnected",
    "hostile",
    "active",
    "standby",
    "kafka-worker",
)
HOSTILE = '<img src=x onerror="alert(1)">\u202egnp.exe</script>{{7*7}}\x07'


def now() -> datetime:
    return datetime.now(timezone.utc)


def ago(seconds: float) -> datetime:
    return now() - timedelta(seconds=seconds)


def wait(events: int, **given: Any) -> m.Wait:
    """A wait for a receiver that answers 503."""
    return m.Wait(
        cause="hooks.example.com answers 503",
        since=ago(252),
        events=events,
        oldest=m.OldestEvent(id="msg_FHZ4Q2N7", namespace="shop.orders", age_seconds=251.0),
        next_attempt_seconds=4.2,
        remedy="fix the receiver, or pause the step",
        text="waits since 4 min for hooks.example.com, which answers 503 Service Unavailable; "
        f"{events} events wait, the oldest is msg_FHZ4Q2N7 of shop.orders (4 min 11 s old); next attempt in 4 s; "
        "fix the receiver: everything is sent as soon as it answers",
    ).model_copy(update=given)


def pause(reason: str | None = "receiver is being migrated") -> m.Pause:
    return m.Pause(since=ago(1860), by="mia@ops-1", reason=reason)


def step(name: str, kind: str, about: str, **given: Any) -> m.Step:
    fields: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "about": about,
        "sink": kind in ("http", "queue"),
        "state": "up",
        "delivered": 0,
        "dropped": 0,
        "failed": 0,
        "retried": 0,
        "dead_letters": 0,
        "attempts": 0,
        "seconds": 0.0,
        "pause": None,
        "wait": None,
    }
    return m.Step(**{**fields, **given})


def stream(name: str, pipelines: list[str], **given: Any) -> m.Stream:
    fields: dict[str, Any] = {
        "name": name,
        "state": "reading",
        "problem": None,
        "watches": [name],
        "pipelines": pipelines,
        "read": 0,
        "lag_seconds": 0.08,
        "window_events": 0,
        "window_max_events": 3333,
        "window_bytes": 0,
        "window_max_bytes": 4 << 20,
        "checkpoint_age_seconds": 0.7,
        "oplog_headroom_seconds": 93_600.0,
        "pause": None,
        "wait": None,
    }
    return m.Stream(**{**fields, **given})


def pipeline(name: str, streams: list[str], steps: list[m.Step], **given: Any) -> m.Pipeline:
    fields: dict[str, Any] = {"state": "flowing", "done": 0, "waiting_events": 0, "pause": None, "wait": None}
    return m.Pipeline(name=name, streams=streams, steps=steps, **{**fields, **given})


def group() -> m.KafkaGroup:
    """Four of twelve partitions."""
    assigned = [
        m.KafkaPartition(
            topic="changes.shop", partition=number, lag=30 * number, committed=8_000, end=8_000 + 30 * number
        )
        for number in (0, 3, 6, 9)
    ]
    return m.KafkaGroup(
        name="webhooks",
        protocol="consumer",
        member="ops-1-4711",
        state="up",
        topics=["changes.shop"],
        members=3,
        partitions=12,
        lag=sum(each.lag or 0 for each in assigned),
        heartbeat_age_seconds=1.2,
        rebalances=2,
        assigned=assigned,
    )


class World:
    """A relay whose counts grow with the time, at the rates of its scenario."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.began = time.time() - 5000
        self.reload: m.Reload | None = None
        self.pauses: list[m.Paused] = []
        self.access = m.Access(documents=True, changes=True, payloads=True, why=None)
        self.letters: int | None = {"failing": 128, "hostile": 3}.get(scenario, 0)
        self.name = HOSTILE if scenario == "hostile" else "shop-relay"

    def status(self) -> m.Status:
        streams, pipelines = self._parts()
        problems = [f"{each.name}: {each.problem}" for each in streams if each.problem]
        waits = [each.wait.text for each in pipelines if each.wait]
        return m.Status(
            time=now(),
            name=self.name,
            version="0.1.0",
            instance=m.Instance(id="i-7f3a", host="ops-1", pid=4711),
            role=self._role(),
            group=group() if self.scenario == "kafka-worker" else None,
            uptime_seconds=time.time() - self.began,
            ready=not problems,
            problems=problems,
            warnings=waits[:3],
            done=sum(each.done for each in pipelines),
            access=self.access,
            streams=[self._paused(each, stream=each.name) for each in streams],
            pipelines=[self._with_pauses(each) for each in pipelines],
            oplog_seconds=97_200.0,
            dead_letters=self.letters,
            gaps=1 if self.scenario == "failing" else 0,
            backfills=2 if self.scenario in ("busy", "failing") else 0,
            last_reload=self.reload,
        )

    def _role(self) -> m.Role | None:
        if self.scenario not in ("active", "standby"):
            return None
        one, other = m.Instance(id="i-7f3a", host="ops-1", pid=4711), m.Instance(id="i-09c2", host="ops-2", pid=815)
        stands_by = self.scenario == "standby"
        active = m.ActiveProcess(**(other if stands_by else one).model_dump(), since=ago(7300))
        return m.Role(
            name="standby" if stands_by else "active",
            since=ago(7300),
            lease_seconds=30.0,
            epoch=0 if stands_by else 7,
            active=active,
        )

    def _with_pauses(self, each: m.Pipeline) -> m.Pipeline:
        steps = [self._paused(inner, pipeline=each.name, step=inner.name) for inner in each.steps]
        return self._paused(each.model_copy(update={"steps": steps}), pipeline=each.name)

    def _paused(self, part: Any, **target: str) -> Any:
        for each in self.pauses:
            if each.target == m.Target(**target):
                return part.model_copy(update={"state": "paused", "pause": each.pause})
        return part

    def count(self, per_second: float) -> int:
        return int((time.time() - self.began) * per_second)

    def _steps(self, rate: float, **given: Any) -> list[m.Step]:
        done = self.count(rate)
        calls = {"attempts": done // 40, "seconds": done * 0.0004}
        sink = {"delivered": done, "attempts": done // 20, "seconds": done * 0.0021, **given}
        return [
            step("filter", "filter", "keeps what matches fullDocument.total >= 100", delivered=done, **calls),
            step("field-map", "field-map", "order, total, customer", delivered=done, **calls),
            step("http", "http", "POST https://hooks.example.com/orders", **sink),
        ]

    def _parts(self) -> tuple[list[m.Stream], list[m.Pipeline]]:
        if self.scenario == "empty":
            log = step("log", "log", "writes each event to the log")
            http = step("http", "http", "POST https://hooks.example.com/")
            return [stream("shop", ["top level"])], [pipeline("top level", ["shop"], [log, http])]
        if self.scenario == "many":
            return self._many()
        if self.scenario == "standby":
            return [], []
        if self.scenario == "kafka-worker":
            names = [f"{each.topic}[{each.partition}]" for each in group().assigned]
            parts = [stream(name, ["shop.orders"], read=self.count(310), oplog_headroom_seconds=None) for name in names]
            done = self.count(1240)
            return parts, [pipeline("shop.orders", names, self._steps(1240), done=done, waiting_events=41)]
        return self._shop()

    def _shop(self) -> tuple[list[m.Stream], list[m.Pipeline]]:
        failing = self.scenario == "failing"
        name = HOSTILE if self.scenario == "hostile" else "shop.orders"
        kafka = step(
            "events", "queue", "kafka://broker-1:9092, topic shop", delivered=self.count(640), attempts=900, seconds=4.0
        )
        log = step("log", "log", "writes each event to the log", delivered=self.count(3.5), attempts=90, seconds=0.2)
        bad = {
            "state": "down",
            "failed": self.count(3),
            "retried": self.count(3),
            "dead_letters": 128,
            "wait": wait(3333),
        }
        streams = [
            stream("shop", [name, "shop.customers"], read=self.count(1880)),
            stream("audit", ["audit"], read=self.count(3.5), lag_seconds=0.4, oplog_headroom_seconds=97_000.0),
        ]
        orders = pipeline(name, ["shop"], self._steps(1240), done=self.count(1240), waiting_events=41)
        others = [
            pipeline("shop.customers", ["shop"], [kafka], done=self.count(640), waiting_events=12),
            pipeline("audit", ["audit"], [log], done=self.count(3.5)),
        ]
        if failing:
            update = {"state": "blocked", "read": 812_331, "lag_seconds": 251.0, "window_events": 3333}
            update |= {"window_bytes": 2_900_000, "oplog_headroom_seconds": 2400.0, "wait": wait(3333)}
            streams[0] = streams[0].model_copy(update=update)
            done = {"done": 808_998, "waiting_events": 3333, "state": "waiting", "wait": wait(3333)}
            steps = self._steps(0, **bad)
            orders = orders.model_copy(update={**done, "steps": steps})
        if self.scenario == "paused":
            orders = orders.model_copy(update={"state": "paused", "pause": pause(), "done": 808_998})
        if self.scenario == "disconnected":
            problem = "cannot reach mongo-1:27017: connection refused; tries again in 8 s"
            update = {"state": "disconnected", "problem": problem, "lag_seconds": None, "oplog_headroom_seconds": None}
            streams = [each.model_copy(update=update) for each in streams]
        return streams, [orders, *others]

    def _many(self) -> tuple[list[m.Stream], list[m.Pipeline]]:
        names = [f"tenant_{number:03}.orders" for number in range(200)]
        pipelines = []
        for number, name in enumerate(names):
            rate = (number * 37 % 90) / 3
            steps, given = self._steps(rate), {}
            if number % 67 == 5:
                steps = self._steps(0, state="down", wait=wait(80), failed=40, retried=39)
                given = {"state": "waiting", "wait": wait(80), "waiting_events": 80}
            if number == 111:
                given = {"state": "paused", "pause": pause()}
            stream_name = f"tenants-{number % 4}"
            pipelines.append(pipeline(name, [stream_name], steps, **{"done": self.count(rate), **given}))
        streams = [
            stream(f"tenants-{index}", names[index::4], read=self.count(740), watches=names[index::4])
            for index in range(4)
        ]
        return streams, pipelines
