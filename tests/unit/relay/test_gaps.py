"""What cannot be read from MongoDB is kept with all that is known of it."""

from __future__ import annotations

import pytest

from mess.capture.plan import plan
from mess.capture.source import Batch, Unreadable
from mess.config.model import Config
from mess.event import Position
from mess.relay.gaps import record
from mess.replay.routes import Kept, Ways
from mess.state.records import Pointer
from tests.unit.fakes import Letters, make_read

NOWHERE = Position(None, None)
[STREAM] = plan(Config.model_validate({"databases": {"shop": {}}, "pipeline": [{"name": "log"}]}))


async def test_an_existing_document_that_cannot_be_read() -> None:
    """Its collection is known; there is nothing to replay."""
    known = {name: make_read().change[name] for name in ("operationType", "ns")}
    letters = Letters()
    await record(Batch((), NOWHERE, (Unreadable(NOWHERE, "odd", id="msg_1", change=known),)), STREAM, letters)
    [letter] = letters.kept
    assert (letter.id, str(letter.namespace), letter.operation) == ("msg_1", "shop.orders", "read")
    pointer = Pointer(letter.id, letter.pipeline, letter.step, letter.namespace, letter.operation)
    with pytest.raises(Kept, match="could not be read"):
        Ways({"top level": ["log"]}, lambda namespace: "top level", whole=True, through="top level").of(pointer)


async def test_a_change_of_which_only_the_token_is_known() -> None:
    letters = Letters()
    await record(Batch((), NOWHERE, (Unreadable.at(Position({"_data": "82AA"}, None), "odd"),)), STREAM, letters)
    [letter] = letters.kept
    assert (str(letter.namespace), letter.operation) == ("shop", "")
