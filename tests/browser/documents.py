"""Events and dead letters for the fake admin API."""

from __future__ import annotations

from typing import Any

from mess.admin.api import models as m
from tests.browser.scenarios import HOSTILE, ago, now

REASONS = (
    ("Refused", "422 Unprocessable Entity: total must be positive", 422, '{"error":"total must be positive"}'),
    ("Refused", "400 Bad Request: unknown currency", 400, '{"error":"unknown currency","currency":"XXX"}'),
    ("Refused", "enrich: KeyError('sku')", None, None),
)


def change(number: int) -> dict[str, Any]:
    """A change event as MongoDB sends it."""
    order = {"_id": f"order-{number}", "total": number * 7 % 400, "currency": "EUR", "customer": {"name": "Ada"}}
    order |= {"items": [{"sku": f"A-{number % 9}", "quantity": 2}, {"sku": "B-1", "quantity": 1}]}
    return {
        "_id": {"_data": f"8265F0{number:010X}"},
        "operationType": "insert" if number % 3 else "update",
        "ns": {"db": "shop", "coll": "orders"},
        "documentKey": {"_id": order["_id"]},
        "fullDocument": order,
        "clusterTime": {"$timestamp": {"t": 1760000000 + number, "i": 1}},
        "wallTime": {"$date": "2026-11-28T12:00:00Z"},
    }


def body(number: int) -> dict[str, Any]:
    """What the step before the sink makes of it."""
    order = change(number)["fullDocument"]
    return {"order": order["_id"], "total": order["total"], "customer": order["customer"], "source": "shop"}


def letter(number: int, scenario: str) -> m.WholeLetter:
    error, reason, status, response = REASONS[number % len(REASONS)]
    if scenario == "hostile":
        reason = error = response = HOSTILE
    attempt = {"error": error, "reason": reason, "status": status, "response": response}
    return m.WholeLetter(
        id=f"msg_{number:05}",
        pipeline="shop.orders",
        step="http" if status else "enrich",
        namespace="shop.orders",
        operation=change(number)["operationType"],
        key=HOSTILE if scenario == "hostile" else change(number)["documentKey"]["_id"],
        reason=reason,
        error=error,
        attempts=3,
        time=ago(60.0 * (200 - number)),
        event=change(number),
        body={"note": HOSTILE} if scenario == "hostile" else body(number),
        history=[m.Attempt(time=ago(60.0 * (200 - number) + each), **attempt) for each in (9, 4, 0)],
        size=612,
        complete=True,
        backfill="",
    )


def tail_event(number: int, scenario: str, *, bodies: bool) -> dict[str, Any]:
    """A finished event, as the live tail sends it."""
    outcome = ("delivered", "delivered", "delivered", "dropped", "dead_letter")[number % 5]
    event = change(number)
    done = now().isoformat()
    results = [("filter", "dropped" if outcome == "dropped" else "passed", event)]
    if outcome != "dropped":
        results.append(("field-map", "passed", body(number)))
        results.append(("http", outcome, body(number)))
    steps: list[dict[str, Any]] = [
        {"step": name, "result": result, "seconds": 0.0004 * (place + 1), "time": done, "error": None}
        | ({"body": made} if bodies and name == "field-map" else {})
        for place, (name, result, made) in enumerate(results)
    ]
    if outcome == "dead_letter":
        steps[-1]["error"] = REASONS[0][1]
    found = {
        "id": f"msg_{number:05}",
        "time": done,
        "committed": ago(0.04).isoformat(),
        "namespace": HOSTILE if scenario == "hostile" else "shop.orders",
        "operation": event["operationType"],
        "key": event["documentKey"]["_id"],
        "stream": "shop",
        "pipeline": "shop.orders",
        "outcome": outcome,
        "ended_at": None if outcome == "delivered" else steps[-1]["step"],
        "replay": False,
        "backfill": "",
        "attempts": 3 if outcome == "dead_letter" else 1,
        "steps": steps,
        **({"change": event} if bodies else {}),
    }
    return m.TailEvent(**found).model_dump(mode="json", exclude_unset=True)


def place(id_: str) -> m.EventPlace:
    """Where an event is: it waits."""
    return m.EventPlace(
        id=id_,
        state="waiting",
        text="waits for step http of pipeline shop.orders: hooks.example.com answers 503",
        namespace="shop.orders",
        pipeline="shop.orders",
        step="http",
        since=ago(60),
        wait=None,
    )
