"""Builds the steps of a config's pipelines."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, count
from typing import NamedTuple

from mess import steps
from mess.config.document import Path
from mess.config.load import Loaded
from mess.config.model import Config, StepSpec
from mess.config.scope import HOOK, TOP_LEVEL, pipelines
from mess.errors import ConfigError, Problem
from mess.relay.identity import identity
from mess.steps.base import Context, Step
from mess.steps.function import FunctionStep


class BuiltStep(NamedTuple):
    """A pipeline's entry, the step built from it, and its name in dead letters and metrics.

    `identity` says what the step does: see `mess.relay.identity`.
    """

    name: str
    spec: StepSpec
    step: Step
    identity: str = ""


Steps = dict[str, list[BuiltStep]]
"""Pipelines by name."""


def build_pipelines(loaded: Loaded, only: Collection[str] | None = None) -> Steps:
    """The steps of every pipeline that some namespace may take, in the config's order; of those in `only`, if given.
    Connects to nothing.

    Raises ConfigError with everything that is wrong with any of them.
    """
    built, problems = build_all(loaded, only)
    if problems:
        raise ConfigError(problems)
    return built


def build_all(loaded: Loaded, only: Collection[str] | None = None) -> tuple[Steps, list[Problem]]:
    """The same, with the steps that can be built; and what is wrong with the others, with file and line."""
    specs = {spec.name: spec.steps for spec in pipelines(loaded.config)}
    built: Steps = {}
    problems: list[Problem] = []
    for name, path in _places(loaded.config):
        if name not in specs or (only is not None and name not in only):
            continue
        entries = built[name] = list[BuiltStep]()
        for index, (spec, step_name) in enumerate(zip(specs[name], stage_names(specs[name]), strict=True)):
            try:
                entries.append(BuiltStep(step_name, spec, build_step(spec, loaded), identity=identity(spec, loaded)))
            except ConfigError as error:
                problems += [_placed(loaded, problem, (*path, "pipeline", index)) for problem in error.problems]
            except Exception as error:  # a package's step may raise anything
                text = f"the step cannot be built: {brief(error)}"
                problems.append(loaded.problem(text, (*path, "pipeline", index)))
    return built, problems


def _places(config: Config) -> Iterator[tuple[str, Path]]:
    """The name and config path of each pipeline."""
    yield TOP_LEVEL, ()
    for db, database in config.databases.items():
        yield db, ("databases", db)
        for coll in database.collections:
            yield f"{db}.{coll}", ("databases", db, "collections", coll)


def _placed(loaded: Loaded, problem: Problem, path: Path) -> Problem:
    """Complete a problem's path, since a step only knows the path within its own options."""
    if problem.file is not None:
        return problem
    inner = ("config", *problem.path.split(".")) if problem.path else ()
    return loaded.problem(problem.message, (*path, *inner))


def brief(error: Exception) -> str:
    """An unexpected error in one line."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def build_step(spec: StepSpec, loaded: Loaded) -> Step:
    """The step for a pipeline's entry: one of the user's `plugins` (or the function that replaces a pipeline), else one
    of MESS's own, else one of an installed package.

    Raises ConfigError if the step's environment does not fit, for example if a file that it names cannot be read.
    """
    name, functions = spec.name, loaded.functions
    if name.startswith(HOOK):
        return FunctionStep(functions[name.removeprefix(HOOK)], {}, loaded.tree, hook=True)
    if name in loaded.config.plugins:
        return FunctionStep(functions[loaded.config.plugins[name]], spec.config, loaded.tree)
    context = Context(relay=loaded.config.name, directory=loaded.directory, config=loaded.tree, functions=functions)
    return steps.config_class(name).model_validate(spec.config).build(context)


def describe_step(spec: StepSpec, plugins: Mapping[str, str]) -> str:
    """A pipeline's entry in a few words, without secrets."""
    if spec.name.startswith(HOOK):
        return spec.name
    if spec.name in plugins:
        return f"{spec.name} ({plugins[spec.name]})"
    return steps.config_class(spec.name).model_validate(spec.config).describe()


def stage_names(steps: Sequence[StepSpec]) -> list[str]:
    """A unique name for each of a pipeline's steps: `http`, `http 2`, …

    Dead letters and metrics use these names. A step keeps its name when steps with other names are added or removed.
    """
    names: list[str] = []
    for step in steps:
        # A plugin may itself be called "http 2".
        numbered = (f"{step.name} {number}" for number in count(2))
        names.append(next(name for name in chain([step.name], numbered) if name not in names))
    return names
