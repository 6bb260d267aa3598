"""What the demo shows can be read."""

from __future__ import annotations

from collections import Counter

import pytest
from rich.console import Console

from mess.demo.bin import Received
from mess.demo.screen import Screen, percentiles

_BODY = {
    "operationType": "update",
    "wallTime": "2026-01-31T12:00:00.000Z",
    "ns": {"db": "test-db", "coll": "orders"},
    "documentKey": {"_id": 1001},
    "updateDescription": {"updatedFields": {"status": "paid"}, "removedFields": ["note"]},
}
_NOON = 1769860800.0


def _screen(width: int = 200, *, terminal: bool = False) -> Screen:
    return Screen(Console(width=width, force_terminal=terminal, color_system=None, highlight=False))


def test_an_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Operation, namespace, key, latency, id and what changed, in one line even on a narrow terminal."""
    _screen().event(Received("msg_ABCDEFGHIJKLMN", _NOON + 0.004, _BODY, again=False))
    line = capsys.readouterr().out
    for part in ("update", "test-db.orders 1001", "4 ms", "msg_ABCDEFGH…", '{"status":"paid","note":null}'):
        assert part in line
    _screen(60, terminal=True).event(Received("msg_ABCDEFGHIJKLMN", _NOON, _BODY, again=True))
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    "body", [{}, {"operationType": "drop", "ns": {"db": "test-db", "coll": "orders"}}, {"fullDocument": None}]
)
def test_any_change_can_be_shown(capsys: pytest.CaptureFixture[str], body: dict[str, object]) -> None:
    """Changes without a key, a document or a wall clock too."""
    _screen().event(Received("msg_A", _NOON, body, again=False))
    assert capsys.readouterr().out.count("\n") == 1


def test_the_summary_counts_what_did_not_arrive(capsys: pytest.CaptureFixture[str]) -> None:
    """Another writer's events do not make up for a lost one."""
    screen = _screen()
    screen.event(Received("msg_A", _NOON + 0.002, _BODY, again=False))
    lost = screen.summary(
        Counter({("orders", 1): 2, ("orders", 2): 1}), Counter({("orders", 1): 1, ("x", 9): 5}), again=1
    )
    assert lost == 2
    text = capsys.readouterr().out
    assert "p50 2 ms" in text
    assert "6 (and 1 again)" in text


def test_existing_documents_do_not_fill_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """The first few are shown, then how many more have come; the age of what they hold is no latency."""
    screen = _screen()
    screen.existing = 300
    for number in range(300):
        body = {**_BODY, "operationType": "read", "documentKey": {"_id": number}}
        screen.event(Received(f"msg_{number}", _NOON + 5, body, again=False))
    lines = capsys.readouterr().out.splitlines()
    assert "test-db.orders 0 " in lines[0]
    assert "and 295 more" in lines[-1]
    assert len(lines) == 6
    assert screen.summary(Counter(), Counter(), again=0, lost_existing=2) == 2
    text = capsys.readouterr().out
    assert "300, 298 received" in text
    assert "latency" not in text


def test_percentiles_are_values_that_were_there() -> None:
    """Nearest rank: of a hundred values the 99th is p99."""
    assert percentiles(range(1, 101), (0, 50, 99, 100)) == [1, 50, 99, 100]
    assert percentiles([7], (50, 99)) == [7, 7]
    with pytest.raises(ValueError, match="no values"):
        percentiles([], (50,))
