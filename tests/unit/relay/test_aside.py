"""Tasks beside delivery."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from mess.relay.running import aside
from mess.relay.stopping import Halted


@pytest.mark.parametrize(("error", "complaints"), [(Halted(), 0), (ValueError("broken"), 1)])
async def test_a_task_that_ends_since_the_relay_stops_is_no_failure(error: Exception, complaints: int) -> None:
    """A process that becomes a standby while it waits for MongoDB does not ask its users to report a bug."""

    async def work() -> None:
        raise error

    with capture_logs() as logs:
        await aside(work())
    assert len(logs) == complaints
