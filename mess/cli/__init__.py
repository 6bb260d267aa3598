"""The command line: one small file per command. A command adds itself to `root.app`."""

from __future__ import annotations

import logging
import sys
import traceback

from mess.cli.common import report
from mess.cli.root import app, import_modules
from mess.errors import MessError
from mess.telemetry.redact import RedactedFormatter, redact

import_modules(__name__, __path__)


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
