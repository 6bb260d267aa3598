"""Backfills, gaps, checkpoints and a config for the fake admin API."""

from __future__ import annotations

from typing import Any

from mess.admin.api import models as m
from mess.config.effective import EffectiveValue
from tests.browser.scenarios import ago


def backfill(number: int, **given: Any) -> m.Backfill:
    """Running, waiting, or done."""
    fields: dict[str, Any] = {
        "id": f"b{number}",
        "namespace": ("shop.orders", "shop.customers", "audit.log")[number],
        "origin": ("operator", "initial", "operator")[number],
        "state": ("running", "waiting", "done")[number],
        "reason": (None, "waits for the backfill of shop.orders", None)[number],
        "documents": (412_000, 0, 9120)[number],
        "estimated": (1_240_000, 88_000, 9120)[number],
        "created": ago(900),
        "started": None if number == 1 else ago(880),
        "updated": ago(1),
        "ended": ago(300) if number == 2 else None,
        "step": None,
        "pipeline": None,
        "rate": 4800.0 if number == 0 else None,
    }
    return m.Backfill(**{**fields, **given})


def gaps(status: m.Status) -> m.Gaps:
    """One that waits for a decision, if there is one."""
    gap = m.Gap(
        id="g1",
        kind="history_lost",
        stream="shop",
        pipeline=None,
        step=None,
        namespaces=["shop.orders"],
        since=ago(9000),
        until=ago(7000),
        open=True,
        count=None,
        reason="the oplog no longer has the position of this stream",
        time=ago(6900),
    )
    return m.Gaps(gaps=[gap] if status.gaps else [])


def checkpoints(status: m.Status) -> m.Checkpoints:
    """One for each stream."""
    streams = status.streams
    return m.Checkpoints(
        checkpoints=[
            m.Checkpoint(stream=each.name, time=ago(2), updated=ago(1), behind_seconds=each.lag_seconds)
            for each in streams
        ]
    )


def config() -> m.EffectiveConfig:
    """A few values, from everywhere."""
    values = [
        EffectiveValue(path="name", keys=("name",), value="shop-relay", source="file", file="config.yml", line=1),
        EffectiveValue(
            path="mongodb.url",
            keys=("mongodb", "url"),
            value="mongodb://***@mongo-1:27017/",
            source="environment",
            variables=("MONGODB_URL",),
        ),
        EffectiveValue(
            path="pipeline[1].config.secret",
            keys=("pipeline", 1, "config", "secret"),
            value="***",
            source="file",
            file="config.yml",
            line=31,
            variables=("SECRET",),
        ),
        EffectiveValue(path="concurrency", keys=("concurrency",), value=16, source="default"),
    ]
    return m.EffectiveConfig(file="config.yml", values=values)
