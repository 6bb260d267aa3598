"""Checks the steps of pipelines: their names, and each step's own options."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mess import steps
from mess.config.document import Document, Path
from mess.config.messages import plain
from mess.config.placeholders import check_placeholders
from mess.config.validate import validate
from mess.errors import ConfigError
from mess.options.sections import for_options
from mess.similar import closest_name, did_you_mean
from mess.steps.base import StepConfig

_LISTED = 50  # how many names a message lists
_COMPARED = 1000  # how many plugin names are compared with a misspelled one


def scopes(data: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every scope of a config's data with its path: the top level, databases, collections. Non-mappings are left
    out."""
    yield (), data
    for db, database in _mapping(data, "databases").items():
        if not isinstance(database, dict):
            continue
        yield ("databases", db), database
        for coll, collection in _mapping(database, "collections").items():
            if isinstance(collection, dict):
                yield ("databases", db, "collections", coll), collection


def entries(data: Any) -> Iterator[tuple[Path, Any]]:
    """Every entry of every pipeline with its path."""
    for path, scope in scopes(data):
        pipeline = scope.get("pipeline")
        if isinstance(pipeline, list):
            for index, entry in enumerate(pipeline):
                yield (*path, "pipeline", index), entry


def step_name(entry: Any) -> Any:
    """The name of a pipeline's entry, which may consist of the name alone."""
    return entry.get("name") if isinstance(entry, dict) else entry


def check_steps(data: dict[str, Any], document: Document) -> None:
    """Report unknown steps, steps of broken packages, invalid options, and values that no event has. Remove options
    that a step ignores."""
    plugins = _mapping(data, "plugins")
    _warn_of_packages(plugins, document)
    for path, scope in scopes(data):
        pipeline = scope.get("pipeline")
        if isinstance(pipeline, list):
            places = [(*path, "pipeline", index) for index in range(len(pipeline))]
            options = [_options(entry, place, plugins, document) for place, entry in zip(places, pipeline, strict=True)]
            check_placeholders(zip(places, options, strict=True), document)


def _options(entry: Any, path: Path, plugins: dict[str, Any], document: Document) -> StepConfig | None:
    """The options of a pipeline's entry; None for a user's function, and if a mistake has been reported."""
    name = step_name(entry)
    if not isinstance(name, str) or name in plugins:
        return None
    place = (*path, "name") if isinstance(entry, dict) else path
    try:
        model = steps.config_class(name)
    except KeyError:
        document.reject(_unknown(name, plugins, secret=document.is_secret(place)), place)
        return None
    except ConfigError as error:
        document.reject(str(error), place)
        return None
    config = entry.get("config") if isinstance(entry, dict) else None
    if config is None:
        config = {}
    if not isinstance(config, dict):
        return None  # the model reports it
    try:
        model = for_options(model, config)
    except ConfigError as error:
        for problem in error.problems:
            document.reject(problem.message, (*path, "config", problem.path))
        return None
    if model.ignores_unknown and isinstance(entry, dict):
        config = entry["config"] = _known(model, config, document, (*path, "config"))
    made = validate(model, config, document, (*path, "config"))
    for option, warning in made.warnings() if made is not None else ():
        document.warn(warning, (*path, "config", *option.split(".")))
    return made


def shadowed(data: dict[str, Any]) -> Iterator[str]:
    """Describe which steps win where a name in use belongs to both a step of MESS and one of an installed package."""
    used = {name for _, entry in entries(data) if isinstance(name := step_name(entry), str)}
    for name in sorted(used & set(steps.names()) & set(steps.STEPS.packaged()) - _mapping(data, "plugins").keys()):
        yield f"the {name} step is MESS's own, not the one of the package {steps.STEPS.origin(name)}"


def _warn_of_packages(plugins: dict[str, Any], document: Document) -> None:
    for name in plugins:
        if name not in steps.names() and name in steps.STEPS.packaged():
            whose = f"the {name} step of the package {steps.STEPS.origin(name)}"
            document.warn(f"replaces {whose}", ("plugins", name))


def _unknown(name: str, plugins: dict[str, Any], *, secret: bool) -> str:
    known = list(islice(dict.fromkeys([*steps.names(), *steps.STEPS.packaged(), *islice(plugins, _LISTED)]), _LISTED))
    if secret or not plain(name):
        return f"unknown step; known are {', '.join(known)}"
    hint = (
        did_you_mean(name, [*known, *islice(plugins, _COMPARED)])
        or f"; known are {', '.join(known)}, and the names under plugins"
    )
    return f'unknown step "{name}"{hint}'


def _known(model: type[StepConfig], config: dict[str, Any], document: Document, path: Path) -> dict[str, Any]:
    """The options without those that the step ignores. A likely misspelling stays in, so that it is reported."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if key in model.model_fields or closest_name(key, model.model_fields):
            kept[key] = value
        else:
            document.warn(f"the {model.name} step has no such option; ignored", (*path, key))
    return kept


def _mapping(data: Any, key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}
