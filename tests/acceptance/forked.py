"""Commands without the half second that Python needs to start: forked from a process that has imported MESS already."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

_REQUEST = 1024 * 1024  # bytes


def run(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `mess` with these arguments to its end, in a process of its own. Raises TimeoutExpired, having killed it."""
    request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}).encode()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(_server())
        socket.send_fds(connection, [request], [out.fileno(), err.fileno()])
        with connection.makefile() as replies:
            pid = int(replies.readline())
            try:
                code = int(replies.readline())
            except TimeoutError as error:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["mess", *arguments], timeout, _read(out), _read(err)) from error
        return subprocess.CompletedProcess(["mess", *arguments], code, _read(out), _read(err))


def _read(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode())


@cache
def _server() -> str:
    folder = tempfile.TemporaryDirectory(prefix="mess-commands-")
    path = f"{folder.name}/socket"
    process = subprocess.Popen([sys.executable, "-m", __name__, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(folder.cleanup)
    atexit.register(process.kill)
    assert process.stdout is not None
    process.stdout.readline()
    return path


def _serve(path: str) -> None:
    import mess.app  # noqa: F401 - the command line imports it when it needs it
    from mess.cli import main

    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as selector:
        listening.bind(path)
        listening.listen(16)
        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)  # which ends with the tests
        os.write(1, b"ready\n")
        while all(key.fileobj is listening for key, _ in selector.select()):
            connection, _ = listening.accept()
            if os.fork() == 0:
                _watch(connection, main)
            connection.close()
            _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _watch(connection: socket.socket, main: Any) -> NoReturn:
    data, (out, err), _, _ = socket.recv_fds(connection, _REQUEST, 2)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(json.loads(data), out, err, main)
    connection.sendall(b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(request: dict[str, Any], out: int, err: int, main: Any) -> NoReturn:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["mess", *request["arguments"]]
    code: Any = 1
    try:
        main()
        code = 0
    except SystemExit as ending:
        code = 0 if ending.code is None else ending.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve(sys.argv[1])
