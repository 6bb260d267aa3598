"""The demo's relay: its config file, and commands that use the same file."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from mess.app import Relay
from mess.demo.deployment import Deployment
from mess.telemetry.redact import redact

_CONFIG = """\
name: mess-demo
mongodb:
  url: "{url}"
databases:
  {database}: {{}}       # every collection, those created later too
backfill: initial   # and first the documents that exist, each at its place among the changes
pipeline:
  - name: http
    config:
      endpoint: "{endpoint}"
      sign: {{secret: "${{file:{secret}}}"}}
admin:
  port: {admin_port}       # the console
"""
_STATE = """\
state:
  url: "{state}"
"""


def write_config(folder: Path, where: Deployment, *, endpoint: str, secret: str, admin_port: int) -> Path:
    """Write the relay's config file, and beside it the secret that it signs with."""
    secret_file = folder / "webhook-secret"
    secret_file.touch(mode=0o600)
    secret_file.write_text(secret)
    content = _CONFIG.format(
        url=redact(where.url),
        database=where.database,
        endpoint=endpoint,
        secret=secret_file,
        admin_port=admin_port,
    )
    if where.state is not None:
        content += _STATE.format(state=where.state)
    path = folder / "config.yml"
    path.write_text(content)
    return path


def make_relay(path: Path, where: Deployment) -> Relay:
    """The relay for this config file. The user's environment and `.env` do not apply: they belong to another relay."""
    overrides = {
        "mongodb.url": where.url,
        "admin.host": "127.0.0.1",
        "log.level": "warning",
    }
    return Relay.from_config(path, environ={}, overrides=overrides)


def command(words: str, path: Path, where: Deployment) -> str:
    """`mess` with these words, as a user types it in another terminal while the demo runs.

    `URL` stands for a connection string with a password.
    """
    parts = [_program(), words, "--config", shlex.quote(str(path))]
    # Either of these would take precedence over the file.
    elsewhere = any(os.environ.get(name) for name in ("MONGODB_URL", "MONGO_URL")) or Path(".env").is_file()
    if elsewhere or where.state is not None:
        parts += ["--url", shlex.quote(where.url) if redact(where.url) == where.url else "URL"]
    return " ".join(parts)


def _program() -> str:
    program = Path(sys.argv[0])
    if program.name != "mess":
        return f"{shlex.quote(sys.executable)} -m mess"
    found = shutil.which("mess")
    return "mess" if found is not None and program.exists() and program.samefile(found) else shlex.quote(str(program))
