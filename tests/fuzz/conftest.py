from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from tests.receiver import Receiver


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What thousands of examples have to log is of no interest."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP receiver that takes everything."""
    async with Receiver() as found:
        yield found
