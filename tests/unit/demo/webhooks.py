"""Sends webhooks as a sender other than MESS would, signed by the Standard Webhooks library."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import aiohttp
import orjson
from standardwebhooks import Webhook

from mess.demo.bin import RequestBin

CHANGE = {"operationType": "insert", "ns": {"db": "d", "coll": "orders"}, "documentKey": {"_id": 7}}


def signed(secret: str, identity: str, body: bytes) -> dict[str, str]:
    """The headers of a signed webhook, which is sent now."""
    now = datetime.now(timezone.utc)
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(identity, now, body.decode()),
    }


async def post(
    client: aiohttp.ClientSession,
    requests: RequestBin,
    identity: str = "msg_1",
    body: Any = CHANGE,
    *,
    headers: Mapping[str, str] | None = None,
) -> int:
    """Send a signed webhook; the status of the answer."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {**signed(requests.secret, identity, content), **(headers or {})}
    async with client.post(requests.url, data=content, headers=headers) as response:
        return response.status
