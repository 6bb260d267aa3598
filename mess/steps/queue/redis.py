"""Redis Streams, with redis-py (https://redis.io/docs/latest/develop/data-types/streams/)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pydantic import Field

from mess.errors import ConfigError, DeliveryError, EndpointDown, Problem, Refused
from mess.options.extras import required
from mess.options.tls import Tls
from mess.steps.queue.broker import Broker, BrokerOptions, Message, Surroundings
from mess.steps.queue.redis_packing import pack_with_hiredis
from mess.steps.queue.unreachable import is_connection_failure, unreachable

if TYPE_CHECKING:
    from redis.asyncio import Redis

_CONNECT_SECONDS = 10.0
# Error codes that concern the server rather than the command
# (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors).
_DOWN = frozenset(
    {
        "ASK",
        "BUSY",
        "CLUSTERDOWN",
        "CROSSSLOT",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "MOVED",
        "NOAUTH",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "unknown",  # command
    }
)
_WORDS = {
    "AskError": "ASK",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
_CLUSTER = "it is a node of a Redis Cluster, which one transaction cannot span: use a server without cluster mode"
_REMEDIES = {
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "MOVED": _CLUSTER,
    "OOM": "its memory is full: give it more (maxmemory), or limit the streams (redis: {maxlen: …})",
    "READONLY": "it is a replica: use the primary",
    "unknown": "it is too old, or the command is disabled; if HELLO is missing, add ?protocol=2 to the end of the url",
    "NOAUTH": "it requires a password: redis://user:password@host",
}


class RedisOptions(BrokerOptions):
    """Redis Streams. Each event is an entry with the fields `id`, `key` (if there is one), `body`, and one for each
    header. A mini-batch is published as one transaction."""

    maxlen: int | None = Field(None, ge=1)
    """How many entries a stream keeps; older ones are removed as new ones arrive. Default: all."""
    approximate: bool = True
    """Whether `maxlen` may be exceeded a little, which is much cheaper for the server."""


class RedisBroker(Broker):
    """See `RedisOptions`."""

    schemes = ("redis", "rediss")
    address = "host:6379/0"
    options = RedisOptions
    keeps_order = True

    def __init__(self, url: str, options: RedisOptions, around: Surroundings) -> None:
        """See `Broker`."""
        with required("redis", "a redis:// URL", "url"):
            import hiredis
            import redis.asyncio as client
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        del hiredis  # for `pack_with_hiredis`
        database = unquote(urlsplit(url).path).strip("/")
        if database and not (database.isascii() and database.isdecimal()):  # which the client treats as database 0
            text = "the path is the number of a database; write it like redis://host:6379/0"
            raise ConfigError([Problem(text, "url")])
        tls = _tls(around.tls) if url.startswith("rediss:") else {}
        try:
            # The pipeline retries, and the step has one timeout for everything: a client that did so too would wait
            # twice, and it sets a timer for every reply.
            retry = Retry(NoBackoff(), 0)
            self._redis: Redis = client.Redis.from_url(
                url,
                socket_timeout=None,
                socket_connect_timeout=min(around.timeout, _CONNECT_SECONDS),
                retry=retry,
                **tls,
            )
        except ValueError as error:
            raise ConfigError([Problem(f"{error}; write it like redis://host:6379/0", "url")]) from error
        pool = self._redis.connection_pool
        try:
            pool.connection_class(**pool.connection_kwargs)  # only this checks the url's parameters
        except TypeError as error:
            text = "Redis's client does not know a parameter of the url; remove it"
            raise ConfigError([Problem(text, "url")]) from error
        pack_with_hiredis(pool, lambda: self.leadership.check())
        parts = urlsplit(url)
        self._name = f"{parts.hostname}:{parts.port or 6379}"
        self._bound: tuple[str | int, ...] = ()
        if options.maxlen is not None:
            self._bound = ("MAXLEN", "~" if options.approximate else "=", options.maxlen)

    async def open(self) -> None:
        """Does nothing: connections are made on demand."""

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        """See `Broker.publish`.

        Uses one transaction, so that either all entries are added, in order, or none: a server that runs out of memory
        half-way refuses them all. Only a key that is not a stream fails separately, and it does so for every event.
        """
        # Once there is a connection, packing the commands makes sure that they may be sent.
        pipeline = self._redis.pipeline(transaction=True)
        bound = self._bound
        for message in messages:
            # Not with `xadd`: building its command takes as long as everything else.
            words: list[Any] = ["XADD", message.target, *bound, "*", "id", message.id, "body", message.body]
            if message.key is not None:
                words += ("key", message.key)
            for header in message.headers:
                words += header
            pipeline.execute_command(*words)
        results = await self._ask(pipeline.execute(raise_on_error=False))
        return {index: _refusal(result) for index, result in enumerate(results) if isinstance(result, Exception)}

    async def check(self, targets: Sequence[str]) -> str:
        """See `Broker.check`."""
        await self._ask(self._redis.ping())
        for target in targets:
            kind = await self._ask(self._redis.type(target))
            if kind not in (b"stream", b"none"):
                raise Refused(f"target {target} is a {kind.decode()}, not a stream; choose another target")
        return f"redis at {self._name} answers"

    async def close(self) -> None:
        """See `Broker.close`."""
        await self._redis.aclose()

    async def _ask(self, work: Any) -> Any:
        from redis import exceptions

        try:
            return await work
        except exceptions.AuthenticationError as error:
            raise EndpointDown(
                f"redis at {self._name} does not accept the user or password: {error}; check the url"
            ) from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            if is_connection_failure(error):
                raise unreachable(f"redis at {self._name}", self._name, error) from error
            raise EndpointDown(f"redis at {self._name}: {error}") from error
        except exceptions.RedisError as error:
            code = _code(error)
            if code in _DOWN:
                remedy = _REMEDIES.get(code)
                raise EndpointDown(f"redis at {self._name}: {error}{f'; {remedy}' if remedy else ''}") from error
            raise Refused(f"redis at {self._name}: {error}") from error


def _tls(tls: Tls) -> dict[str, Any]:
    return {
        "ssl_ca_certs": tls.ca,
        "ssl_cert_reqs": "required" if tls.verify else "none",
        "ssl_check_hostname": tls.verify,
        "ssl_certfile": tls.certificate,
        "ssl_keyfile": tls.key,
        "ssl_password": tls.password,
    }


def _code(error: Exception) -> str:
    """The error code: the first word of an error reply.

    redis-py removes it for errors that have their own class, and puts a text before others.
    """
    if (word := _WORDS.get(type(error).__name__)) is not None:
        return word
    text = str(error).partition("caused error: ")
    return (text[2] or text[0]).partition(" ")[0]


def _refusal(error: Exception) -> DeliveryError:
    return Refused(str(error))
