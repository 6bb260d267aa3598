"""A changed config for a standby, which runs nothing that would have to be replaced."""

from __future__ import annotations

from collections.abc import Callable

from mess.capture.plan import StreamPlan, plan
from mess.config.load import Loaded
from mess.errors import ConfigError, Problem
from mess.relay.build import build_pipelines
from mess.relay.changes import differences

_REFUSED = ("name", "admin", "tracing")
"""What begins with the process, not with a role."""


def standby_config(old: Loaded, load: Callable[[], Loaded]) -> tuple[Loaded, list[StreamPlan]]:
    """The config that `load` reads, and its streams. Takes long enough to be done in a thread. Raises ConfigError for
    mistakes, and for what only a restart changes."""
    new = load()
    plans = plan(new.config)
    build_pipelines(new)
    changed = [path for path in differences(old.config, new.config) if path.partition(".")[0] in _REFUSED]
    if new.config.ha is None:
        changed.append("ha")
    if changed:
        raise ConfigError(Problem("cannot be changed while the relay runs; restart it", path) for path in changed)
    return new, plans
