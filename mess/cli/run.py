"""`mess run`: the daemon."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, report, run_async, tune_process
from mess.cli.ending import leave, stop_on_signals
from mess.cli.reloads import Reloads
from mess.cli.root import app
from mess.cli.times import seconds
from mess.errors import MessError

if TYPE_CHECKING:
    from mess.app import Relay
    from mess.config.load import Loaded


@app.command()
def run(
    config: ConfigOption = None,
    url: UrlOption = None,
    port: Annotated[int | None, typer.Option(help="The admin port.", show_default=False)] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default=False)] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, console or json.", show_default=False)] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            help="How long to wait for another process with this name to stop, such as 5m; 0 to not wait. Default: "
            "30s.",
            parser=seconds,
            metavar="DURATION",
            show_default=False,
        ),
    ] = None,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Stop another process with this name instead of waiting for it; with `ha`, ask it to hand over.",
        ),
    ] = False,
    standby: Annotated[
        bool,
        typer.Option(
            "--standby",
            help="Be a standby while another process with this name is active, as with the option `ha`, and take over "
            "when it ends.",
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Reload the config when it, or a file that it includes, changes.")
    ] = False,
) -> None:
    """Relay changes until SIGTERM or Ctrl-C. SIGHUP reloads the config.

    Exit codes: 0 stopped gracefully, 2 config, 3 MongoDB cannot be watched, 4 history lost, 5 progress cannot be
    recorded, 6 another process with this name is running or took over, 7 an event was refused and `on_failure` is
    `stop`.
    """
    # Until the event loop handles the signals, there is nothing to finish.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    loaded = load_config(
        config,
        mongodb__url=url,
        admin__port=port,
        log__level=log_level,
        log__format=log_format,
        ha={} if standby else None,
    )
    if loaded.config.ha is not None and wait is not None:
        raise typer.BadParameter(
            "with `ha`, a process waits as a standby for as long as another one is active", param_hint="--wait"
        )
    from mess.telemetry.logging import configure

    configure(loaded.config.log.level, loaded.config.log.format, max_field=loaded.config.log.max_field)
    code = 0
    try:
        run_async(_run(loaded, wait, take_over=take_over, watch=watch))
    except MessError as error:
        report(error)
        code = error.exit_code
    leave(code)


async def _run(loaded: Loaded, wait: float | None, *, take_over: bool, watch: bool) -> None:
    from mess.app import WAIT_SECONDS, Relay
    from mess.cancellation import cancel
    from mess.telemetry.logging import get_logger
    from mess.telemetry.service_manager import informed

    log = get_logger("mess.relay")
    for warning in loaded.warnings:
        log.warning("config", problem=str(warning))
    relay = Relay(loaded, changed=_follow)
    reloads = Reloads(relay)
    stop_on_signals(relay, hangup=reloads.ask)
    _announce(relay)
    tune_process()
    reloading = [asyncio.create_task(work) for work in (reloads.run(), *([reloads.watch()] if watch else []))]
    try:
        async with informed(relay):
            await relay.run(wait=WAIT_SECONDS if wait is None else wait, take_over=take_over)
    finally:
        await cancel(*reloading)
    log.info("stopped", changed=relay.metrics.changed)


def _follow(loaded: Loaded) -> None:
    from mess.telemetry.logging import configure, get_logger

    configure(loaded.config.log.level, loaded.config.log.format, max_field=loaded.config.log.max_field)
    for warning in loaded.warnings:
        get_logger("mess.relay").warning("config", problem=str(warning))


def _announce(relay: Relay) -> None:
    from mess import __version__
    from mess.telemetry.logging import get_logger, redact

    log = get_logger("mess.relay")
    config = relay.config
    log.info(
        "starting",
        version=__version__,
        name=config.name,
        config=str(relay.loaded.path),
        instance=relay.instance.id,
        host=relay.instance.host,
        pid=relay.instance.pid,
    )
    if config.source is None:
        log.info("watching", mongodb=redact(config.mongodb.url), streams=[str(plan.selection) for plan in relay.plans])
    else:
        source = config.source.kafka
        log.info("reading", kafka=redact(source.url), topics=list(source.topics), group=source.group)
    for name, steps in relay.describe_pipelines().items():
        log.info("pipeline", pipeline=name, steps=" → ".join(steps))
    log.info("state", kept_in=redact(config.state.url or f"{config.mongodb.url} (database {config.state.database})"))
