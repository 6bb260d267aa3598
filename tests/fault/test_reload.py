"""The config of a relay's process changes while it runs: by SIGHUP, by `mess reload`, and by `mess run --watch`."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.fault.conftest import Setting
from tests.fault.load import Ledger, Load, in_order
from tests.fault.relay import RelayProcess
from tests.receiver import Answer, Receiver
from tests.waiting import until


def changed(relay: RelayProcess, **options: Any) -> dict[str, Any]:
    """The relay's config with other options."""
    return {**json.loads(relay.config.read_text()), **options}


async def test_the_command_reloads_and_says_what_has_changed(setting: Setting, mongo: MongoClient[Any]) -> None:
    """It tells mistakes without asking the relay, and what the relay refuses; the log has it, too."""
    async with Receiver() as receiver, setting.relay(receiver.url) as relay:
        assert "nothing has changed" in await relay.mess("reload")
        relay.write(changed(relay, shutdown_grace="3s"))
        said = await relay.mess("reload")
        assert said == "kept pipeline top level\napplied shutdown_grace\n"
        assert relay.logs[-1]["changes"] == "kept pipeline top level; applied shutdown_grace"
        assert (await relay.reload(changed(relay, log={"level": "error"})))["text"][-1] == "applied log.level"
        logged = len(relay.logs)
        await relay.reload()
        assert len(relay.logs) == logged
        relay.write(changed(relay, name="another"))
        with pytest.raises(AssertionError, match="no relay is running under the name 'another'; if"):
            await relay.mess("reload")
        last = await relay.reload(changed(relay, name=setting.database, state={"database": f"{setting.state}-other"}))
        assert last["text"] == ["state.database cannot be changed while the relay runs; restart it"]
        relay.write(changed(relay, state={"database": setting.state}, pipeline=[{"name": "htp"}]))
        with pytest.raises(AssertionError, match="htp"):
            await relay.mess("reload")
        mongo[setting.database].orders.insert_one({"_id": 1})
        await receiver.wait_for_events(1)
        assert await relay.stop() == 0


async def test_a_mounted_secret_is_watched(setting: Setting, mongo: MongoClient[Any]) -> None:
    """As Kubernetes does it: the files are links to links, of which one is replaced by another."""
    async with Receiver() as receiver:
        relay = setting.relay(
            receiver.url, {"headers": {"Authorization": "${file:mounted/key}"}}, files={"unrelated": ""}
        )
        mounted = relay.config.parent / "mounted"
        mounted.mkdir()
        _mount(mounted, "first-key", 1)
        (mounted / "key").symlink_to("..data/key")
        relay.arguments = ("--watch",)
        async with relay:
            mongo[setting.database].orders.insert_one({"_id": 1})
            await receiver.wait_for_events(1)
            _mount(mounted, "second-key", 2)
            await until(lambda: "config reloaded" in relay.text, "the reload")
            mongo[setting.database].orders.insert_one({"_id": 2})
            await receiver.wait_for_events(2)
            before = relay.text.count("config not reloaded")
            relay.config.write_text("{")
            await until(lambda: relay.text.count("config not reloaded") > before, "the mistake")
            assert await relay.stop() == 0
    assert [each.headers["authorization"] for each in receiver.requests] == ["first-key", "second-key"]


def _mount(folder: Path, key: str, version: int) -> None:
    data = folder / f"..version-{version}"
    data.mkdir()
    (data / "key").write_text(key)
    link = folder / "..new"
    link.symlink_to(data.name)
    link.rename(folder / "..data")


async def test_reloads_under_load_and_a_stop_in_the_midst_lose_nothing(setting: Setting) -> None:
    """SIGHUP again and again, the last one together with SIGTERM; the next start delivers the rest."""
    ledger = Ledger(Answer(delay=0.01))
    load = Load(setting.url, setting.database, documents=10, pause=0.01)
    async with Receiver(respond=ledger) as receiver:
        relay = setting.relay(receiver.url)
        async with relay:
            load.start()
            for number in range(6):
                headers = {"X-Version": str(number)}
                [step] = json.loads(relay.config.read_text())["pipeline"]
                pipeline = [{**step, "config": {**step["config"], "headers": headers}}]
                await relay.reload(changed(relay, pipeline=pipeline, concurrency=1 + number))
            relay.write(changed(relay, concurrency=16))
            relay.process.send_signal(signal.SIGHUP)
            assert await relay.stop() == 0
            assert in_order(
                ledger.entries
            )  # without duplicates; a restart may deliver again what is behind its position
            await relay.start()
            load.finish()
            await until(lambda: ledger.complete(load), "every change", 60)
            assert await relay.stop() == 0
    ledger.check(load)
    assert not setting.dead_letters()
