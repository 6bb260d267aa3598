"""What of a config counts as secret: no message may hold it, whether or not the config is valid."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mess.errors import ConfigError
from mess.telemetry.redact import redact
from tests.unit.config.conftest import Load

SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE = "whsk_TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs="


def _config(*pipeline: dict[str, Any], **others: Any) -> str:
    return json.dumps({"databases": {"shop": {}}, "pipeline": list(pipeline) or ["log"], **others})


def _http(**options: Any) -> dict[str, Any]:
    return {"name": "http", "config": {"endpoint": "https://example.com/", **options}}


def _queue(url: str, **options: Any) -> dict[str, Any]:
    return {"name": "queue", "config": {"url": url, **options}}


OAUTH2 = {"token_url": "https://login.example.com/tenant-1/oauth/token?p=policy-1", "client_id": "relay-client"}
OAUTH2 |= {"client_secret": "cl1ent"}
LONG = "T0123456789abcdef"

CASES: dict[str, tuple[str, list[str], list[str]]] = {
    "MongoDB's password": (
        _config(mongodb={"url": "mongodb://relay-user:s3cret%2Fword@db.example/?replicaSet=rs0"}),
        ["s3cret%2Fword", "s3cret/word"],
        ["relay-user", "db.example", "replicaSet"],
    ),
    "a password of MongoDB that is not escaped": (
        _config(mongodb={"url": "mongodb://relay-user:s3cret/word@db.example/"}),
        ["s3cret/word"],
        ["db.example"],
    ),
    "an AWS session token": (
        _config(
            mongodb={
                "url": "mongodb+srv://AKIAKEY:aws%2Fsecret@db.example/?authMechanismProperties="
                "AWS_SESSION_TOKEN:aws-t0ken%2B,SERVICE_NAME:mongodb&tlsCertificateKeyFilePassword=k3y-word"
            }
        ),
        ["aws/secret", "aws-t0ken+", "aws-t0ken%2B", "k3y-word"],
        ["SERVICE_NAME", "mongodb"],
    ),
    "the state's password": (
        _config(state={"url": "mongodb://me:st4te-word@db.example/"}),
        ["st4te-word"],
        ["db.example"],
    ),
    "an endpoint's user, path and parameters": (
        _config(_http(endpoint=f"https://me:p4ssword@example.com/services/{LONG}?code=c0de-1&sig=s1g%2Bnature")),
        ["p4ssword", f"/services/{LONG}", LONG, "c0de-1", "s1g+nature", "code=c0de-1&sig=s1g%2Bnature"],
        ["example.com", "services"],
    ),
    "a user alone is a token": (_config(_http(endpoint="https://t0ken-1@example.com/")), ["t0ken-1"], []),
    "headers that carry credentials": (
        _config(
            _http(
                headers={
                    "Authorization": "ApiKey k3y-of-api",
                    "Proxy-Authorization": f"Basic {base64.b64encode(b'me:b4sic-word').decode()}",
                    "cookie": "session=s3ssion-1; theme=dark-2",
                    "X-Api-Key": "k3y-two",
                    "X-Hub-Signature": "t=123456,v1=s1gned",
                    "Content-Type": "application/json",
                    "X-Tenant": "production",
                    "Idempotency-Key": "yes-please",
                }
            )
        ),
        ["k3y-of-api", "b4sic-word", "session=s3ssion-1", "s3ssion-1", "k3y-two", "s1gned"],
        ["ApiKey", "application/json", "production", "yes-please"],
    ),
    "credentials": (_config(_http(auth={"bearer": "b3arer-1"}, sign={"secret": [SIGNING]})), ["b3arer-1", SIGNING], []),
    "a private key": (
        _config(_http(sign={"secret": [PRIVATE, SIGNING]})),
        [PRIVATE, PRIVATE.removeprefix("whsk_"), SIGNING],
        [],
    ),
    "a signing secret without its prefix": (_config(_http(sign={"secret": SIGNING})), [SIGNING[6:]], []),
    "basic authentication": (
        _config(_http(auth={"basic": {"username": "me", "password": "p4ssword"}})),
        ["p4ssword"],
        [],
    ),
    "OAuth 2.0": (
        _config(
            _http(
                auth={
                    "oauth2": {
                        **OAUTH2,
                        "client_secret": "cl1ent",
                        "parameters": {"assertion": "as5ert", "audience": "the-api"},
                    }
                }
            )
        ),
        ["cl1ent", "as5ert", "/tenant-1/oauth/token", "policy-1"],
        ["relay-client", "login.example.com", "the-api"],
    ),
    "a key's password": (
        _config(_http(client_certificate={"certificate": "client.pem", "password": "k3y-word"})),
        ["k3y-word"],
        ["client.pem"],
    ),
    "brokers": (
        _config(
            _queue("redis://me:r3dis-word@h/0?password=r3dis-two&db=1234567"),
            _queue("nats://n4ts-token@h"),
            _queue("amqp://me:r4bbit-word@h/the-vhost"),
            _queue(
                "kafka://me:k4fka-word@h", kafka={"config": {"ssl.key.password": "k4fka-two", "client.rack": "rack-1"}}
            ),
        ),
        ["r3dis-word", "r3dis-two", "n4ts-token", "r4bbit-word", "k4fka-word", "k4fka-two"],
        ["1234567", "the-vhost", "rack-1"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_an_option_declares_secret_is_hidden(loads: Load, case: str) -> None:
    """And what stands around it is not."""
    text, hidden, told = CASES[case]
    try:
        loads(text, "config.json")
    except ConfigError:
        if "not escaped" not in case:
            raise
    for secret in hidden:
        assert redact(f"<{secret}>") == "<***>"
    for word in told:
        assert redact(f"<{word}>") == f"<{word}>"


def test_the_secrets_of_a_config_with_mistakes_are_hidden_too(loads: Load) -> None:
    """They may stand in what is said of the mistakes."""
    text = _config(_http(auth={"bearer": "b3arer-1", "bear": 1}), _http(headers={"X-Api-Key": "k3y-two", "X Y": ""}))
    with pytest.raises(ConfigError):
        loads(text, "config.json")
    assert redact("b3arer-1 k3y-two") == "*** ***"


def test_what_comes_from_files_is_secret_and_from_variables_where_nobody_knows_better(loads: Load) -> None:
    """Files are how secrets are mounted; variables hold names and addresses as well."""
    Path("token").write_text("f1le-token\n")
    Path("endpoint").write_text("https://example.com/f1le-path\n")
    Path("fn.py").write_text("def enrich(input, config, context): return input")
    text = _config(
        _http(endpoint="${file:endpoint}", headers={"X-Tenant": "a-${file:token}", "X-Other": "${OTHER}"}),
        _http(endpoint="https://${HOST}/", headers={"Accept": "${ACCEPT}"}),
        {"name": "enrich", "config": {"deep": [{"key": "${KEY}", "constant": "c0nstant"}]}},
        plugins={"enrich": "fn:enrich"},
    )
    names = {"OTHER": "0ther-header", "HOST": "the-host.example", "ACCEPT": "application/json", "KEY": "k3y-of-mine"}
    loads(text, "config.json", names)
    for secret in ("f1le-token", "/f1le-path", "0ther-header", "k3y-of-mine"):
        assert redact(f"<{secret}>") == "<***>"
    for word in ("https://example.com", "the-host.example", "application/json", "c0nstant"):
        assert redact(f"<{word}>") == f"<{word}>"


def test_an_endpoints_template_is_secret_in_its_constant_parts(loads: Load) -> None:
    """What stands in the places of a template comes from events."""
    loads(_config(_http(endpoint=f"https://example.com/hooks/{LONG}/{{db}}/x-{LONG.lower()}-{{$id}}")), "config.json")
    for secret in (LONG, f"/hooks/{LONG}/", f"x-{LONG.lower()}-"):
        assert redact(f"<{secret}>") == "<***>"
    assert redact("POST /hooks/a/b/c") == "POST /hooks/a/b/c"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (_config(_http(auth={"bearer": "short"})), "pipeline[0].config.auth.bearer"),
        (_config(_queue("amqp://guest:guest@h")), "pipeline[0].config.url"),
        (_config(_http(headers={"X-Api-Key": "short"})), "pipeline[0].config.headers"),
        (_config(_http(), mongodb={"url": "mongodb://me:short@h/"}), "mongodb.url"),
    ],
)
def test_a_secret_that_is_too_short_to_be_hidden_is_warned_of(loads: Load, text: str, place: str) -> None:
    """Once, with its place, and without the secret."""
    [warning] = loads(text, "config.json").warnings
    assert warning.path == place
    assert "fewer than 6 characters" in str(warning)
    assert "short" not in str(warning)


def test_a_path_or_a_parameter_that_is_short_is_no_secret(loads: Load) -> None:
    """Most paths are not."""
    assert loads(_config(_http(endpoint="https://example.com/hook?v=1")), "config.json").warnings == ()
