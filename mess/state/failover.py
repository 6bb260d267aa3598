"""Retries during a failover of the MongoDB that keeps the state."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WTimeoutError,
)

from mess.cancellation import raise_if_cancelled
from mess.errors import StateError

T = TypeVar("T")

# telemetry is beside this layer, not below it; it also handles warnings of the standard library's logging.
_log = logging.getLogger("mess.state")

# Names as in MongoDB's error_codes.yml: election, shutdown, step-down, and a missing majority.
_PASSING = {6, 7, 50, 64, 89, 91, 112, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}
_AUTHENTICATION_FAILED = 18
_REFUSED = {13, _AUTHENTICATION_FAILED, 8000}
_COMMAND = re.compile(r"(not authorized on \S+ to execute) command \{ (\w+):.*", re.DOTALL)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Unsettled(PyMongoError):
    """A write that neither succeeded nor says why; it is retried."""


async def persist(what: str, operation: Callable[[], Awaitable[T]], retry_for: float) -> T:
    """Await `operation()` and retry it while MongoDB fails over, for up to `retry_for` seconds.

    `operation` must be idempotent: an attempt that seemed to fail may have succeeded. `what` completes "cannot …". The
    last attempt may take as long as the driver needs to notice that a server hangs (about 30 s). Raises StateError for
    the driver's errors; other errors pass through.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + retry_for
    pause = 0.0
    while True:
        try:
            return await operation()
        except BSONError as error:  # for example, DocumentTooLarge is not a PyMongoError
            raise StateError(f"cannot {what}: {error}") from error
        except PyMongoError as error:
            raise_if_cancelled()
            if not _may_pass(error):
                raise StateError(f"cannot {what}: {brief(error).rstrip('.')}{hint(error)}") from error
            pause = min(_LONGEST_PAUSE, pause * 2 or _warn(what, error))
            if clock() + pause > deadline:
                raise StateError(
                    f"cannot {what}: the state's MongoDB has been failing for {retry_for:.0f} s: {brief(error)}"
                ) from error
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))


def is_refusal(error: BaseException | None) -> bool:
    """Whether MongoDB refuses the user rather than the write."""
    return bool(_REFUSED & _codes(error))


def hint(error: BaseException | None) -> str:
    """What the user can do about a refusal; empty for other errors."""
    if not is_refusal(error):
        return ""
    if _AUTHENTICATION_FAILED in _codes(error):
        return ". Check user, password and authSource in the url"
    if "requires authentication" in str(error):
        return (
            ". The connection string (`state.url`, else `mongodb.url`) names no user: write it like "
            "mongodb://user:password@host/?authSource=admin"
        )
    return (
        ". Grant the user the role readWrite on the state database (`state.database`), or keep the state in a file: "
        "state.url: sqlite:///mess.db"
    )


def brief(error: Exception) -> str:
    """An error's message, without the command, the server's whole reply and the driver's topology that follow it."""
    return (
        _COMMAND.sub(r"\1 \2", str(error))
        .partition(", full error:")[0]
        .partition(", Timeout:")[0]
        .partition(", Topology")[0]
    )


def _warn(what: str, error: Exception) -> float:
    _log.warning("cannot %s at present, trying again: %s", what, brief(error))
    return _FIRST_PAUSE


def _may_pass(error: PyMongoError) -> bool:
    if isinstance(error, (ConnectionFailure, WTimeoutError, WriteConcernError, Unsettled)):
        return True
    return error.has_error_label("RetryableWriteError") or bool(_PASSING & _codes(error))


def _codes(error: BaseException | None) -> set[int]:
    codes: set[Any] = {error.code} if isinstance(error, OperationFailure) else set()
    if isinstance(error, BulkWriteError):
        codes |= {
            each.get("code") for kind in ("writeErrors", "writeConcernErrors") for each in error.details.get(kind, ())
        }
    return {code for code in codes if isinstance(code, int)}
