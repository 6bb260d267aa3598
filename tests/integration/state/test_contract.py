"""What every state store promises, over each of them: PyMongo, Motor, SQLite."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from bson import Timestamp

from mess.errors import StateError, Superseded
from mess.event import Position
from mess.state import Gap, StateStore
from tests.integration.state.conftest import Opener
from tests.integration.state.samples import NOW, checkpoint


async def test_checkpoints_come_back_as_they_were_saved(store: StateStore) -> None:
    """Tokens, times, selections with MongoDB's operators in them; and positions of only one of the two."""
    await store.take_over()
    saved = [
        checkpoint("a"),
        checkpoint("b.c: $d/é", position=Position(None, Timestamp(5, 6))),
        checkpoint("c", position=Position({"_data": b"\x00binary", "_typeBits": b"\x01"}, None)),
    ]
    await store.save(saved)
    assert await store.checkpoints() == saved


async def test_saving_replaces(store: StateStore) -> None:
    """A stream has one checkpoint: the one saved last, whatever its position."""
    await store.take_over()
    await store.save([checkpoint(second=9), checkpoint("other")])
    await store.save([checkpoint(second=3)])
    assert await store.checkpoints() == [checkpoint("other"), checkpoint(second=3)]


async def test_nothing_is_saved_before_taking_over(store: StateStore) -> None:
    """Without an epoch a write would be unconditional."""
    with pytest.raises(StateError, match="take_over"):
        await store.save([checkpoint()])


async def test_each_process_takes_over_from_the_one_before(another: Opener) -> None:
    """Epochs grow by one, and only the newest may write."""
    old, new = await another(), await another()
    assert [await old.take_over(), await new.take_over(), await old.take_over()] == [1, 2, 3]
    await old.save([checkpoint()])
    with pytest.raises(Superseded, match="'mess'"):
        await new.save([checkpoint()])


async def test_a_position_is_never_rewound_by_an_older_process(another: Opener) -> None:
    """Not of a stream which both know, and not one that only the older knows, in the same write or alone."""
    old, new = await another(), await another()
    await old.take_over()
    await old.save([checkpoint(second=5)])
    await new.take_over()
    for streams in (["shop"], ["unknown"], ["unknown", "shop"]):
        with pytest.raises(Superseded):
            await old.save([checkpoint(stream, second=1) for stream in streams])
    assert await new.checkpoints() == [checkpoint(second=5)]
    await new.save([checkpoint(second=6), checkpoint("second")])
    with pytest.raises(Superseded):
        await old.save([checkpoint("second", second=99)])
    assert await new.checkpoints() == [checkpoint("second"), checkpoint(second=6)]


async def test_many_processes_starting_together(another: Opener) -> None:
    """Every one has an epoch of its own, and exactly one goes on."""
    stores = [await another() for _ in range(6)]
    epochs = await asyncio.gather(*(each.take_over() for each in stores))
    assert sorted(epochs) == [1, 2, 3, 4, 5, 6]
    saved = await asyncio.gather(*(each.save([checkpoint()]) for each in stores), return_exceptions=True)
    lost = [isinstance(result, Superseded) for result in saved]
    assert lost == [epoch < 6 for epoch in epochs]


async def test_relays_do_not_see_each_other(another: Opener) -> None:
    """Neither their checkpoints nor their epochs, though one's name begins like the other's."""
    one, other = await another("mess"), await another("mess-2")
    await one.take_over()
    await one.save([checkpoint()])
    assert await other.take_over() == 1
    assert await other.checkpoints() == []
    await other.save([checkpoint(second=7)])
    await one.save([checkpoint(second=2)])
    assert await one.checkpoints() == [checkpoint(second=2)]


async def test_state_outlives_the_process(another: Opener) -> None:
    """What one process saved, the next one reads."""
    first = await another()
    await first.take_over()
    await first.save([checkpoint(f"stream {number}") for number in range(40)])
    await first.close()
    assert len(await (await another()).checkpoints()) == 40


async def test_setting_a_checkpoint_stops_a_running_relay(another: Opener) -> None:
    """What the user sets wins, and the relay that runs meanwhile finds itself superseded."""
    relay, cli = await another(), await another()
    await relay.take_over()
    await relay.save([checkpoint(second=5)])
    await cli.set_checkpoint(checkpoint(second=2))
    with pytest.raises(Superseded):
        await relay.save([checkpoint(second=6)])
    assert await cli.checkpoints() == [checkpoint(second=2)]


async def test_a_deleted_checkpoint_does_not_come_back(another: Opener) -> None:
    """A running relay cannot write it again; the next one can."""
    relay, cli = await another(), await another()
    await relay.take_over()
    await relay.save([checkpoint(), checkpoint("other")])
    assert await cli.delete_checkpoint("shop") is True
    assert await cli.delete_checkpoint("shop") is False
    assert await cli.delete_checkpoint("never there") is False
    with pytest.raises(Superseded):
        await relay.save([checkpoint(second=6)])
    assert await cli.checkpoints() == [checkpoint("other")]
    await relay.take_over()
    await relay.save([checkpoint(second=7)])
    assert await relay.checkpoints() == [checkpoint("other"), checkpoint(second=7)]


async def test_a_relay_deletes_its_own_without_a_new_epoch(another: Opener) -> None:
    """It has taken over already; and it may not once another has."""
    relay, other = await another(), await another()
    await relay.take_over()
    await relay.save([checkpoint()])
    await relay.delete_checkpoint("shop")
    assert relay.epoch == 1
    await relay.save([checkpoint()])
    await other.take_over()
    with pytest.raises(Superseded):
        await relay.delete_checkpoint("shop")
    assert await other.checkpoints() == [checkpoint()]


async def test_reset_forgets_all(another: Opener) -> None:
    """All of this relay's, that is."""
    relay, neighbour = await another(), await another("neighbour")
    for each in (relay, neighbour):
        await each.take_over()
        await each.save([checkpoint("a"), checkpoint("b")])
    assert await (await another()).reset() == 2
    assert await relay.checkpoints() == []
    assert len(await neighbour.checkpoints()) == 2


async def test_gaps(another: Opener) -> None:
    """Both ends, or none; recorded once, oldest first; not another relay's; kept through a change of epoch."""
    store, neighbour = await another(), await another("neighbour")
    first = Gap("shop", Timestamp(1, 2), Timestamp(3, 4), "history lost", NOW)
    second = Gap("shop", None, None, "history lost", NOW + timedelta(hours=1))
    await store.record_gap(first)
    await store.take_over()
    await store.record_gap(second)
    assert await store.gaps() == [first, second]
    assert await neighbour.gaps() == []
    assert await store.checkpoints() == []


async def test_gaps_are_bounded(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are kept."""
    for module in ("mongo", "sqlite"):
        monkeypatch.setattr(f"mess.state.{module}.MAX_GAPS", 3)
    gap = Gap("shop", None, None, "history lost", NOW)
    for number in range(5):
        await store.record_gap(replace(gap, reason=str(number)))
    assert [each.reason for each in await store.gaps()] == ["2", "3", "4"]
