"""Reading files that users name: what is no file, or too large for what it should be, is an error and no hang."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from mess import files
from mess.files import check_bounded, read_bounded


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * 1024)
    assert read_bounded(path, 1024) == b"a" * 1024
    check_bounded(path, 1024)
    path.write_bytes(b"a" * 1025)
    for read in (read_bounded, check_bounded):
        with pytest.raises(OSError, match="it is larger than 1 KiB"):
            read(path, 1024)


def test_a_link_is_followed(tmp_path: Path) -> None:
    """As Kubernetes' secrets are."""
    (tmp_path / "f").write_text("x")
    (tmp_path / "link").symlink_to("f")
    assert read_bounded(tmp_path / "link", 10) == b"x"


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/dev/random"])
def test_devices_are_refused(name: str) -> None:
    for read in (read_bounded, check_bounded):
        with pytest.raises(OSError, match="it is not a regular file"):
            read(Path(name), 10)


def test_folders_and_endless_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path in (tmp_path, tmp_path / "a", tmp_path / "none"):
        with pytest.raises(OSError):  # noqa: PT011 - each of its own kind
            read_bounded(path, 10)


def test_what_a_shell_hands_over_is_read(tmp_path: Path) -> None:
    """`mess run -c <(decrypt config.yml)` gives a pipe, whose other end may take its time."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb") as pipe:
            for _ in range(3):
                time.sleep(0.1)
                pipe.write(b"x" * 100_000)
                pipe.flush()

    threading.Thread(target=write, daemon=True).start()
    time.sleep(0.05)
    assert read_bounded(path, 300_000) == b"x" * 300_000


def test_a_pipe_that_nobody_writes_to_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PIPE_SECONDS", 0.2)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    keep = os.open(path, os.O_RDWR)
    with pytest.raises(OSError, match=r"the pipe did not end within 0\.2 seconds"):
        read_bounded(path, 10)
    os.close(keep)


def test_a_pipe_without_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    keep = os.open(path, os.O_RDWR)
    os.write(keep, b"a" * 2000)
    with pytest.raises(OSError, match="it is larger than 1 KiB"):
        read_bounded(path, 1024)
    os.close(keep)
