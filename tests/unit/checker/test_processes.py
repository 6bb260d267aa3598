"""The checker of several processes finds what it is there to find."""

from __future__ import annotations

from tests.checker.processes import Delivery, Silence, check_epochs, check_silences, check_thawed
from tests.checker.verdict import Verdict
from tests.unit.checker.test_verdict import CHANGES, arrival


def delivery(number: int, began: float, process: str = "a", epoch: int = 1, took: float = 0.1) -> Delivery:
    change = CHANGES[number]
    return Delivery(arrival(change), change.key, process, epoch, began, began + took, began + took)


def problems(*deliveries: Delivery, justified: int | None = None) -> list[str]:
    verdict = Verdict()
    check_epochs(deliveries, verdict, justified=justified)
    return list(verdict.problems)


def test_one_takeover_is_fine_whatever_was_in_flight_then() -> None:
    verdict = Verdict()
    found = check_epochs([delivery(0, 1, took=5), delivery(0, 2, "b", 2), delivery(2, 3, "b", 2)], verdict, justified=1)
    assert verdict.ok
    assert (found.takeovers, found.in_flight) == (1, 1)


def test_a_zombie_is_found_by_its_document_or_by_another() -> None:
    taken = delivery(0, 2, "b", 2)
    assert problems(delivery(0, 1), taken, delivery(2, 3)) == ["mess-epoch goes back for a document"]
    assert problems(delivery(0, 1), taken, delivery(1, 3)) == ["two processes deliver at a time"]


def test_an_epoch_belongs_to_one_process() -> None:
    assert problems(delivery(0, 1), delivery(2, 2, "b")) == ["one epoch, two processes"]


def test_every_delivery_names_its_epoch() -> None:
    assert problems(delivery(0, 1, epoch=0)) == ["no mess-epoch"]


def test_takeovers_need_a_reason() -> None:
    there_and_back = [delivery(0, 1), delivery(0, 2, "b", 2), delivery(2, 3, "a", 3)]
    assert problems(*there_and_back, justified=1) == ["flapping"]
    assert problems(*there_and_back, justified=2) == []


def test_a_silence_that_is_broken_is_found() -> None:
    for process, expected in (("a", True), ("b", False), (None, True)):
        verdict = Verdict()
        check_silences([delivery(0, 1), delivery(2, 5)], [Silence(process, 2, 6, "cut off")], verdict)
        assert bool(verdict.problems) is expected
    verdict = Verdict()
    check_silences([delivery(0, 1), delivery(2, 7)], [Silence("a", 2, 6)], verdict)
    assert verdict.ok


def test_a_thawed_process_that_repeats_what_others_have_delivered_is_found() -> None:
    others = [delivery(0, 3, "b", 0), delivery(2, 4, "b", 0)]
    for repeated, expected in ((0, True), (3, False)):
        verdict = Verdict()
        sent = [delivery(0, 1, epoch=0), *others, delivery(repeated, 8, "a", 0)]
        check_thawed(sent, [Silence("a", 2, 7)], CHANGES, verdict)
        assert bool(verdict.problems) is expected


def test_what_a_thawed_process_repeats_once_it_has_work_again_is_no_fault() -> None:
    for repeated_at, expected in ((8, False), (7.2, True)):
        verdict = Verdict()
        sent = [delivery(0, 1, epoch=0), delivery(0, 3, "b", 0), delivery(0, repeated_at, "a", 0)]
        check_thawed(sent, [Silence("a", 2, 7, back=7.5)], CHANGES, verdict)
        assert bool(verdict.problems) is expected
