from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from hypothesis.internal.conjecture import providers

from tests.fuzz.profiles import PROFILE
from tests.receiver import Receiver


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What thousands of examples have to log is of no interest."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def _always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis tries the constants of our modules, too: of those that were imported so far, which depends on the
    tests that ran before. Where a version of it does otherwise, nothing is lost but that."""
    if PROFILE == "ci":
        monkeypatch.setattr(providers, "_get_local_constants", getattr(providers, "Constants", None), raising=False)
        monkeypatch.setattr(providers, "CONSTANTS_CACHE", {}, raising=False)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP receiver that takes everything."""
    async with Receiver() as found:
        yield found
