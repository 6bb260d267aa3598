"""How a dead letter is made ready to be stored."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mess.errors import StateError
from mess.event import Namespace
from mess.state import DeadLetter
from mess.state.letters import CHUNK_BYTES, pack, to_millisecond, unpack
from tests.unit.fakes import make_event, make_read

LETTER = DeadLetter(
    id="msg_1",
    pipeline="shop",
    step="http",
    namespace=Namespace("shop", "orders"),
    operation="insert",
    key={"_id": 1},
    reason="HTTP 400",
    error="Refused",
    attempts=1,
    time=datetime(2026, 7, 1, tzinfo=timezone.utc),
    event={"_id": {"_data": "82"}},
    body={"order": 1},
)

json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


# Hypothesis draws its first text slowly, since it builds its table of characters then.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(json)
def test_any_json_comes_back(body: Any) -> None:
    """Whatever its keys and texts hold."""
    packed = pack(replace(LETTER, body=body))
    assert unpack(packed.head, packed.chunks).body == body


@unhurried
@given(st.binary() | st.sets(st.integers()) | st.complex_numbers() | st.text(st.characters(categories=["Cs"])))
def test_anything_at_all_is_kept(body: Any) -> None:
    """As something, at least."""
    packed = pack(replace(LETTER, body={"a": body}, reason=str(body)))
    unpack(packed.head, packed.chunks)


def test_a_head_alone_has_no_content() -> None:
    """For listings."""
    assert unpack(pack(LETTER).head) == replace(LETTER, event={}, body=None)


def test_it_is_compressed() -> None:
    """Events are wordy."""
    (chunk,) = pack(replace(LETTER, body="the same again" * 10_000)).chunks
    assert len(chunk) < 5_000


def test_chunks_fit_into_a_document() -> None:
    """MongoDB's hold 16 MiB."""
    packed = pack(replace(LETTER, body=Random(1).randbytes(20_000_000)))
    assert [len(chunk) <= CHUNK_BYTES for chunk in packed.chunks] == [True] * 3
    assert unpack(packed.head, packed.chunks).body == Random(1).randbytes(20_000_000)


def test_versions_tell_contents_apart() -> None:
    """And are the same for the same content, so that a second attempt overwrites the first."""
    assert pack(LETTER).version == pack(replace(LETTER, attempts=2)).version
    assert pack(LETTER).version != pack(replace(LETTER, body={})).version


def test_damage_is_told() -> None:
    """With the letter's id."""
    packed = pack(LETTER)
    for chunks in ([b"rubbish"], [packed.chunks[0][:-9]], []):
        with pytest.raises(StateError, match="msg_1 is damaged"):
            unpack(packed.head, chunks)


def test_times_are_utc_to_the_millisecond() -> None:
    """As MongoDB keeps them; a naive one is UTC."""
    exact = datetime(2026, 7, 1, 12, 0, 0, 123000, tzinfo=timezone.utc)
    for same in (
        datetime(2026, 7, 1, 12, 0, 0, 123999),
        datetime(2026, 7, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2))),
    ):
        assert to_millisecond(same) == exact


@pytest.mark.parametrize(
    "of_event",
    [{}, {"looked_up": True}, {"looked_up": False}, {"backfill": "bf_7"}, {"backfill": "bf_7", "only": "http 2"}],
)
def test_what_an_event_was_comes_back(of_event: dict[str, Any]) -> None:
    letter = replace(LETTER, **of_event)
    packed = pack(letter)
    assert unpack(packed.head, packed.chunks) == letter


def test_letters_of_changes_that_are_certain_are_stored_as_before() -> None:
    """An older version can read them, and their version stays the same."""
    content = bson.decode(zlib.decompress(b"".join(pack(LETTER).chunks)))
    assert set(content) == {"event", "body", "key", "history"}


def test_an_existing_document_belongs_behind_the_changes_of_its_time() -> None:
    """A replay begins with the oldest change."""
    read, change, later = make_read(5), make_event(5), make_event(6)
    read.change["clusterTime"] = change.change["clusterTime"]
    places = [pack(replace(LETTER, event=event.change)).head["place"] for event in (change, read, later)]
    assert places == sorted(places)
    assert len(set(places)) == 3
