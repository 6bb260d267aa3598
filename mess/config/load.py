"""From a config file, the environment and the command line to a config that works, or to all that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mess.config.chains import chains, innermost
from mess.config.checks import check
from mess.config.document import Document, by_place
from mess.config.document import Path as DocumentPath
from mess.config.environment import environment, override
from mess.config.functions import load_functions
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
    f"holds a secret of fewer than {SHORTEST} characters, which is not hidden where a server repeats it in an error; "
    "use a longer one"
)


@dataclass(frozen=True)
class Loaded:
    """A config that works.

    `path` is its file and `directory` that file's folder; `tree` is the whole config as the user wrote it, with
    variables expanded, and `functions` the user's own functions by their reference (`module:function`). `warnings` are
    what is legal but likely wrong. `problem` makes a mistake that shows only later, of its message and its path.
    """

    config: Config
    path: Path
    directory: Path
    tree: dict[str, Any] = field(repr=False)
    functions: Mapping[str, Callable[..., Any]]
    problem: Callable[[str, DocumentPath], Problem] = field(repr=False)
    warnings: tuple[Problem, ...] = ()


def load(
    path: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read the config file, with what goes before it: the environment (and `.env`), and above all `overrides`, which
    are the command line's options by dotted name (`{"log.level": "debug"}`; None stands for one not given).

    Without `path`, the file is the one that MESS_CONFIG names, or `config/config.yml`. Raises ConfigError with every
    mistake at once.
    """
    variables = environment(os.environ if environ is None else environ)
    file = find(path, variables)
    directory = file.parent.resolve()
    document = read(file)
    override(document, variables, overrides or {})
    expand(document, variables, directory)
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
    return Loaded(config, file, directory, document.data, functions, document.problem, warnings)


def _with_default_pipeline(config: Config, document: Document) -> Config:
    """The config with `log` for whatever has no pipeline, as in the Node.js tool."""
    bare = [
        chain[0][0]
        for chain in chains(config)
        if innermost(chain, "pipeline")[1] is None and innermost(chain, "change_hook")[1] is None
    ]
    for path in bare:
        document.warn("has no pipeline, so its changes are only logged; write pipeline: [log] if that is meant", path)
    if bare and config.pipeline is None:
        return config.model_copy(update={"pipeline": (StepSpec(name="log"),)})
    return config
