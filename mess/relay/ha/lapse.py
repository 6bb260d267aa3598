"""Why a process that should deliver may not at present: it could not renew its lease, or stay in its group."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from mess import leadership
from mess.leadership import Leadership
from mess.relay.ha.role import Role
from mess.relay.kafka.group import KafkaGroup
from mess.relay.waits import Wait

_WHO = "deliveries wait"
_HEARD = 20.0  # seconds; several times the interval between heartbeats


def lapse(permission: Leadership | None, role: Role | None, group: KafkaGroup | None) -> Wait | None:
    """Why nothing may be delivered at present; None if it may. A standby is not expected to deliver."""
    if permission is None or not permission.lapsed or (role is not None and role.name == "standby"):
        return None
    if group is not None and not group.assigned and (group.member is None or _heard(group)):  # nothing to deliver
        return None
    seconds = leadership.now() - permission.until
    # A permission that was never given, or was withdrawn, has no time at which it ended.
    since = datetime.now(timezone.utc) - timedelta(seconds=seconds) if permission.until > 0 else None
    if group is not None:
        return Wait(
            _WHO,
            "Kafka has not answered this member's heartbeats, so its partitions may belong to another one",
            since,
            remedy="delivery continues by itself once the broker answers and the group has assigned partitions",
        )
    return Wait(
        _WHO,
        "this process has not been able to renew its lease, so another one may be active",
        since,
        remedy="delivery continues by itself once the state can be written: check the connection to `state.url`",
    )


def _heard(group: KafkaGroup) -> bool:
    return group.heartbeat_age is not None and group.heartbeat_age < _HEARD
