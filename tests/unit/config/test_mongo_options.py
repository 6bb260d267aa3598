"""Options of MongoDB's connection string, which the driver passes over when it does not know or accept them."""

from __future__ import annotations

import warnings

import pytest

from tests.unit.config.conftest import Load, Problems

BASE = "databases: {a: }\npipeline: [log]\n"


@pytest.mark.parametrize("section", ["mongodb", "state"])
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("replicSet=rs0", 'unknown option replicSet; did you mean "replicaSet"?'),
        ("tls=false&tsl=true", 'unknown option tsl; did you mean "tls"?'),
        ("auth_source=admin", 'unknown option auth_source; did you mean "authSource"?'),
        (
            "readPreference=secondry",
            "readPreference: Not a valid read preference. Must be one of: primary, primaryPreferred, secondary, "
            'secondaryPreferred, nearest; did you mean "secondary"?',
        ),
        ("serverSelectionTimeoutMS=10s", "serverSelectionTimeoutMS: serverselectiontimeoutms must be an integer"),
        ("tls=tru", "tls: The value of tls must be 'true' or 'false'"),
        ("retryWrites=flase", "retryWrites: The value of retrywrites must be 'true' or 'false'"),
    ],
)
def test_a_misspelt_option_is_a_mistake(problems: Problems, section: str, options: str, problem: str) -> None:
    """At the url's place, and nothing that the url holds besides."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [found] = problems(BASE + f"{section}: {{url: 'mongodb://bob:hunter2-xyzzy@h/?{options}'}}")
    assert found.startswith(f"config.yml:3: {section}.url: {problem}")
    assert "hunter2" not in found


def test_secret_values_are_not_shown(problems: Problems) -> None:
    [found] = problems(
        BASE + "mongodb: {url: 'mongodb://h/?authMechanismProperties=AWS_SESSION:hunter2-xyzzy,hunter3-xyzzy:1'}"
    )
    assert "authMechanismProperties: the driver does not accept its value" in found
    assert "xyzzy" not in found


@pytest.mark.parametrize(
    "option", ["maxLifeTimeMS=1", "slaveOk=true", "proxyHost=p", "poolSize=5", "sslInvalidHostNameAllowed=false"]
)
def test_options_of_other_drivers_are_only_warned_of(loads: Load, option: str) -> None:
    """A url may be shared with programs that know them."""
    loaded = loads(BASE + f"mongodb: {{url: 'mongodb://h/?replicaSet=rs0&{option}'}}")
    [warning] = [str(each) for each in loaded.warnings]
    assert f"the option {option.partition('=')[0]} is unknown to the driver and is ignored" in warning


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://u:p%40ssword@a:1,b:2/db?replicaSet=rs0&authSource=admin&tls=true&tlsCAFile=ca.pem&w=majority",
        "mongodb+srv://h.example/?retryWrites=true&srvMaxHosts=2&appName=x",
        "mongodb://h/?readpreference=secondaryPreferred&readPreferenceTags=dc:ny&readPreferenceTags=",
        "mongodb://h?REPLICASET=rs0",
    ],
)
def test_what_the_driver_accepts_is_accepted(loads: Load, url: str) -> None:
    assert not loads(BASE + f"mongodb: {{url: '{url}'}}").warnings
