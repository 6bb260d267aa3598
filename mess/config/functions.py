"""The user's own functions: found, imported and looked at before anything starts."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as FilePath
from types import ModuleType
from typing import Any

from mess.config.document import Document, Path
from mess.config.pipelines import scopes
from mess.config.wording import did_you_mean

_STEP = ("input", "config", "context")
_HOOK = ("item", "context")


def load_functions(data: Mapping[str, Any], document: Document, directory: FilePath) -> dict[str, Callable[..., Any]]:
    """Every function that the config names, by its reference. What cannot be had is reported.

    Modules beside the config file go before all others; their folder stays on `sys.path`, since functions may import
    when they run.
    """
    functions: dict[str, Callable[..., Any]] = {}
    for path, reference, parameters in _references(data):
        module, _, name = reference.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]) or document.is_unusable(
            path
        ):
            continue  # which the model reports
        try:
            function = _function(module, name, directory)
            _accepts(function, parameters)
        except _Unusable as error:
            document.reject(str(error), path)
        else:
            functions[reference] = function
    return functions


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
    # Path.is_file raises for names that are too long.
    beside = [file for file in (directory / f"{top}.py", directory / top / "__init__.py") if os.path.isfile(file)]
    if beside and top in sys.stdlib_module_names:
        raise _Unusable(f"{beside[0].name} has the name of one of Python's own modules; give it another")
    if beside and not _is_from(sys.modules.get(top), directory):
        # One of the same name, from beside another config file.
        for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == top]:
            del sys.modules[loaded]
    folder = str(directory)
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _failed(name, error, directory) from error
        raise _Unusable(
            f"there is no module {error.name}: neither {top}.py beside the config file, nor a package that is installed"
        ) from error
    except (Exception, SystemExit) as error:  # a user's module may fail in any way at all
        raise _failed(name, error, directory) from error


def _is_from(module: ModuleType | None, directory: FilePath) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and FilePath(file).resolve().is_relative_to(directory)


def _failed(name: str, error: BaseException, directory: FilePath) -> _Unusable:
    """Says what went wrong and, of all lines that led there, the last one of the user's own."""
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
        return  # written in C, it does not tell
    try:
        signature.bind(*parameters)
    except TypeError as error:
        name = getattr(function, "__name__", "it")
        raise _Unusable(f"must take {len(parameters)} arguments: def {name}({', '.join(parameters)})") from error


class _Unusable(Exception):
    pass
