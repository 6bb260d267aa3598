"""The connection to MongoDB; the only module that knows which driver is used."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from pymongo.server_description import ServerDescription
from pymongo.server_type import SERVER_TYPE

from mess.cancellation import within
from mess.capture.connection_string import ConnectionString
from mess.errors import ConfigError, NotPermitted, Problem, SourceError, SourceUnavailable
from mess.options.extras import required

_CLOSE_SECONDS = 1.0
_SHORTEST_HEARTBEAT = 500
"""In milliseconds; the driver allows no less."""
_LONGEST = 1_000
"""The maximum length of an error's text; MongoDB may repeat a whole command in it."""
_CONNECTION_STRING = "_mess_connection_string"
_CONVERSION_FAILURE = 241
_QUOTED = re.compile("'.*'", re.DOTALL)
"""Where MongoDB quotes the value that it cannot convert: a document's, which `exclude` may be meant to hide."""
_WITH_USER = "mongodb://user:password@host/?authSource=admin"

ServerSelector = Callable[[Sequence[ServerDescription]], Sequence[ServerDescription]]


class LacksPrivilege(NotPermitted):
    """The MongoDB user lacks a privilege; `mess.capture.preflight.role_command` gives a role with all of them."""


class StickyServer:
    """A server selector that stays with one mongos or secondary, for a client that only reads change streams.

    A cursor lives on the server that opened it, but the driver selects a server for every command, possibly a different
    one among several mongos or secondaries. A primary is never pinned, so that a failover is followed. The driver calls
    selectors before it applies the read preference.
    """

    def __init__(self, reads_secondaries: bool) -> None:
        self._reads_secondaries = reads_secondaries
        self._address: tuple[str, int | None] | None = None

    def __call__(self, servers: Sequence[ServerDescription]) -> Sequence[ServerDescription]:
        kinds = {SERVER_TYPE.Mongos}
        if self._reads_secondaries:
            kinds.add(SERVER_TYPE.RSSecondary)
        candidates = [server for server in servers if server.server_type in kinds]
        if not candidates:
            return servers
        kept = [server for server in candidates if server.address == self._address] or candidates[:1]
        self._address = kept[0].address
        return kept


def connect(
    url: str,
    driver: str = "pymongo",
    *,
    sticky: bool = False,
    patience: float | None = None,
    option: str = "mongodb.url",
) -> Any:
    """An async client of PyMongo (`AsyncMongoClient`) or Motor, which have the same interface as far as MESS uses it.

    `sticky` is for reading change streams, see `StickyServer`. With `patience`, the client has few connections,
    and gives up on a server that does not answer for so many seconds, whatever the url says. `option` is the config key
    of the url, for messages. The client connects in the background; nothing is awaited. Raises ConfigError for a url
    that the driver cannot use and for a driver that is not installed.
    """
    # Long enough for an election, short enough for a helpful message if no server is there.
    defaults = {"appname": "mess", "serverSelectionTimeoutMS": 10_000}
    # The driver would give these precedence over the url.
    options: dict[str, Any] = {name: value for name, value in defaults.items() if f"{name.lower()}=" not in url.lower()}
    options["tz_aware"] = True
    if patience is not None:
        options.update(_impatient(patience))
    if sticky:
        preference = url.lower().partition("readpreference=")[2].partition("&")[0]
        options["server_selector"] = StickyServer(preference not in ("", "primary", "primarypreferred"))
    with required(driver, f"the driver {driver!r}", "mongodb.driver"):
        client_class = _client_class(driver)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the config's own warnings report the same about the url
            client = client_class(url, **options)
        vars(client)[_CONNECTION_STRING] = ConnectionString(url, option)
        return client
    except (PyMongoError, ValueError, OSError) as error:
        raise ConfigError([Problem(f"not a usable connection string: {error}", option)]) from error


def _impatient(seconds: float) -> dict[str, Any]:
    millis = max(1, round(seconds * 1000))
    return {
        "connectTimeoutMS": millis,
        "socketTimeoutMS": millis,
        "serverSelectionTimeoutMS": millis,
        "waitQueueTimeoutMS": millis,
        "heartbeatFrequencyMS": min(10_000, max(_SHORTEST_HEARTBEAT, millis)),
        "maxPoolSize": 2,
        "retryReads": True,
        "retryWrites": True,
    }


def connection_string_of(client: Any) -> ConnectionString | None:
    """The connection string of a client of `connect`; None for other clients."""
    client = vars(client).get("current", client)  # of a `CurrentClient`
    connection_string: ConnectionString | None = vars(client).get(_CONNECTION_STRING)
    return connection_string


def _client_class(driver: str) -> Any:
    if driver == "motor":
        from motor.motor_asyncio import AsyncIOMotorClient

        return AsyncIOMotorClient
    from pymongo import AsyncMongoClient

    return AsyncMongoClient


async def close(client: Any) -> None:
    """Close a client of either driver, without waiting for an unreachable server."""
    closing = client.close()
    if closing is not None:
        with contextlib.suppress(TimeoutError):
            await within(_CLOSE_SECONDS, closing)


async def start_session(client: Any) -> Any:
    """A session of either driver: Motor's is awaited, PyMongo's is not."""
    session = client.start_session()
    return await session if hasattr(session, "__await__") else session


def explain(error: Exception, option: str = "mongodb.url") -> SourceError:
    """Convert a driver's error into the relay's, with a remedy if the user has to do something. `option` is the config
    key of the connection string."""
    if isinstance(error, SourceError):
        return error
    if isinstance(error, OperationFailure):
        if error.code in (18, 8000):
            reason = _brief(error).rstrip(".")
            return NotPermitted(f"MongoDB refused the user name or password: {reason}. Check {option}")
        if error.code == 13 and "requires authentication" in str(error):
            return NotPermitted(f"{_brief(error)}, and {option} names no user: write it like {_WITH_USER}")
        if error.code == 13:
            return LacksPrivilege(f"the MongoDB user lacks a privilege: {_brief(error)}")
    if isinstance(error, ConfigurationError) and not _is_dns_failure(error):
        return SourceError(f"{_brief(error)}. Check {option}")
    return SourceUnavailable(_brief(error))


def _is_dns_failure(error: ConfigurationError) -> bool:
    """Whether the DNS lookup of a mongodb+srv:// url failed, which may be temporary."""
    return type(error.__cause__).__module__.startswith("dns.")


def _brief(error: Exception) -> str:
    """An error's message, without the server's whole reply and the driver's topology that follow it."""
    text = str(error)
    if isinstance(error, OperationFailure) and error.code == _CONVERSION_FAILURE:
        text = _QUOTED.sub("'…'", text)
    for rest in (", full error:", ", Timeout:", ", Topology", " (configured timeouts", " to execute command {"):
        text = text.partition(rest)[0]
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
