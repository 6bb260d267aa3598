"""Asking the brokers about a group."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from mess.capture.kafka.admin import GroupAdmin
from mess.config.model import KafkaSource


class _Client:
    """Answers, or lets requests time out, as long as it exists."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(topics={})

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> dict[str, Future[Any]]:
        answer: Future[Any] = Future()
        if self._error is None:
            me = SimpleNamespace(client_id="mess-1", member_id="me-1", host="/10.0.0.1")
            other = SimpleNamespace(client_id="billing", member_id="b-1", host="/10.0.0.2")
            answer.set_result(SimpleNamespace(members=[me, other]))
        else:
            answer.set_exception(self._error)
        return {groups[0]: answer}


def test_a_client_whose_request_has_timed_out_is_not_asked_again() -> None:
    """A late answer to it would abort the process."""
    source = KafkaSource.model_validate({"url": "kafka://localhost:1", "topics": ["changes"], "group": "webhooks"})
    admin = GroupAdmin(source, {}, client_id="mess-1")
    clients = iter([_Client(TimeoutError()), _Client(None)])
    admin._kafka = SimpleNamespace(
        admin=SimpleNamespace(AdminClient=lambda settings, logger: next(clients)),
        KafkaError=KafkaError,
        KafkaException=KafkaException,
    )
    with pytest.raises(KafkaException):
        admin.members()
    assert admin.members() == 2
    assert admin.member == "me-1"
    assert admin.strangers == ["billing at 10.0.0.2"]
