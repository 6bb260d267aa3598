"""Interprets MongoDB's error codes for change streams."""

from __future__ import annotations

from enum import Enum

from pymongo.errors import OperationFailure, PyMongoError

from mess.capture.client import explain
from mess.capture.plan import StreamPlan
from mess.errors import ConfigError, NotAReplicaSet, Problem, SourceError


class Kind(Enum):
    """How to react to an error; PASSING errors are retried."""

    PASSING = "passing"
    BAD_TOKEN = "bad token"
    HISTORY_LOST = "history lost"
    TOO_LARGE = "too large"
    UNKNOWN_STAGE = "unknown stage"
    UNKNOWN_OPTION = "unknown option"


_TOO_LARGE = 10334  # BSONObjectTooLarge
# Names as in MongoDB's error_codes.yml.
_KINDS = {
    280: Kind.BAD_TOKEN,  # ChangeStreamFatalError
    260: Kind.BAD_TOKEN,  # InvalidResumeToken
    286: Kind.HISTORY_LOST,  # ChangeStreamHistoryLost
    _TOO_LARGE: Kind.TOO_LARGE,
    40324: Kind.UNKNOWN_STAGE,
    40415: Kind.UNKNOWN_OPTION,
}
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13
_NOT_A_REPLICA_SET = {40573, 20}  # 20 is IllegalOperation
_NO_MATCHING_DOCUMENT = 47
_BAD_QUERY = {2, 9, 14, 168, 241}  # BadValue, FailedToParse, TypeMismatch, InvalidPipelineOperator, ConversionFailure


def kind_of(error: PyMongoError) -> Kind:
    """How to react to an error."""
    return _KINDS.get(error.code or 0, Kind.PASSING) if isinstance(error, OperationFailure) else Kind.PASSING


def stop_reason(error: PyMongoError, plan: StreamPlan | None = None) -> SourceError | ConfigError | None:
    """The error to stop with if retrying would give the same result; None if it may pass.

    A ConfigError means that a scope's `match` is wrong.
    """
    if not isinstance(error, OperationFailure):
        return None
    where = f"stream {plan.name}: " if plan else ""
    if error.code in (_AUTHENTICATION_FAILED, _UNAUTHORIZED):
        reason = explain(error)
        return type(reason)(f"{where}{reason}")
    if error.code in _NOT_A_REPLICA_SET:
        return NotAReplicaSet()
    if error.code == _NO_MATCHING_DOCUMENT:
        return SourceError(
            f"{where}a change has no pre- or post-image, and the config says `required`: {explain(error)}. Turn "
            "changeStreamPreAndPostImages on for the collection, or ask for `when_available`"
        )
    if kind_of(error) is Kind.PASSING and not _is_about_the_query(error):
        return None
    if kind_of(error) is Kind.PASSING and plan is not None and plan.queries:
        which = "this query" if len(plan.queries) == 1 else "one of these queries"
        return ConfigError([Problem(f"MongoDB does not accept {which}: {explain(error)}", ", ".join(plan.queries))])
    return SourceError(f"{where}MongoDB does not accept this change stream: {explain(error)}")


def is_permanent(error: PyMongoError) -> bool:
    """Whether reading documents would fail again: the user may not, or MongoDB does not accept the query."""
    if not isinstance(error, OperationFailure):
        return False
    return error.code in (_AUTHENTICATION_FAILED, _UNAUTHORIZED) or _is_about_the_query(error)


def _is_about_the_query(error: OperationFailure) -> bool:
    # Most errors in expressions have no name, only a location in MongoDB's source: Location17313.
    name = (error.details or {}).get("codeName", "")
    return error.code in _BAD_QUERY or str(name).startswith("Location")
