"""What `mess pause` accepts as a stream of a worker: partitions of its topics, whichever process has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mess.cli.pause import _target
from mess.config.load import Loaded, load
from mess.errors import ConfigError


@pytest.fixture
def worker(tmp_path: Path) -> Loaded:
    """The config of a worker."""
    path = tmp_path / "workers.yml"
    path.write_text(
        "source: {kafka: {url: 'kafka://h:9092', topics: [changes.shop], group: g}}\n"
        "databases: {shop: {}}\npipeline: [{name: log}]\nstate: {url: 'sqlite:///s.db'}\n"
    )
    return load(path, environ={})


def test_a_partition_is_paused_by_its_name(worker: Loaded) -> None:
    assert _target(worker, "changes.shop[11]", None, step=None).stream == "changes.shop[11]"


@pytest.mark.parametrize("name", ["shop", "changes.shop", "changes.crm[0]", "changes.shop[x]"])
def test_anything_else_is_refused_with_an_example(worker: Loaded, name: str) -> None:
    with pytest.raises(ConfigError, match=r"changes\.shop\[0\]"):
        _target(worker, name, None, step=None)
