"""What the user may ask for: the config file's shape. The field descriptions are the documentation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mess.config.fields import (
    HostName,
    Integer,
    Named,
    NotBool,
    Number,
    OffForFalse,
    Query,
    RelayName,
    Start,
    empty_for_none,
)
from mess.config.operations import Operation
from mess.options.values import Duration, FunctionReference, MongoURL, Size, StateURL

Order = Literal["document", "collection", "none"]
OnFailure = Literal["dead_letter", "skip", "stop"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _from_nothing(cls, value: Any) -> Any:
        return empty_for_none(value)


class Retry(Section):
    """How long to wait between attempts: `first`, then `multiplier` times as long each time, up to `cap`, with
    jitter."""

    max_attempts: Annotated[int, Field(ge=1), NotBool] | None = 10
    """After how many attempts an event is given up; null for any number. An attempt counts only if the same destination
    accepted another event since the one before: an outage never costs an event. It must have failed ambiguously (a 500,
    no answer in time), or in a way that says that the sink is down but that the event may have caused (403, 404, 410,
    502, 504, or a connection that breaks under the request)."""
    min_age: Duration = 300.0
    """How long an event must have failed before it is given up because of answers that say the sink is down. For
    ambiguous failures, `max_attempts` alone decides."""
    first: Duration = 0.2
    """The first pause."""
    multiplier: Number = Field(2.0, ge=1)
    """How much longer each pause is than the one before."""
    cap: Duration = 5.0
    """The longest pause."""
    max_age: Duration | None = None
    """How long after its first failure an event that fails ambiguously is given up on, however many attempts counted.
    An outage of the sink before that is left out. Default: never."""


class Probe(Section):
    """How a sink that is down is tried: by one event at a time, after a pause that is a share of the outage so far."""

    first: Duration = 0.25
    """The shortest pause."""
    share: Number = Field(0.02, ge=0, le=1)
    """Which share of the outage so far a pause is."""
    cap: Duration = 30.0
    """The longest pause."""
    max_retry_after: Duration = 300.0
    """The longest pause that a sink may ask for (`Retry-After`)."""
    refusing_after: Annotated[int, Field(ge=1), NotBool] | None = 100
    """After how many different events refused in a row, with no success between, the step is taken to be what is wrong:
    it is held like a sink that is down. null for never; with `on_failure: skip` it never is."""
    suspect_after: Annotated[int, Field(ge=1), NotBool] = 10
    """How many different events make an outage: when so many fail ambiguously in a row, with no success in between, or
    so many wait for their next attempt after answers that say the sink is down, the sink is taken to be down."""


class StepSpec(Section):
    """One step of a pipeline."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    name: str
    """The step's name: `log`, `field-map`, `http`, or one of `plugins`."""
    config: Named[Any] = Field(default_factory=dict, repr=False)
    """The step's own options."""
    retry: Retry = Retry()
    """Attempts and the pauses between them."""
    probe: Probe = Probe()
    """What happens while the sink is down."""
    on_failure: OnFailure = "dead_letter"
    """What to do with an event that the step refuses: keep it as a dead letter, skip it, or stop the relay."""
    rate_limit: Annotated[float, Field(gt=0), NotBool] | None = None
    """How many events the step is given in a second at the most, all lanes together. Default: as many as it takes."""
    concurrency: Annotated[int, Field(ge=1, le=1024), NotBool] | None = None
    """How many deliveries of this step run at a time. Default: one for each of the pipeline's lanes."""


class Scope(Section):
    """Options that hold for a collection, a database or everything; the most specific one wins."""

    pipeline: tuple[StepSpec, ...] | None = None
    """The steps that each event goes through, in order."""
    change_hook: FunctionReference | None = Field(None, alias="changeHook")
    """A function `module:function`, called with `(item, context)`, that takes the pipeline's place."""
    operations: tuple[Operation, ...] | None = None
    """Which changes to relay, by their `operationType`: `insert`, `update`, `replace`, `delete`, `drop`, `rename`,
    `dropDatabase`, or another one that your MongoDB sends. Default: all of them."""
    match: Query | None = None
    """A MongoDB query (Extended JSON) over the change event; MongoDB evaluates it. It holds for all events of its
    scope, `drop` and `dropDatabase` included. Default: every change."""
    full_document: Annotated[Literal["off", "update_lookup", "when_available", "required"] | None, OffForFalse] = None
    """The whole document with an update: `update_lookup` as it is now, `when_available` and `required` as it was right
    after the update (a post-image, which the collection must keep). Default: update_lookup."""
    full_document_before_change: Annotated[Literal["off", "when_available", "required"] | None, OffForFalse] = None
    """The document as it was before the change (a pre-image, which the collection must keep). Default: off."""
    order: Order | None = None
    """What is delivered in order: the events of one document, of one collection, or none. Default: document."""
    concurrency: Annotated[int, Field(ge=1, le=1024), NotBool] | None = None
    """How many lanes the pipeline has: how many deliveries run at a time. Default: the largest `concurrency` of its
    steps, else 4 where steps send batches (fewer where many streams share the window), else 16."""


class CollectionScope(Scope):
    """Options of one collection, or of those that a glob names."""


class DatabaseScope(Scope):
    """Options of one database, or of those that a glob names."""

    collections: Named[CollectionScope] = Field(default_factory=dict)
    """The collections to watch, by name or glob. Empty: all of them, those created later too."""


class MongoDB(Section):
    """The deployment to watch."""

    url: MongoURL = Field("mongodb://localhost:27017/?replicaSet=rs0", validate_default=True, repr=False)
    """MongoDB's connection string. Default: the environment's `MONGODB_URL`."""
    driver: Literal["pymongo", "motor"] = "pymongo"
    """PyMongo's async API, or Motor (past its end of life; needs `pip install 'mess[motor]'`)."""


class Retention(Section):
    """How long dead letters are kept."""

    max_age: Duration | None = 30 * 86400.0
    """Older ones are deleted; null keeps them for ever."""
    max_count: Annotated[int, Field(ge=1), NotBool] | None = None
    """The newest so many are kept; null for any number."""


class State(Section):
    """Where the relay records its progress and its dead letters."""

    url: StateURL | None = Field(None, repr=False)
    """`mongodb://…`, or `sqlite:///path`. Default: the watched deployment itself."""
    database: str = "mess"
    """The MongoDB database that holds the state. It cannot be watched."""
    retention: Retention = Retention()
    """How long dead letters are kept."""


class Admin(Section):
    """The HTTP server for status, health and metrics."""

    enabled: bool = True
    """Whether to serve at all."""
    host: str = "127.0.0.1"
    """The address to listen on. Default: the environment's `MESS_ADMIN_HOST`."""
    port: Integer = Field(3000, ge=0, le=65535)
    """The port; 0 picks a free one. Default: the environment's `PORT`."""
    hosts: tuple[HostName, ...] = ()
    """Host names, or globs of them, by which clients may call this server, such as a service's name in Compose or
    Kubernetes. IP addresses and `localhost` always work; `/healthz`, `/readyz` and `/metrics` answer to any name. `"*"`
    allows every name."""


class Log(Section):
    """What the relay says of itself."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written. Default: the environment's `MESS_LOG_LEVEL`."""
    format: Literal["auto", "console", "json"] = "auto"
    """`auto` is console on a terminal and JSON lines elsewhere. Default: the environment's `MESS_LOG_FORMAT`."""
    max_field: Size = Field(16 * 1024, ge=256)
    """How many bytes of a field are written; a longer one ends in a note of how long it was. What the `log` step writes
    of an event has a bound of its own, the step's `max_bytes`."""


class WindowOptions(Section):
    """The events in flight, all streams together; this bounds the relay's memory."""

    max_events: Integer = Field(10_000, ge=1)
    """How many."""
    max_bytes: Size = 12 * 1024 * 1024
    """How many bytes of BSON. Decoded, a document takes about seven times as much."""


class CheckpointOptions(Section):
    """How often progress is recorded."""

    interval: Duration = 1.0
    """While events flow."""
    idle_interval: Duration = 30.0
    """While none do; the position moves all the same, so that a quiet collection never ages out of the oplog."""


class Config(Scope):
    """The config file."""

    name: RelayName = "mess"
    """This relay's name; its state is kept under it. Only one process of a name runs at a time: a second one waits for
    the first to stop."""
    mongodb: MongoDB = Field(default_factory=lambda: MongoDB())
    """The deployment to watch."""
    start: Start = "now"
    """Where streams without a checkpoint begin: `now`, `oldest` (as far back as the oplog goes), or an ISO 8601 time
    (in UTC where it names no time zone)."""
    show_expanded_events: bool | None = None
    """Whether MongoDB (6.0 or newer) also sends the events that its change streams call expanded, such as `create` and
    `createIndexes`. Default: what the server does by itself."""
    on_history_lost: Literal["stop", "now"] = "stop"
    """What to do when a position is no longer in the oplog: stop, or record the gap and go on from now."""
    databases: Named[DatabaseScope]
    """The databases to watch, by name or glob."""
    plugins: Named[FunctionReference] = Field(default_factory=dict)
    """Your own steps: a name, and a Python function `module:function` in a file beside the config file, called with
    `(input, config, context)`."""
    state: State = State()
    """Where progress and dead letters are recorded."""
    window: WindowOptions = WindowOptions()
    """Bounds on the events in flight."""
    checkpoint: CheckpointOptions = CheckpointOptions()
    """How often progress is recorded."""
    shutdown_grace: Duration = 7.0
    """How long requests in flight may take after SIGTERM."""
    admin: Admin = Admin()
    """The HTTP server for status, health and metrics."""
    log: Log = Log()
    """What the relay says of itself."""
