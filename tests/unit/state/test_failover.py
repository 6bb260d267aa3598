"""Which of MongoDB's errors are waited out, and which are told at once."""

from __future__ import annotations

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from mess.errors import StateError
from mess.state.failover import Unsettled, persist


class Flaky:
    """Fails with `error` so many times, then gives 7."""

    def __init__(self, error: Exception, times: int = 1) -> None:
        self.error = error
        self.times = times
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return 7


labelled = OperationFailure("try again", 1, {"errorLabels": ["RetryableWriteError"]})
PASSING = [
    AutoReconnect("connection closed"),
    NotPrimaryError("not primary"),
    NetworkTimeout("timed out"),
    ServerSelectionTimeoutError("no primary"),
    WTimeoutError("waiting for replication timed out", 64),
    WriteConcernError("not enough nodes", 100),
    OperationFailure("interrupted at shutdown", 11600),
    ExecutionTimeout("exceeded time limit", 50),
    labelled,
    BulkWriteError({"writeErrors": [{"code": 189, "errmsg": "stepped down"}]}),
    BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64, "errmsg": "timed out"}]}),
    Unsettled("again"),
]
FINAL = [
    OperationFailure("not authorized", 13),
    OperationFailure("bad value", 2),
    BulkWriteError({"writeErrors": [{"code": 121, "errmsg": "validation failed"}]}),
    PyMongoError("anything else"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mess.state.failover._FIRST_PAUSE", 0.001)


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
async def test_a_failover_is_waited_out(error: Exception) -> None:
    """The operation is tried again until it succeeds."""
    flaky = Flaky(error, 3)
    assert await persist("store", flaky, 5) == 7
    assert flaky.calls == 4


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
async def test_other_errors_are_told_at_once(error: Exception) -> None:
    """They would be the same a minute later; the driver's is chained."""
    flaky = Flaky(error, 99)
    with pytest.raises(StateError, match=r"^cannot store") as caught:
        await persist("store", flaky, 60)
    assert caught.value.__cause__ is error
    assert flaky.calls == 1


async def test_patience_ends() -> None:
    """A MongoDB that stays away is a StateError after the time given, not before."""
    flaky = Flaky(AutoReconnect("gone, Timeout: 30s, Topology Description: <long>"), 999)
    with pytest.raises(StateError, match=r"cannot store: .* for 0 s: gone$"):
        await persist("store", flaky, 0.05)
    assert flaky.calls > 3


async def test_a_refusal_says_how_to_mend_it() -> None:
    """The role to grant, or the file to use instead."""
    with pytest.raises(StateError, match=r"readWrite.*sqlite:///"):
        await persist("store", Flaky(OperationFailure("not authorized", 13)), 5)


async def test_a_refusal_is_told_without_the_command() -> None:
    """What MongoDB did not permit may hold the data that was to be written."""
    error = OperationFailure('not authorized on mess to execute command { update: "relays", ordered: true }', 13)
    with pytest.raises(StateError, match=r"cannot store: not authorized on mess to execute update\. Grant"):
        await persist("store", Flaky(error), 5)


async def test_a_wrong_password_is_not_a_missing_role() -> None:
    """It has another remedy."""
    with pytest.raises(StateError, match=r"Authentication failed\. Check user, password and authSource"):
        await persist("store", Flaky(OperationFailure("Authentication failed.", 18)), 5)


async def test_a_url_without_a_user_is_not_a_missing_role() -> None:
    """There is no user to grant one to."""
    with pytest.raises(StateError) as caught:
        await persist("store", Flaky(OperationFailure("Command update requires authentication", 13)), 5)
    assert "names no user: write it like mongodb://user:password@host" in str(caught.value)
    assert "readWrite" not in str(caught.value)


async def test_a_failover_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not at every attempt."""
    await persist("store", Flaky(AutoReconnect("gone"), 5), 5)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "cannot store at present, trying again: gone")
    ]


async def test_bugs_pass_through() -> None:
    """Only the driver's errors are about MongoDB."""
    with pytest.raises(ZeroDivisionError):
        await persist("store", Flaky(ZeroDivisionError()), 5)


async def test_a_document_that_is_too_large_is_a_state_error() -> None:
    """The driver's own check raises an error of the bson package, which is none of the driver's kind."""
    flaky = Flaky(DocumentTooLarge("update command document too large"))
    with pytest.raises(StateError, match="cannot store the checkpoints: update command document too large"):
        await persist("store the checkpoints", flaky, 1.0)
    assert flaky.calls == 1
