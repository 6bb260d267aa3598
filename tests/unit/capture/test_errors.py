"""What MongoDB's refusals mean."""

from __future__ import annotations

import pytest
from pymongo.errors import OperationFailure

from mess.capture.client import LacksPrivilege, connect, explain
from mess.capture.errors import stop_reason
from mess.capture.plan import plan
from mess.capture.preflight import telling_the_role
from mess.config.model import Config
from mess.errors import ConfigError, NotPermitted


def test_a_missing_privilege_is_told_from_a_wrong_password() -> None:
    """Only the former is fixed by a role."""
    lacking = stop_reason(OperationFailure("not authorized on shop", 13))
    assert isinstance(lacking, LacksPrivilege)
    assert str(lacking) == "the MongoDB user lacks a privilege: not authorized on shop"
    wrong = stop_reason(OperationFailure("Authentication failed.", 18))
    assert type(wrong) is NotPermitted
    assert str(wrong).endswith("Authentication failed. Check mongodb.url")


def test_a_url_without_a_user_is_told_from_a_missing_privilege() -> None:
    """There is no user whom a role could help."""
    reason = explain(OperationFailure("Command aggregate requires authentication", 13), "state.url")
    assert type(reason) is NotPermitted
    assert "state.url names no user: write it like mongodb://user:password@host" in str(reason)


def test_the_command_for_the_role_says_what_to_do_where_the_role_exists() -> None:
    """MongoDB refuses createRole for a role that exists."""
    plans = plan(Config.model_validate({"databases": {"shop": {}}, "pipeline": ["log"]}))
    words = r"use updateRole instead of createRole\): db\.getSiblingDB"
    with pytest.raises(NotPermitted, match=words), telling_the_role(plans, "mess"):
        raise LacksPrivilege("not authorized on shop")


def test_a_file_of_the_url_that_is_not_there_is_a_mistake_of_the_url() -> None:
    with pytest.raises(ConfigError, match=r"mongodb\.url: not a usable connection string: .*tlscafile"):
        connect("mongodb://localhost/?tls=true&tlsCAFile=/not/there")


@pytest.mark.parametrize("code", [8000, 91, 11600])
def test_what_may_pass_does_not_stop_a_stream(code: int) -> None:
    assert stop_reason(OperationFailure("later", code)) is None
    assert not isinstance(explain(OperationFailure("later", code)), LacksPrivilege)


@pytest.mark.parametrize(
    ("code", "name"), [(2, "BadValue"), (168, "InvalidPipelineOperator"), (5626500, "Location5626500")]
)
def test_a_query_that_mongodb_refuses_is_a_mistake_of_its_scope(code: int, name: str) -> None:
    config = Config.model_validate({"databases": {"shop": {"match": {"operationType": "insert"}}}, "pipeline": ["log"]})
    reason = stop_reason(OperationFailure("unknown operator", code, {"codeName": name}), plan(config)[0])
    assert isinstance(reason, ConfigError)
    assert str(reason) == "databases.shop.match: MongoDB does not accept this query: unknown operator"


def test_a_value_that_cannot_be_converted_is_not_shown() -> None:
    error = OperationFailure(
        "PlanExecutor error :: caused by :: Failed to parse number 's3cr'et' in $convert with no onError value: Did "
        "not consume whole string., full error: {'errmsg': \"Failed to parse number 's3cr'et'\"}",
        241,
    )
    reason = str(explain(error))
    assert "s3cr" not in reason
    assert "Failed to parse number '…'" in reason
