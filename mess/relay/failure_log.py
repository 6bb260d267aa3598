"""What the log says about a failing step: enough to act on, however many events fail."""

from __future__ import annotations

import time
from typing import Any

from mess.errors import DeliveryError
from mess.relay.retry_group import RetryGroup
from mess.telemetry.logging import get_logger

log = get_logger("mess.pipeline")

_SAY_AGAIN = 10.0  # seconds


class FailureLog:
    """Logs the failures of one step; the metrics count them all.

    `said` is whether the last that it said is that the step fails.
    """

    def __init__(self, pipeline: str, step: str) -> None:
        self._about: dict[str, Any] = {"pipeline": pipeline, "step": step}
        self.said = False
        self._said_at = self._named_at = -_SAY_AGAIN

    def cannot_work_yet(self, reason: str) -> None:
        """A check at startup has failed."""
        log.warning("step cannot work yet", **self._about, error=reason)

    def fails(self, group: RetryGroup, error: DeliveryError) -> None:
        """Events are retried, and no others have been delivered since they failed."""
        said = {**self._about, "error": str(error), "first_id": group.events[0].id, "count": len(group.events)}
        if time.monotonic() - self._said_at >= _SAY_AGAIN:
            self.said, self._said_at = True, time.monotonic()
            log.warning("step fails, retrying", **said)
        else:
            log.debug("step still fails", **said)

    def refuses_everything(self, error: DeliveryError) -> None:
        """Deliveries pause, since the step refuses all events."""
        self.said, self._said_at = True, time.monotonic()
        log.error("step refuses everything", **self._about, error=str(error))

    def fails_alone(self, group: RetryGroup) -> None:
        """Events are retried although others are delivered: name them, once for a group."""
        if group.named or time.monotonic() - self._named_at < _SAY_AGAIN:
            return
        group.named, self._named_at = True, time.monotonic()
        said = {**self._about, "error": str(group.error)}
        ids = [event.id for event in group.events]
        if len(ids) == 1:
            namespace = str(group.events[0].namespace)
            log.warning("event fails while others are delivered, retrying", **said, id=ids[0], namespace=namespace)
        else:
            log.warning(
                "batch fails while others are delivered, retrying",
                **said,
                count=len(ids),
                first_id=ids[0],
                last_id=ids[-1],
            )

    def works(self) -> None:
        """Nothing keeps the step from working any more."""
        self.said = False
        log.info("step works again", **self._about)
