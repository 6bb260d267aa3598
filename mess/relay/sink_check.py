"""Checks the endpoints of a config's steps before any event flows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from mess.capture.preflight import Finding
from mess.errors import MessError
from mess.relay.build import Steps, brief, describe_step
from mess.steps.base import Step

TIMEOUT = 10.0
"""How many seconds an endpoint has to answer."""
EXIT_CODE = 8
"""The exit code of `mess check` if an endpoint does not answer."""
_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Built:
    """A step that is not open yet, and its description without secrets."""

    about: str
    step: Step


def endpoints(steps: Steps, plugins: Mapping[str, str]) -> list[Built]:
    """The steps to check; only one of several with the same options."""
    built: list[Built] = []
    seen: list[tuple[str, dict[str, Any]]] = []
    for _, spec, step, _ in chain.from_iterable(steps.values()):
        if (spec.name, spec.config) not in seen:
            seen.append((spec.name, spec.config))
            built.append(Built(describe_step(spec, plugins), step))
    return built


async def try_all(built: Sequence[Built], timeout: float = TIMEOUT) -> list[Finding]:
    """Check the steps' endpoints; returns the findings in the order of the steps, without duplicates and without steps
    that have no endpoint.

    Several are checked at a time; each has `timeout` seconds.
    """
    room = asyncio.Semaphore(_AT_A_TIME)

    async def one(candidate: Built) -> Finding | None:
        async with room:
            return await _try(candidate, timeout)

    found = await asyncio.gather(*map(one, built))
    return list(dict.fromkeys(finding for finding in found if finding is not None))


async def _try(candidate: Built, timeout: float) -> Finding | None:
    step = candidate.step
    try:
        async with asyncio.timeout(timeout) as limit:
            try:
                await step.open()
                what = await step.check()
            finally:
                await step.close()
    except MessError as error:
        message, *remedy = str(error).splitlines()
        return Finding(ok=False, what=f"{candidate.about}: {message}", remedy="\n".join(remedy), exit_code=EXIT_CODE)
    except Exception as error:  # report any error in a line, and check the others
        why = f"no answer within {timeout:g} s" if limit.expired() else brief(error)
        return Finding(False, f"{candidate.about}: {why}", exit_code=EXIT_CODE)
    return None if what is None else Finding(True, what)
