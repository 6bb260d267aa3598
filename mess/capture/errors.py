"""What MongoDB's error codes mean for a change stream."""

from __future__ import annotations

from enum import Enum

from pymongo.errors import OperationFailure, PyMongoError

from mess.capture.client import explain
from mess.capture.plan import StreamPlan
from mess.errors import NotAReplicaSet, SourceError


class Kind(Enum):
    """What an error asks for; PASSING is answered by trying again."""

    PASSING = "passing"
    BAD_TOKEN = "bad token"
    HISTORY_LOST = "history lost"
    TOO_LARGE = "too large"
    UNKNOWN_STAGE = "unknown stage"
    UNKNOWN_OPTION = "unknown option"


# Names as in MongoDB's error_codes.yml.
_KINDS = {
    280: Kind.BAD_TOKEN,  # ChangeStreamFatalError
    260: Kind.BAD_TOKEN,  # InvalidResumeToken
    286: Kind.HISTORY_LOST,  # ChangeStreamHistoryLost
    10334: Kind.TOO_LARGE,  # BSONObjectTooLarge
    40324: Kind.UNKNOWN_STAGE,
    40415: Kind.UNKNOWN_OPTION,
}
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13
_NOT_A_REPLICA_SET = {40573, 20}  # 20 is IllegalOperation
_NO_MATCHING_DOCUMENT = 47
_BAD_QUERY = {2, 9, 14, 17287, 28765, 51091, 51108}  # BadValue, FailedToParse, TypeMismatch and kin


def kind_of(error: PyMongoError) -> Kind:
    """What to do about an error."""
    return _KINDS.get(error.code or 0, Kind.PASSING) if isinstance(error, OperationFailure) else Kind.PASSING


def stop_reason(error: PyMongoError, plan: StreamPlan | None = None) -> SourceError | None:
    """The error to end with, when trying again would give the same; None when it may pass."""
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
    if error.code in _BAD_QUERY or kind_of(error) is not Kind.PASSING:
        return SourceError(f"{where}MongoDB does not accept this change stream: {explain(error)}. Check `match`")
    return None
