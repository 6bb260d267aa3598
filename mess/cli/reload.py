"""`mess reload`: puts a changed config in force in the relay that runs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.admin_client import AdminClient, TokenFileOption, admin_client
from mess.cli.common import ConfigOption, UrlOption, load_config, print_json, run_async, say
from mess.cli.root import app
from mess.cli.times import seconds
from mess.errors import ConfigError, MessError

if TYPE_CHECKING:
    from mess.config.load import Loaded

_LOOK = 0.1  # seconds


@app.command()
def reload(
    config: ConfigOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    timeout: Annotated[
        float,
        typer.Option(help="How long to wait for the outcome.", parser=seconds, metavar="DURATION"),
    ] = "1m",  # type: ignore[assignment]
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: time, ok and text of the outcome.")] = False,
) -> None:
    """Put the changed config in force in the relay that runs on this machine, without a restart.

    It is validated first. The relay replaces only what has changed. The outcome is also in its log.

    Exit codes: 0 reloaded, 1 no relay was asked, or the outcome is unknown, 2 the config is not valid, or the relay has
    refused it.
    """
    loaded = load_config(config, mongodb__url=url)
    code = run_async(_reload(loaded, config, token_file, timeout=timeout, as_json=as_json))
    if code:
        raise typer.Exit(code)


async def _reload(
    loaded: Loaded, config: Path | None, token_file: Path | None, *, timeout: float, as_json: bool
) -> int:
    from mess.cli.connecting import connecting
    from mess.state.instance import Instance
    from mess.stores import store_for

    if loaded.config.source is not None:
        say(
            "this relay reads Kafka, and any number of its workers may run: send the signal HUP to each (systemctl "
            "reload, docker kill --signal HUP), or start them with --watch",
            err=True,
        )
        return 1
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
    async with AsyncExitStack() as stack:
        client: AdminClient | None = None
        if loaded.config.admin.enabled and loaded.config.admin.port:
            client = await stack.enter_async_context(admin_client(config, None, token_file))
        before = await _last(client, process.id)
        try:
            os.kill(process.pid, signal.SIGHUP)
        except OSError as error:
            say(f"cannot send the signal HUP to {presence}: {error.strerror}", err=True)
            return 1
        deadline = time.monotonic() + timeout
        while before is not None and time.monotonic() < deadline:
            last = await _last(client, process.id)
            if last and last != before:
                if as_json:
                    print_json(last)
                else:
                    for line in last["text"]:
                        say(line, err=not last["ok"])
                return 0 if last["ok"] else ConfigError.exit_code
            await asyncio.sleep(_LOOK)
    say(f"{presence} was asked to reload; its log has the outcome", err=True)
    return 1


async def _last(client: AdminClient | None, instance: str) -> dict[str, Any] | None:
    """The outcome of the process's last reload, empty if there was none; None if its admin server does not tell, such
    as when the config's port is that of its standby."""
    if client is None:
        return None
    try:
        status = await client.status()
    except MessError:
        return None
    return status["last_reload"] or {} if status["instance"]["id"] == instance else None
