"""Repairs a gap: sends what its collections hold now to the receivers that missed changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mess.capture.existing import Facts, matching, why_not
from mess.commands import command, quoted
from mess.config.model import Config
from mess.config.scope import pipelines
from mess.errors import ConfigError, Problem
from mess.event import Namespace
from mess.relay.backfill_request import Request, unfit
from mess.relay.build import stage_names
from mess.relay.gaps import regions_of
from mess.state.backfills import Backfill
from mess.state.records import Gap


@dataclass(frozen=True, slots=True)
class Healing:
    """The collections whose documents repair a gap, how they are to be sent, and why others cannot be sent."""

    collections: tuple[Facts, ...]
    request: Request
    left_out: tuple[str, ...]


async def healing(client: Any, config: Config, gap: Gap) -> Healing:
    """What repairs a gap. Connects to MongoDB, and changes nothing.

    Raises ConfigError for a gap that is still open, or if nothing can be sent; SourceError.
    """
    if gap.open:
        reset = command(f"checkpoints reset --stream {quoted(gap.stream)}")
        raise ConfigError(
            f"{gap.id} is open: its stream is stopped, so documents cannot be merged into it. First: {reset}"
        )
    request = Request((), step=_only(config, gap), pipeline=gap.pipeline, origin=gap.id)
    found: dict[Namespace, Facts] = {}
    left_out: list[str] = []
    for region in regions_of(gap.namespaces or ("*.*",)):
        for facts in await matching(client, config, f"{region.dbs[0]}.{region.colls[0]}", region.contains):
            reason = why_not(facts)
            # A gap of many collections is recorded as one of whole databases, which have others besides.
            if problems := [*([] if reason is None else [reason]), *unfit(config, facts.namespace, request)]:
                left_out += problems
            else:
                found[facts.namespace] = facts
    if not found:
        nothing = f"{gap.id} cannot be repaired: none of its collections exists and is watched"
        raise ConfigError(map(Problem, left_out or [nothing]))
    return Healing(tuple(found.values()), request, tuple(dict.fromkeys(left_out)))


def _only(config: Config, gap: Gap) -> str | None:
    """The step that is to get the documents; None for the whole pipeline: steps behind the one that skipped missed the
    changes, too."""
    names = next((stage_names(each.steps) for each in pipelines(config) if each.name == gap.pipeline), [])
    return gap.step if gap.step not in names[:-1] else None


def healed(gap: Gap, backfills: Iterable[Backfill]) -> str:
    """How far a gap is repaired, by the backfills that were started for it: healed, healing, or failed; empty if there
    are none. The newest one of each collection counts."""
    newest: dict[Namespace, Backfill] = {}
    for each in sorted(backfills, key=lambda backfill: backfill.created):
        if each.origin == gap.id:
            newest[each.namespace] = each
    states = {each.progress.state for each in newest.values()}
    if not states:
        return ""
    if states == {"done"}:
        return "healed"
    return "failed" if states <= {"done", "failed", "cancelled"} else "healing"


def not_repaired(request: Request) -> Sequence[str]:
    """What the documents of a request, as they are now, do not tell receivers."""
    found = [
        "deletions: receivers keep documents that were deleted in the gap",
        "states in between: each document is sent once, as it is now",
        "drop, rename and other changes of whole collections and databases",
    ]
    if request.step is not None:
        found.append(f"anything outside step {request.step!r}: no other http or queue step is sent these documents")
    return found
