"""What MongoDB's refusals mean."""

from __future__ import annotations

import pytest
from pymongo.errors import OperationFailure

from mess.capture.client import LacksPrivilege, explain
from mess.capture.errors import stop_reason
from mess.errors import NotPermitted


def test_a_missing_privilege_is_told_from_a_wrong_password() -> None:
    """Only the former is mended by a role."""
    lacking = stop_reason(OperationFailure("not authorized on shop", 13))
    assert isinstance(lacking, LacksPrivilege)
    assert str(lacking) == "the MongoDB user lacks a privilege: not authorized on shop"
    wrong = stop_reason(OperationFailure("Authentication failed.", 18))
    assert type(wrong) is NotPermitted
    assert "Check mongodb.url" in str(wrong)


@pytest.mark.parametrize("code", [8000, 91, 11600])
def test_what_may_pass_does_not_stop_a_stream(code: int) -> None:
    assert stop_reason(OperationFailure("later", code)) is None
    assert not isinstance(explain(OperationFailure("later", code)), LacksPrivilege)
