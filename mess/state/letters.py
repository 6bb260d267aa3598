"""The stored form of dead letters: a small head, and the event and body, compressed and in chunks."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

import bson
import orjson
from bson import DatetimeConversion
from bson.codec_options import CodecOptions

from mess.errors import StateError
from mess.event import Namespace, token_time
from mess.formats import bson_json
from mess.state.records import HISTORY, Attempt, DeadLetter, storable

CHUNK_BYTES = 8 * 1024 * 1024
"""The largest chunk; MongoDB documents can have up to 16 MiB."""
_MAX_TEXT = 16 * 1024
_MAX_KEY = 64 * 1024
_MAX_REASON = 4 * 1024  # of one attempt
_MAX_RESPONSE = 1024
_MAX_PLACE = 1024
_OF_EVENT = ("backfill", "only", "looked_up")
_LEVEL = 3  # most of the gain at a quarter of the default level's time

OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)
"""The options for decoding stored BSON, the same as for events."""


class DamagedLetter(StateError):
    """A dead letter's stored bytes cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A dead letter ready to be stored.

    `head` has a field for each of the letter's except `event`, `body` and `history`, with `db` and `coll` for the
    namespace and BSON bytes for the key (None for a large one, which is in `chunks`). Its `place` sorts in commit
    order; it is empty if that is unknown. `version` identifies the content: with the same version, the same body
    stopped at the same step of the same pipeline.
    """

    head: dict[str, Any]
    version: str
    chunks: tuple[bytes, ...]


def pack(letter: DeadLetter) -> Packed:
    """Prepare a letter for storage. Never fails: what BSON cannot represent is stored as JSON, or else as its Python
    repr."""
    same = letter.body is letter.event
    key = _dump(letter.key)
    # Together, an event and its body may exceed MongoDB's document limit; bson itself has no limit.
    content = bson.encode(
        {
            "event": _dump(letter.event),
            "body": None if same else _dump(letter.body),
            "key": key if len(key[1]) > _MAX_KEY else None,
            "history": [_attempt(each) for each in letter.history[-HISTORY:]],
            **{name: value for name in _OF_EVENT if (value := getattr(letter, name)) not in ("", None)},
        }
    )
    data = zlib.compress(content, _LEVEL)
    head = {
        "id": letter.id,
        "pipeline": _text(letter.pipeline),
        "step": _text(letter.step),
        "db": _text(letter.namespace.db),
        "coll": _text(letter.namespace.coll),
        "operation": _text(letter.operation),
        "key": bson.encode({"": key}) if len(key[1]) <= _MAX_KEY else None,
        "reason": _text(letter.reason),
        "error": _text(letter.error),
        "attempts": letter.attempts,
        "time": to_millisecond(letter.time),
        "place": _place(letter.event),
    }
    chunks = tuple(data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))
    return Packed(head, version(head, data), chunks)


def unpack(head: Mapping[str, Any], chunks: Sequence[bytes] | None = None) -> DeadLetter:
    """Restore the letter given to `pack`; without `chunks`, it has no event, body and history.

    Raises DamagedLetter if the stored bytes cannot be decoded.
    """
    try:
        key = None if head["key"] is None else _load(bson.decode(head["key"])[""])
        event, body = {}, None
        word, size = head.get("version") or "", 0
        history: tuple[Attempt, ...] = ()
        of_event: dict[str, Any] = {}
        if chunks is not None:
            data = b"".join(chunks)
            word = word or version(head, data)
            unpacked = zlib.decompress(data)
            size = len(unpacked)
            content = bson.decode(unpacked, OPTIONS)
            event = _load(content["event"])
            body = event if content["body"] is None else _load(content["body"])
            key = key if content["key"] is None else _load(content["key"])
            # Older letters do not have these fields.
            history = tuple(Attempt(**each) for each in content.get("history", ()))
            of_event = {name: content[name] for name in _OF_EVENT if name in content}
    except (zlib.error, bson.errors.BSONError, KeyError, TypeError) as error:
        raise DamagedLetter(f"dead letter {head['id']} is damaged: {error}") from error
    return DeadLetter(
        id=head["id"],
        pipeline=head["pipeline"],
        step=head["step"],
        namespace=Namespace(head["db"], head["coll"]),
        operation=head["operation"],
        key=key,
        reason=head["reason"],
        error=head["error"],
        attempts=head["attempts"],
        time=head["time"],
        event=event,
        body=body,
        history=history,
        **of_event,
        version=word,
        size=size,
    )


def version(head: Mapping[str, Any], data: bytes) -> str:
    """See `Packed`."""
    return sha256(b"\0".join([head["pipeline"].encode(), head["step"].encode(), data])).hexdigest()[:16]


def to_millisecond(time: datetime) -> datetime:
    """A time as MongoDB stores it: in UTC, to the millisecond. A naive time is taken as UTC."""
    aware = time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    return aware.replace(microsecond=aware.microsecond // 1000 * 1000)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "time": to_millisecond(attempt.time),
        "error": _text(attempt.error),
        "reason": _text(attempt.reason, _MAX_REASON),
        "status": attempt.status,
        "response": None if attempt.response is None else _text(attempt.response, _MAX_RESPONSE),
    }


def _place(event: Mapping[str, Any]) -> str:
    """The cluster time and the resume token's key string, which sort in commit order."""
    # An existing document has no token; it belongs behind every change of its time.
    token = event.get("_id", {"_data": "~"})
    if not isinstance(token, Mapping):
        return ""
    time = token_time(token, event.get("clusterTime"))
    data = token.get("_data")
    return (
        ""
        if time is None
        else f"{time.time:08X}{time.inc:08X}{_text(data, _MAX_PLACE) if isinstance(data, str) else ''}"
    )


def _dump(value: Any) -> list[Any]:
    try:
        return ["bson", bson.encode({"": value})]
    except Exception:  # bodies come from users' functions, and bson raises many kinds of errors
        pass
    try:
        return ["json", bson_json.plain(value)]
    except Exception:
        pass
    try:
        shown = repr(value)
    except Exception as error:
        shown = f"<a {type(value).__name__} that cannot be shown: {type(error).__name__}>"
    return ["repr", shown.encode("utf-8", "backslashreplace")]


def _load(dumped: Sequence[Any]) -> Any:
    kind, data = dumped
    if kind == "bson":
        return bson.decode(data, OPTIONS)[""]
    return orjson.loads(data) if kind == "json" else data.decode()


def _text(value: str, most: int = _MAX_TEXT) -> str:
    """A text that every store can hold, limited in length (in characters)."""
    return storable(value[:most])
