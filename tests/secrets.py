"""What the relay does with a config's secrets when it reads the config, for tests that make a step by themselves."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mess.config.secrets import declared
from mess.telemetry.redact import learn


def learn_from(model: type[BaseModel], options: dict[str, Any]) -> None:
    """Keep the secrets in a step's options out of all messages until the end of the test."""
    learn(*(part.text for part, _ in declared(model, options)))
