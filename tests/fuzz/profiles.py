"""How many examples the tests here try: few and always the same ones in continuous integration, or many new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
_COMMON = settings(deadline=None, suppress_health_check=_SLOW, print_blob=True)

CI = settings(_COMMON, derandomize=True, database=None)
LONG = settings(_COMMON, derandomize=False)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
_FACTOR = 50


def examples(count: int, *, shrink: bool = True) -> settings:
    """Settings for a test that tries `count` examples, or fifty times as many where HYPOTHESIS_PROFILE is `long`.

    Without `shrink` a failing example is shown as it was found, for tests in which each takes long.
    """
    long = PROFILE == "long"
    phases = tuple(phase for phase in Phase if shrink or phase not in (Phase.shrink, Phase.explain))
    return settings(LONG if long else CI, max_examples=count * (_FACTOR if long else 1), phases=phases)
