"""Waits for backfills, and shows how far they are done."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from mess.cli.common import say
from mess.cli.ending import stop_on_signals
from mess.cli.progress import Bar, progress
from mess.commands import command
from mess.telemetry.redact import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mess.state.store import Backfill, StateStore

_LOOK = 0.5  # seconds


class _Waiting:
    """What a signal ends; the backfills go on."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    @property
    def stopping(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        self._stopped.set()

    async def pause(self) -> None:
        """Return after a moment, or when it is stopped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), _LOOK)


async def wait_for(store: StateStore, ids: Sequence[str], total: int | None) -> int:
    """Wait until these backfills, of about `total` documents, have ended; the command's exit code. Ctrl-C ends the
    waiting only."""
    waiting = _Waiting()
    stop_on_signals(waiting)
    told: dict[str, str] = {}
    with progress("sending", f"the documents of {len(ids)} collection{'' if len(ids) == 1 else 's'}", total) as bar:
        shown = 0
        while not waiting.stopping:
            found = await _read(store, ids)
            done = sum(each.progress.documents for each in found.values())
            bar.advance(done - shown)
            shown = done
            for each in found.values():
                _tell_changes(each, told, bar)
            if all(each.ended for each in found.values()):
                break
            await waiting.pause()
        else:
            say(f"stopped waiting; the relay continues to send. `{command('backfill list')}` shows the progress")
            return 1
    complete = True
    for id_ in ids:
        state = found[id_].progress.state if id_ in found else "removed"
        complete &= state == "done"
        documents = f", {found[id_].progress.documents:,} documents sent" if id_ in found else ""
        say(f"{id_}: {state}{documents}")
    return 0 if complete else 1


async def _read(store: StateStore, ids: Sequence[str]) -> dict[str, Backfill]:
    return {each.id: each for each in await store.backfills() if each.id in ids}


def _tell_changes(backfill: Backfill, told: dict[str, str], bar: Bar) -> None:
    """Report why a backfill does not go on, once for each reason."""
    reason = redact(backfill.progress.reason or "")
    if reason and told.get(backfill.id) != reason:
        bar.say(f"{backfill.id}: {backfill.progress.state}: {reason}")
    told[backfill.id] = reason
