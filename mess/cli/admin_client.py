"""How commands ask a running relay: over HTTP, at its admin server."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from mess.cli.common import load_config
from mess.errors import ConfigError, MessError, RelayUnreachable

if TYPE_CHECKING:
    import aiohttp

    from mess.config.load import Loaded

TOKEN_VARIABLE = "MESS_ADMIN_TOKEN"
_SECONDS = 10.0
_SILENCE = 30.0  # seconds; a live tail says something every 10
_LONGEST_MESSAGE = 16 * 1024**2  # bytes; that of an event has a body of 64 KiB for each of its steps
_LOCAL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}

AdminOption = Annotated[
    str | None,
    typer.Option(
        "--admin",
        help="The address of the relay's admin server. Default: from the config.",
        metavar="URL",
        show_default=False,
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="A file with the admin token. Default: MESS_ADMIN_TOKEN, else `admin.token` of the config.",
        show_default=False,
    ),
]


class AdminClient:
    """Asks the relay at `url`. With a `name`, only a relay with that name will do."""

    def __init__(self, session: aiohttp.ClientSession, url: str, name: str | None = None) -> None:
        self._session = session
        self._name = name
        self.url = url

    async def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET request under `/api/v1`.

        Raises RelayUnreachable if no relay answers, ConfigError if it needs another token, MessError if it refuses.
        """
        async with self._answer(path, query, _SECONDS) as response:
            return await self._json(response)

    async def status(self) -> dict[str, Any]:
        """The relay at a glance. Raises the same errors, and RelayUnreachable if it is another relay."""
        found = await self.get("/status")
        if not isinstance(found, dict) or "instance" not in found:
            raise RelayUnreachable(self._stranger())
        if self._name is not None and found["name"] != self._name:
            raise RelayUnreachable(
                f"at {self.url} runs another relay, {found['name']!r} instead of {self._name!r}; pass --admin URL"
            )
        return found

    async def messages(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[tuple[str, Any]]:
        """The messages of a stream of server-sent events, each with its kind and its data; returns when the relay ends
        it. Raises the same errors as `get`."""
        async with self._answer(path, query, None) as response:
            if response.status != 200:
                await self._json(response)
            buffered = b""
            async for data in response.content.iter_any():
                *messages, buffered = (buffered + data).split(b"\n\n")
                if len(buffered) > _LONGEST_MESSAGE:
                    raise RelayUnreachable(self._stranger())
                for message in messages:
                    fields = dict(line.split(b": ", 1) for line in message.split(b"\n") if not line.startswith(b":"))
                    if b"data" in fields:
                        yield fields.get(b"event", b"").decode(), json.loads(fields[b"data"])

    @asynccontextmanager
    async def _answer(
        self, path: str, query: Mapping[str, Any], seconds: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=seconds, connect=_SECONDS, sock_read=_SILENCE)
        given = [(name, str(each)) for name, value in query.items() for each in [value] if value is not None]
        try:
            async with self._session.get(f"{self.url}/api/v1{path}", params=given, timeout=timeout) as response:
                yield response
        except aiohttp.ClientConnectorError as error:
            raise RelayUnreachable(
                f"no relay answers at {self.url}: {error.strerror or error}. Start it with `mess run`, or pass its "
                "address: --admin URL"
            ) from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            text = str(error) or type(error).__name__
            raise RelayUnreachable(f"no relay answers at {self.url} as expected: {text}") from None

    async def _json(self, response: aiohttp.ClientResponse) -> Any:
        try:
            found = json.loads(await _bounded(response))
        except ValueError:
            raise RelayUnreachable(self._stranger()) from None
        if response.status == 200:
            return found
        why = found.get("error") if isinstance(found, dict) else None
        if why is None or "there is no /api/v1" in why:
            raise RelayUnreachable(self._stranger())
        if response.status in (401, 403):
            raise ConfigError(
                f"the relay at {self.url} does not show this: {why}. The commands take the token from the config, from "
                f"{TOKEN_VARIABLE}, or from --token-file"
            )
        raise (ConfigError if response.status == 400 else MessError)(f"the relay at {self.url} says: {why}")

    def _stranger(self) -> str:
        return f"what answers at {self.url} is no relay of this version; pass the relay's address: --admin URL"


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body. Raises ValueError if it is larger than any that a relay sends."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _LONGEST_MESSAGE:
            raise ValueError("the answer is too large")
    return b"".join(parts)


@asynccontextmanager
async def admin_client(config: Path | None, admin: str | None, token_file: Path | None) -> AsyncIterator[AdminClient]:
    """A client for the relay of a config, or the one at the address `admin`. Raises ConfigError."""
    import aiohttp

    loaded = None if admin is not None else load_config(config)
    url = _checked(admin) if admin is not None else _address(loaded)
    token = _token(loaded, token_file)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield AdminClient(session, url, None if loaded is None else loaded.config.name)


def _address(loaded: Loaded | None) -> str:
    assert loaded is not None
    admin = loaded.config.admin
    if not admin.enabled:
        raise ConfigError("the config turns the admin server off (admin: {enabled: false}), which this command asks")
    if not admin.port:
        raise ConfigError("the config leaves the admin port to the system (admin: {port: 0}); pass --admin URL")
    host = _LOCAL.get(admin.host, admin.host)
    return f"http://[{host}]:{admin.port}" if ":" in host else f"http://{host}:{admin.port}"


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"--admin {url}: write it like http://127.0.0.1:3000")
    return url.rstrip("/")


def _token(loaded: Loaded | None, file: Path | None) -> str | None:
    if file is not None:
        try:
            token = file.read_text().strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"--token-file: {error}") from None
    else:
        configured = None if loaded is None else loaded.config.admin.token
        token = os.environ.get(TOKEN_VARIABLE) or ("" if configured is None else configured.get_secret_value())
    if not token:
        return None
    if not token.isascii() or not token.isprintable():
        raise ConfigError("the admin token contains characters that no HTTP header can carry")
    return token
