"""Checks event values that steps refer to in their options: finds those that no event can ever have."""

from __future__ import annotations

from collections.abc import Iterable

from mess.config.document import Document, Path
from mess.config.messages import plain
from mess.formats.body import CHANGE, Shape, Unknown
from mess.formats.paths import parse_path
from mess.formats.template import OWN
from mess.similar import closest_name, did_you_mean
from mess.steps.base import Reading, StepConfig

_MEANT = {"database": "db", "coll": "collection", "id": "$id", "op": "operation"}
"""What users write when they mean one of `OWN`."""
_NEAR = 0.85


def check_placeholders(steps: Iterable[tuple[Path, StepConfig | None]], document: Document) -> None:
    """Report values that a pipeline's steps refer to and no event has, given each step's path and options.

    None stands for a step about which nothing is known: a user's function, or one that has already been reported.
    """
    body: Shape | None = CHANGE
    for path, config in steps:
        if config is None:
            body = None
            continue
        for reading in config.named_values():
            place = (*path, "config", *reading.option)
            if body is None:
                _check_guess(reading, place, document)
            elif (message := _mistake(reading, body)) is not None:
                _report(reading, message, place, document)
        body = config.body_after(body)


def is_own(reading: Reading) -> bool:
    """Whether a name is one of the event's own values rather than a path in its body."""
    return reading.name == "$id" or (reading.name in OWN and reading.need in ("refused", "empty"))


def _report(reading: Reading, message: str, place: Path, document: Document) -> None:
    if document.is_secret(place) or not plain(reading.name):
        message = "refers to a value that no event has at this step; check its placeholders"
    if reading.need == "none":
        document.warn(message, place)
    else:
        document.report(message, place)


def _mistake(reading: Reading, body: Shape) -> str | None:
    """What is wrong with a name, given a known body; None if nothing is."""
    if is_own(reading):
        return None
    found = body.find(parse_path(reading.name))
    if not isinstance(found, Unknown):
        return None
    known = [".".join((*found.within, name)) for name in found.known]
    given = ".".join((*found.within, found.name))
    hint = did_you_mean(given, known)
    if not found.within and reading.need in ("refused", "empty"):
        meant = closest_name(given, [*known, *OWN, *_MEANT])
        hint = f'; did you mean "{_MEANT.get(meant, meant)}"?' if meant else ""
    elif not found.within and given in OWN:
        hint = f'; write {{template: "{{{given}}}"}} for the event\'s own value'
    if reading.default and not hint:
        return None  # with a default, the value is expected to be missing sometimes
    holder = ".".join(found.within) or ("a change event" if body is CHANGE else "the body")
    fields = f"; it has {', '.join(found.known)}" if found.known and body is not CHANGE and not hint else ""
    shown = f"{{{reading.name}}}" if reading.need in ("refused", "empty") else reading.name
    return f'{shown}: {holder} has no field "{found.name}" at this step{hint or fields}'


def _check_guess(reading: Reading, place: Path, document: Document) -> None:
    """Warn of a name that is nearly one of a change event's, if the body is not known."""
    name = parse_path(reading.name)[0]
    own = OWN if reading.need in ("refused", "empty") else ()
    known = {*(CHANGE.fields or ()), *own}
    if is_own(reading) or name in known or reading.need == "none" or document.is_secret(place):
        return
    if meant := closest_name(name, known, _NEAR):
        document.warn(
            f'{reading.name}: did you mean "{meant}"? The fields of the body are not known at this step', place
        )
