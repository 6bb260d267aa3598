"""`mess demo --chaos`, with shorter acts."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mess.demo.chaos import ACTS, Act
from mess.demo.run import run_demo
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("replica_set")  # where there is no MongoDB, these tests are skipped

_SECONDS = (0.5, 1.5, 1.0, 1.0, 2.0, 60.0)


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the demo prints, in a folder and an environment without settings for another relay."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MONGODB_URL", raising=False)
    return io.StringIO()


async def test_nothing_is_lost_and_the_command_for_the_dead_letters_works(text: io.StringIO) -> None:
    """Each act has its line; the command that the last one names sends again what was refused."""
    acts = [replace(act, seconds=seconds, delay=act.delay / 10) for act, seconds in zip(ACTS, _SECONDS, strict=True)]
    demo = asyncio.create_task(run_demo(rate=30, seed=1, acts=acts, console=Console(file=text, width=300)))
    command = await until(lambda: re.search(r"^act 6/6 .*again: (.*)$", text.getvalue(), re.MULTILINE), text.getvalue)
    replay = await asyncio.create_subprocess_shell(command[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = await replay.communicate()
    delivered = re.search(rb"(\d+) of (\d+) dead letters delivered", said)
    assert replay.returncode == 0, said
    assert delivered is not None, said
    assert 0 < int(delivered[1]) == int(delivered[2]) <= 8
    os.kill(os.getpid(), signal.SIGINT)
    assert await demo, text.getvalue()
    shown = text.getvalue()
    assert re.findall(r"^act (\d)/6", shown, re.MULTILINE) == list("123456")
    assert re.search(r"^lost +0 *$", shown, re.MULTILINE), shown
    assert f"({delivered[1].decode()} of them as replayed dead letters" in shown
    assert "dead letters are left" not in shown


async def test_dead_letters_that_are_left_are_sent_again_at_the_end(text: io.StringIO) -> None:
    """The demo removes everything, and with it what nobody has replayed: it does so itself, and loses nothing."""
    acts = [Act(60, "refuses", refused="teapot")]
    console = Console(file=text, width=300)
    assert await run_demo(seconds=2, rate=30, seed=1, acts=acts, console=console), text.getvalue()
    left = re.search(r"^replay +(\d+) dead letters are left", text.getvalue(), re.MULTILINE)
    assert left is not None, text.getvalue()
    assert f"({left[1]} of them as replayed dead letters" in text.getvalue()


async def test_an_outage_at_the_end_loses_nothing(text: io.StringIO) -> None:
    """The receiver recovers when the demo stops, and what waits arrives."""
    acts = [Act(60, "down", status=503)]
    console = Console(file=text, width=300)
    assert await run_demo(seconds=1, rate=30, seed=1, acts=acts, console=console), text.getvalue()
    assert re.search(r"existing documents +320, 320 received", text.getvalue())
