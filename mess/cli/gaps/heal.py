"""`mess gaps heal`: repair a gap with what its collections hold now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.backfill.group import counted, not_running
from mess.cli.backfill.waiting import wait_for
from mess.cli.common import ConfigOption, UrlOption, load_config, not_for_workers, run_async, say
from mess.cli.connecting import TimeoutOption, connecting, watched
from mess.cli.ending import leave
from mess.cli.gaps.group import IdArgument, group, known
from mess.commands import command

if TYPE_CHECKING:
    from mess.capture.reach import Connect
    from mess.config.load import Loaded
    from mess.relay.healing import Healing
    from mess.state.store import Gap


@group.command()
def heal(
    id: IdArgument,  # noqa: A002
    wait: Annotated[bool, typer.Option("--wait", help="Wait until everything is sent.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Repair a gap: send every document that its collections have now, by a backfill for each.

    What a step has skipped goes to that step only, or to the whole pipeline if others follow it. Deletions in the gap
    are not repaired. `mess gaps list` shows the
    gap as healed when all is sent.

    Exit codes: 0 started (with --wait: all is sent), 1 with --wait one failed or was cancelled, the step has skipped
    events again, or waiting was interrupted, 2 config, or nothing can be sent, 3 MongoDB cannot be read, 5 the state
    cannot be used.
    """
    loaded = load_config(config, mongodb__url=url)
    not_for_workers(loaded, "gaps are healed with documents from MongoDB")
    leave(run_async(_heal(loaded, id, connecting(timeout), wait=wait)))


async def _heal(loaded: Loaded, id: str, connect: Connect, *, wait: bool) -> int:  # noqa: A002
    from mess.relay.backfill_request import new_backfills
    from mess.relay.healing import not_repaired
    from mess.stores import store_for

    async with store_for(loaded.config, connect) as store:
        gap = await known(store, id)
        found = await _found(loaded, gap, connect)
        for reason in found.left_out:
            say(f"left out: {reason}", err=True)
        backfills = await new_backfills(store, found.collections, found.request)
        for backfill, facts in zip(backfills, found.collections, strict=True):
            await store.add_backfill(backfill)
            say(f"{backfill.id}: {backfill.namespace}, {counted(facts.documents)}")
        say("this does not repair:")
        for each in not_repaired(found.request):
            say(f"- {each}")
        if (absent := await not_running(store)) is not None:
            say(f"no relay {absent!r} runs at present; this begins when it does: {command('run')}")
        if not wait:
            return 0
        total = sum(each.documents or 0 for each in found.collections)
        result = await wait_for(store, [backfill.id for backfill in backfills], total or None)
        began = backfills[0].created
        for other in await store.gaps() if gap.step is not None else ():
            if (other.pipeline, other.step) == (gap.pipeline, gap.step) and other.time > began:
                say(f"step {gap.step} has skipped events again: {command(f'gaps show {other.id}')}", err=True)
                result = 1
        return result


async def _found(loaded: Loaded, gap: Gap, connect: Connect) -> Healing:
    from mess.capture.plan import plan
    from mess.capture.preflight import telling_the_role, verify
    from mess.relay.healing import healing
    from mess.state.open import in_mongodb

    config = loaded.config
    async with watched(loaded) as client:
        await connect(client, verify)
        with telling_the_role(plan(config), config.state.database if in_mongodb(config.state.url) else None):
            return await healing(client, config, gap)
