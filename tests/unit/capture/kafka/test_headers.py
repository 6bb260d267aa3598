"""Headers of records that no producer of ours writes."""

from __future__ import annotations

import pytest

from mess.capture.kafka.messages import _headers
from tests.unit.capture.kafka.records import decode, record, refused, sent


class _Message:
    """As confluent-kafka's, which goes on after the error of the interpreter."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def headers(self) -> None:
        """Fail as it does for a name that is not UTF-8."""
        raise self._error


@pytest.mark.parametrize(
    "error",
    [SystemError("returned a result with an exception set"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")],
)
def test_a_name_that_is_not_utf_8_does_not_end_the_worker(error: Exception) -> None:
    assert _headers(_Message(error)) is None


def test_a_record_with_such_a_name_is_kept_as_a_dead_letter() -> None:
    assert "the name of one of its headers is not UTF-8" in refused(record(b"{}", headers=None)).reason


@pytest.mark.parametrize("value", [b"bf_1\r\nauthorization: x", b"\xff", b"b" * 1000, b"", None])
def test_what_cannot_be_the_id_of_a_backfill_is_not_sent_on(value: bytes | None) -> None:
    change = b'{"operationType": "read", "ns": {"db": "shop", "coll": "orders"}, "documentKey": {"_id": 1}}'
    [event] = decode(record(change, headers=[("mess-backfill", value)]))
    assert "mess-backfill" not in sent(event)[1]


def test_a_reason_does_not_repeat_what_a_record_calls_its_connector() -> None:
    reason = refused(record(b'{"op": "c", "source": {"connector": "4111 1111 1111 1111"}}')).reason
    assert "4111" not in reason
