"""Writes a command's output to standard error without the credentials in urls, such as those of package indexes.

`python hide.py COMMAND …` runs a command, hands SIGTERM on to it and ends with its status; without a command, standard
input is copied.

Hidden are user and password of every url, and wherever they stand, the parts of the urls in MESS_PLUGINS and in pip's
variables that may be secrets: user, password, query, and long segments of the path. Only the standard library, as it
runs before MESS is complete.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
# A password may hold what should have been escaped: better to hide too much of it than too little.
_USER_INFO = re.compile(r"(://)[^\s\"'<>]*@")
_QUERY = re.compile(r"(://[^\s\"'<>?]*\?)[^\s\"'<>]+")
_SHORTEST, _LONG_SEGMENT = 4, 16


def secrets(environ: Mapping[str, str]) -> list[str]:
    """What may be secret in the urls that pip is given, the longest first."""
    texts = [value for name, value in environ.items() if name == "MESS_PLUGINS" or name.startswith("PIP_")]
    found = {part for text in texts for url in _URL.findall(text) for part in _parts(url)}
    return sorted((part for part in found | set(map(unquote, found)) if len(part) >= _SHORTEST), key=len, reverse=True)


def _parts(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    user_info = parts.netloc.rpartition("@")[0]
    yield from user_info.split(":", 1)
    yield from (value for _, value in parse_qsl(parts.query))
    yield from (segment for segment in parts.path.split("/") if len(segment) >= _LONG_SEGMENT)


def hide(text: str, known: list[str]) -> str:
    """The text with `***` in the place of secrets."""
    text = _QUERY.sub(r"\1***", _USER_INFO.sub(r"\1***@", text))
    for secret in known:
        text = text.replace(secret, "***")
    return text


def copy(lines: Iterable[str]) -> None:
    """Write lines to standard error, without secrets."""
    known = secrets(os.environ)
    for line in lines:
        sys.stderr.write(hide(line, known))
        sys.stderr.flush()


def main(command: list[str]) -> int:
    """Do what the module says; the status to end with."""
    if not command:
        copy(sys.stdin)
        return 0
    with subprocess.Popen(command, stdout=-1, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        copy(process.stdout or ())
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
