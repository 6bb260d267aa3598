"""Warnings about connections that others can read or change."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import Load, Problems

CERTIFICATE = (
    "the other side's certificate is not verified, so anyone on the network path can read and change what is sent"
)
PLAIN = "sent over plain http, where anyone on the network path can read them; use https"


def warnings(loads: Load, step: str = "log", rest: str = "") -> list[str]:
    return [str(warning) for warning in loads(f"databases: {{a: }}\npipeline: [{step}]\n{rest}").warnings]


@pytest.mark.parametrize(
    ("step", "path"),
    [
        ("{name: http, config: {endpoint: 'https://x/', verify: false}}", "verify"),
        ("{name: queue, config: {url: 'kafkas://x', verify: false}}", "verify"),
        ("{name: queue, config: {url: 'rediss://x/0?ssl_cert_reqs=none'}}", "url: ssl_cert_reqs"),
        ("{name: queue, config: {url: 'rediss://x/0?ssl_check_hostname=False'}}", "url: ssl_check_hostname"),
        (
            "{name: queue, config: {url: 'kafkas://x', kafka: {config: {enable.ssl.certificate.verification: false}}}}",
            "kafka.config",
        ),
        (
            "{name: queue, config: {url: 'kafkas://x', "
            "kafka: {config: {ssl.endpoint.identification.algorithm: none}}}}",
            "kafka.config",
        ),
    ],
)
def test_certificates_that_are_not_checked(loads: Load, step: str, path: str) -> None:
    [warning] = warnings(loads, step)
    assert warning.startswith(f"config.yml:2: pipeline[0].config.{path}: {CERTIFICATE}")


@pytest.mark.parametrize("option", ["tlsInsecure", "tlsAllowInvalidCertificates", "tlsallowinvalidhostnames"])
@pytest.mark.parametrize("section", ["mongodb", "state"])
def test_certificates_of_mongodb_that_are_not_checked(loads: Load, option: str, section: str) -> None:
    url = f"mongodb://u:secret@x:1,y:2/?tls=true&{option}=true&appName=z"
    [warning] = warnings(loads, rest=f"{section}: {{url: '{url}'}}")
    assert warning.startswith(f"config.yml:3: {section}.url: {option}: {CERTIFICATE}")
    assert "secret" not in warning


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("verify: false", "verify"),
        ("config: {enable.ssl.certificate.verification: false}", "config"),
        ("config: {ssl.endpoint.identification.algorithm: none}", "config"),
    ],
)
def test_certificates_of_a_kafka_source_that_are_not_checked(loads: Load, option: str, path: str) -> None:
    source = f"source: {{kafka: {{url: 'kafkas://x', topics: [t], group: g, {option}}}}}\nstate: {{url: 'sqlite:///x'}}"
    [warning] = warnings(loads, rest=source)
    assert warning.startswith(f"config.yml:3: source.kafka.{path}: {CERTIFICATE}")


@pytest.mark.parametrize(
    ("config", "path", "what"),
    [
        ("endpoint: 'http://x/', auth: {bearer: abcdef}", "endpoint", "credentials are"),
        ("endpoint: 'http://user1:abcdef@x/'", "endpoint", "credentials are"),
        ("endpoint: 'http://x/', headers: {X-Api-Key: abcdef}", "endpoint", "credentials are"),
        ("endpoint: 'http://10.0.0.1/', headers: {authorization: abcdef}", "endpoint", "credentials are"),
        (
            "endpoint: 'https://x/', "
            "auth: {oauth2: {token_url: 'http://y/', client_id: abcdef, client_secret: abcdef}}",
            "auth.oauth2.token_url",
            "client_id and client_secret are",
        ),
    ],
)
def test_credentials_over_plain_http(loads: Load, config: str, path: str, what: str) -> None:
    assert warnings(loads, f"{{name: http, config: {{{config}}}}}") == [
        f"config.yml:2: pipeline[0].config.{path}: {what} {PLAIN}"
    ]


@pytest.mark.parametrize(
    "config",
    [
        "endpoint: 'http://x/', headers: {X-Tenant: a}",
        "endpoint: 'https://user1:abcdef@x/', headers: {Authorization: abcdef}",
        "endpoint: 'http://localhost:8080/', auth: {bearer: abcdef}",
        "endpoint: 'http://127.0.0.7/', auth: {bearer: abcdef}",
        "endpoint: 'http://[::1]:80/', headers: {Authorization: abcdef}",
        "endpoint: 'http://x/', sign: {secret: whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3}",
    ],
)
def test_what_nobody_can_read_is_not_warned_of(loads: Load, config: str) -> None:
    """Encrypted, on this machine, or no credentials at all (a signature's secret is not sent)."""
    assert warnings(loads, f"{{name: http, config: {{{config}}}}}") == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mongodb://bob:hunter2", "has no host, or a port that is not between 1 and 65535"),
        ("mongodb://bob:hunter2/shop", "has no host, or a port that is not between 1 and 65535"),
        ("mongodb://a:1,bob:hunter2/?replicaSet=rs0", "has no host, or a port that is not between 1 and 65535"),
        ("mongodb://bob:hunter2@", "has no host"),
        ("mongodb://bob:hunter2@:27017", "has an empty host"),
        ("mongodb://bob:hunter2@a,,b", "has an empty host"),
        ("mongodb://bob:hunter2@a:70000", "has no host, or a port that is not between 1 and 65535"),
        ("mongodb+srv://bob:hunter2@a.example:27017", "must have a single host and no port"),
        ("mongodb+srv://bob:hunter2", "has no host, or a port that is not between 1 and 65535"),
        ("mongodb://", "has no host"),
    ],
)
@pytest.mark.parametrize("section", ["mongodb", "state"])
def test_a_url_without_a_host_is_a_mistake_that_shows_no_password(
    problems: Problems, section: str, url: str, problem: str
) -> None:
    """In the config, and from the environment or the command line."""
    base = "databases: {a: }\npipeline: [log]\n"
    [found] = problems(f"{base}{section}: {{url: '{url}'}}")
    assert found.startswith(f"config.yml:3: {section}.url: {problem}")
    [given] = problems(base, overrides={f"{section}.url": url})
    assert given.startswith(f"command line: {section}.url: {problem}")
    assert "hunter2" not in found + given


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://localhost",
        "mongodb://a:1,b:2,[::1]:3,[fe80::1%25eth0]/x?replicaSet=rs0",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock",
        "mongodb://u:p%40@a_b:27017/?tls=true",
        "mongodb+srv://u:p@cluster0.example.mongodb.net/",
        "mongodb://a?replicaSet=rs0",
    ],
)
def test_urls_that_are_well(loads: Load, url: str) -> None:
    assert loads(f"databases: {{a: }}\npipeline: [log]\nmongodb: {{url: '{url}'}}").config.mongodb.url == url
