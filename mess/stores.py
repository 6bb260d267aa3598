"""Opens the state that a config names, and makes the clients that it is kept with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mess.capture.current_client import CurrentClient
from mess.capture.reach import Connect, answer, reach
from mess.config.model import Config
from mess.relay.ha.lease_watch import patience
from mess.state.open import RETRY_FOR, in_mongodb, open_store
from mess.state.store import StateStore


@asynccontextmanager
async def store_for(
    config: Config,
    connect: Connect = reach,
    *,
    lasting: bool = True,
    retry_for: float = RETRY_FOR,
    client: CurrentClient | None = None,
) -> AsyncIterator[StateStore]:
    """Open the relay's state, and close it at the end.

    `connect` waits for the MongoDB that keeps the state; `client` is that of `state_client_of`, if there is one. For
    `lasting` see `StateStore.open`. `retry_for` is how many seconds a failing operation is retried.

    Raises StateError, SourceUnavailable if that MongoDB cannot be reached, NotPermitted if it refuses the user.
    """
    url = config.state.url or config.mongodb.url
    client = client or state_client_of(config)
    store = open_store(url, config.name, client and client.get_database(config.state.database), retry_for=retry_for)
    try:
        if client is not None:
            await connect(client, answer)
        await store.open(lasting=lasting)
        yield store
    finally:
        await store.close()
        if client is not None:
            await client.close()


def state_client_of(config: Config) -> CurrentClient | None:
    """The client that the state is kept with; None if it is not in MongoDB."""
    url = config.state.url or config.mongodb.url
    option = "state.url" if config.state.url else "mongodb.url"
    return CurrentClient(url, config.mongodb.driver, option=option) if in_mongodb(url) else None


def lease_client_of(config: Config) -> CurrentClient | None:
    """The client that renews the lease under `ha`, beside everything else; None if the state is not in MongoDB."""
    url = config.state.url or config.mongodb.url
    if config.ha is None or not in_mongodb(url):
        return None
    option = "state.url" if config.state.url else "mongodb.url"
    return CurrentClient(url, config.mongodb.driver, patience=patience(config.ha.lease), option=option)
