"""Finds expectations that no event can fulfil."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mess.cases.content import Expected
from mess.config.document import Document
from mess.relay.build import Steps
from mess.similar import did_you_mean
from mess.steps.base import Sink


def check(expect: Sequence[Expected], pipelines: Sequence[str], document: Document, steps: Steps) -> None:
    """Report what the events, which take these pipelines, cannot fulfil."""
    if len(expect) != len(pipelines):
        document.report(f"must have an entry for each of the {len(pipelines)} events, in their order", ("expect",))
        return
    for index, (expected, pipeline) in enumerate(zip(expect, pipelines, strict=True)):
        sinks = {built.name: isinstance(built.step, Sink) for built in steps[pipeline]}
        for option, name, is_sink in _named(expected):
            place = ("expect", index, option) if option == "dropped" else ("expect", index, option, name)
            if name not in sinks:
                known = f"it has {', '.join(sinks)}{did_you_mean(name, sinks)}"
                document.report(f"pipeline {pipeline!r} has no step {name!r}; {known}", place)
            elif is_sink is not None and sinks[name] is not is_sink:
                what = "sends nothing; write its body under after:" if is_sink else "is a sink; write it under sent:"
                document.report(what, place)


def _named(expected: Expected) -> Iterator[tuple[str, str, bool | None]]:
    """The steps that are named: the option, the name, and whether it must be a sink; None if it makes no difference."""
    yield from (("sent", name, True) for name in expected.sent)
    yield from (("after", name, False) for name in expected.after)
    if isinstance(expected.dropped, str):
        yield "dropped", expected.dropped, None
