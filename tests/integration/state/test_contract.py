"""What every state store promises, over each of them: PyMongo, Motor, SQLite."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from bson import Timestamp

from mess.errors import StateError, Superseded
from mess.event import Position
from mess.state import Gap, Positions, StateStore
from tests.integration.state.conftest import Opener
from tests.integration.state.samples import NOW, checkpoint


async def test_checkpoints_come_back_as_they_were_saved(store: StateStore) -> None:
    """Tokens, times, selections with MongoDB's operators in them; and positions of only one of the two."""
    await store.take_over()
    await store.arrange([], [])
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
    await store.arrange([], [])
    await store.save([checkpoint(second=9), checkpoint("other")])
    await store.save([checkpoint(second=3)])
    assert await store.checkpoints() == [checkpoint("other"), checkpoint(second=3)]


async def test_nothing_is_saved_before_taking_over(store: StateStore) -> None:
    """Without an epoch a write would be unconditional."""
    with pytest.raises(StateError, match="take_over"):
        await store.arrange([], [checkpoint()])
    with pytest.raises(StateError, match="arrange"):
        await store.save([checkpoint()])


async def test_each_process_takes_over_from_the_one_before(another: Opener) -> None:
    """Epochs grow by one, and only the newest may write."""
    old, new = await another(), await another()
    assert [await old.take_over(), await new.take_over(), await old.take_over()] == [1, 2, 3]
    await old.arrange([], [checkpoint()])
    with pytest.raises(Superseded, match="'mess'"):
        await new.arrange([], [checkpoint()])


async def test_looking_changes_nothing(another: Opener) -> None:
    """A store that is opened to look at reads what another process stored, and its epochs; nobody is superseded."""
    looking = await another(lasting=False)
    assert (await looking.epochs(), await looking.positions(), await looking.gaps()) == ((0, 0), Positions(), [])
    assert await looking.alive() is None
    await looking.close()
    relay = await another()
    await relay.take_over()
    await relay.arrange([], [checkpoint()])
    looking = await another(lasting=False)
    assert await looking.epochs() == (1, 1)
    assert await looking.checkpoints() == [checkpoint()]
    await looking.close()
    await relay.save([checkpoint(second=9)])
    assert await relay.epochs() == (1, 1)


async def test_a_position_is_never_rewound_by_an_older_process(another: Opener) -> None:
    """Not of a stream which both know, and not one that only the older knows, in the same write or alone."""
    old, new = await another(), await another()
    await old.take_over()
    await old.arrange([], [])
    await old.save([checkpoint(second=5)])
    await new.take_over()
    await new.arrange([], [checkpoint(second=5)])
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
    saved = await asyncio.gather(*(each.arrange([], [checkpoint()]) for each in stores), return_exceptions=True)
    lost = [isinstance(result, Superseded) for result in saved]
    assert lost == [epoch < 6 for epoch in epochs]


async def test_relays_do_not_see_each_other(another: Opener) -> None:
    """Neither their checkpoints nor their epochs, though one's name begins like the other's."""
    one, other = await another("mess"), await another("mess-2")
    await one.take_over()
    await one.arrange([], [])
    await one.save([checkpoint()])
    assert await other.take_over() == 1
    await other.arrange([], [])
    assert await other.checkpoints() == []
    await other.save([checkpoint(second=7)])
    await one.save([checkpoint(second=2)])
    assert await one.checkpoints() == [checkpoint(second=2)]


async def test_state_outlives_the_process(another: Opener) -> None:
    """What one process saved, the next one reads."""
    first = await another()
    await first.take_over()
    await first.arrange([], [])
    await first.save([checkpoint(f"stream {number}") for number in range(40)])
    await first.close()
    assert len(await (await another()).checkpoints()) == 40


async def test_an_arrangement_replaces_all_that_was_stored(another: Opener) -> None:
    """Its map and its streams' positions; those of other streams are gone, and another relay's are not touched."""
    relay, neighbour = await another(), await another("neighbour")
    for each in (relay, neighbour):
        await each.take_over()
        await each.arrange([["old"]], [checkpoint("a"), checkpoint("b")])
    await relay.arrange([["shop"], ["*"], "shop", 5, 1], [checkpoint("b", second=9)])
    assert await relay.positions() == Positions([["shop"], ["*"], "shop", 5, 1], (checkpoint("b", second=9),))
    assert len(await neighbour.checkpoints()) == 2


async def test_an_arrangement_stops_a_running_relay(another: Opener) -> None:
    """What an operator sets wins, and the relay that runs meanwhile finds itself superseded."""
    relay, cli = await another(), await another()
    await relay.take_over()
    await relay.arrange([], [checkpoint(second=5), checkpoint("other")])
    await cli.take_over()
    await cli.arrange([["set"]], [checkpoint(second=2)])
    for streams in (["shop"], ["other"], ["shop", "other"], ["unknown"]):
        with pytest.raises(Superseded):
            await relay.save([checkpoint(stream, second=6) for stream in streams])
    with pytest.raises(Superseded):
        await relay.arrange([], [])
    assert await cli.positions() == Positions([["set"]], (checkpoint(second=2),))


async def test_one_position_can_be_removed(store: StateStore) -> None:
    """The map, and the others, stay."""
    await store.take_over()
    await store.arrange([["map"]], [checkpoint(), checkpoint("other")])
    assert await store.remove_position("shop") is True
    assert await store.remove_position("shop") is False
    assert await store.positions() == Positions([["map"]], (checkpoint("other"),))


async def test_gaps(another: Opener) -> None:
    """Both ends, or none; recorded once, oldest first; not another relay's; kept through a change of epoch."""
    store, neighbour = await another(), await another("neighbour")
    first = Gap("shop", Timestamp(1, 2), Timestamp(3, 4), "history lost", NOW)
    second = Gap("shop", None, None, "history lost", NOW + timedelta(hours=1))
    await store.record_gap(first)
    await store.take_over()
    await store.arrange([], [])
    await store.record_gap(second)
    await store.record_gap(first)
    assert await store.gaps() == [first, second]
    assert await neighbour.gaps() == []
    assert await store.checkpoints() == []


async def test_gaps_of_every_kind_are_read_as_they_were_recorded(another: Opener) -> None:
    """With all fields; one that grows stays one record."""
    times = {"since": Timestamp(1, 2), "until": Timestamp(3, 4), "time": NOW}
    skipped = Gap("", reason="refused", kind="skipped", pipeline="shop", step="http", count=1, first="msg_1", **times)
    unreadable = Gap("shop", reason="16 MB", kind="unreadable", count=None, first="msg_2", last="msg_2", **times)
    reset = Gap("shop", None, None, "an operator", NOW, ("shop.*",), kind="reset", unannounced=("shop.*",))
    store = await another()
    await store.record_gaps([skipped, unreadable, reset])
    grown = replace(skipped, count=5, until=Timestamp(9, 9), last="msg_5", namespaces=("shop.orders", "shop.items"))
    await store.record_gaps([grown])
    found = {gap.id: gap for gap in await (await another()).gaps()}
    assert found == {gap.id: gap for gap in (grown, unreadable, reset)}
    assert {gap.id: gap for gap in store.known_gaps} == found


async def test_a_deferred_gap_is_stored_before_any_position(another: Opener) -> None:
    """With the next checkpoint, and with a new arrangement; what grows meanwhile is stored with the next one."""
    relay, looking = await another(), await another()
    gap = Gap("", None, None, "refused", NOW, kind="skipped", pipeline="shop", step="http", count=1, first="msg_1")
    await relay.take_over()
    relay.defer_gap(gap)
    assert await looking.gaps() == []
    assert relay.known_gaps == [gap]
    await relay.arrange([], [checkpoint()])
    assert await looking.gaps() == [gap]
    assert not relay.has_deferred_gaps
    relay.defer_gap(replace(gap, count=2))
    await relay.save([checkpoint(second=9)])
    assert await looking.gaps() == [replace(gap, count=2)]


async def test_a_gap_stays_open_until_its_stream_continues(store: StateStore) -> None:
    """One record, however often the loss is found; an operator's decision is kept with it."""
    gap = Gap("shop", Timestamp(1, 2), None, "history lost", NOW, ("shop.orders", "shop.*"), open=True)
    again = replace(gap, since=Timestamp(1, 5), time=NOW + timedelta(hours=1))
    assert await store.open_gap(gap) == gap
    assert await store.open_gap(again) == gap
    await store.record_gap(replace(gap, resume=Timestamp(7, 1)))
    assert await store.gaps() == [replace(gap, resume=Timestamp(7, 1))]
    await store.close_gap(gap, Timestamp(7, 1))
    assert await store.gaps() == [replace(gap, open=False, until=Timestamp(7, 1))]
    assert await store.open_gap(again) == again


async def test_an_open_gap_grows_with_what_is_found_lost(store: StateStore) -> None:
    """Every skip is recorded: the oldest position, and all namespaces; the decision stays."""
    gap = Gap("shop", Timestamp(5, 1), None, "lost", NOW, ("shop.a",), open=True, resume=Timestamp(9, 1))
    await store.open_gap(gap)
    wider = replace(gap, since=Timestamp(2, 1), namespaces=("shop.b",), resume=None)
    assert await store.open_gap(wider) == replace(gap, since=Timestamp(2, 1), namespaces=("shop.a", "shop.b"))
    assert len(await store.gaps()) == 1


@pytest.mark.parametrize("decided", [Timestamp(3, 1), Timestamp(7, 1)])
async def test_a_gap_goes_on_while_what_was_decided_is_lost_as_well(store: StateStore, decided: Timestamp) -> None:
    """Whether the stream has tried to continue there or not: it begins where the loss did, over every further try."""
    gap = Gap("shop", Timestamp(5, 1), None, "lost", NOW, ("shop.*",), open=True)
    await store.open_gap(gap)
    again = replace(gap, since=decided, time=NOW + timedelta(hours=1))
    await store.record_gap(replace(gap, resume=decided))
    assert await store.open_gap(again) == gap
    assert await store.open_gap(again) == gap
    await store.close_gap(gap, decided)
    assert await store.open_gap(again) == gap
    assert await store.gaps() == [gap]


async def test_a_later_decision_stays_when_an_earlier_one_is_lost(store: StateStore) -> None:
    gap = Gap("shop", Timestamp(5, 1), None, "lost", NOW, ("shop.*",), open=True, resume=Timestamp(9, 1))
    await store.record_gap(gap)
    assert await store.open_gap(replace(gap, since=Timestamp(7, 1), resume=None)) == gap
