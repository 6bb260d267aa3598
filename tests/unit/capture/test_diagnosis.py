"""The sentence that several servers' troubles make together."""

from __future__ import annotations

import pytest

from mess.capture.connection_string import ConnectionString
from mess.capture.diagnosis import _WELL, _Verdict, _verdict_of_all

TWO = ConnectionString("mongodb://a:1,b:2/?replicaSet=rs0")
A, B, MEMBER = ("a", 1), ("b", 2), ("mongo", 27017)
REFUSED = _Verdict("the connection is refused", "Start it")
UNKNOWN = _Verdict("the host name mongo is unknown", "Check the host")


def test_servers_in_the_same_trouble_are_one_trouble() -> None:
    assert _verdict_of_all(TWO, {A: REFUSED, B: REFUSED}) == REFUSED


def test_each_server_in_another_trouble_is_named() -> None:
    whole = _verdict_of_all(TWO, {A: REFUSED, B: _WELL})
    assert whole.problem == (
        "no primary is reached (a:1: the connection is refused; b:2: it answers, and is not primary)"
    )
    assert whole.remedy == "Start it"


def test_members_that_all_answer_lack_a_primary() -> None:
    assert _verdict_of_all(TWO, {A: _WELL, B: _WELL}).problem == "the replica set has no primary at present"


@pytest.mark.parametrize("url", ["mongodb://localhost:27017/?replicaSet=rs0", "mongodb://10.0.0.1/?replicaSet=rs0"])
def test_members_under_names_that_are_not_in_the_url(url: str) -> None:
    """The usual trouble with a replica set in containers: its members' names are valid only there."""
    whole = _verdict_of_all(ConnectionString(url), {MEMBER: UNKNOWN})
    assert whole.problem == "the replica set names its members mongo:27017, and there the host name mongo is unknown"
    assert "add directConnection=true to mongodb.url" in whole.remedy
