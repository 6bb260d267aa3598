"""What operators are told about a process's role, and about its consumer group: as JSON, and in a sentence."""

from __future__ import annotations

from typing import Any

from mess.options.values import spoken
from mess.relay.ha.role import Role
from mess.relay.kafka.group import KafkaGroup
from mess.state.instance import Instance


def role_summary(role: Role | None, here: Instance) -> dict[str, Any] | None:
    """A role for `/status` and the API; None without one. `here` is this process."""
    if role is None:
        return None
    shown, since = (None, None) if role.active is None else (role.active.instance, role.active.since)
    if role.name == "active":
        shown, since = here, role.since
    return {
        "name": role.name,
        "since": role.since,
        "lease_seconds": role.lease,
        "epoch": role.epoch,
        "active": None if shown is None else {"id": shown.id, "host": shown.host, "pid": shown.pid, "since": since},
    }


def standing_by(role: Role) -> str:
    """What a standby waits for."""
    if role.active is None:
        return "standby; no process is known to be active"
    since = f" since {role.active.since:%Y-%m-%d %H:%M:%S} UTC" if role.active.since is not None else ""
    found = role.active.instance
    return (
        f"standby; process {found.pid} on host {found.host} is active{since}, and this one takes over "
        f"{spoken(role.lease)} after its last sign of life"
    )


def ask_the_active(role: Role) -> str:
    """Why a standby does not do what it was asked for, and who would."""
    if role.active is None:
        return "this process is a standby, and no process is known to be active; try again in a few seconds"
    found = role.active.instance
    return f"this process is a standby; ask the active one, process {found.pid} on host {found.host}"


def group_lag(group: KafkaGroup) -> int | None:
    """How many messages of the assigned partitions are not delivered yet; None while that is unknown of all."""
    known = [each.lag for each in group.assigned if each.lag is not None]
    return sum(known) if known or not group.assigned else None


def group_summary(group: KafkaGroup | None) -> dict[str, Any] | None:
    """A consumer group for `/status` and the API; None without one."""
    if group is None:
        return None
    return {
        "name": group.group,
        "protocol": group.protocol,
        "member": group.member,
        "state": group.state,
        "topics": list(group.topics),
        "members": group.members,
        "partitions": group.partitions,
        "lag": group_lag(group),
        "heartbeat_age_seconds": group.heartbeat_age,
        "rebalances": group.rebalances,
        "assigned": [
            {
                "topic": each.topic,
                "partition": each.partition,
                "lag": each.lag,
                "committed": each.committed,
                "end": each.end,
            }
            for each in group.assigned
        ],
    }
