"""MESS relays every change in a MongoDB deployment as events to other systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mess.app import Relay as Relay
    from mess.errors import Ambiguous as Ambiguous
    from mess.errors import BatchError as BatchError
    from mess.errors import ConfigError as ConfigError
    from mess.errors import EndpointDown as EndpointDown
    from mess.errors import MessError as MessError
    from mess.errors import Refused as Refused
    from mess.event import Event as Event
    from mess.steps.base import Context as Context
    from mess.steps.base import Preview as Preview
    from mess.steps.base import Sink as Sink
    from mess.steps.base import Step as Step
    from mess.steps.base import StepConfig as StepConfig
    from mess.steps.base import Transform as Transform

_HOMES = {
    "Relay": "mess.app",
    "Event": "mess.event",
    **dict.fromkeys(("Context", "Preview", "Sink", "Step", "StepConfig", "Transform"), "mess.steps.base"),
    **dict.fromkeys(("Ambiguous", "BatchError", "ConfigError", "EndpointDown", "MessError", "Refused"), "mess.errors"),
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    # Import names when they are first used: a plugin that needs only Refused must not load the whole relay.
    if name not in _HOMES:
        raise AttributeError(f"module 'mess' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
