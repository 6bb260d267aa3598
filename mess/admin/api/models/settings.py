"""The config."""

from __future__ import annotations

from mess.admin.api.models.base import Model
from mess.config.effective import EffectiveValue


class EffectiveConfig(Model):
    """Every value of the config that applies, without secrets."""

    file: str
    values: list[EffectiveValue]
