"""Warnings about configs that are legal but probably not what was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mess import steps
from mess.config.absent import absent, lacks, readings_from_change
from mess.config.chains import Chain, chains, innermost, wants_full_document
from mess.config.document import Document, Path
from mess.config.exclude import covering
from mess.config.model import Config, OrderBy
from mess.config.operations import KNOWN, OPERATIONS, READ
from mess.config.pipelines import entries, step_name
from mess.formats.paths import parse_path
from mess.options import insecure, kafka

_LOCAL_STEPS = frozenset({"log", "field-map", "filter"})
_OF_DOCUMENTS = frozenset({"documentKey", "fullDocument", "fullDocumentBeforeChange", "updateDescription"})
"""Change event fields whose values are chosen by whoever writes to the collection."""
_AGAIN = "since deliveries are retried without end"


def advise(config: Config, data: dict[str, Any], document: Document) -> None:
    """Warn of what is probably wrong in a valid config, at most once for each place."""
    warnings = [*_plugins(config, data), *_hooks(config, data), *absent(config), *_unverified(config)]
    for chain in chains(config):
        warnings += [*_operations(chain), *_match(chain), *_exclude(chain), *_order(chain), *_debezium(chain)]
        warnings += [*_backfills(config, chain), *_chosen(config, chain)]
    for path, message in dict.fromkeys(warnings):
        document.warn(message, path)


def _operations(chain: Chain) -> Iterator[tuple[Path, str]]:
    path, operations = innermost(chain, "operations", ())
    for index, operation in enumerate(operations):
        if operation not in KNOWN:
            message = f"{operation} is not an operation that MESS knows; it is relayed if your MongoDB sends it"
            yield (*path, "operations", index), message


def _match(chain: Chain) -> Iterator[tuple[Path, str]]:
    path, match = innermost(chain, "match")
    if not match or not wants_full_document(match):
        return
    operations = innermost(chain, "operations", OPERATIONS)[1]
    if "delete" in operations:
        yield (
            (*path, "match"),
            "no delete is ever relayed, since deletes have no fullDocument; leave delete out of operations to make "
            "this explicit",
        )
    if "update" in operations and innermost(chain, "full_document")[1] == "off":
        yield (
            (*path, "match"),
            "no update is ever relayed, since updates have no fullDocument with full_document: off; set update_lookup",
        )


def _backfills(config: Config, chain: Chain) -> Iterator[tuple[Path, str]]:
    path, operations = innermost(chain, "operations")
    if operations is None or READ in operations:
        return
    for option, wanted in (
        ("backfill: initial", innermost(chain, "backfill")[1] == "initial"),
        ("on_history_lost: backfill", config.on_history_lost == "backfill"),
    ):
        if wanted:
            yield (*path, "operations"), f"existing documents are left out, so that {option} sends none; add read"


def _exclude(chain: Chain) -> Iterator[tuple[Path, str]]:
    path, excluded = innermost(chain, "exclude", ())
    first: dict[str, int] = {}
    for index, field in enumerate(excluded):
        first.setdefault(field, index)
    for index, field in enumerate(excluded):
        place = (*path, "exclude", index)
        covers = covering(field, first)
        earlier = first[field] if covers is None else first[covers]
        if covers is not None or earlier < index:
            yield place, f"exclude[{earlier}] excludes this field already; leave it out"
        if field.partition(".")[0] in _OF_DOCUMENTS:
            yield (
                place,
                "paths are those of fields in a document, not in a change event: write password, not "
                "fullDocument.password",
            )
        if "*" in field.split("."):
            yield place, "paths have no wildcards: this is a field whose name is an asterisk"


def _order(chain: Chain) -> Iterator[tuple[Path, str]]:
    pipeline = innermost(chain, "pipeline", ())[1]
    hook = innermost(chain, "change_hook")[1]
    if hook is None and all(step.name in _LOCAL_STEPS for step in pipeline):
        return
    path, order = innermost(chain, "order")
    if order == "collection":
        message = f"one event that cannot be delivered holds up all later ones of its collection, {_AGAIN}"
        yield (*path, "order"), f"{message}; with order: document, other documents are not held up"
    if isinstance(order, OrderBy):
        yield from _by_value(chain, (*path, "order", "by"), order.by)
    path, concurrency = innermost(chain, "concurrency")
    if concurrency == 1:
        message = f"one event that cannot be delivered holds up all later ones of its pipeline, {_AGAIN}"
        yield (*path, "concurrency"), f"{message}; with more lanes, each document still keeps its order"


def _by_value(chain: Chain, place: Path, by: str) -> Iterator[tuple[Path, str]]:
    excluded = innermost(chain, "exclude", ())[1]
    of, _, field = by.partition(".")
    if of in ("fullDocument", "fullDocumentBeforeChange") and (field in excluded or covering(field, excluded)):
        yield place, f"exclude removes {by}, so that each event waits for all earlier ones; name a field that is left"
    operations = innermost(chain, "operations", OPERATIONS)[1]
    if lacking := [
        one for one in ("insert", "update", "replace") if one in operations and lacks(one, parse_path(by), chain)
    ]:
        yield (
            place,
            f"events of {' and '.join(lacking)} have no {by}, so that each of them waits for all earlier events of its "
            "stream, and later ones for it; name a field that they have",
        )
    path, pipeline = innermost(chain, "pipeline", ())
    for index, step in enumerate(pipeline):
        if step.name == "queue" and str(step.config.get("url")).startswith("kafka") and not step.config.get("key"):
            yield (
                (*path, "pipeline", index, "config"),
                f"Kafka keeps order within a partition only, and spreads the events of one {by} over many; set key: "
                f"'{{{by}|none}}'",
            )


def _debezium(chain: Chain) -> Iterator[tuple[Path, str]]:
    path, pipeline = innermost(chain, "pipeline", ())
    anew = False
    for index, step in enumerate(pipeline):
        if step.name == "field-map" and step.config.get("keep") != "all":
            anew = "operationType" not in step.config.get("fields", ())
        if anew and step.config.get("format") == "debezium":
            message = "every event is refused, since the field-map step before it removes the change event"
            yield (
                (*path, "pipeline", index, "config", "format"),
                f"{message}; move it after this step, or set keep: all",
            )


def _chosen(config: Config, chain: Chain) -> Iterator[tuple[Path, str]]:
    path, pipeline = innermost(chain, "pipeline", ())
    if innermost(chain, "change_hook")[1] is not None:
        return
    for index, options, reading, origin in readings_from_change(config, pipeline):
        if reading.need != "refused" or origin[0] not in _OF_DOCUMENTS:
            continue
        remedies = []
        answers = getattr(options, "answers", None)
        if answers is not None and answers.meaning()(404) == "down":
            remedies.append("list 404 under answers.refused")
        if pipeline[index].retry.max_age is None:
            remedies.append("set retry.max_age")
        if remedies:
            option = ".".join(map(str, reading.option))
            yield (
                (*path, "pipeline", index, "config", *reading.option),
                f"documents choose the {option}, and events for one that never accepts any are retried without end, "
                f"until they fill the window; {' and '.join(remedies)}, or use only values that you control, such as "
                "{db} and {collection}",
            )


def _hooks(config: Config, data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for chain in chains(config):
        for index, (path, scope) in enumerate(chain):
            hook_path, hook = innermost(chain[index:], "change_hook")
            if scope.pipeline is not None and hook is not None:
                where = "here" if hook_path == path else "further out"
                yield (*path, "pipeline"), f"never runs: the changeHook {where} takes its place"


def _unverified(config: Config) -> Iterator[tuple[Path, str]]:
    for section, url in [("mongodb", config.mongodb.url), ("state", config.state.url or "")]:
        for parameter in insecure.unverified(url):
            yield (section, "url"), f"{parameter}: {insecure.UNVERIFIED} with tlsCAFile"
    if config.source is not None:
        source = config.source.kafka
        for option, message in source.tls_warnings():
            yield ("source", "kafka", option), message
        if kafka.unverified(source.config):
            yield ("source", "kafka", "config"), f"{insecure.UNVERIFIED} with ca"


def _plugins(config: Config, data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    used = {step_name(entry) for _, entry in entries(data)}
    for name in config.plugins:
        if name not in used:
            yield ("plugins", name), "is not used in any pipeline"
        if name in steps.names():
            yield ("plugins", name), f"replaces MESS's own {name} step"
