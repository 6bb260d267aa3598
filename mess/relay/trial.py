"""What can be tried of a config's steps before any event flows: whether they can be built, and whether their endpoints
answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mess.capture.preflight import Finding
from mess.config.document import Path
from mess.config.load import Loaded
from mess.config.model import Config, Scope, StepSpec
from mess.config.scope import HOOK, TOP_LEVEL, pipelines
from mess.errors import ConfigError, MessError, Problem
from mess.relay.build import build_step, describe_step
from mess.step import Context, Step

TIMEOUT = 10.0
"""Seconds that an endpoint has to answer."""
_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Built:
    """A step, not yet opened, and what it is in a few words without secrets."""

    about: str
    step: Step


def build_all(loaded: Loaded) -> tuple[list[Built], list[Problem]]:
    """Every step of every pipeline that some namespace may take, those with the same options once; and what is wrong
    with those that cannot be built, with file and line. Connects to nothing."""
    built: list[Built] = []
    problems: list[Problem] = []
    seen: list[tuple[str, dict[str, Any]]] = []
    plugins = loaded.config.plugins
    context = Context(loaded.config.name, loaded.directory, loaded.tree, loaded.functions)
    for path, spec in _entries(loaded.config):
        try:
            step = build_step(spec.name, spec.config, plugins, context)
            about = describe_step(spec.name, spec.config, plugins)
        except ConfigError as error:
            problems += [_placed(loaded, problem, path) for problem in error.problems]
        except Exception as error:  # a package's step may fail in any way at all
            problems.append(loaded.problem(f"the step cannot be built: {_brief(error)}", path))
        else:
            if (spec.name, spec.config) not in seen:
                seen.append((spec.name, spec.config))
                built.append(Built(about, step))
    return built, problems


def _entries(config: Config) -> Iterator[tuple[Path, StepSpec]]:
    used = {spec.name for spec in pipelines(config) if not spec.steps[0].name.startswith(HOOK)}
    for name, path, scope in _scopes(config):
        if name in used:
            for index, spec in enumerate(scope.pipeline or ()):
                yield (*path, "pipeline", index), spec


def _scopes(config: Config) -> Iterator[tuple[str, Path, Scope]]:
    yield TOP_LEVEL, (), config
    for db, database in config.databases.items():
        yield db, ("databases", db), database
        for coll, collection in database.collections.items():
            yield f"{db}.{coll}", ("databases", db, "collections", coll), collection


def _placed(loaded: Loaded, problem: Problem, path: Path) -> Problem:
    """A step knows only where in its own options a mistake lies."""
    if problem.file is not None:
        return problem
    inner = ("config", *problem.path.split(".")) if problem.path else ()
    return loaded.problem(problem.message, (*path, *inner))


async def try_all(built: Sequence[Built], timeout: float = TIMEOUT) -> list[Finding]:
    """What the steps' endpoints answer, in the steps' order and each finding once; steps without one are left out.

    Several are tried at a time; each has `timeout` seconds.
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
        message, *mend = str(error).splitlines()
        return Finding(False, f"{candidate.about}: {message}", "\n".join(mend))
    except Exception as error:  # whatever happened, it is told in a line, and the others are tried
        why = f"no answer within {timeout:g} s" if limit.expired() else _brief(error)
        return Finding(False, f"{candidate.about}: {why}")
    return None if what is None else Finding(True, what)


def _brief(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
