"""The HTTP server for status, health and metrics."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from aiohttp import web

from mess.admin.api.relay import ApiRelay
from mess.admin.connections import Connections, limit
from mess.admin.hosts import Hosts
from mess.admin.listener import Listener, bind
from mess.admin.routes import make_app
from mess.admin.view import Controls, View
from mess.errors import ConfigError, Problem

_SHUTDOWN_SECONDS = 1.0


class PortInUse(ConfigError):
    """Another process is listening on the admin server's address."""


class AdminServer:
    """Serves `view` on `host` and `port`; port 0 picks a free one. Requests may act on the relay by its `controls`.

    `hosts` are the names, or globs, that requests may use besides IP addresses, localhost and `host`. With a `relay`,
    there is an API for it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        view: View,
        controls: Controls,
        *,
        hosts: Sequence[str] = (),
        relay: ApiRelay | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._app = make_app(view, controls, Hosts([host, *hosts]), relay)
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Start serving. Raises ConfigError if the address is not available; PortInUse if it may become available
        later."""
        try:
            sockets = await bind(self._host, self._port)
        except (OSError, OverflowError, UnicodeError) as error:
            in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            raise (PortInUse if in_use else ConfigError)([self._problem(error)]) from error
        self._runner = web.AppRunner(self._app, shutdown_timeout=_SHUTDOWN_SECONDS)
        await self._runner.setup()
        if self._runner.server is None:
            raise AssertionError("the runner has been set up")
        self._listener = Listener(sockets, Connections(self._runner.server, limit()).make)

    @property
    def url(self) -> str:
        """The server's URL, such as `http://127.0.0.1:3000`, for use on this machine. Only after `start`."""
        if self._listener is None:
            raise RuntimeError("the admin server has not been started")
        host, port = self._listener.sockets[0].getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop serving; requests in progress get a second to finish."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await listener.close()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def _problem(self, error: Exception) -> Problem:
        place = f"{self._port} on {self._host}"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return Problem(f"{place} is already in use; set admin.port, or PORT", "admin.port")
        if isinstance(error, PermissionError):
            return Problem(f"{place} may not be used by this user; set admin.port to 1024 or more", "admin.port")
        if isinstance(error, (socket.gaierror, UnicodeError)) or getattr(error, "errno", 0) == errno.EADDRNOTAVAIL:
            return Problem(
                f"{self._host} is not an address of this machine; set admin.host, or MESS_ADMIN_HOST, to 127.0.0.1 "
                "(this machine only) or 0.0.0.0 (every network)",
                "admin.host",
            )
        return Problem(f"cannot listen at {place}: {error}", "admin.port")
