"""Dead letters as they are stored: a small head, and the event and body compressed, in chunks."""

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

from mess import codec
from mess.errors import StateError
from mess.event import Namespace
from mess.state.store import DeadLetter

CHUNK_BYTES = 8 * 1024 * 1024
"""The largest chunk; MongoDB's documents hold 16 MiB."""
_MAX_TEXT = 16 * 1024
_MAX_KEY = 64 * 1024
_LEVEL = 3  # most of the gain at a quarter of the default level's time

OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)
"""How stored BSON is read; the same as events are."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A dead letter ready to be stored.

    `head` has a field for each of the letter's but `event` and `body`, with `db` and `coll` for the namespace and BSON
    bytes for the key (None for a large one, which is in `chunks`). `version` tells one content of `chunks` from
    another.
    """

    head: dict[str, Any]
    version: str
    chunks: tuple[bytes, ...]


def pack(letter: DeadLetter) -> Packed:
    """Make a letter ready to be stored. Never fails: what BSON cannot hold is kept as JSON, else as Python shows it."""
    same = letter.body is letter.event
    key = _dump(letter.key)
    # Together an event and its body may be larger than a document in MongoDB can be; bson does not mind.
    content = bson.encode(
        {
            "event": _dump(letter.event),
            "body": None if same else _dump(letter.body),
            "key": key if len(key[1]) > _MAX_KEY else None,
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
    }
    chunks = tuple(data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))
    return Packed(head, sha256(data).hexdigest()[:16], chunks)


def unpack(head: Mapping[str, Any], chunks: Sequence[bytes] | None = None) -> DeadLetter:
    """A letter as `pack` was given it; without `chunks`, without event and body.

    Raises StateError when the stored bytes are damaged.
    """
    try:
        key = None if head["key"] is None else _load(bson.decode(head["key"])[""])
        event, body = {}, None
        if chunks is not None:
            content = bson.decode(zlib.decompress(b"".join(chunks)))
            event = _load(content["event"])
            body = event if content["body"] is None else _load(content["body"])
            key = key if content["key"] is None else _load(content["key"])
    except (zlib.error, bson.errors.BSONError, KeyError) as error:
        raise StateError(f"dead letter {head['id']} is damaged: {error}") from error
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
    )


def to_millisecond(time: datetime) -> datetime:
    """A time as MongoDB keeps it: in UTC and to the millisecond. A naive one is taken for UTC."""
    aware = time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    return aware.replace(microsecond=aware.microsecond // 1000 * 1000)


def _dump(value: Any) -> list[Any]:
    try:
        return ["bson", bson.encode({"": value})]
    except Exception:  # bodies come from users' functions, and bson raises many kinds for what it cannot hold
        pass
    try:
        return ["json", codec.plain(value)]
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


def _text(value: str) -> str:
    """A text that every store can hold: without lone surrogates and NULs, and of a bounded length."""
    return value[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
