"""What docs/delivery.md promises, as checks of what a receiver has seen. They know nothing of the code."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import inf
from typing import Any

from tests.fuzz.receivers import HANGS_UP, TIMEOUT, Request


@dataclass
class Delivery:
    """What happened at a sink: `keys` are those of the events by their ids, in stream order, with None for barriers;
    `letters` are how many attempts each dead letter tells of, and `options` the step's, all of them. `kind` is `http`
    (events one by one), `batch` or `queue`. `places` says where each event is to go: what is taken at one place says
    nothing of another."""

    keys: Mapping[str, int | None]
    requests: Sequence[Request]
    letters: Mapping[str, int]
    options: Mapping[str, Any]
    stopped: bool
    kind: str
    places: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.attempts = sorted(self.requests if self.kind == "queue" else _attempts(self.requests), key=_end)
        self.of = {id_: [one for one in self.attempts if id_ in one.ids] for id_ in self.keys}
        self.taken: dict[Any, list[float]] = defaultdict(list)
        for one in self.attempts:
            if one.meaning == "done":
                for place in {self.places[id_] for id_ in one.ids}:
                    self.taken[place].append(one.ended)
        self.given_up = [id_ for id_, made in self.of.items() if made and made[-1].meaning != "done"]


def _attempts(requests: Sequence[Request]) -> list[Request]:
    """One request that was hung up on and its repetition at once are one attempt."""
    hung_up: dict[tuple[str, ...], Request] = {}
    attempts = []
    for request in requests:
        first = hung_up.pop(tuple(request.ids), None)
        if first is not None:
            attempts.append(Request(request.ids, request.answer, first.began, request.ended))
        elif request.answer.status == HANGS_UP and request.answer.after < TIMEOUT:
            hung_up[tuple(request.ids)] = request
        else:
            attempts.append(request)
    return attempts


def check(*deliveries: Delivery) -> None:
    """Of the sinks of one pipeline, in their order. Raises AssertionError where a promise is broken."""
    if deliveries[0].stopped:
        assert any(each.given_up and each.options["on_failure"] == "stop" for each in deliveries)
    for delivery in deliveries:
        _nothing_is_lost(delivery)
        _order_is_kept(delivery)
        for id_, attempts in delivery.of.items():
            _only_what_failed_is_repeated(delivery, attempts)
            if id_ in delivery.given_up and not delivery.stopped:
                _is_given_up_rightly(delivery, attempts)
        _no_more_at_a_time_than_asked_for(delivery)
    for before, behind in pairwise(deliveries):
        _what_is_taken_goes_on(before, behind)


def _nothing_is_lost(delivery: Delivery) -> None:
    """Each event is taken, or kept as a dead letter, or dropped because the config says so."""
    if delivery.stopped:
        return
    kept = delivery.given_up if delivery.options["on_failure"] == "dead_letter" else []
    assert sorted(delivery.letters) == sorted(kept)
    if delivery.options["on_failure"] == "stop":
        assert not delivery.given_up


def _what_is_taken_goes_on(before: Delivery, behind: Delivery) -> None:
    """An event comes to the sink behind another when that one has taken it, and only then."""
    for id_, attempts in behind.of.items():
        earlier = before.of[id_]
        taken = bool(earlier) and earlier[-1].meaning == "done"
        if attempts:
            assert taken
            assert earlier[-1].ended <= attempts[0].began
        else:
            assert behind.stopped or not taken


def _order_is_kept(delivery: Delivery) -> None:
    """A request holds its events in their order, and none before the earlier ones of its key are done with."""
    ids = list(delivery.keys)
    for attempt in delivery.attempts:
        assert list(attempt.ids) == sorted(attempt.ids, key=ids.index)
        for id_ in attempt.ids:
            key = delivery.keys[id_]
            for earlier in ids[: ids.index(id_)]:
                alike = key is None or delivery.keys[earlier] in (key, None)
                if not alike or not delivery.of[earlier] or earlier in attempt.ids:
                    continue
                if not _sent_behind_a_refused_one(delivery, attempt, earlier):
                    assert _finished(delivery, earlier) <= attempt.began, f"{id_} overtook {earlier}"


def _sent_behind_a_refused_one(delivery: Delivery, attempt: Request, earlier: str) -> bool:
    """A broker has the next message by the time that it is known that the refused one is tried again; but not taken."""
    if delivery.kind != "queue" or attempt.meaning == "done":
        return False
    before = [one for one in delivery.of[earlier] if one.ended <= attempt.began]
    return bool(before) and before[-1].meaning == "refused"


def _finished(delivery: Delivery, id_: str) -> float:
    last = delivery.of[id_][-1]
    refused_by_broker = delivery.kind == "queue" and last.meaning == "refused"  # it has the next message by then
    given_up = id_ in delivery.letters or delivery.options["on_failure"] == "skip"  # as far as can be told
    return last.ended if last.meaning == "done" or refused_by_broker or given_up or not delivery.stopped else inf


def _only_what_failed_is_repeated(delivery: Delivery, attempts: Sequence[Request]) -> None:
    most = delivery.options["retry"]["max_attempts"]
    counts = accumulate(_counts(delivery, attempts, number, surely=True) for number in range(len(attempts)))
    for (before, after), counted in zip(pairwise(attempts), counts, strict=False):
        assert before.ended <= after.began
        assert before.meaning != "done", "repeated, though it was taken"
        if before.meaning == "refused":
            assert len(before.ids) > 1 or _may_be_refusing(delivery, before, after), "repeated, though it was refused"
        if before.meaning == "ambiguous" and delivery.kind == "http" and most is not None:
            assert counted < most, "its attempts were used up"


def _is_given_up_rightly(delivery: Delivery, attempts: Sequence[Request]) -> None:
    """After a refusal, or when its attempts are used up: those since it was by itself, for a batch's do not count."""
    last, retry = attempts[-1], delivery.options["retry"]
    assert len(last.ids) == 1, "a batch was given up as a whole"
    alone = next((n for n in range(len(attempts), 0, -1) if len(attempts[n - 1].ids) > 1), 0)
    if delivery.kind == "http" and delivery.letters:
        assert delivery.letters[last.ids[0]] == len(attempts)
    if last.meaning == "refused":
        return
    failing = next((n for n, one in enumerate(attempts) if _is_its_own(delivery, attempts, n)), None)
    expired = (
        retry["max_age"] is not None
        and failing is not None
        and last.ended - attempts[failing].ended >= retry["max_age"]
    )
    if expired:
        return
    counted = [one for n, one in enumerate(attempts) if n >= alone and _counts(delivery, attempts, n, surely=False)]
    assert retry["max_attempts"] is not None
    assert len(counted) >= retry["max_attempts"], "given up too early"
    if last.meaning == "down":
        assert last is counted[-1], "given up though the sink was down"
        assert last.ended - counted[0].ended >= retry["min_age"] - 1e-6, "given up before min_age"
        assert _failing_alike(delivery, last) < delivery.options["probe"]["suspect_after"], "given up in an outage"


def _failing_alike(delivery: Delivery, last: Request) -> int:
    """How many different events fail as an event may at the time that `last` does, that one included."""
    if delivery.kind != "http":
        return 1
    found = 1
    for id_, attempts in delivery.of.items():
        before = [one for one in attempts if one.ended < last.began]
        following = attempts[len(before) :]  # its fate is known only later
        pending = bool(following) and following[0].ended > last.ended and id_ not in last.ids
        found += pending and before[-1:] != [] and before[-1].meaning == "down" and before[-1].answer.event_may_be_cause
    return found


def _is_its_own(delivery: Delivery, attempts: Sequence[Request], number: int) -> bool:
    """Whether a failure may be the event's own, and not only that of a sink that was down."""
    one = attempts[number]
    return one.meaning != "down" or (number > 0 and _witnessed(delivery, attempts[number - 1], one, surely=False))


def _counts(delivery: Delivery, attempts: Sequence[Request], number: int, *, surely: bool) -> bool:
    """Whether an attempt counts: it failed ambiguously, and it was the first, or the sink has taken another event since
    the one before; or the sink said that it is down, but the event may be the cause, and the sink has taken another one
    since. `surely` says no where the times alone do not tell."""
    attempt = attempts[number]
    ambiguous = attempt.meaning == "ambiguous"
    suspected = attempt.meaning == "down" and attempt.answer.event_may_be_cause and delivery.kind != "queue"
    if not ambiguous and (surely or not suspected):
        return False
    if number == 0:
        return ambiguous
    before = attempts[number - 1]
    anew = not surely and ambiguous and before.ids != attempt.ids  # it waited behind another one of its batch
    return anew or _witnessed(delivery, before, attempt, surely=surely)


def _witnessed(delivery: Delivery, before: Request, after: Request, *, surely: bool) -> bool:
    taken = delivery.taken[delivery.places[before.ids[0]]]
    if surely:
        return bisect_right(taken, before.ended) < bisect_left(taken, after.ended)
    return bisect_left(taken, before.ended) < bisect_right(taken, after.ended)


def _may_be_refusing(delivery: Delivery, refused: Request, again: Request) -> bool:
    """Whether the sink may have refused so many different events in a row that it is the trouble."""
    limit = delivery.options["probe"]["refusing_after"]
    all_taken = sorted(time for times in delivery.taken.values() for time in times)
    number = bisect_left(all_taken, refused.ended)
    taken = all_taken[number - 1] if number else -inf
    failed = [one for one in delivery.attempts if one.meaning != "done" and taken <= one.ended <= again.began]
    return limit is not None and len({id_ for one in failed for id_ in one.ids}) > limit


def _no_more_at_a_time_than_asked_for(delivery: Delivery) -> None:
    most = delivery.options["concurrency"]
    if most is None or delivery.kind != "http":
        return
    for request in delivery.requests:
        assert sum(one.began <= request.began < one.ended for one in delivery.requests) <= most


def check_rate(delivery: Delivery) -> None:
    """A step is given no more events in a second than it may have."""
    rate = delivery.options["rate_limit"]
    if rate is not None:
        for before, after in pairwise(sorted(attempt.began for attempt in delivery.attempts)):
            assert after - before >= 1 / rate - 1e-6, "faster than it may have them"


def check_knocking(delivery: Delivery) -> None:
    """While a sink is down one event at a time probes, not at once, and not before the time that the sink asked for."""
    probe = delivery.options["probe"]
    finished = [made[-1].ended for made in delivery.of.values() if made]
    released = sorted([one.ended for one in delivery.attempts if one.meaning in ("done", "refused")] + finished)
    begins = sorted(delivery.attempts, key=_begin)
    for down in delivery.attempts:
        if down.meaning != "down":
            continue
        first = delivery.of[down.ids[0]][0]
        # Once others have been taken while it failed, it holds up no others any more, with or without a witness.
        its_own = first is not down and _witnessed(delivery, first, down, surely=False)
        pause = min(down.answer.asks_for, probe["max_retry_after"])
        for request in _between(begins, down.ended, down.ended + pause - 1e-6):
            assert its_own, "earlier than the sink asked for"
            assert request.ids != down.ids, "earlier than the sink asked for"
        if not its_own:
            number = bisect_left(released, down.ended - 1e-6)
            probes = _between(begins, down.ended + 1e-6, released[number] if number < len(released) else inf)
            for before, after in pairwise(probes[:9]):
                assert before.ended <= after.began, "two probe at a time"
                assert after.began - before.ended >= probe["first"] - 1e-6, "probes at once again"


def _between(begins: Sequence[Request], after: float, before: float) -> Sequence[Request]:
    """Those that began between two times."""
    return begins[bisect_right(begins, after, key=_begin) : bisect_left(begins, before, key=_begin)]


def _begin(request: Request) -> float:
    return request.began


def _end(request: Request) -> float:
    return request.ended
