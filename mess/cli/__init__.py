"""The command line: one small file per command."""

from __future__ import annotations

import logging
import sys
import traceback

import typer

from mess.cli import check, checkpoints, dead_letters, demo, gaps, init, replay, run, schema, validate
from mess.cli.common import report, say
from mess.errors import MessError
from mess.telemetry.redact import RedactedFormatter, redact

app = typer.Typer(
    help="Relays MongoDB change streams to webhooks and queues: nothing lost, in order per document.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.run)
app.command()(validate.validate)
app.command()(check.check)
app.command()(replay.replay)
app.command()(init.init)
app.command()(schema.schema)
app.command()(demo.demo)
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(gaps.app, name="gaps")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from mess import __version__

        say(f"mess {__version__}")
        raise typer.Exit


def main() -> None:
    """Run a command. MESS's own errors are reported in plain words, with the exit code of their kind."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(RedactedFormatter())
    try:
        app()
    except MessError as error:
        report(error)
        sys.exit(error.exit_code)
    except Exception:  # a bug in MESS, whose traceback may contain a secret like any other text
        print(redact(traceback.format_exc()), file=sys.stderr, end="")  # noqa: T201 - the command line speaks
        sys.exit(1)
