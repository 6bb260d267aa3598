"""What an endpoint's answer means: docs/delivery.md's table, and the user's own lists before it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from mess.errors import Ambiguous, DeliveryError, EndpointDown, Refused
from mess.steps.http.answers import Answers, failure, usual

MEANINGS = {
    "done": [200, 201, 202, 204, 299],
    "down": [300, 301, 302, 307, 308, 401, 403, 404, 407, 410, 429, 502, 503, 504],
    "ambiguous": [408, 425, 500, 501, 505, 508, 520, 599, 999],
    "refused": [400, 402, 405, 406, 409, 411, 413, 415, 418, 422, 431, 451],
}


@pytest.mark.parametrize(("meaning", "status"), [(name, one) for name, many in MEANINGS.items() for one in many])
def test_what_a_status_means(meaning: str, status: int) -> None:
    assert usual(status) == meaning
    assert Answers().meaning()(status) == meaning


def test_a_users_status_weighs_more_than_its_class_and_that_more_than_the_usual() -> None:
    meaning = Answers.model_validate({"done": [409], "refused": ["5xx"], "down": ["503", "4XX"]}).meaning()
    assert [meaning(status) for status in (409, 500, 503, 422, 200)] == ["done", "refused", "down", "down", "done"]


@pytest.mark.parametrize("status", [99, 600, "6xx", "50", "5x0", True, 503.0, None, "ok"])
def test_what_is_no_status_is_told(status: Any) -> None:
    with pytest.raises(ValueError, match="such as 503"):
        Answers.model_validate({"down": [status]})


def test_a_status_can_mean_one_thing_only() -> None:
    with pytest.raises(ValueError, match="404 is listed under down and under refused"):
        Answers.model_validate({"down": [404], "refused": ["404"]})


@pytest.mark.parametrize(("meaning", "kind"), [("down", EndpointDown), ("ambiguous", Ambiguous), ("refused", Refused)])
def test_a_failure_keeps_the_status_and_the_answers_first_kibibyte(meaning: Any, kind: type[DeliveryError]) -> None:
    error = failure(meaning, 499, {}, b"\xffno such order " + b"x" * 5000)
    assert type(error) is kind
    assert str(error).startswith("answered 499: �no such order")
    assert len(str(error)) < 400
    assert error.response is not None
    assert error.response.status == 499
    assert error.response.body.startswith("�no such order")
    assert len(error.response.body) == 1024


def test_a_redirect_names_the_host_only() -> None:
    error = failure("down", 302, {"Location": "https://other.example/secret?token=1"}, b"")
    assert "other.example" in str(error)
    assert "secret" not in str(error)


def test_retry_after_may_be_seconds_or_a_date() -> None:
    later = datetime.now(timezone.utc) + timedelta(seconds=100)

    def retry_after(value: str) -> float | None:
        error = failure("down", 503, {"Retry-After": value}, b"")
        assert isinstance(error, EndpointDown)
        return error.retry_after

    assert retry_after("120") == 120
    assert 95 < (retry_after(format_datetime(later, usegmt=True)) or 0) <= 100
    assert 95 < (retry_after(later.strftime("%a, %d %b %Y %H:%M:%S")) or 0) <= 100
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nonsense in ("", "soon", "-5", "1.5", "٣x", "٣", "²"):
        assert retry_after(nonsense) is None


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 2020 00:00:99999999999999999999 GMT",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "1 Jan 2020 " + "0" * 10_000,
        "9" * 10_000,
    ],
)
def test_no_retry_after_keeps_an_outage_from_being_an_outage(value: str) -> None:
    """A malformed one once made a 503 count as refused, which cost every event of the outage."""
    error = failure("down", 503, {"Retry-After": value}, b"")
    assert isinstance(error, EndpointDown)
    assert error.retry_after is None or error.retry_after >= 0


@pytest.mark.parametrize(
    ("status", "headers", "answers", "expected"),
    [
        *[(status, {}, {}, True) for status in (403, 404, 410, 502, 504)],
        *[(status, {}, {}, False) for status in (429, 503, 401, 407, 302)],
        (502, {"Retry-After": "5"}, {}, False),
        (502, {"Retry-After": "soon"}, {}, False),
        (403, {}, {"down": [403]}, False),
        (502, {}, {"down": ["5xx"]}, False),
        (500, {}, {"down": [500]}, False),
    ],
)
def test_whether_the_event_may_be_the_cause_of_a_down_answer(
    status: int, headers: dict[str, str], answers: dict[str, Any], expected: bool
) -> None:
    """Only a status that one event may provoke by itself; never one that the user has declared to be the sink's."""
    configured = Answers.model_validate(answers)
    assert configured.meaning()(status) == "down"
    may_be = configured.event_may_be_cause(status)
    error = failure("down", status, CIMultiDict(headers), b"", event_may_be_cause=may_be)
    assert isinstance(error, EndpointDown)
    assert error.event_may_be_cause is expected


@given(
    st.sampled_from(["down", "ambiguous", "refused"]),
    st.integers(0, 999),
    st.text(),
    st.text(),
    st.binary(max_size=3000),
)
def test_no_answer_is_so_odd_that_it_cannot_be_told(
    meaning: Any, status: int, retry_after: str, location: str, body: bytes
) -> None:
    error = failure(meaning, status, {"Retry-After": retry_after, "Location": location}, body)
    assert isinstance(error, DeliveryError)
    assert str(status) in str(error)
