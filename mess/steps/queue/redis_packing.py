"""A workaround for redis-py, whose asyncio connections encode commands in Python although its other ones use hiredis.

hiredis takes a quarter of the time. Delete this module once redis-py does it itself; a test fails then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool


def pack_with_hiredis(pool: ConnectionPool, before: Callable[[], None] = lambda: None) -> None:
    """Make all connections of a pool encode their commands with hiredis, and call `before` right before the commands of
    a transaction are encoded and sent.

    Overrides `pack_commands`, which redis-py does not promise to keep: pyproject.toml has an upper bound for it.
    """
    from hiredis import pack_command

    class Packing(pool.connection_class):  # type: ignore[name-defined,misc]
        def pack_commands(self, commands: Iterable[Sequence[Any]]) -> list[bytes]:
            before()
            return [b"".join([pack_command(tuple(command)) for command in commands])]

    pool.connection_class = Packing
