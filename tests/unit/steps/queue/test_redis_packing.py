"""The workaround for redis-py does what redis-py does, and is still needed."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from redis.asyncio import Connection, ConnectionPool

from mess.steps.queue.redis_packing import pack_with_hiredis

COMMANDS: list[tuple[Any, ...]] = [
    ("XADD", "shop.orders", "MAXLEN", "~", 10, "*", "id", "msg_1", "body", b"\x00\xff\r\n"),
    ("XADD", "naïve ☃", "*", "key", b"", "n", 1.5),
    ("PING",),
]


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What hiredis has encoded."""
    found: list[tuple[Any, ...]] = []
    pack = hiredis.pack_command

    def recording(command: tuple[Any, ...]) -> bytes:
        found.append(command)
        return pack(command)

    monkeypatch.setattr(hiredis, "pack_command", recording)
    return found


async def test_the_bytes_are_redis_pys_own(packed: list[Any]) -> None:
    pool: ConnectionPool = ConnectionPool.from_url("redis://localhost")
    own = Connection()
    pack_with_hiredis(pool)
    ours = pool.make_connection()
    assert isinstance(ours, Connection)
    assert b"".join(ours.pack_commands(COMMANDS)) == b"".join(own.pack_commands(COMMANDS))
    assert packed == COMMANDS


async def test_redis_py_does_not_do_it_itself(packed: list[Any]) -> None:
    """If this fails, delete mess/steps/queue/redis_packing.py and the upper bound in pyproject.toml."""
    Connection().pack_commands(COMMANDS)
    assert packed == []
