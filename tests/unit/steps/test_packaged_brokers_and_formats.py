"""Brokers and formats of installed packages behave like those that come with MESS. The package is the one of
docs/writing-a-step.md."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from mess import registry
from mess.config.load import Loaded, load
from mess.config.schema import json_schema
from mess.errors import ConfigError, EndpointDown
from mess.relay.build import build_step, describe_step
from tests.distribution import install
from tests.unit.fakes import make_events

DOCS = (Path(__file__).parents[3] / "docs" / "writing-a-step.md").read_text()


def block(language: str, text: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
    return next(each for each in found if text in each)


ENTRY_POINTS = tomllib.loads(block("toml", "mess.brokers"))["project"]["entry-points"]
QUEUE = yaml.safe_load(block("yml", "spool://"))["pipeline"][0]["config"]


def spool(site: Path, **more: str) -> None:
    """Install the docs' package."""
    install(site, "acme-spool", ENTRY_POINTS, {"acme_spool.py": block("python", "class SpoolBroker"), **more})


def loads(step: str = "queue", **options: Any) -> Loaded:
    config = {"databases": {"shop": {}}, "pipeline": [{"name": step, "config": options}]}
    Path("config.yml").write_text(json.dumps(config))
    return load("config.yml", environ={})


def problem(step: str = "queue", **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loads(step, **options)
    (found,) = map(str, caught.value.problems)
    return found.removeprefix("config.yml:1: pipeline[0].config.")


def _written() -> Path:
    return Path("events.jsonl")


async def published(loaded: Loaded) -> bytes:
    [spec] = loaded.config.pipeline or ()
    step = build_step(spec, loaded)
    await step.open()
    await step.check()
    await step.process(make_events(2))
    await step.close()
    return _written().read_bytes()


async def test_a_broker_and_a_format_are_used_like_any_other(site: Path) -> None:
    spool(site)
    loaded = loads(**QUEUE)
    assert loaded.warnings == ()
    [spec] = loaded.config.pipeline or ()
    assert describe_step(spec, {}).startswith("queue spool://events.jsonl")
    first, second, rest = (await published(loaded)).split(b"\r\n")
    assert json.loads(first) == {"operation": "insert", "order": {"_id": "0" * 24, "n": 0}}
    assert json.loads(second)["order"]["n"] == 1
    assert rest == b""


async def test_their_options_have_defaults(site: Path) -> None:
    spool(site)
    body, _ = (await published(loads(url="spool://events.jsonl", format="slim"))).splitlines()
    assert json.loads(body).keys() == {"operation", "document"}
    body, _ = (await published(loads(url="spool://events.jsonl", format="slim", json="canonical"))).splitlines()[2:]
    assert json.loads(body)["document"]["n"] == {"$numberInt": "0"}


async def test_its_failures_are_the_steps(site: Path) -> None:
    spool(site)
    _written().mkdir()
    with pytest.raises(EndpointDown, match="Is a directory"):
        await published(loads(url="spool://events.jsonl"))


def test_their_options_are_checked_in_their_place(site: Path) -> None:
    spool(site)
    assert problem(**QUEUE | {"spool": {"seperator": ""}}) == (
        'spool.seperator: unknown key; did you mean "separator"?'
    )
    assert problem(**QUEUE | {"slim": {"document": 5}}) == "slim.document: must be text; put it in quotes"
    assert problem("http", endpoint="http://x/", format="slim", slim={"document": []}) == "slim.document: must be text"


def test_a_section_belongs_to_what_is_selected(site: Path) -> None:
    spool(site)
    assert "spool: unknown key" in problem(url="redis://x", spool={})
    assert "slim: unknown key" in problem(url="redis://x", slim={})
    assert "redis is for another broker" in problem(url="spool://x", redis={})
    assert "has no effect without format: debezium" in problem(url="spool://x", format="slim", debezium={})


def test_the_closest_name_is_suggested(site: Path) -> None:
    spool(site)
    assert problem(url="spol://x") == "url: no broker uses urls that begin with spol://; did you mean spool://?"
    assert problem(url="kafak://x") == "url: no broker uses urls that begin with kafak://; did you mean kafka://?"
    assert problem(url="qqqqq://x").endswith(
        "mqtts://, nats://, tls://, amqp://, amqps://, redis://, rediss://, spool://"
    )
    assert problem(url="redis://x", format="slimm").startswith(
        "format: must be event, bson, cloudevents, debezium or slim"
    )
    assert problem(url="redis://x", format="slimm").endswith('did you mean "slim"?')


BROKEN = "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_the_kind'"


def test_a_broken_package_is_named_where_it_is_used_and_only_there(site: Path) -> None:
    points = {"mess.brokers": {"spool": "bad:Spool"}, "mess.formats": {"slim": "bad:Slim"}}
    install(site, "acme-spool", points, {"bad.py": "import nothing_of_the_kind"}, version="2.3")
    loads(url="redis://x", format="cloudevents")
    loads("http", endpoint="http://x/")
    assert "bad" not in sys.modules
    assert problem(url="spool://x").endswith(
        f'the broker "spool" of the package acme-spool 2.3 cannot be used: bad:Spool {BROKEN}'
    )
    slim = f'format: the format "slim" of the package acme-spool 2.3 cannot be used: bad:Slim {BROKEN}'
    assert problem(url="redis://x", format="slim") == slim
    assert problem("http", endpoint="http://x/", format="slim") == slim


@pytest.mark.parametrize(("group", "base"), [("brokers", "queue.broker.Broker"), ("formats", "base.FormatOptions")])
def test_a_class_of_another_kind(site: Path, group: str, base: str) -> None:
    install(site, "acme-spool", {f"mess.{group}": {"spool": "bad:X"}}, {"bad.py": "class X: pass"})
    selected = {"url": "spool://x"} if group == "brokers" else {"url": "redis://x", "format": "spool"}
    assert problem(**selected).endswith(f"{base}")


def test_two_packages_with_one_name(site: Path) -> None:
    spool(site)
    install(site, "other", ENTRY_POINTS)
    assert "acme-spool 1.0 and other 1.0; uninstall all but one" in problem(url="spool://x")
    assert "acme-spool 1.0 and other 1.0; uninstall all but one" in problem(url="redis://x", format="slim")


@pytest.mark.parametrize("name", ["kafka", "timeout", "json", "build"])
def test_a_name_that_an_option_has(site: Path, name: str) -> None:
    """A section of that name would hide the option."""
    spool(site)
    install(site, "other", {"mess.formats": {name: "acme_spool:Slim"}})
    assert problem(url="redis://x", format=name) == (
        f'format: the format "{name}" of the package other 1.0 cannot be used: an option has the same name'
    )
    assert (
        json_schema(installed=True)["$defs"]["queue"]["properties"]["timeout"]
        == (json_schema()["$defs"]["queue"]["properties"]["timeout"])
    )


def test_a_broker_and_a_format_with_one_name(site: Path) -> None:
    spool(site)
    install(site, "other", {"mess.formats": {"spool": "acme_spool:Slim"}})
    assert problem(url="spool://x", format="spool").endswith("an option has the same name")
    loads(url="redis://x", format="spool", spool={"document": "order"})


def test_secrets_in_their_options_are_never_shown(site: Path) -> None:
    """As for MESS's own: an option of pydantic's type SecretStr."""
    text = block("python", "class SpoolBroker").replace("separator: str = ", "separator: pydantic.SecretStr = ")
    spool(site, **{"acme_spool.py": text.replace("from collections", "import pydantic\nfrom collections", 1)})
    loaded = loads(url="spool://x", spool={"separator": "s3cret-of-mine"}, format="slim")
    assert "s3cret-of-mine" in loaded.config.model_dump_json()  # the step's options, as the user wrote them
    from mess.telemetry.redact import redact

    assert redact("it is s3cret-of-mine") == "it is ***"


def test_editors_know_them_but_the_schema_that_comes_with_mess_does_not(site: Path) -> None:
    spool(site)
    install(site, "broken", {"mess.formats": {"other": "nowhere:Other"}})
    schema = json_schema(installed=True)["$defs"]
    assert schema["queue.SpoolOptions"]["properties"]["separator"]["description"] == "What follows each message."
    assert schema["queue"]["properties"]["spool"]["description"] == "Options for Spool only."
    assert schema["http"]["properties"]["slim"]["description"] == "Slim messages."
    assert "slim" in json.dumps(schema["http"]["properties"]["format"])
    assert '"other"' not in json.dumps(schema)
    assert "slim" not in json.dumps(json_schema())


def test_packages_are_not_looked_for_without_need(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda **_: pytest.fail("looked for packages"))
    loads(url="redis://x", format="cloudevents")
    loads("http", endpoint="http://x/", format="debezium")
