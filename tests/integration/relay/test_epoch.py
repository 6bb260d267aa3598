"""Receivers can tell which of a relay's processes sent them a request."""

from __future__ import annotations

import pytest

from tests.integration.relay.conftest import Lab


@pytest.mark.parametrize("options", [{}, {"ha": {"lease": "5s"}}], ids=["alone", "with a lease"])
async def test_each_process_of_a_relay_sends_a_greater_epoch(lab: Lab, options: dict[str, object]) -> None:
    for number in range(3):
        async with lab.running(**options):
            lab.db.orders.insert_one({"_id": number})
            await lab.receiver.wait_for_events(number + 1)
    epochs = [int(request.headers["mess-epoch"]) for request in lab.receiver.requests]
    assert epochs == sorted(epochs)
    assert len(set(epochs)) == 3
