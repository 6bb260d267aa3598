"""Why Kafka cannot be reached, from its client's words."""

from __future__ import annotations

import pytest

from mess.steps.queue.kafka_unreachable import kafka_unreachable

LOGIN = "SASL authentication error: Authentication failed"


@pytest.mark.parametrize(
    "when", ["", " (after 300ms in state AUTH_REQ)", " (after 1ms in state X, 4 identical error(s))"]
)
def test_a_reason_is_the_same_each_time_and_names_the_option(when: str) -> None:
    said = str(kafka_unreachable("a:9093", f"sasl_ssl://a:9093/bootstrap: {LOGIN}{when}"))
    assert said == f"kafka at a:9093: {LOGIN}; check user and password in the url, and sasl_mechanism"


def test_a_refused_connection_over_sasl_is_not_a_refused_login() -> None:
    reason = "sasl_ssl://a:9093/bootstrap: Connect to ipv4#127.0.0.1:9093 failed: Connection refused"
    said = str(kafka_unreachable("a:9093", reason))
    assert "the connection is refused; make sure that it is running" in said
