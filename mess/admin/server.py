"""The HTTP server for status, health and metrics."""

from __future__ import annotations

import errno
import socket

from aiohttp import web

from mess.admin.routes import make_app
from mess.admin.view import View
from mess.errors import ConfigError, Problem

_SHUTDOWN_SECONDS = 1.0


class AdminServer:
    """Serves what `view` tells on `host` and `port`; port 0 picks a free one."""

    def __init__(self, host: str, port: int, view: View) -> None:
        self._host = host
        self._port = port
        self._view = view
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to serve. Raises ConfigError when the address cannot be had."""
        runner = web.AppRunner(make_app(self._view), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except (OSError, OverflowError, UnicodeError) as error:
            await runner.cleanup()
            raise ConfigError([self._problem(error)]) from error
        self._runner = runner

    @property
    def url(self) -> str:
        """Where it serves, such as `http://127.0.0.1:3000`; usable on this machine. Only after `start`."""
        if self._runner is None:
            raise RuntimeError("the admin server has not been started")
        host, port = self._runner.addresses[0][:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop serving; requests that are being answered get a second."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def _problem(self, error: Exception) -> Problem:
        place = f"{self._port} on {self._host}"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return Problem(f"{place} is already in use; set admin.port, or PORT", "admin.port")
        if isinstance(error, PermissionError):
            return Problem(f"{place} may not be used by this user; set admin.port to 1024 or more", "admin.port")
        # From Python 3.13 on, asyncio tells of addresses that are not this machine's without an errno.
        if isinstance(error, (socket.gaierror, UnicodeError)) or getattr(error, "errno", 0) in (
            errno.EADDRNOTAVAIL,
            None,
        ):
            return Problem(
                f"{self._host} is not an address of this machine; set admin.host, or MESS_ADMIN_HOST, to 127.0.0.1 "
                "(this machine only) or 0.0.0.0 (every network)",
                "admin.host",
            )
        return Problem(f"cannot listen at {place}: {error}", "admin.port")
