"""User functions: found, imported and checked before anything starts."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path as FilePath
from types import ModuleType
from typing import Any

from mess.config.document import Document, Path
from mess.config.pipelines import scopes
from mess.similar import did_you_mean

_folders: set[str] = set()
"""The folders of config files that were added to `sys.path`."""
_MOST_FILES = 1000
_STEP = ("input", "config", "context")
_HOOK = ("item", "context")


def load_functions(data: Mapping[str, Any], document: Document, directory: FilePath) -> dict[str, Callable[..., Any]]:
    """Load every function that the config names, by reference; report those that cannot be loaded.

    The config file's folder stays at the end of `sys.path`, because functions may import modules when they run. A
    module in it never shadows an installed one.
    """
    functions: dict[str, Callable[..., Any]] = {}
    if named := {reference.partition(":")[0].partition(".")[0] for _, reference, _ in _references(data)}:
        _warn_of_namesakes(named, directory, document)
    for path, reference, parameters in _references(data):
        module, _, name = reference.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]) or document.is_unusable(
            path
        ):
            continue  # the model reports it
        try:
            function = _function(module, name, directory)
            _accepts(function, parameters)
        except _Unusable as error:
            document.reject(str(error), path)
        else:
            functions[reference] = function
    return functions


def forget_functions(directory: FilePath) -> None:
    """Import the modules beside a config file anew when they are loaded next: they may have changed."""
    packages = {entry for entry in map(FilePath, sys.path) if str(entry) not in _folders}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or not _is_from(module, directory):
            continue
        if not any(package != directory and FilePath(file).is_relative_to(package) for package in packages):
            del sys.modules[name]


def _references(data: Mapping[str, Any]) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    plugins = data.get("plugins")
    if isinstance(plugins, dict):
        for name, reference in plugins.items():
            if isinstance(reference, str):
                yield ("plugins", name), reference, _STEP
    for path, scope in scopes(data):
        for key in ("changeHook", "change_hook"):
            if isinstance(scope.get(key), str):
                yield (*path, key), scope[key], _HOOK


def _function(module: str, name: str, directory: FilePath) -> Callable[..., Any]:
    found: Any = _module(module, directory)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            names = [key for key in vars(found) if not key.startswith("_")] if hasattr(found, "__dict__") else []
            raise _Unusable(f"{module} has no function {name}{did_you_mean(part, names)}") from error
    if not callable(found):
        raise _Unusable(f"{module}:{name} is not a function")
    function: Callable[..., Any] = found
    return function


def _module(name: str, directory: FilePath) -> ModuleType:
    top = name.partition(".")[0]
    beside = _beside(top, directory)
    if beside is not None and (others := _whose(top, directory)) is not None:
        raise _Unusable(f"{beside} has the same name as {others}; rename it")
    if beside is not None and not _is_from(sys.modules.get(top), directory):
        # A module of the same name, imported from beside another config file.
        for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == top]:
            del sys.modules[loaded]
    _append(directory)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _failed(name, error, directory) from error
        raise _Unusable(
            f"there is no module {error.name}: neither {top}.py beside the config file, nor an installed package"
        ) from error
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise _failed(name, error, directory) from error


def _beside(top: str, directory: FilePath) -> str | None:
    """The module's file beside the config file, as a relative path."""
    # Path.is_file raises if the name is too long.
    return next((file for file in (f"{top}.py", f"{top}/__init__.py") if os.path.isfile(directory / file)), None)


def _whose(top: str, directory: FilePath) -> str | None:
    """What else provides a module of this name, in words: Python, or an installed package."""
    if top in sys.stdlib_module_names:
        return "one of Python's own modules"
    path = [entry for entry in sys.path if entry not in _folders]
    for finder in sys.meta_path:
        spec = finder.find_spec(top, path if finder is PathFinder else None)
        origin = None if spec is None else spec.origin
        if origin is not None and not FilePath(origin).resolve().is_relative_to(directory):
            return "an installed package"
    return None


def _append(directory: FilePath) -> None:
    """Put the folder after everything else on `sys.path`, but before the folders of other config files."""
    folder = str(directory)
    _folders.add(folder)
    sys.path[:] = [entry for entry in sys.path if entry not in _folders] + [
        folder,
        *(entry for entry in sys.path if entry in _folders and entry != folder),
    ]
    importlib.invalidate_caches()


def _warn_of_namesakes(named: set[str], directory: FilePath, document: Document) -> None:
    """Warn of files that are not named in the config and that an import cannot reach."""
    for file in sorted(directory.glob("*.py"))[:_MOST_FILES]:
        if file.stem not in named and (others := _whose(file.stem, directory)) is not None:
            document.warn(
                f"{file.name} beside it has the same name as {others}, which `import {file.stem}` finds first"
            )


def _is_from(module: ModuleType | None, directory: FilePath) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and FilePath(file).resolve().is_relative_to(directory)


def _failed(name: str, error: BaseException, directory: FilePath) -> _Unusable:
    """What went wrong, with the last line of the user's own code in the traceback."""
    place = ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{FilePath(error.filename).name}:{error.lineno}: "
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            file = FilePath(frame.filename)
            if file.is_relative_to(directory) or file.stem == name.rpartition(".")[2]:
                place = f"{file.name}:{frame.lineno}: "
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return _Unusable(f"{name} cannot be imported: {place}{type(error).__name__}: {message}")


def _accepts(function: Callable[..., Any], parameters: tuple[str, ...]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # functions written in C may have no signature
    try:
        signature.bind(*parameters)
    except TypeError as error:
        name = getattr(function, "__name__", "it")
        raise _Unusable(f"must take {len(parameters)} arguments: def {name}({', '.join(parameters)})") from error


class _Unusable(Exception):
    pass
