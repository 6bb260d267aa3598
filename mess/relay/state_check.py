"""What `mess check` reports about a relay's state, and about what a start would do with it. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson import Timestamp

from mess.cancellation import within
from mess.capture.arrangement import StreamStart
from mess.capture.oplog import Oplog, read_oplog
from mess.capture.plan import StreamPlan
from mess.capture.preflight import Finding
from mess.capture.reach import Connect
from mess.capture.start import describe_start
from mess.capture.stream import BRIEF_WAIT_MS, ChangeStream
from mess.commands import command, quoted
from mess.config.model import Config
from mess.errors import HistoryLost, SourceError, StateError
from mess.options.values import spoken
from mess.relay.headroom import is_tight
from mess.relay.healing import healed
from mess.relay.outlook import Outlook, outlook
from mess.state.store import StateStore

_READ_SECONDS = 3.0
_ROOM = 1024 * 1024
"""Less free space than this is too little for the state, which writes everything in a checkpoint or a dead letter
twice."""
_GOES_ON = {
    "now": "with `on_history_lost: now` a start records a gap and continues from now",
    "backfill": "with `on_history_lost: backfill` a start records a gap, continues from now, and sends the documents "
    "again",
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """Where the streams would begin. `known` is whether the relay has run before; `oplog` is None if it cannot be
    read."""

    outlook: Outlook
    known: bool
    oplog: Oplog | None


async def examine_state(store: StateStore, where: str, *, ha: bool = False) -> AsyncIterator[Finding]:
    """Check whether a process runs the relay, and whether its records are consistent.

    `store` is open; `where` describes where it is. With `ha`, a second process is a standby. Raises StateError.
    """
    free = await store.free_bytes()
    if free is not None and free < _ROOM:
        what = f"the state in {where} has no room to grow: {free:,} bytes are free on its disk"
        yield Finding(ok=False, what=what, remedy="free some space there", exit_code=StateError.exit_code)
    else:
        yield Finding(True, f"the state in {where} can be read and written")
    if (other := await store.alive()) is not None:
        then = "be its standby" if ha else "wait for it to stop"
        yield Finding(True, f"the relay {store.relay!r} is running: {other}. `mess run` would {then}", warning=not ha)
    known, written = await store.epochs()
    if written > known:
        what = (
            f"the record of the relay {store.relay!r} (epoch {known}) is older than its positions (epoch {written}), "
            "as after its removal or a restored backup; a start continues above both"
        )
        yield Finding(True, what, warning=True)
    backfills = await store.backfills()
    if gaps := [gap for gap in await store.gaps() if healed(gap, backfills) != "healed"]:
        count = f"{len(gaps)} gaps are" if len(gaps) > 1 else "1 gap is"
        yield Finding(
            True, f"{count} recorded, of changes that were not delivered: see `{command('gaps list')}`", warning=True
        )


async def predict(
    config: Config, plans: Sequence[StreamPlan], store: StateStore, client: Any, connect: Connect
) -> Prediction:
    """What a start would do with the positions in `store`. `connect` waits for MongoDB.

    Raises DamagedState and other StateErrors, SourceError.
    """
    found = await outlook(config, plans, store, client, connect)
    try:
        oplog = await read_oplog(client)
    except SourceError:
        oplog = None
    return Prediction(found, max(await store.epochs()) > 0, oplog)


async def examine_positions(config: Config, prediction: Prediction, client: Any) -> AsyncIterator[Finding]:
    """Where each stream would begin if the relay were started now, and what is already missing from the oplog."""
    found = prediction.outlook
    for skipped in found.arrangement.skipped:
        regions = ", ".join(map(str, skipped.regions))
        what = f"stream {skipped.stream}: changes of {regions} since {_time(skipped.since, found.now)} are lost"
        yield Finding(True, f"{what}; {_goes_on(config)}", warning=True)
    for start in found.arrangement.starts:
        yield await _stream(start, config, prediction, client)


async def _stream(start: StreamStart, config: Config, prediction: Prediction, client: Any) -> Finding:
    found, oplog = prediction.outlook, prediction.oplog
    name, time = start.name, start.position.time
    if start.waits:
        return _lost(start, config, found)
    if start.new:
        what = f"stream {name} has no position: it would start from {describe_start(config)}"
        return Finding(True, what, warning=prediction.known)
    problem = await _reads(start, client)
    if problem is not None:
        return problem if isinstance(problem, Finding) else _lost(start, config, found)
    at = "its resume token" if time is None else _time(time, found.now)
    what = f"stream {name} would continue from {at}"
    if start.joins is not None:
        what = f"stream {name} would catch up from {at}, and then join stream {start.joins}"
    if oplog is not None and time is not None and is_tight(time, oplog):
        left = spoken(max(0, time.time - oplog.oldest.time))
        return Finding(
            True,
            f"{what}, which is {left} from the end of the oplog: that reaches {spoken(oplog.seconds)} back",
            "start the relay soon, or enlarge the oplog (replSetResizeOplog)",
            warning=True,
        )
    return Finding(True, what)


async def _reads(start: StreamStart, client: Any) -> Finding | HistoryLost | None:
    """Check whether MongoDB can continue from a stream's position; None if it can."""
    stream = ChangeStream(
        client, start.plan, start.position, latest=start.latest, reply_events=1, wait_ms=BRIEF_WAIT_MS
    )
    try:
        await within(_READ_SECONDS, stream.read())  # if the next event is far away, that is not a failure
    except HistoryLost as error:
        return error
    except SourceError as error:
        return Finding(False, str(error))
    except TimeoutError:
        return None
    finally:
        await stream.close()
    return None


def _lost(start: StreamStart, config: Config, found: Outlook) -> Finding:
    oldest = "" if found.oldest is None else f", which begins at {_time(found.oldest, found.now)}"
    position = _time(start.position.time, found.now)
    what = f"stream {start.name}: its position, {position}, is no longer in the oplog{oldest}"
    if config.on_history_lost != "stop":
        return Finding(True, f"{what}; {_goes_on(config)}", warning=True)
    return Finding(
        ok=False,
        what=f"{what}: changes are lost, and a start would not open this stream",
        remedy=f"to continue from now: {command(f'checkpoints reset --stream {quoted(start.name)}')}; "
        "or set `on_history_lost: now`, which records the gap and continues, or `backfill`, which also sends the "
        "documents again",
        exit_code=HistoryLost.exit_code,
    )


def _goes_on(config: Config) -> str:
    return _GOES_ON["backfill" if config.on_history_lost == "backfill" else "now"]


def _time(time: Timestamp | None, now: Timestamp) -> str:
    if time is None:
        return "an unknown time"
    age = f"{spoken(now.time - time.time)} ago" if time.time <= now.time else "in the future"
    return f"{time.as_datetime():%Y-%m-%d %H:%M:%S} UTC ({age})"
