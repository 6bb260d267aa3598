"""What `mess status` and `mess top` draw."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from rich.console import Console

from mess.cli.screen import screen

NOW = datetime(2026, 7, 1, tzinfo=timezone.utc)


def wait(text: str, events: int, age: float) -> dict[str, Any]:
    return {"text": text, "events": events, "oldest": {"id": "msg_A", "namespace": "shop.a", "age_seconds": age}}


def pipeline(name: str, *, done: int = 0, waits: dict[str, Any] | None = None) -> dict[str, Any]:
    step = {"name": "http", "state": "up" if waits is None else "down", "delivered": done, "failed": 0}
    return {
        "name": name,
        "state": "flowing" if waits is None else "waiting",
        "waiting_events": 0 if waits is None else waits["events"],
        "done": done,
        "wait": waits,
        "steps": [{**step, "dead_letters": 0, "wait": waits}],
    }


def status(*pipelines: dict[str, Any], seconds: float = 0, read: int = 0, **more: Any) -> dict[str, Any]:
    """An answer of `/api/v1/status`, so many seconds after the first one."""
    stream = {"name": "shop", "state": "reading", "lag_seconds": 1.5, "window_events": 12, "read": read, "wait": None}
    return {
        "time": (NOW + timedelta(seconds=seconds)).isoformat(),
        "name": "mess",
        "version": "1.0",
        "instance": {"pid": 1, "host": "here"},
        "uptime_seconds": 100.0,
        "ready": True,
        "problems": [],
        "warnings": [],
        "streams": [{**stream, "oplog_headroom_seconds": 3600.0}],
        "pipelines": list(pipelines),
        "dead_letters": 3,
        "gaps": 1,
        "backfills": 0,
        "oplog_seconds": 7200.0,
        **more,
    }


def drawn(*answers: dict[str, Any], width: int = 80, rows: int | None = None) -> list[str]:
    """The lines on a screen of that width."""
    console = Console(width=width, highlight=False)
    with console.capture() as got:
        console.print(screen(*answers, rows=rows))
    return got.get().splitlines()


def row(lines: list[str], name: str, state: str) -> list[str]:
    """The words of the line about something in this state."""
    return next(words for line in lines if (words := line.split())[:2] == [name, state])


def test_rates_come_from_two_looks() -> None:
    """Of streams as of pipelines; a single look has none."""
    before = status(pipeline("shop", done=100), read=1000)
    now = status(pipeline("shop", done=300), seconds=2, read=1100)
    lines = drawn(now, before)
    assert row(lines, "shop", "reading")[2:] == ["2", "s", "12", "50", "60", "min"]
    assert row(lines, "shop", "flowing")[2:] == ["0", "100", "300"]
    assert row(drawn(now), "shop", "flowing")[2:] == ["0", "300"]


def test_what_waits_longest_comes_first_and_is_explained() -> None:
    """Of many pipelines only those fit that matter; the sentence appears once."""
    text = "step http of pipeline slow: the sink is down"
    idle = [pipeline(f"p{number}", done=number) for number in range(200)]
    slow, slower = pipeline("slow", waits=wait(text, 9, 60)), pipeline("slower", waits=wait("slower waits", 1, 600))
    lines = drawn(status(*idle, slow, slower), rows=10)
    names = [words[0] for line in lines if (words := line.split())[1:2] in (["flowing"], ["waiting"])]
    assert names == ["slower", "slow", "p199", "p198", "p197"]
    assert "and 197 more" in "\n".join(lines)
    assert "\n".join(lines).count(text) == 1


def test_80_columns_are_enough() -> None:
    """Long names are folded, and nothing is cut."""
    name = "a-database-with-a-long-name.a-collection-with-a-long-name"
    text = "step http of pipeline x: the sink is down: " + "because " * 30
    warning = "stream shop is near the end of the oplog"
    answer = status(pipeline(name, done=10**9, waits=wait(text, 10**6, 60)), warnings=[warning, text])
    lines = drawn(answer)
    assert max(map(len, lines)) <= 80
    begin = next(number for number, line in enumerate(lines) if line.startswith("pipeline"))
    column = lines[begin].index("state")
    folded = [line[:column].strip() for line in lines[begin + 1 :]]
    assert "".join(folded[: folded.index("http")]) == name
    assert "…" not in "\n".join(lines)
    assert " ".join(lines).count("because because") <= 16
    assert f"warning: {warning}" in lines


def test_why_it_is_not_ready() -> None:
    lines = drawn(status(pipeline("shop"), ready=False, problems=["stream shop: connection refused"]))
    assert "not ready: stream shop: connection refused" in lines
    assert "ready" not in lines


ROLE = {"since": NOW.isoformat(), "lease_seconds": 30.0, "epoch": 7}
ACTIVE = {"id": "a", "host": "ops-1", "pid": 4711, "since": NOW.isoformat()}


def test_which_process_is_active() -> None:
    """On a standby, nothing else is there to see; the active one says under which epoch it delivers."""
    lines = drawn(status(pipeline("shop"), role={**ROLE, "name": "active", "active": ACTIVE}))
    assert "active since 2026-07-01 00:00:00 UTC (epoch 7, lease 30 s)" in lines
    assert row(lines, "shop", "reading")
    standby: dict[str, Any] = {
        "role": {**ROLE, "name": "standby", "epoch": 0, "active": ACTIVE},
        "streams": [],
        "dead_letters": None,
    }
    text = " ".join(" ".join(drawn(status(**standby))).split())
    assert (
        "standby since 2026-07-01 00:00:00 UTC; active: process 4711 at ops-1, since 2026-07-01 00:00:00 UTC. "
        "Takes over 30 s after its last sign of life"
    ) in text
    assert not {"pipeline", "stream", "letters:"} & set(text.split())
    standby["role"] |= {"active": None}
    assert "no process is known to be active" in " ".join(drawn(status(**standby)))


def test_a_kafka_worker_shows_its_share_of_the_group() -> None:
    """The partitions are its streams, each with the messages that are left."""
    group = {"name": "webhooks", "members": 3, "partitions": 12, "lag": 120}
    assigned = [{"topic": "shop", "partition": 3, "lag": 120}]
    answer = status(pipeline("shop"), group={**group, "assigned": assigned})
    answer["streams"][0]["name"] = "shop[3]"
    lines = drawn(answer)
    assert "group webhooks: 3 members, 1 of 12 partitions, lag 120" in lines
    assert row(lines, "shop[3]", "reading")[-1] == "120"
    unknown = {**group, "members": None, "partitions": None, "lag": None, "assigned": assigned}
    assert "group webhooks: 1 partition" in drawn(status(pipeline("shop"), group=unknown))


def test_a_relay_of_an_earlier_version_is_shown_too() -> None:
    """It answers without role and group: the command may be newer."""
    answer = status(pipeline("shop"))
    assert not {"role", "group"} & answer.keys()
    assert "ready" in drawn(answer)
