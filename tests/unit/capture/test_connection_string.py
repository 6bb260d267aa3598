"""What a connection string says of where MongoDB is."""

from __future__ import annotations

import ssl

import pytest

from mess.capture.connection_string import ConnectionString


@pytest.mark.parametrize(
    ("url", "hosts", "addresses"),
    [
        ("mongodb://localhost", "localhost:27017", [("localhost", 27017)]),
        ("mongodb://u:p%40ss@a:1,b:2/db?x=1", "a:1,b:2", [("a", 1), ("b", 2)]),
        ("mongodb://u:p@[::1]:5,[::2]/", "[::1]:5,[::2]:27017", [("::1", 5), ("::2", 27017)]),
        ("mongodb://a?replicaSet=rs0", "a:27017", [("a", 27017)]),
        ("mongodb+srv://u:p@cluster.example.com/db", "cluster.example.com", []),
        ("mongodb://%2Ftmp%2Fmongodb-27017.sock/", "/tmp/mongodb-27017.sock", []),
    ],
)
def test_hosts_are_shown_with_ports_and_without_secrets(url: str, hosts: str, addresses: list[tuple[str, int]]) -> None:
    connection_string = ConnectionString(url)
    assert connection_string.hosts == hosts
    assert connection_string.addresses == addresses
    assert "u:p" not in repr(connection_string)


@pytest.mark.parametrize(
    ("url", "encrypted"),
    [
        ("mongodb://a", False),
        ("mongodb://a/?tls=true", True),
        ("mongodb://a/?ssl=TRUE", True),
        ("mongodb://a/?tls=false&tlsInsecure=true", False),
        ("mongodb://a/?tlsAllowInvalidCertificates=true&tls=true", True),
        ("mongodb+srv://a.b.c/", True),
        ("mongodb+srv://a.b.c/?tls=false", False),
    ],
)
def test_tls_as_the_driver_understands_it(url: str, encrypted: bool) -> None:
    assert (ConnectionString(url).tls is not None) == encrypted


def test_certificates_are_verified_unless_the_url_says_otherwise() -> None:
    verified, other = (
        ConnectionString("mongodb://a/?tls=true").tls,
        ConnectionString("mongodb://a/?tls=true&tlsInsecure=true").tls,
    )
    assert verified is not None
    assert (verified.verify_mode, verified.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert other is not None
    assert (other.verify_mode, other.check_hostname) == (ssl.CERT_NONE, False)


def test_files_that_are_missing() -> None:
    with pytest.raises(OSError, match="No such file"):
        _ = ConnectionString("mongodb://a/?tls=true&tlsCAFile=/nowhere.pem").tls


def test_how_long_the_driver_waits() -> None:
    assert ConnectionString("mongodb://a/?serverSelectionTimeoutMS=200").waits == 0.2
    assert ConnectionString("mongodb://a").waits is None
