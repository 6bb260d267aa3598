"""Whatever in MESS runs on text from outside, one line each; see `bench.linear`."""

from __future__ import annotations

import io
import json
import ssl
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aiohttp
from bson import Code, Regex
from pymongo.errors import OperationFailure
from yarl import URL

from bench import texts
from bench.texts import ESCAPES, JSON, LINKS, PLAIN, SECRETS, URLS, Text
from mess.admin.hosts import Hosts
from mess.capture import stream
from mess.capture.client import explain
from mess.capture.kafka.formats.decoder import decoder
from mess.capture.kafka.record import Record
from mess.cases.drop import Drops, fields_of
from mess.cases.record import Sample, extended, file_name
from mess.config.document import Document, show
from mess.config.js.file import read_js
from mess.config.messages import without_secret
from mess.config.secrets import Secrets
from mess.config.variables import expand
from mess.config.yaml_file import read_yaml
from mess.errors import Refused
from mess.event import Event, Namespace
from mess.formats import bson_json, java_json
from mess.formats.cloudevents import CloudEvents, encoder
from mess.formats.paths import get, parse_path
from mess.formats.template import Template
from mess.options.mongodb import refusals
from mess.options.secret import of_basic, of_broker_url, of_credentials, of_http_url, of_mongodb_url
from mess.options.tls import TlsOptions
from mess.options.values import parse_duration, parse_size
from mess.relay.retry import classify
from mess.similar import closest_name
from mess.state.failover import brief
from mess.state.letters import pack
from mess.state.store import DeadLetter
from mess.steps.base import Context
from mess.steps.filter import FilterConfig
from mess.steps.http import connection
from mess.steps.http.answers import failure, retry_after
from mess.steps.http.oauth2 import OAuth2, Tokens
from mess.steps.http.url import http_url
from mess.steps.http.url_template import UrlTemplate
from mess.steps.log import LogConfig
from mess.steps.queue import mqtt, nats
from mess.steps.queue.broker import Message, Surroundings
from mess.steps.queue.step import QueueConfig
from mess.telemetry.logging import configure, get_logger
from mess.telemetry.printable import printable, printable_json
from mess.telemetry.redact import Redactor, shown

_LONG = "a" * 50_000 + "b"
_few = Redactor(["s3cret-word", "/services/T00/B00", "aaaaaaaaab", _LONG, "pä$$ w<rd", "abcabcabcabd"])
_many = Redactor(f"{number * 7919 % 10_007:05}-tenant-secret" for number in range(5000))


def _event(text: str) -> Event:
    change = {"_id": {"_data": "00"}, "operationType": "insert", "documentKey": {"_id": text}}
    return Event({**change, "fullDocument": {"text": text, "regex": Regex(text)}}, Namespace("shop", "orders"))


_cloudevent = encoder(bson_json.plain, "/mongodb", "")


def _log_step(form: str, **options: Any) -> Callable[[str], None]:
    def run(text: str) -> None:
        with redirect_stdout(io.StringIO()):
            configure("info", form)
            LogConfig.model_validate(options).build(Context()).apply(_event(text))

    return run


def _filter(when: str) -> Callable[[str], None]:
    step = FilterConfig(when=when).build(Context())

    def run(text: str) -> None:
        step.apply(_event(text))

    return run


def _log_error(text: str) -> None:
    with redirect_stdout(io.StringIO()):
        configure("info", "json")
        get_logger("mess").error("failed", error=ValueError(text), list=[text])


def _expand(text: str) -> None:
    expand(Document("config.yml", {"a": text}), {"A": "x", "E": ""}, Path())


def _secrets(text: str) -> None:
    headers = {"Cookie": text, "Authorization": text}
    step = {"name": "http", "config": {"endpoint": f"https://h/{text}", "headers": headers}}
    Secrets(Document("config.yml", {"mongodb": {"url": f"mongodb://{text}"}, "pipeline": [step]}))


def _shown(text: str) -> None:
    options = {"headers": {"Cookie": text}, "settings": {"a.password": text, "x": text}}
    step = {"name": "http", "config": {"endpoint": f"https://h/{text}", **options}}
    secrets = Secrets(Document("config.yml", {"pipeline": [step]}))
    secrets.shown(("pipeline", 0, "config", "headers", "Cookie"), text)
    secrets.shown(("pipeline", 0, "config", "endpoint"), text)


def _dropped(text: str) -> None:
    update = {"updatedFields": {text: 1}, "removedFields": [text]}
    change = {**_event(text).change, "documentKey": {text: text}, "updateDescription": update}
    list(fields_of(Drops(["fullDocument.a", "fullDocument.text.a.b"]).apply(change)))


def _token(text: str) -> None:
    options = {"token_url": "https://h/", "client_id": "a", "client_secret": "s3cret-word"}
    Tokens(OAuth2.model_validate(options), ssl.create_default_context(), 1)._parsed(200, text)


def _message(text: str) -> Message:
    return Message("msg_x", text, text.encode(), b"", [("content-type", b"x"), ("h", text.encode())], False)


def _mqtt(text: str) -> None:
    around = Surroundings(Path(), 1, TlsOptions().tls(Path()))
    mqtt.MqttBroker("mqtt://h", mqtt.MqttOptions(), around)._unfit(_message(text))


def _letter(text: str) -> None:
    error, change, now = classify(Refused(text)), _event(text).change, datetime.now(timezone.utc)
    key, body, place = {"_id": text}, {"a": text}, Namespace("shop", "orders")
    pack(DeadLetter("msg_x", "p", "s", place, "insert", key, str(error), "Refused", 1, now, change, body))


def _record(value: str, key: str = "") -> None:
    header = ("mess-backfill", key.encode())
    one = Record(
        topic="t", partition=0, offset=0, timestamp=0, key=key.encode(), value=value.encode(), headers=[header]
    )
    decoder("auto").events([one])


_DELETION = '{"op":"d","source":{"connector":"mongodb","db":"a","collection":"b"}}'
_CHANGE = '{"operationType":"insert","ns":{"db":"shop"},"fullDocument":%s}'


def _typed(text: str) -> None:
    """A text in place of a value of each type of Extended JSON."""
    for name in ("oid", "numberLong", "numberDouble", "numberDecimal", "date", "uuid", "code", "symbol"):
        _record(_CHANGE % json.dumps({"a": {f"${name}": text}}))
    _record(_CHANGE % json.dumps({"a": {"$binary": {"base64": text, "subType": text}}}))


FUNCTIONS: list[tuple[str, Callable[[str], Any], list[Text]]] = [
    ("redact", _few, LINKS + ESCAPES + SECRETS + PLAIN),
    ("redact, many secrets", _many, LINKS + ESCAPES + SECRETS + PLAIN),
    ("redact.shown", lambda text: shown(text, 16 * 1024), SECRETS + PLAIN),
    ("log step, JSON", _log_step("json", max_bytes="1GB"), LINKS + PLAIN + JSON),
    ("log step, console", _log_step("console", max_bytes="1GB"), LINKS + PLAIN + JSON),
    ("log step, cut", _log_step("json"), LINKS + PLAIN + JSON),
    ("log step, fields", _log_step("json", fields=["fullDocument.text"]), PLAIN),
    ("filter step", _filter("event.fullDocument.text.matches('^(a+)+$|(x+x+)+y')"), LINKS + PLAIN + JSON),
    ("filter step, whole body", _filter("event['fullDocument'] != event"), LINKS + PLAIN + JSON),
    ("log of errors", _log_error, LINKS + ESCAPES + PLAIN),
    ("answers.failure", lambda text: failure("refused", 400, {}, text.encode()), LINKS + ESCAPES + PLAIN),
    ("answers.failure, Location", lambda text: failure("down", 302, {"Location": text}, b""), URLS + ESCAPES),
    ("answers.retry_after", retry_after, texts.DATES),
    ("connection.failure", lambda text: connection.failure(aiohttp.ClientOSError(text), URL("http://h/")), PLAIN),
    ("oauth2, a token", lambda text: _token(json.dumps({"access_token": text})), PLAIN + SECRETS),
    ("oauth2, an error", lambda text: _token(json.dumps({"error": text})), ESCAPES + PLAIN),
    ("oauth2, an answer", _token, texts.TOKENS),
    ("url.http_url", http_url, URLS),
    ("url template", UrlTemplate, URLS),
    ("broker url", lambda text: QueueConfig(url=text), texts.BROKERS),
    ("secrets of a config", _secrets, texts.CONFIG),
    ("values of a config", _shown, texts.CONFIG),
    ("secrets of an endpoint", lambda text: list(of_http_url(text)), URLS + texts.PLACES),
    ("secrets of a url", lambda text: [*of_mongodb_url(text), *of_broker_url(text)], texts.BROKERS + LINKS),
    ("options of a MongoDB url", lambda text: list(refusals(f"mongodb://h/?{text}")), texts.BROKERS + LINKS),
    ("secrets of a header", lambda text: [*of_credentials(text), *of_basic(text)], texts.HEADERS),
    ("source of CloudEvents", lambda text: CloudEvents(source=text), [*URLS, *ESCAPES, "#", "a:", "/"]),
    ("CloudEvents", lambda text: _cloudevent(_event(text)), ESCAPES + PLAIN),
    ("template", Template, texts.PLACES + PLAIN),
    ("parse_path", parse_path, texts.TOPICS),
    ("get", lambda text: get({"a": [text]}, ("a", text)), texts.NUMBERS),
    ("parse_duration", parse_duration, texts.NUMBERS),
    ("parse_size", parse_size, texts.NUMBERS),
    ("variables", _expand, texts.VARIABLES),
    ("YAML", lambda text: read_yaml(text, Document("config.yml")), texts.YAML),
    ("JS", lambda text: read_js(text, Document("config.js")), texts.JS),
    ("document.show", lambda text: show(("a", text, 1)), PLAIN + JSON),
    ("messages.without_secret", lambda text: without_secret(f"x {text} {text!r}", text, True), PLAIN + JSON),
    ("similar.closest_name", lambda text: closest_name(text, ["endpoint"]), PLAIN),
    ("failover.brief", lambda text: brief(OperationFailure(text)), texts.DRIVER + PLAIN),
    ("client.explain", lambda text: explain(OperationFailure(text, 13)), texts.DRIVER + PLAIN),
    ("stream, a token in an error", stream._TOKEN.search, texts.STREAM),
    ("NATS, an error", nats._VIOLATION.search, texts.NATS),
    ("NATS, a message", lambda text: nats._unfit(_message(text), {"a": text}, 2**40), texts.TOPICS),
    ("MQTT, a topic", _mqtt, texts.TOPICS),
    ("MQTT, a header", lambda text: mqtt._fit(text.encode()), texts.TOPICS),
    ("admin, Host", Hosts(["*.a.*b*"]).accept, URLS + PLAIN),
    ("admin, Host: an address", lambda text: Hosts([]).accept(f"[{text}]:1"), texts.NUMBERS + URLS),
    ("admin, Host: a zone", lambda text: Hosts([]).accept(f"[fe80::1%{text}]"), texts.NUMBERS + PLAIN),
    ("printable", printable, ESCAPES + PLAIN),
    ("printable JSON", printable_json, ESCAPES + PLAIN + JSON),
    ("Kafka record", _record, PLAIN + JSON + texts.TOKENS),
    ("Kafka record, values", lambda text: _record(_CHANGE % f"[{text}0]"), texts.VALUES),
    ("Kafka record, types", _typed, PLAIN + JSON + texts.NUMBERS),
    ("Kafka record, a key", lambda text: _record(_DELETION, text), PLAIN + JSON),
    ("classify", lambda text: classify(Refused(text)), LINKS + ESCAPES),
    ("dead letter", _letter, PLAIN + JSON),
    ("case, dropped fields", _dropped, texts.TOPICS + texts.NUMBERS),
    ("case, file name", lambda text: file_name(Sample("msg_x", Namespace(text, text), text, change={})), PLAIN + JSON),
    ("case, Extended JSON", lambda text: extended(_event(text).change), PLAIN + JSON),
    ("plain JSON", lambda text: bson_json.plain(_event(text).body), PLAIN + JSON),
    ("relaxed JSON", lambda text: bson_json.relaxed(_event(text).body), PLAIN + JSON),
    ("Java's JSON", lambda text: java_json.relaxed({text: text, "code": Code(text)}), PLAIN + JSON),
]
"""A function's name, how to run it on a text, and the texts that are worst for it. It may well refuse a text."""
