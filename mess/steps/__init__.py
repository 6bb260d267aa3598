"""Finds steps by the name that users write in a pipeline: built-in ones and those of installed packages.

Start reading at `base` (the extension point), then at any step.
"""

from __future__ import annotations

from mess.registry import Registry
from mess.steps.base import StepConfig

STEPS: Registry[StepConfig] = Registry(
    "step",
    StepConfig,
    "mess.StepConfig",
    {
        "log": "mess.steps.log:LogConfig",
        "filter": "mess.steps.filter:FilterConfig",
        "field-map": "mess.steps.field_map:FieldMapConfig",
        "http": "mess.steps.http.step:HttpConfig",
        "queue": "mess.steps.queue.step:QueueConfig",
    },
    named=True,
)
"""The classes of all steps' options."""

names = STEPS.names
config_class = STEPS.find
