"""`mess reload`: puts a changed config in force in the relay that runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.request
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async, say
from mess.cli.root import app
from mess.cli.times import seconds

if TYPE_CHECKING:
    from mess.config.load import Loaded
    from mess.state.lease import Presence

_LOOK = 0.1  # seconds
_ANSWER = 5.0  # seconds


@app.command()
def reload(
    config: ConfigOption = None,
    url: UrlOption = None,
    port: Annotated[int | None, typer.Option(help="The admin port.", show_default=False)] = None,
    timeout: Annotated[
        float,
        typer.Option(help="How long to wait for the outcome.", parser=seconds, metavar="DURATION"),
    ] = "1m",  # type: ignore[assignment]
) -> None:
    """Put the changed config in force in the relay that runs on this machine, without a restart.

    It is validated first. The relay replaces only what has changed. The outcome is also in its log.

    Exit codes: 0 reloaded, 1 no relay was asked, or the outcome is unknown, 2 the config is not valid, or the relay has
    refused it.
    """
    loaded = load_config(config, mongodb__url=url, admin__port=port)
    code = run_async(_reload(loaded, timeout))
    if code:
        raise typer.Exit(code)


async def _reload(loaded: Loaded, timeout: float) -> int:
    from mess.app import store_for
    from mess.cli.connecting import connecting
    from mess.state.instance import Instance

    async with store_for(loaded.config, connecting(None), lasting=False) as store:
        presence = await store.alive()
    if presence is None:
        remedy = "if name, state or mongodb.url has changed, restart the relay"
        say(f"no relay is running under the name {loaded.config.name!r}; {remedy}", err=True)
        return 1
    process = presence.instance
    if not process.runs_here(Instance.current()):
        say(
            f"the relay runs elsewhere: {presence}. Run this command there, or send the signal HUP to that process",
            err=True,
        )
        return 1
    before = await _last(loaded)
    try:
        os.kill(process.pid, signal.SIGHUP)
    except OSError as error:
        say(f"cannot send the signal HUP to {presence}: {error.strerror}", err=True)
        return 1
    return await _outcome(loaded, before, presence, timeout)


async def _outcome(loaded: Loaded, before: Any, presence: Presence, timeout: float) -> int:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        last = await _last(loaded)
        if last is None and before is None and not await _answers(loaded):
            break
        if last is not None and last != before:
            for line in last["text"]:
                say(line, err=not last["ok"])
            return 0 if last["ok"] else 2
        await asyncio.sleep(_LOOK)
    say(f"{presence} was asked to reload; its log has the outcome", err=True)
    return 1


async def _answers(loaded: Loaded) -> bool:
    return await _status(loaded) is not None


async def _last(loaded: Loaded) -> Any:
    status = await _status(loaded)
    return None if status is None else status.get("last_reload")


async def _status(loaded: Loaded) -> Any:
    """The status that the relay's admin server reports; None if it does not."""
    return await asyncio.to_thread(_ask, loaded)


def _ask(loaded: Loaded) -> Any:
    admin = loaded.config.admin
    if not admin.enabled or not admin.port:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(admin.host, admin.host)
    host = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{host}:{admin.port}/status", timeout=_ANSWER) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("name") == loaded.config.name else None
