"""Events: watch what becomes of them, and find one."""

from __future__ import annotations

import asyncio
import socket
import time

from aiohttp import web

from mess.admin.api import models
from mess.admin.api.operation import Call, Problem
from mess.admin.api.overview import wait_shown
from mess.admin.connections import Connection
from mess.admin.json_response import NOT_KEPT
from mess.ids import is_id
from mess.relay.whereabouts import locate
from mess.telemetry.tail.client import TailClient
from mess.telemetry.tail.filter import TailFilter

_AWAKE = 10.0  # seconds after which a comment keeps proxies from closing the connection
_LOOK = 1.0  # seconds
_STALLED = 30.0  # seconds until a client that does not read is dropped
_AT_ONCE = 64 * 1024  # bytes
_KERNEL_BUFFER = 128 * 1024  # bytes


async def tail(call: Call) -> web.StreamResponse:
    """A live tail; it lasts until the client leaves, the relay stops, or so many events as were asked for."""
    wanted, limit = _filter(call.query, payloads=call.payloads), call.query.limit
    connection = call.request.protocol
    if isinstance(connection, Connection) and not connection.tailing():
        raise Problem(503, "too many live tails are open; close one, or try again later")
    response = web.StreamResponse(
        headers={**NOT_KEPT, "Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
    )
    response.force_close()
    with call.relay.tail.watch(wanted, limit) as client:
        await response.prepare(call.request)
        _bound_buffers(call.request)
        try:
            await _send(call, client, response)
        except (ConnectionError, TimeoutError):
            if isinstance(connection, Connection):
                connection.abort()
    return response


async def where(call: Call) -> models.EventPlace:
    """Where an event is."""
    id_ = call.part("id")
    if not is_id(id_):
        raise Problem(400, "this is no event id; they look like msg_ and 52 capital letters and digits")
    relay = call.relay
    now = relay.clock.now()
    found = await locate(id_, relay, call.status.waits(), now, reasons=call.payloads)
    return models.EventPlace(
        id=id_,
        state=found.state,
        text=found.text,
        namespace=found.namespace,
        pipeline=found.pipeline,
        step=found.step,
        since=found.since,
        wait=wait_shown(found.wait, now),
    )


def _filter(query: models.TailQuery, *, payloads: bool) -> TailFilter:
    return TailFilter(
        pipeline=query.pipeline,
        step=query.step,
        namespace=query.namespace,
        operations=frozenset(query.operation or ()),
        ids=frozenset(query.id or ()),
        outcomes=frozenset(query.outcome or ()),
        sample=query.sample,
        documents=payloads,
        bodies=query.bodies and payloads,
    )


async def _send(call: Call, client: TailClient, response: web.StreamResponse) -> None:
    """Send what comes, several events at a time. Raises ConnectionError or TimeoutError if the client is gone or does
    not read."""
    told, sent_at = 0, time.monotonic()
    await response.write(b": live tail\n\n")
    while not client.ended:
        await client.wait(_LOOK)
        transport = call.request.transport
        if transport is None or transport.is_closing():
            return
        frames = client.take(_AT_ONCE)
        if client.missed > told:
            frames.append(b'event: lost\ndata: {"count": %d}\n\n' % (client.missed - told))
            told = client.missed
        if not frames and time.monotonic() - sent_at >= _AWAKE:
            frames.append(b": \n\n")
        if frames:
            async with asyncio.timeout(_STALLED):
                await response.write(b"".join(frames))
            sent_at = time.monotonic()
            if client.empty and not client.ended:
                await asyncio.sleep(call.relay.tail.interval)


def _bound_buffers(request: web.Request) -> None:
    """Keep what waits for a slow client in its queue, which is bounded."""
    transport = request.transport
    if transport is None:
        return
    connected = transport.get_extra_info("socket")
    if connected is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
