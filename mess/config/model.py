"""The shape of the config file. The field descriptions become the documentation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from mess.config.fields import (
    ExcludedPath,
    HostName,
    Integer,
    Named,
    NotBool,
    Number,
    OffForFalse,
    Query,
    RelayName,
    Start,
    StateURL,
    empty_for_none,
)
from mess.config.operations import Operation
from mess.formats.body import CHANGE, Unknown
from mess.formats.paths import parse_path
from mess.options.base import Options
from mess.options.kafka import OF_THE_SOURCE, Mechanism, checked_url
from mess.options.secret import Secret, of_broker_url, of_settings
from mess.options.tls import TlsOptions
from mess.options.values import Duration, FunctionReference, MongoURL, Size, at_least
from mess.similar import did_you_mean
from mess.state.open import FORMS

OnFailure = Literal["dead_letter", "skip", "stop"]


class Section(Options):
    model_config = ConfigDict(populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _from_nothing(cls, value: Any) -> Any:
        return empty_for_none(value)


def _change_path(text: str) -> str:
    found = CHANGE.find(parse_path(text))
    if isinstance(found, Unknown):
        hint = did_you_mean(found.name, found.known) or f"; known are {', '.join(found.known)}"
        holder = ".".join(found.within) or "a change event"
        raise ValueError(f'{holder} has no field "{found.name}"{hint}')
    return text


def _on_or_off(value: Any) -> Any:
    return {"on": True, "off": False}.get(value, value) if isinstance(value, str) else value


class OrderBy(Section):
    """Events with equal values of a field keep their order, whichever documents and collections they are of."""

    by: Annotated[str, AfterValidator(_change_path)]
    """The field's path in the change event, such as `fullDocument.accountId`. Events without it, such as deletes, are
    barriers."""


Order = Literal["document", "collection", "none"] | OrderBy


class Retry(Section):
    """How long to wait between attempts: `first`, then `multiplier` times as long each time, up to `cap`, with
    jitter."""

    max_attempts: Annotated[int, Field(ge=1), NotBool] | None = 10
    """How many attempts an event gets before it is given up; null for no limit. An attempt counts only if the event may
    have caused its failure, and the same destination accepted another event since the previous one: an outage never
    costs an event."""
    min_age: Duration = 300.0
    """How long an event must have been failing before it is given up because of answers that mean that the sink is
    down. Ambiguous failures have no such minimum."""
    first: Duration = 0.2
    """The first pause."""
    multiplier: Number = Field(2.0, ge=1)
    """The factor by which each pause is longer than the previous one."""
    cap: Duration = 5.0
    """The longest pause."""
    max_age: Duration | None = None
    """How long after its first failure an event that fails ambiguously is given up, however many attempts counted. Time
    during which the sink was down does not count. Default: never."""


class Probe(Section):
    """How a sink that is down is probed: with one event at a time, after a pause proportional to the outage so far."""

    first: Duration = 0.25
    """The shortest pause."""
    share: Number = Field(0.02, ge=0, le=1)
    """The pause, as a share of the outage so far."""
    cap: Duration = 30.0
    """The longest pause."""
    max_retry_after: Duration = 300.0
    """The longest pause that a sink may ask for (`Retry-After`)."""
    refusing_after: Annotated[int, Field(ge=1), NotBool] | None = 100
    """How many different events must be refused in a row before the step itself is considered broken, and paused like a
    sink that is down. null for never; with `on_failure: skip` this never happens."""
    suspect_after: Annotated[int, Field(ge=1), NotBool] = 10
    """How many different events make an outage: the sink is considered down when this many fail ambiguously in a row,
    or are waiting for their next attempt after answers that mean that it is down."""


class StepSpec(Section):
    """One step of a pipeline."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    name: str
    """The step's name: `log`, `filter`, `field-map`, `http`, another step, or one of `plugins`."""
    config: Named[Any] = Field(default_factory=dict, repr=False)
    """The step's own options."""
    retry: Retry = Retry()
    """Number of attempts and the pauses between them."""
    probe: Probe = Probe()
    """What happens while the sink is down."""
    on_failure: OnFailure = "dead_letter"
    """What to do with an event that the step refuses: keep it as a dead letter, skip it, or stop the relay."""
    rate_limit: Annotated[float, Field(gt=0), NotBool] | None = None
    """The maximum number of events per second that the step is given, over all lanes. Default: no limit."""
    concurrency: Annotated[int, Field(ge=1, le=1024), NotBool] | None = None
    """How many deliveries of this step run at the same time. Default: one for each lane of the pipeline."""


class Scope(Section):
    """Options that apply to a collection, a database or everything; the most specific one wins."""

    pipeline: tuple[StepSpec, ...] | None = None
    """The steps that each event passes through, in order."""
    change_hook: FunctionReference | None = Field(None, alias="changeHook")
    """A function `module:function`, called with `(item, context)`, that replaces the pipeline."""
    operations: tuple[Operation, ...] | None = None
    """Which changes to relay, by their `operationType`: `insert`, `update`, `replace`, `delete`, `drop`, `rename`,
    `dropDatabase`, or another one that your MongoDB sends; `read` for existing documents. Default: all of them."""
    match: Query | None = None
    """A MongoDB query (Extended JSON) over the change event, evaluated by MongoDB. It applies to all events of its
    scope, including `drop` and `dropDatabase`. Default: every change."""
    full_document: Annotated[
        Literal["off", "update_lookup", "exact", "when_available", "required"] | None, OffForFalse
    ] = None
    """Whether updates include the whole document: `update_lookup` as it is when MongoDB looks it up, which may be
    newer; `exact` as it was right after the update (a post-image, which must be enabled for the collection), and none
    where there is no post-image; `required` stops the stream there. `when_available` is another name for `exact`.
    Default: update_lookup."""
    full_document_before_change: Annotated[Literal["off", "when_available", "required"] | None, OffForFalse] = None
    """The document as it was before the change (a pre-image, which must be enabled for the collection). Default:
    off."""
    backfill: Literal["initial", "never"] | None = None
    """Whether documents that exist before the relay first covers their collection are sent, once, as events with the
    operation `read`: `initial` or `never`. Default: never."""
    exclude: tuple[ExcludedPath, ...] | None = None
    """Fields of documents that MongoDB removes from every event, so that they never reach the relay, by their paths:
    `password`, `card.number` (through arrays, too). `match` is evaluated before and may use them. Default: no field."""
    order: Order | None = None
    """What is delivered in order: the events of one document, the events of one collection, nothing, or, with `by`, the
    events with equal values of a field. Default: document."""
    concurrency: Annotated[int, Field(ge=1, le=1024), NotBool] | None = None
    """The number of lanes of the pipeline: how many deliveries run at the same time. Default: the largest `concurrency`
    of its steps, else 4 if steps send batches (fewer if many streams share the window), else 16."""


class CollectionScope(Scope):
    """Options of one collection, or of all collections that match a glob."""


class DatabaseScope(Scope):
    """Options of one database, or of all databases that match a glob."""

    collections: Named[CollectionScope] = Field(default_factory=dict)
    """The collections to watch, by name or glob. Empty: all of them, including ones created later."""


class MongoDB(Section):
    """The deployment to watch."""

    url: MongoURL = Field("mongodb://localhost:27017/?replicaSet=rs0", validate_default=True, repr=False)
    """MongoDB's connection string. Default: the environment variable `MONGODB_URL`."""
    driver: Literal["pymongo", "motor"] = "pymongo"
    """PyMongo's async API, or Motor (past its end of life; needs `pip install 'mess[motor]'`)."""


class Retention(Section):
    """How long dead letters are kept."""

    max_age: Duration | None = 30 * 86400.0
    """Older ones are deleted; null keeps them forever."""
    max_count: Annotated[int, Field(ge=1), NotBool] | None = None
    """Only the newest ones, up to this number, are kept; null for no limit."""


class State(Section):
    """Where the relay stores its progress and its dead letters."""

    url: StateURL | None = Field(
        None, repr=False, description=f"`{'` or `'.join(FORMS)}`. Default: the watched deployment itself."
    )
    database: str = "mess"
    """The MongoDB database that stores the state. It cannot be watched."""
    retention: Retention = Retention()
    """How long dead letters are kept."""


class Admin(Section):
    """The HTTP server for status, health, metrics, the console and the API."""

    enabled: bool = True
    """Whether to run the server."""
    host: str = "127.0.0.1"
    """The address to listen on. Default: the environment variable `MESS_ADMIN_HOST`."""
    port: Integer = Field(3000, ge=0, le=65535)
    """The port; 0 picks a free one. Default: the environment variable `PORT`."""
    hosts: tuple[HostName, ...] = ()
    """Host names or globs that clients may use to reach this server, such as a service name in Compose or Kubernetes;
    `"*"` for all. IP addresses and `localhost` always work, as do `/healthz`, `/readyz` and `/metrics`."""
    token: Annotated[SecretStr, Field(min_length=8)] | None = None
    """What clients must send (`Authorization: Bearer …`) to see documents or the config, or to change something.
    Without a token, this is allowed only if `host` is a loopback address, and not through a proxy. Default: the
    environment variable `MESS_ADMIN_TOKEN`."""
    payloads: Annotated[bool, BeforeValidator(_on_or_off)] = True
    """`off` hides all documents from the API and the console, from everyone."""


class Log(Section):
    """What the relay logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is logged. Default: the environment variable `MESS_LOG_LEVEL`."""
    format: Literal["auto", "console", "json"] = "auto"
    """`auto` is console on a terminal and JSON lines elsewhere. Default: the environment variable `MESS_LOG_FORMAT`."""
    max_field: Size = Field(16 * 1024, ge=256)
    """How many bytes of a field are written; a longer one is cut and ends with its original length. The `log` step has
    its own `max_bytes`."""


class Tracing(Section):
    """OpenTelemetry traces of deliveries, configured by the standard `OTEL_…` environment variables. They need
    `pip install 'mess[otel]'`."""

    enabled: bool | None = None
    """Whether deliveries are traced. Default: if `OTEL_EXPORTER_OTLP_ENDPOINT` or
    `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set."""


class WindowOptions(Section):
    """Limits on the events in flight, over all streams; they bound the relay's memory."""

    max_events: Integer = Field(10_000, ge=1)
    """The maximum number of events."""
    max_bytes: Size = 12 * 1024 * 1024
    """The maximum size in bytes of BSON. A decoded document takes about seven times as much memory."""


class CheckpointOptions(Section):
    """How often progress is saved."""

    interval: Duration = 1.0
    """The interval while events flow."""
    idle_interval: Duration = 30.0
    """The interval while there are no events. The position still advances, so that a quiet collection never falls out
    of the oplog."""


class Ha(Section):
    """High availability: several processes with this relay's name, of which one is active. The others are standbys,
    connected and checked, and one of them continues when the active process ends or cannot be reached."""

    lease: Annotated[Duration, at_least(1)] = 30.0
    """How long after the last sign of life of the active process a standby takes over. The active process stops
    delivering before that. MongoDB's own failovers take up to 12 s; with a shorter lease, each may cause a takeover."""


class KafkaSource(TlsOptions):
    """Change events in Kafka, as MESS's queue step, Debezium's MongoDB connector or MongoDB's Kafka connector write
    them. Processes with the same `group` share the partitions. Needs `pip install 'mess[kafka]'`."""

    model_config = ConfigDict(populate_by_name=True)

    url: Annotated[str, Secret(of_broker_url)]
    """`kafka://host:9092,host2:9092`, or `kafkas://` for TLS; user and password as in `kafkas://user:password@host`."""
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    """The topics to read."""
    group: Annotated[str, Field(min_length=1)]
    """The consumer group. Its committed offsets are this relay's progress."""
    format: Literal["auto", "mess", "debezium", "mongodb"] = "auto"
    """How records are written: by MESS's queue step, by Debezium's MongoDB connector, or by MongoDB's Kafka connector.
    `auto` recognises each record."""
    start: Literal["oldest", "now"] = "oldest"
    """Where partitions begin for which the group has no offset yet."""
    session_timeout: Annotated[Duration, at_least(1)] = 45.0
    """How long after a member's last heartbeat the group gives its partitions to others. The member itself stops
    delivering after 80 % of it. Must be what the broker allows, see `group.min.session.timeout.ms`."""
    sasl_mechanism: Mechanism = "PLAIN"
    """How the url's user and password are sent to the broker."""
    config: Annotated[dict[str, str | int | float | bool], Secret(of_settings)] = Field(
        default_factory=dict, repr=False
    )
    """More librdkafka settings, by their librdkafka names; `group.protocol` is `consumer` or `classic`, by default the
    first if the brokers have it."""

    @field_validator("url")
    @classmethod
    def _of_kafka(cls, value: str) -> str:
        return checked_url(value)

    @field_validator("topics")
    @classmethod
    def _by_name(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(topic.startswith("^") for topic in value):
            raise ValueError("a topic is given by its name; patterns are not supported")
        if len(set(value)) < len(value):
            raise ValueError("a topic is named twice")
        return value

    @field_validator("config")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(set(value) & OF_THE_SOURCE):
            raise ValueError(f"{', '.join(taken)} cannot be set: events could be lost, or delivered out of order")
        return value


class Source(Section):
    """Where change events come from, if not from MongoDB's change streams."""

    kafka: KafkaSource
    """Kafka topics."""


class Config(Scope):
    """The config file."""

    name: RelayName = "mess"
    """This relay's name; its state is stored under it. A second process with the same name waits for the first to
    stop."""
    mongodb: MongoDB = Field(default_factory=lambda: MongoDB())
    """The deployment to watch."""
    source: Source | None = None
    """Where change events come from. Default: the change streams of `mongodb`."""
    ha: Ha | None = None
    """Standbys that take over. Default: none; a second process with this name waits for a while, and ends."""
    start: Start = "now"
    """Where streams without a checkpoint begin: `now`, `oldest` (as far back as the oplog goes), or an ISO 8601 time
    (UTC if it has no time zone)."""
    show_expanded_events: bool | None = None
    """Whether MongoDB (6.0 or newer) also sends expanded change events, such as `create` and `createIndexes`. Default:
    the server's own default."""
    on_history_lost: Literal["stop", "now", "backfill"] = "stop"
    """What to do if a position is no longer in the oplog: `stop`; `now`: record the gap and continue from now; or
    `backfill`: the same, and send every document that is watched there again, so that only deletions are missing."""
    gaps: Literal["record", "deliver"] = "record"
    """What happens to changes that are lost, cannot be read, or are skipped by a reset: a record of the gap is stored;
    with `deliver`, the affected pipelines are also sent an event with the operation `mess.gap`."""
    databases: Named[DatabaseScope]
    """The databases to watch, by name or glob."""
    plugins: Named[FunctionReference] = Field(default_factory=dict)
    """Your own steps: a name, and a Python function `module:function` in a file beside the config file, called with
    `(input, config, context)`."""
    state: State = State()
    """Where progress and dead letters are stored."""
    window: WindowOptions = WindowOptions()
    """Limits on the events in flight."""
    checkpoint: CheckpointOptions = CheckpointOptions()
    """How often progress is saved."""
    shutdown_grace: Duration = 7.0
    """How long requests in flight may take to finish after SIGTERM."""
    admin: Admin = Admin()
    """The HTTP server for status, health and metrics."""
    log: Log = Log()
    """What the relay logs."""
    tracing: Tracing = Tracing()
    """OpenTelemetry traces of deliveries."""
