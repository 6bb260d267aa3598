"""Turns a config file, the environment and the command line into a valid config, or into a list of all mistakes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mess.config.chains import chains, innermost
from mess.config.checks import check
from mess.config.document import Document, by_place
from mess.config.document import Path as DocumentPath
from mess.config.environment import DOTENV, environment, override
from mess.config.functions import forget_functions, load_functions
from mess.config.lint import advise
from mess.config.model import Config, StepSpec
from mess.config.pipelines import check_steps
from mess.config.read import find, read
from mess.config.secrets import Secrets
from mess.config.validate import validate
from mess.config.variables import expand
from mess.errors import ConfigError, Problem
from mess.options.secret import SHORTEST
from mess.telemetry.redact import learn

_TOO_SHORT = (
    f"contains a secret of fewer than {SHORTEST} characters, which is not redacted if a server repeats it in an error; "
    "use a longer one"
)


@dataclass(frozen=True)
class Loaded:
    """A valid config.

    `path` is its file and `directory` that file's folder. `functions` holds the user's functions by reference
    (`module:function`). `document` says where everything was written. `warnings` lists what is legal but probably
    wrong. `files` are those that were read. `again` reads the same config anew; it calls its argument with every file
    that it reads.
    """

    config: Config
    path: Path
    directory: Path
    functions: Mapping[str, Callable[..., Any]]
    document: Document = field(repr=False)
    files: frozenset[Path]
    again: Callable[[Callable[[Path], None]], Loaded] = field(repr=False)
    warnings: tuple[Problem, ...] = ()

    @property
    def tree(self) -> dict[str, Any]:
        """The whole config as the user wrote it, with variables expanded."""
        tree: dict[str, Any] = self.document.data
        return tree

    def problem(self, message: str, path: DocumentPath) -> Problem:
        """A mistake that only shows later."""
        return self.document.problem(message, path)


def load(
    path: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    reads: Callable[[Path], None] = lambda path: None,
) -> Loaded:
    """Read the config file and apply overrides: the environment (and `.env`), then `overrides`.

    `overrides` holds the command line's options by dotted name (`{"log.level": "debug"}`); None means that an option
    was not given. `reads` is called with every file that is read, even if it contains mistakes.

    Without `path`, the file is the one in MESS_CONFIG, or `config/config.yml`. Raises ConfigError with all mistakes.
    """
    variables = environment(os.environ if environ is None else environ)
    file = find(path, variables)
    files = [file.absolute(), DOTENV.absolute()]
    for each in files:
        reads(each)
    directory = file.parent.resolve()
    document = read(file)
    override(document, variables, overrides or {})
    for each in expand(document, variables, directory):
        files.append(each)
        reads(each)
    secrets = Secrets(document)
    learn(*secrets.texts)

    data: dict[str, Any] = deepcopy(document.data)
    check(data, document)
    check_steps(data, document)
    functions = load_functions(data, document, directory)
    config = validate(Config, data, document)
    if config is None or document.problems:
        raise ConfigError(sorted(document.problems, key=by_place))

    advise(config, data, document)
    for place in dict.fromkeys(secrets.too_short):
        document.warn(_TOO_SHORT, place)
    config = _with_default_pipeline(config, document)
    warnings = tuple(sorted(document.warnings, key=by_place))
    return Loaded(
        config=config,
        path=file,
        directory=directory,
        functions=functions,
        document=document,
        files=frozenset(files),
        again=partial(_again, path, directory, environ=environ, overrides=overrides),
        warnings=warnings,
    )


def _again(path: Path | str | None, directory: Path, reads: Callable[[Path], None], **options: Any) -> Loaded:
    forget_functions(directory)
    return load(path, reads=reads, **options)


def _with_default_pipeline(config: Config, document: Document) -> Config:
    """The config with `log` wherever there is no pipeline, as in the Node.js tool."""
    bare = [
        chain[0][0]
        for chain in chains(config)
        if innermost(chain, "pipeline")[1] is None and innermost(chain, "change_hook")[1] is None
    ]
    for path in bare:
        document.warn("has no pipeline, so its changes are only logged; write pipeline: [log] if intended", path)
    if bare and config.pipeline is None:
        return config.model_copy(update={"pipeline": (StepSpec(name="log"),)})
    return config
