"""Which store a state URL selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from mess.config.load import load
from mess.errors import ConfigError
from mess.state import open as opening
from mess.state.sqlite import SqliteStore


class ShelfStore(SqliteStore):
    """A store of another kind."""

    @classmethod
    def places_at_rest(cls, place: str, relay: str) -> dict[tuple[str, str], int]:
        return {(place, relay): 1}


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = opening._Kind("shelf://", "name", f"{__name__}:ShelfStore")
    monkeypatch.setattr(opening, "_KINDS", (*opening._KINDS, kind))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yml"
    file.write_text("databases: {shop: {}, mess: {}}\nstate: {url: 'shelf://top'}\n")
    return file


@pytest.mark.usefixtures("shelf")
def test_one_entry_adds_a_store(config: Path) -> None:
    """Its URLs are valid, select it, and leave the MongoDB database `mess` to be watched."""
    url = load(config, environ={}).config.state.url
    assert url == "shelf://top"
    store = opening.open_store(url, "mess", None)
    assert isinstance(store, ShelfStore)
    assert str(store._path) == "top"
    assert opening.places_at_rest(url, "mess") == {("top", "mess"): 1}
    assert not opening.in_mongodb(url)


def test_without_the_entry_the_url_is_refused(config: Path) -> None:
    with pytest.raises(ConfigError, match="not a valid state URL; write mongodb://… or sqlite:///path/to/file"):
        load(config, environ={})


@pytest.mark.parametrize("url", [None, "mongodb://localhost", "mongodb+srv://example.com"])
def test_mongodb_is_not_read_without_a_connection(url: str | None) -> None:
    assert opening.in_mongodb(url)
    assert opening.places_at_rest(url, "mess") == {}
