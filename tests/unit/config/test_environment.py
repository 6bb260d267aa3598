"""Variables in the file, the environment and the command line; and secrets, which no message shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from mess.config.load import load
from mess.errors import ConfigError
from mess.relay.build import build_pipelines
from mess.steps.http.step import HttpConfig
from tests.unit.config.conftest import Load, Problems

BASE = "databases: {a: }\npipeline: [log]\n"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${A}", "one"),
        ("x${A}-${B}y", "xone-twoy"),
        ("${NONE:-three}", "three"),
        ("${EMPTY:-three}", "three"),
        ("${A:-three}", "one"),
        ("${NONE:-}x", "x"),
        ("${NONE:-${A}}", "one"),
        ("${NONE:-a-${NONE:-b}-c}", "a-b-c"),
        ("${A:-${NONE}}", "one"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A {A} $", "$A {A} $"),
        ("${file:secret}", "hush"),
        ("${file:lines}", "1\n2"),
    ],
)
def test_variables_are_expanded_in_texts(loads: Load, written: str, value: str) -> None:
    Path("secret").write_text("hush\n")
    Path("lines").write_text("1\n2\n\n")
    text = BASE + f"plugins: {{p: 'os:getcwd'}}\nmatch: {{x: '{written}'}}\noperations: [insert]"
    with pytest.raises(ConfigError):  # getcwd takes no arguments; what matters is that nothing else is wrong
        loads(text, environ={"A": "one", "B": "two", "EMPTY": ""})
    loaded = loads(BASE + f"match: {{x: '{written}'}}", environ={"A": "one", "B": "two", "EMPTY": ""})
    assert loaded.config.match == {"x": value}


def test_a_secret_file_is_looked_for_beside_the_config_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "name").write_text("from-file\n")
    (tmp_path / "etc" / "c.yml").write_text(BASE + "name: ${file:name}")
    assert load("etc/c.yml", environ={}).config.name == "from-file"


def test_keys_are_not_expanded(loads: Load) -> None:
    assert loads(BASE + 'match: {"x${A}": 1}').config.match == {"x${A}": 1}


def test_values_from_variables_may_be_numbers_and_truth_values(loads: Load) -> None:
    text = BASE + 'admin: {port: "${PORT_NUMBER}", enabled: "${ON}"}\nconcurrency: ${N}\nshutdown_grace: ${N}s'
    config = loads(text, environ={"PORT_NUMBER": "4000", "ON": "false", "N": "3"}).config
    assert (config.admin.port, config.admin.enabled, config.concurrency, config.shutdown_grace) == (4000, False, 3, 3.0)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            "${NONE}",
            "the variable NONE is not set; set it in the environment or in .env, or write ${NONE:-default}",
        ),
        ("${NONE:-${NEITHER}}", "the variable NEITHER is not set"),
        ("${A", "${… is not closed with }; write ${NAME}"),
        ("${A:-x", "${… is not closed with }; write ${NAME}"),
        ("${file:none", "${file:… is not closed with }"),
        ("${}", "${…} is not valid here; write ${NAME}, ${NAME:-default} or ${file:/path}, and $${ for ${ itself"),
        ("${a.b}", "${…} is not valid here; write ${NAME}"),
        ("${file:none}", "the file none cannot be read: No such file or directory"),
        ("${file:.}", "the file . cannot be read: Is a directory"),
        ("${file:latin}", "the file latin is not UTF-8 text"),
        ("${A:-" * 2000, "${…} is nested too deeply"),
    ],
)
def test_a_variable_that_cannot_be_had_is_a_problem_with_its_place(
    problems: Problems, written: str, problem: str
) -> None:
    Path("latin").write_bytes(b"\xe9")
    found = problems(BASE + f"state:\n  url: '{written}'", environ={"A": "one"})
    assert len(found) == 1
    assert found[0].startswith(f"config.yml:4: state.url: {problem}")


@pytest.mark.parametrize("password", ["pa${xyzzy", "pa${xyzzy:-xyzzy", "pa${xyzzy!}", "pa${xyzzy/xyzzy}"])
def test_a_password_with_a_brace_in_it_is_not_shown(problems: Problems, password: str) -> None:
    [found] = problems(BASE + f"state:\n  url: 'mongodb://u:{password}@h'")
    assert "xyzzy" not in found


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(loads: Load) -> None:
    text = BASE + "mongodb: {url: 'mongodb://file'}\nadmin: {port: 1, host: file}\nlog: {level: error, format: console}"
    environ = {"MONGODB_URL": "mongodb://env", "PORT": "2", "MESS_ADMIN_HOST": "env", "MESS_LOG_LEVEL": "WARNING"}
    config = loads(text, environ=environ, overrides={"admin.port": 3, "log.level": None}).config
    assert config.mongodb.url == "mongodb://env"
    assert (config.admin.port, config.admin.host) == (3, "env")
    assert (config.log.level, config.log.format) == ("warning", "console")


def test_the_environment_needs_nothing_in_the_file(loads: Load) -> None:
    config = loads(
        BASE + "admin:", environ={"PORT": "2", "MONGO_URL": "mongodb://old", "MESS_LOG_FORMAT": "json"}
    ).config
    assert (config.admin.port, config.mongodb.url, config.log.format) == (2, "mongodb://old", "json")


def test_the_admin_token_of_the_environment_is_a_secret(loads: Load, problems: Problems) -> None:
    token = loads(BASE, environ={"MESS_ADMIN_TOKEN": "a-long-token"}).config.admin.token
    assert token is not None
    assert token.get_secret_value() == "a-long-token"
    [found] = problems(BASE, environ={"MESS_ADMIN_TOKEN": "xyzzy"})
    assert found.startswith("environment variable MESS_ADMIN_TOKEN: admin.token: ")
    assert "xyzzy" not in found


def test_an_empty_variable_counts_as_not_set(loads: Load) -> None:
    assert (
        loads(BASE, environ={"PORT": "", "MONGODB_URL": "", "MONGO_URL": "mongodb://b"}).config.mongodb.url
        == "mongodb://b"
    )


def test_what_is_overridden_needs_no_variable(loads: Load) -> None:
    assert (
        loads(BASE + "mongodb: {url: '${NONE}'}", environ={"MONGODB_URL": "mongodb://a"}).config.mongodb.url
        == "mongodb://a"
    )


def test_values_of_the_environment_are_taken_as_they_are(loads: Load) -> None:
    assert loads(BASE, environ={"MONGODB_URL": "mongodb://a/${B}"}).config.mongodb.url == "mongodb://a/${B}"


def test_a_mistake_outside_of_the_file_names_its_origin(problems: Problems) -> None:
    found = problems(BASE, environ={"PORT": "x"}, overrides={"log.level": "loud"})
    assert found == [
        "command line: log.level: must be debug, info, warning or error",
        "environment variable PORT: admin.port: must be a whole number",
    ]


def test_dotenv_in_the_working_directory_is_read_and_the_environment_goes_before_it(loads: Load) -> None:
    Path(".env").write_text("PORT=5\nMESS_ADMIN_HOST=dotenv\nWHOLE='a ${B}'\nUNSET\n")
    config = loads(BASE + "match: {x: '${WHOLE}'}", environ={"PORT": "6"}).config
    assert (config.admin.port, config.admin.host, config.match) == (6, "dotenv", {"x": "a ${B}"})


def test_a_dotenv_that_is_no_text_is_a_problem(problems: Problems) -> None:
    Path(".env").write_bytes(b"A=\xe9\n")
    assert problems(BASE) == [".env: cannot be read: it is not text in UTF-8"]


SECRET = "hunter2-xyzzy"


@pytest.mark.parametrize(
    "text",
    [
        "shutdown_grace: ${S}",
        "shutdown_grace: ['${S}']",
        "shutdown_grace: {x: '${S}'}",
        "window: {max_bytes: '${S}'}",
        "name: 'a b ${S}'",
        "start: ${S}",
        "order: ${S}",
        "admin: {port: '${S}'}",
        "admin: ${S}",
        "mongodb: {url: '${S}'}",
        "mongodb: {url: 'mongodb://u:${S}@x@h'}",
        "state: {url: 'redis://${S}'}",
        "plugins: {p: '${S}'}",
        "changeHook: ${S}",
        "changeHook: '${S}:${S}'",
        "operations: ['${S}']",
        "match: {x: {$oid: '${S}'}}",
        "pipeline: ['${S}']",
        "pipeline: [{name: '${S}'}]",
        "pipeline: [{name: http, config: {endpoint: '${S}'}}]",
        "pipeline: [{name: http, config: {endpoint: 'http://[${S}'}}]",
        "pipeline: [{name: http, config: {endpoint: 'http://x', headers: '${S}'}}]",
        "pipeline: [{name: http, config: {endpoint: 'http://x', auth: {bearer: '${S}', basic: '${S}'}}}]",
        "pipeline: [{name: field-map, config: {fields: {a: '${S}..b'}}}]",
        "x: ${S}",
        "databases: ['${S}']",
        "databases: {a: {collections: ['${S}']}}",
        "pipeline: [{name: log, config: {level: '${S}'}}]",
    ],
)
@pytest.mark.parametrize("source", ["variable", "file", "default"])
def test_secrets_are_never_shown(problems: Problems, text: str, source: str) -> None:
    Path("secret").write_text(SECRET)
    reference = {"variable": "${S}", "file": "${file:secret}", "default": f"${{NONE:-{SECRET}}}"}[source]
    base = "" if text.startswith("databases") else "databases: {a: }\n"
    found = problems(base + text.replace("${S}", reference), environ={"S": SECRET})
    assert found
    assert not any(SECRET in problem or "xyzzy" in problem for problem in found)


@pytest.mark.parametrize("name", ["MONGODB_URL", "PORT", "MESS_LOG_LEVEL"])
def test_secrets_of_the_environment_are_never_shown(problems: Problems, name: str) -> None:
    assert SECRET not in str(problems(BASE, environ={name: SECRET}))


@pytest.mark.parametrize(
    "text",
    [
        "mongodb: {url: 'mongodb://root:hunter2-xyzzy@a@b'}",
        "mongodb: {url: 'http://root:hunter2-xyzzy@a'}",
        "state: {url: 'mongo://root:hunter2-xyzzy@a'}",
        "pipeline: [{name: http, config: {endpoint: 'ftp://u:hunter2-xyzzy@x'}}]",
        "shutdown_grace: 'https://u:hunter2-xyzzy@x'",
        "databases: ['u:hunter2-xyzzy@x']",
    ],
)
def test_what_looks_like_credentials_is_never_shown(problems: Problems, text: str) -> None:
    base = "" if text.startswith("databases") else "databases: {a: }\n"
    assert SECRET not in str(problems(base + text))


def test_a_config_that_loads_shows_no_secret_where_it_is_printed(loads: Load) -> None:
    """As in a traceback, or by a user's function."""
    loaded = loads(
        f"databases: {{a: }}\nmongodb: {{url: 'mongodb://u:{SECRET}@h'}}\nstate: {{url: 'mongodb://u:{SECRET}@h'}}\n"
        f"pipeline: [{{name: http, config: {{endpoint: 'http://x/{SECRET}', headers: {{a: {SECRET}}}}}}}]"
    )
    assert SECRET not in repr(loaded)
    assert SECRET not in repr(build_pipelines(loaded))
    assert SECRET not in repr(HttpConfig.model_validate(loaded.tree["pipeline"][0]["config"]))


def test_a_variable_that_is_no_text_is_told(problems: Problems) -> None:
    """As bytes of the environment are that are no UTF-8."""
    found = problems(BASE + "match: {x: '${BYTES}'}", environ={"BYTES": "caf\udce9"})
    assert found == ["config.yml:3: match.x: the variable BYTES is not UTF-8 text"]
