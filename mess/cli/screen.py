"""The relay at a glance, on a terminal: what `mess status` prints and `mess top` repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mess.telemetry.printable import printable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

Answer = Mapping[str, Any]
"""The answer of `/api/v1/status`."""

_STYLES = {
    "reading": "green",
    "flowing": "green",
    "up": "green",
    "paused": "yellow",
    "waiting": "yellow",
    "catching_up": "yellow",
    "blocked": "red",
    "down": "red",
    "disconnected": "red",
    "stopped": "red",
}


class Rates:
    """How many events a second are read and done, from two answers; None from a single one."""

    def __init__(self, now: Answer, before: Answer | None) -> None:
        self._before = before
        self._seconds = 0.0
        if before is not None:
            passed = datetime.fromisoformat(now["time"]) - datetime.fromisoformat(before["time"])
            self._seconds = passed.total_seconds()

    def of(self, kind: str, each: Answer, count: str) -> float | None:
        """The rate of a stream or a pipeline."""
        if self._before is None or self._seconds <= 0:
            return None
        same = next((other for other in self._before[kind] if other["name"] == each["name"]), None)
        return None if same is None else max(0, each[count] - same[count]) / self._seconds


def screen(now: Answer, before: Answer | None = None, *, rows: int | None = None) -> Group:
    """What the relay does. Rates need an answer from `before`. With `rows`, only so many pipelines, those that wait
    longest first."""
    from rich.console import Group

    rates = Rates(now, before)
    if _stands_by(now):
        return Group(*_head(now))
    parts: list[Any] = [*_head(now), _streams(now, rates), "", _pipelines(now, rates, rows)]
    if texts := list(dict.fromkeys(_sentences(now))):
        parts.append(_plain("\nWhy it waits", style="bold"))
        parts += [_plain(f"- {text}") for text in texts]
    parts.append(_plain("\n" + _foot(now)))
    return Group(*parts)


def _head(now: Answer) -> Iterator[Text]:
    instance = now["instance"]
    yield _plain(
        f"relay {now['name']}, MESS {now['version']}, process {instance['pid']} at {instance['host']}, running for "
        f"{_spoken(now['uptime_seconds'])}"
    )
    if now["ready"]:
        yield _plain("ready", style="bold green")
    # An older relay says neither.
    if (role := now.get("role")) is not None:
        yield _plain(_role(role))
    if (group := now.get("group")) is not None:
        yield _plain(_group(group))
    for problem in now["problems"]:
        yield _plain(f"not ready: {problem}", style="bold red")
    told = set(_sentences(now))
    for warning in now["warnings"]:
        if warning not in told:
            yield _plain(f"warning: {warning}", style="yellow")
    yield _plain("")


def _stands_by(now: Answer) -> bool:
    role = now.get("role")
    return role is not None and role["name"] == "standby"


def _role(role: Answer) -> str:
    since, lease, active = _time(role["since"]), _spoken(role["lease_seconds"]), role["active"]
    if role["name"] == "active":
        return f"active since {since} (epoch {role['epoch']}, lease {lease})"
    if active is None:
        return f"standby since {since}; no process is known to be active"
    began = f", since {_time(active['since'])}" if active["since"] is not None else ""
    return (
        f"standby since {since}; active: process {active['pid']} at {active['host']}{began}. Takes over {lease} after "
        "its last sign of life"
    )


def _group(group: Answer) -> str:
    assigned, members, lag = len(group["assigned"]), group["members"], group["lag"]
    parts = [
        None if members is None else _counted(members, "member"),
        _counted(assigned, "partition")
        if group["partitions"] is None
        else f"{assigned:,} of {_counted(group['partitions'], 'partition')}",
        None if lag is None else f"lag {lag:,}",
    ]
    return f"group {group['name']}: " + ", ".join(part for part in parts if part is not None)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _streams(now: Answer, rates: Rates) -> Table:
    group = now.get("group")
    if group is not None:
        return _partitions(now, group, rates)
    table = _table("stream", "state", "lag", "in flight", "events/s", "oplog ahead")
    for stream in now["streams"]:
        table.add_row(
            _plain(stream["name"]),
            _state(stream["state"]),
            _seconds(stream["lag_seconds"]),
            f"{stream['window_events']:,}",
            _rate(rates.of("streams", stream, "read")),
            _seconds(stream["oplog_headroom_seconds"]),
        )
    return table


def _partitions(now: Answer, group: Answer, rates: Rates) -> Table:
    """Partitions, which are streams, with the messages that are left in each."""
    lags = {f"{each['topic']}[{each['partition']}]": each["lag"] for each in group["assigned"]}
    table = _table("partition", "state", "lag", "in flight", "events/s", "messages left")
    for stream in now["streams"]:
        left = lags.get(stream["name"])
        table.add_row(
            _plain(stream["name"]),
            _state(stream["state"]),
            _seconds(stream["lag_seconds"]),
            f"{stream['window_events']:,}",
            _rate(rates.of("streams", stream, "read")),
            "" if left is None else f"{left:,}",
        )
    return table


def _pipelines(now: Answer, rates: Rates, rows: int | None) -> Table:
    table = _table("pipeline", "state", "waiting", "events/s", "done", "failed", "dead")
    pipelines: Sequence[Answer] = now["pipelines"]
    if rows is not None:
        pipelines = sorted(pipelines, key=lambda each: (-_age(each), -each["waiting_events"], -each["done"]))
    left = len(pipelines)
    for pipeline in pipelines:
        if rows is not None and len(table.rows) + 1 + len(pipeline["steps"]) > rows and len(table.rows):
            break
        left -= 1
        table.add_row(
            _plain(pipeline["name"]),
            _state(pipeline["state"]),
            f"{pipeline['waiting_events']:,}",
            _rate(rates.of("pipelines", pipeline, "done")),
            f"{pipeline['done']:,}",
            "",
            "",
        )
        for step in pipeline["steps"]:
            waiting = step["wait"]["events"] if step["wait"] is not None else 0
            table.add_row(
                _plain(f"  {step['name']}"),
                _state(step["state"]),
                f"{waiting:,}" if waiting else "",
                "",
                f"{step['delivered']:,}",
                f"{step['failed']:,}" if step["failed"] else "",
                f"{step['dead_letters']:,}" if step["dead_letters"] else "",
            )
    if left:
        table.add_row(_plain(f"and {left} more"))
    return table


def _age(pipeline: Answer) -> float:
    wait = pipeline["wait"]
    if wait is None:
        return 0.0
    oldest = wait["oldest"]
    return float((oldest or {}).get("age_seconds") or 0.0) + 1e-6


def _sentences(now: Answer) -> Iterator[str]:
    """Why the relay waits: the sentences of its steps, and of streams that wait for something else."""
    for pipeline in now["pipelines"]:
        yield from (step["wait"]["text"] for step in pipeline["steps"] if step["wait"] is not None)
    yield from (stream["wait"]["text"] for stream in now["streams"] if stream["wait"] is not None)


def _foot(now: Answer) -> str:
    letters = now["dead_letters"]
    counts = {
        "dead letters": "?" if letters is None else f"{letters:,}",
        "gaps": f"{now['gaps']:,}",
        "backfills": f"{now['backfills']:,}",
    }
    text = ", ".join(f"{what}: {count}" for what, count in counts.items())
    if now["oplog_seconds"] is not None:
        text += f"; MongoDB's oplog reaches back {_spoken(now['oplog_seconds'])}"
    return text


def _table(*columns: str) -> Table:
    """The first column is the one that gets narrower on a narrow terminal; it is folded, since names are needed
    whole."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        if number == 0:
            table.add_column(name, overflow="fold", min_width=8)
        else:
            table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    return table


def _plain(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(printable(text, lines=True), style=style)


def _state(state: str) -> Text:
    return _plain(state.replace("_", " "), style=_STYLES.get(state, ""))


def _time(iso: str) -> str:
    return f"{datetime.fromisoformat(iso).astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _spoken(seconds: float) -> str:
    from mess.options.values import spoken

    return spoken(seconds)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else _spoken(seconds)


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.1f}"
