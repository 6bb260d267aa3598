"""What cannot be read from MongoDB is kept with all that is known of it."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import cast

import pytest

from mess.capture.arrangement import StreamStart
from mess.capture.plan import plan
from mess.capture.region import Region
from mess.capture.source import Batch, LostHistory, Source, Unreadable
from mess.config.model import Config
from mess.event import Position
from mess.leadership import ALWAYS, Leadership, now
from mess.relay.gaps import StreamGaps
from mess.relay.ha.leading import leading
from mess.relay.router import Claim
from mess.relay.stopping import Stopping
from mess.replay.routes import Kept, Ways
from mess.state.records import Pointer
from tests.unit.fakes import Letters, make_read

NOWHERE = Position(None, None)
[STREAM] = plan(Config.model_validate({"databases": {"shop": {}}, "pipeline": [{"name": "log"}]}))


async def record(batch: Batch, letters: Letters, leadership: Leadership = ALWAYS) -> None:
    """Record what a batch of the stream could not deliver."""
    led = partial(leading, leadership, Stopping())
    claim = Claim(lambda namespace: None, lambda namespace: None, lambda: [Region.of("shop", "*")])
    source = cast(Source, None)  # not asked without reports to receivers
    await StreamGaps(StreamStart(STREAM, NOWHERE), source, claim, letters, deliver=False, leading=led).passed(batch)


async def test_an_existing_document_that_cannot_be_read() -> None:
    """Its collection is known; there is nothing to replay."""
    known = {name: make_read().change[name] for name in ("operationType", "ns")}
    letters = Letters()
    await record(Batch((), NOWHERE, (Unreadable(NOWHERE, "odd", id="msg_1", change=known),)), letters)
    [letter] = letters.kept
    assert (letter.id, str(letter.namespace), letter.operation) == ("msg_1", "shop.orders", "read")
    pointer = Pointer(letter.id, letter.pipeline, letter.step, letter.namespace, letter.operation)
    with pytest.raises(Kept, match="could not be read"):
        Ways({"top level": ["log"]}, lambda namespace: "top level", whole=True, through="top level").of(pointer)


@pytest.mark.parametrize(
    "batch",
    [
        Batch((), NOWHERE, (Unreadable.at(Position({"_data": "82AA"}, None), "odd"),)),
        Batch((), NOWHERE, lost=LostHistory(NOWHERE, NOWHERE, "gone")),
    ],
    ids=["unreadable", "lost"],
)
async def test_a_process_that_was_frozen_past_its_lease_records_no_loss(batch: Batch) -> None:
    """Another one may have delivered all of it. If there is none, the loss is recorded with the next renewal."""
    leadership, letters = Leadership(1, -math.inf), Letters()
    recording = asyncio.ensure_future(record(batch, letters, leadership))
    await asyncio.sleep(0.02)
    assert (letters.kept, letters.gaps) == ([], [])
    leadership.extend(now() + 60)
    await recording
    assert len(letters.gaps) == 1


async def test_a_change_of_which_only_the_token_is_known() -> None:
    letters = Letters()
    await record(Batch((), NOWHERE, (Unreadable.at(Position({"_data": "82AA"}, None), "odd"),)), letters)
    [letter] = letters.kept
    assert (str(letter.namespace), letter.operation) == ("shop", "")
