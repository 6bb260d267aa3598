"""`mess validate`: check the config without connecting to anything."""

from __future__ import annotations

from mess.cli.common import ConfigOption, load_config, say
from mess.cli.root import app
from mess.errors import ConfigError


@app.command()
def validate(config: ConfigOption = None) -> None:
    """Check the config file, and that its steps have what they need here (files, packages), without connecting to
    anything. All mistakes are reported together.

    Exit codes: 0 valid (warnings are shown), 2 mistakes.
    """
    loaded = load_config(config)
    from rich.console import Console

    from mess.capture.plan import plan
    from mess.config.pipelines import shadowed
    from mess.relay.build import build_all
    from mess.replay.strays import at_rest
    from mess.telemetry.printable import printable
    from mess.telemetry.redact import redact

    _, problems = build_all(loaded)
    if problems:
        raise ConfigError(problems)
    out = Console(soft_wrap=True, highlight=False)
    for warning in (*loaded.warnings, *shadowed(loaded.tree), *at_rest(loaded.config)):
        out.print("[yellow]warning:[/] ", end="")
        out.print(printable(redact(str(warning))), markup=False)
    out.print("[green]valid:[/] ", end="")
    if (source := loaded.config.source) is not None:
        topics = ", ".join(source.kafka.topics)
        say(f"{loaded.path}: a worker of group {printable(source.kafka.group)} on {printable(topics)}")
        return
    streams = plan(loaded.config)
    say(f"{loaded.path}: {len(streams)} change stream{'s' if len(streams) != 1 else ''}")
    for stream in streams:
        say(f"  {printable(str(stream.selection))}")
