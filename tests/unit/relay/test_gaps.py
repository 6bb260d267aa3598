"""What cannot be read from MongoDB is kept with all that is known of it."""

from __future__ import annotations

from typing import cast

import pytest

from mess.capture.arrangement import StreamStart
from mess.capture.plan import plan
from mess.capture.region import Region
from mess.capture.source import Batch, Source, Unreadable
from mess.config.model import Config
from mess.event import Position
from mess.relay.gaps import StreamGaps
from mess.relay.router import Claim
from mess.replay.routes import Kept, Ways
from mess.state.records import Pointer
from tests.unit.fakes import Letters, make_read

NOWHERE = Position(None, None)
[STREAM] = plan(Config.model_validate({"databases": {"shop": {}}, "pipeline": [{"name": "log"}]}))


async def record(batch: Batch, letters: Letters) -> None:
    """Record what a batch of the stream could not deliver."""
    claim = Claim(lambda namespace: None, lambda namespace: None, lambda: [Region.of("shop", "*")])
    source = cast(Source, None)  # not asked without reports to receivers
    await StreamGaps(StreamStart(STREAM, NOWHERE), source, claim, letters, deliver=False).passed(batch)


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


async def test_a_change_of_which_only_the_token_is_known() -> None:
    letters = Letters()
    await record(Batch((), NOWHERE, (Unreadable.at(Position({"_data": "82AA"}, None), "odd"),)), letters)
    [letter] = letters.kept
    assert (str(letter.namespace), letter.operation) == ("shop", "")
