"""The limit: a change stream drained by getMore, nothing decoded.

Run as `python -m bench.limit URL DATABASE EVENTS`, it prints its report as JSON.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import orjson
from bson import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from bench.process import own_cpu_and_peak

_BATCH = 2000  # replies of about 1 MiB, as the relay has them; larger ones are no faster
_RAW: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)


def drain(url: str, name: str, events: int) -> dict[str, float]:
    """Read so many events from the oldest on; seconds and CPU seconds from the first reply to the last."""
    with MongoClient[dict[str, Any]](url) as client, client.start_session() as session:
        oldest = client["local"]["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", 1)])
        assert oldest is not None
        database = client[name]
        runners = [{"$changeStream": {"startAtOperationTime": oldest["ts"]}}]
        command: dict[str, Any] = {"aggregate": 1, "pipeline": runners, "cursor": {"batchSize": 0}}
        reply: Any = database.command(command, session=session, codec_options=_RAW)
        cursor: Any = reply["cursor"]
        collection = cursor["ns"].partition(".")[2]
        number = cursor["id"]
        seen = 0
        first = begun = 0.0
        while seen < events:
            more = {"getMore": number, "collection": collection, "batchSize": _BATCH, "maxTimeMS": 1000}
            reply = database.command(more, session=session, codec_options=_RAW)
            batch = reply["cursor"]["nextBatch"]
            if not seen and batch:
                first, begun = time.monotonic(), own_cpu_and_peak()["cpu"]
            seen += len(batch)
        seconds = time.monotonic() - first
        used = own_cpu_and_peak()
        database.command({"killCursors": collection, "cursors": [number]}, session=session)
    return {"seconds": seconds, "cpu": used["cpu"] - begun, "peak_mb": used["peak_mb"]}


if __name__ == "__main__":
    print(orjson.dumps(drain(sys.argv[1], sys.argv[2], int(sys.argv[3]))).decode())
