"""A process that was frozen under load sends nothing more when it wakes up: another has taken over."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.acceptance.commands import running
from tests.acceptance.conftest import Db
from tests.acceptance.test_standby import ha, other_port, seconds_until_active, standing_by
from tests.receiver import Answer, Receiver

__all__ = ["ha"]
LANES = 16
WRITTEN = 1500


async def test_a_frozen_process_sends_nothing_of_its_window_when_it_wakes_up(
    ha: Path, db: Db, receiver: Receiver
) -> None:
    """Its window holds thousands of events, and its lanes are in the middle of mini-batches. Only what each lane had
    begun to send may arrive late."""
    receiver.answer = Answer(200, delay=0.02)
    async with running(ha) as first:
        await first.connected()
        async with running(ha, *other_port()) as second:
            await standing_by(second)
            db.orders.insert_many({"_id": number} for number in range(WRITTEN))
            await receiver.wait_for_events(50)
            first.process.send_signal(signal.SIGSTOP)
            try:
                await seconds_until_active(second)
                old = receiver.requests[0].headers["mess-epoch"]
                arrived = len(receiver.requests)
                assert len(receiver.accepted) < WRITTEN - 10 * LANES, "it would have had much more to send"
            finally:
                first.process.send_signal(signal.SIGCONT)
            await standing_by(first)
            await receiver.wait_for_events(300, timeout=60)
            await asyncio.sleep(0.5)
            late = [request for request in receiver.requests[arrived:] if request.headers["mess-epoch"] == old]
            assert len(late) <= LANES
            epochs = {int(request.headers["mess-epoch"]) for request in receiver.requests}
            assert epochs == {int(old), max(epochs)}
            assert max(epochs) > int(old)
            assert await second.stop() == 0, second.text
