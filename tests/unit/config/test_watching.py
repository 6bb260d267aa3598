"""Files that change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mess.config import watching
from mess.config.watching import FileWatch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_LOOK", 0.02)


async def noticed(watch: FileWatch) -> bool:
    """Whether a change is noticed soon."""
    try:
        async with asyncio.timeout(0.3):
            await watch.changed()
    except TimeoutError:
        return False
    return True


async def test_a_change_is_noticed_once(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text("a")
    watch = FileWatch(lambda: [path])
    assert not await noticed(watch)
    path.write_text("bb")
    assert await noticed(watch)
    assert not await noticed(watch)


async def test_a_file_that_comes_or_goes_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    watch = FileWatch(lambda: [path])
    path.write_text("a")
    assert await noticed(watch)
    path.unlink()
    assert await noticed(watch)


async def test_a_link_to_another_file_has_changed(tmp_path: Path) -> None:
    """Even if both were written at the same time and are as long."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "link"
    link.symlink_to("one")
    watch = FileWatch(lambda: [link])
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(link)
    assert await noticed(watch)


async def test_a_file_that_is_watched_only_now_has_not_changed(tmp_path: Path) -> None:
    files = [tmp_path / "a"]
    watch = FileWatch(lambda: files)
    files.append(tmp_path / "b")
    files[1].write_text("b")
    assert not await noticed(watch)
