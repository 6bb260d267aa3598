"""Every mistake is reported with its place, its path and how to fix it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mess.config.load import load
from mess.errors import ConfigError
from tests.unit.config.conftest import Problems

YAML = "databases:\n  shop:\n    pipeline:\n      - log\n      - name: http\n        config:\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("databses: {a: }\ndatabases: {a: }", 'config.yml:1: databses: unknown key; did you mean "databases"?'),
        (
            "databases: {a: }\nfullDocument: off",
            'config.yml:2: fullDocument: unknown key; did you mean "full_document"?',
        ),
        (
            "databases: {a: }\nport: 1",
            "config.yml:2: port: unknown key; it belongs under admin, as in admin: {port: …}",
        ),
        ("databases: {a: }\nlog: {lvl: info}", 'config.yml:2: log.lvl: unknown key; did you mean "level"?'),
        (
            "databases:\n  a:\n    pipelin: [log]",
            'config.yml:3: databases.a.pipelin: unknown key; did you mean "pipeline"?',
        ),
        (
            YAML + "          endpiont: http://x\n          endpoint: http://x",
            'config.yml:7: databases.shop.pipeline[1].config.endpiont: unknown key; did you mean "endpoint"?',
        ),
        (
            "databases: {a: }\npipeline:\n  - name: http\n    endpoint: http://x/\n    config: {endpoint: http://x/}",
            "config.yml:4: pipeline[0].endpoint: unknown key; it belongs under config, as in config: {endpoint: …}",
        ),
        (
            "databases: {a: }\npipeline:\n  - name: http\n    config: {endpoint: http://x/, on_failure: skip}",
            "config.yml:4: pipeline[0].config.on_failure: unknown key; it belongs beside config, as in "
            "{name: http, config: {…}, on_failure: …}",
        ),
        (
            "databases: {a: }\npipeline:\n  - name: log\n    http: {}",
            "config.yml:4: pipeline[0].http: unknown key; write {name: http, config: {…}}",
        ),
        (
            "databases: {a: }\npipeline:\n  - {name: http, config: {endpoint: 'http://x', sign: {secret: []}}}",
            "config.yml:3: pipeline[0].config.sign.secret: must not be empty",
        ),
        ("databases: {a: }\nexclude: password", "config.yml:2: exclude: must be a list"),
        (
            "databases: {a: }\nexclude: {password: 1}",
            'config.yml:2: exclude: must be a list; begin each entry with "- "',
        ),
        ("databases: {a: }\nexclude: [1]", "config.yml:2: exclude[0]: must be text; put it in quotes"),
        ("databases: {a: }\nexclude: ['']", "config.yml:2: exclude[0]: is empty; write the path of a field"),
        ("databases: {a: }\nexclude:\n  - x\n  - a..b", "config.yml:4: exclude[1]: has an empty part"),
        ("databases: {a: }\nexclude: [.a]", "config.yml:2: exclude[0]: has an empty part"),
        ("databases: {a: }\nexclude: [a.$b]", "config.yml:2: exclude[0]: has a name that begins with $"),
        ("databases: {a: }\nexclude: [$a]", "config.yml:2: exclude[0]: has a name that begins with $"),
        ("databases: {a: }\nexclude: [a.0.b]", "config.yml:2: exclude[0]: has a number"),
        ('databases: {a: }\nexclude: ["a\\0"]', "config.yml:2: exclude[0]: is not the path of a field"),
        (f"databases: {{a: }}\nexclude: [{'a.' * 100}a]", "config.yml:2: exclude[0]: is not the path of a field"),
        (
            "databases:\n  a:\n    collections:\n      b:\n        exclude: [_id]",
            "config.yml:5: databases.a.collections.b.exclude[0]: _id cannot be excluded: it identifies the document",
        ),
        ("databases: {a: {exclude: [_id.x]}}", "config.yml:1: databases.a.exclude[0]: _id cannot be excluded"),
        ("databases: {a: }\npipeline: [htpp]", 'config.yml:2: pipeline[0]: unknown step "htpp"; did you mean "http"?'),
        (
            "databases: {a: }\npipeline:\n  - name: qqqq",
            'config.yml:3: pipeline[0].name: unknown step "qqqq"; known are log, filter, field-map, '
            "http, queue, and the names under plugins",
        ),
        ("databases: {a: }\npipeline:\n  - config: {}", "config.yml:3: pipeline[0].name: is missing"),
        ("databases: {a: }\npipeline: [http]", "config.yml:2: pipeline[0].config.endpoint: is missing"),
        (
            "databases: {a: }\npipeline:\n - name: http\n   config: {endpoint: ftp://x}",
            "config.yml:4: pipeline[0].config.endpoint: not an http or https URL; write it like "
            "https://example.com/hook",
        ),
        (
            "databases: {a: }\npipeline:\n - name: http\n   config: {endpoint: 'http://two..dots/'}",
            "config.yml:4: pipeline[0].config.endpoint: not a URL; write it like https://example.com/hook",
        ),
        ("databases: {a: }\npipeline: log", "config.yml:2: pipeline: must be a list"),
        (
            "databases: {a: }\npipeline: {name: log}",
            'config.yml:2: pipeline: must be a list; begin each entry with "- "',
        ),
        (
            "databases: {a: }\npipeline:\n  - name: log\n    config: [x]",
            "config.yml:4: pipeline[0].config: must be a mapping, with a key: value on each "
            'line, not a list; write "name: {}" '
            "for each",
        ),
        (
            "databases: {a: }\npipeline: []",
            "config.yml:2: pipeline: has no steps; write at least - log, or leave pipeline out to inherit the one "
            "above",
        ),
        ("databases: {a: }\nconcurrency: many", "config.yml:2: concurrency: must be a whole number"),
        ("databases: {a: }\nconcurrency: yes", "config.yml:2: concurrency: must be a number"),
        ("databases: {a: }\nconcurrency: 1.5", "config.yml:2: concurrency: must be a whole number"),
        ("databases: {a: }\nconcurrency: 0", "config.yml:2: concurrency: must be at least 1"),
        ("databases: {a: }\nha: {lease: 500ms}", "config.yml:2: ha.lease: must be at least 1s"),
        ("databases: {a: }\nha: {lease: 0}", "config.yml:2: ha.lease: must be at least 1s"),
        ("databases: {a: }\nadmin: {port: 70000}", "config.yml:2: admin.port: must be at most 65535"),
        ("databases: {a: }\nadmin: {enabled: maybe}", "config.yml:2: admin.enabled: must be true or false"),
        ("databases: {a: }\nadmin: {host: 1}", "config.yml:2: admin.host: must be text; put it in quotes"),
        ("databases: {a: }\nadmin: {host: }", "config.yml:2: admin.host: has no value; it must be text"),
        ("databases: {a: }\nadmin: x", "config.yml:2: admin: must be a mapping, with a key: value on each line"),
        ("databases: {a: }\norder: {}", "config.yml:2: order.by: is missing"),
        ("databases: {a: }\norder: {by: 5}", "config.yml:2: order.by: must be text; put it in quotes"),
        ("databases: {a: }\norder: {bye: a}", 'config.yml:2: order.bye: unknown key; did you mean "by"?'),
        (
            "databases: {a: }\norder: {by: fulldocument.a}",
            'config.yml:2: order.by: a change event has no field "fulldocument"; did you mean "fullDocument"?',
        ),
        (
            "databases: {a: }\norder: {by: a..b}",
            "config.yml:2: order.by: 'a..b' is not a path; write keys and array indexes separated by dots, as in "
            "items.0.sku",
        ),
        (
            "databases: {a: }\norder: [document]",
            "config.yml:2: order: must be document, collection or none, or a mapping, with a key: value on each line, "
            'not a list; write "name: {}" for each',
        ),
        (
            "databases: {a: }\norder: documnt",
            'config.yml:2: order: must be document, collection or none; did you mean "document"?',
        ),
        (
            "databases: {a: }\noperations:\n  - insert\n  - inserts",
            'config.yml:4: operations[1]: is not an operation; did you mean "insert"?',
        ),
        (
            "databases: {a: }\nstart: yesterday",
            "config.yml:2: start: must be now, oldest, or a time such as 2026-01-31T12:00:00Z",
        ),
        (
            "databases: {a: }\nshutdown_grace: long",
            "config.yml:2: shutdown_grace: 'long' is not a duration; write it like 250ms, 10s, 5m, 2h or 30d",
        ),
        (
            "databases: {a: }\nwindow: {max_bytes: big}",
            "config.yml:2: window.max_bytes: 'big' is not a size; write it like 512KiB, 64MiB or 1GB",
        ),
        (
            "databases: {a: }\nname: a b",
            "config.yml:2: name: must begin with a letter or digit and contain only letters, digits and . _ - (100 "
            "characters at most)",
        ),
        (
            "databases: {a: }\nmongodb: {url: localhost}",
            "config.yml:2: mongodb.url: not a MongoDB connection string; it begins with mongodb:// or mongodb+srv://",
        ),
        (
            "databases: {a: }\nmongodb: {url: 'mongodb:///x'}",
            "config.yml:2: mongodb.url: has no host; write it like mongodb://localhost:27017",
        ),
        (
            "databases: {a: }\nmongodb:\n  url: mongodb://u:p@ss@h/",
            "config.yml:3: mongodb.url: write @, : and / in a user name or password as %40, %3A and %2F",
        ),
        (
            "databases: {a: }\nstate: {url: redis://x}",
            "config.yml:2: state.url: not a valid state URL; write mongodb://… or sqlite:///path/to/file",
        ),
        (
            "databases: {a: }\nmatch: [x]",
            "config.yml:2: match: must be a mapping, with a key: value on each line, not a list",
        ),
        (
            "databases: {a: }\nmatch: {x: {$oid: 12}}",
            "config.yml:2: match: $oid here is not Extended JSON; see MongoDB's manual for its form",
        ),
        ("databases: {a: }\nmatch:\n  x: {$gt: 9223372036854775808}", "config.yml:2: match: cannot be sent to MongoDB"),
        ('databases: {a: }\nmatch: {x: {"a\\0b": 1}}', "config.yml:2: match: cannot be sent to MongoDB"),
        (
            "databases:\n  admin: {}",
            "config.yml:2: databases.admin: is MongoDB's own database and cannot be watched",
        ),
        (
            "databases:\n  mess: {}",
            "config.yml:2: databases.mess: holds the relay's own state and cannot be watched; "
            "keep the state elsewhere with "
            "state.database",
        ),
        (
            "databases:\n  other: {}\nstate: {database: other}",
            "config.yml:2: databases.other: holds the relay's own state and cannot be watched",
        ),
        (
            "databases: {a: }\nstate: {database: admin}",
            "config.yml:2: state.database: is MongoDB's own database; name another",
        ),
        (
            "databases:\n  shop.orders: {}",
            'config.yml:2: databases["shop.orders"]: a database name cannot contain a dot; write shop: '
            "{collections: {orders: {}}}",
        ),
        ("databases:\n  'a b': {}", 'config.yml:2: databases["a b"]: is not a valid database name'),
        (
            "databases: {a: {collections: {'': {}}}}",
            'config.yml:1: databases.a.collections[""]: is not the name of a collection that MESS can watch',
        ),
        (
            "databases: [shop]",
            "config.yml:1: databases: must be a mapping, not a list; write each name with its "
            "options, as in databases: "
            "{shop: {}}",
        ),
        (
            "databases: {shop: {collections: [orders]}}",
            "config.yml:1: databases.shop.collections: must be a mapping, not a list; write "
            "each name with its options, as in "
            "collections: {orders: {}}",
        ),
        (
            "databases: {}",
            "config.yml:1: databases: is missing or empty; name what to watch, as in databases: {shop: {}}",
        ),
        ("name: x", "config.yml: databases: is missing or empty; name what to watch"),
        (
            "databases: {a: }\nchangeHook: json:dumps\nchange_hook: json:dumps",
            "config.yml:3: change_hook: is the same as changeHook; set only one of them",
        ),
        (
            "databases: {a: }\npipeline:\n- name: field-map\n  config:\n    fields:\n      a: {pth: x}",
            'config.yml:6: pipeline[0].config.fields.a.pth: unknown key; did you mean "path"?',
        ),
        (
            "databases: {a: }\npipeline:\n- name: field-map\n  config:\n    fields: {a: 3}",
            "config.yml:5: pipeline[0].config.fields.a: must be text; put it in quotes, or a mapping",
        ),
        (
            "databases: {a: }\nplugins: {p: my plugin}",
            "config.yml:2: plugins.p: 'my plugin' does not name a Python function; write module:function",
        ),
    ],
)
def test_mistake_has_line_path_and_mend(problems: Problems, text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(text)), problems(text)


def test_all_mistakes_are_reported_at_once_in_the_order_of_their_lines(problems: Problems) -> None:
    found = problems(
        "nme: x\ndatabases:\n  a: {pipeline: [lg]}\nadmin: {port: x}\n"
        "log: {level: loud, format: '${NOPE}', x: 1}\nplugins: {p: 'no:no'}"
    )
    assert [line.split(":")[1] for line in found] == ["1", "3", "4", "5", "5", "5", "6"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "config.yml: is empty; run `mess init` to create one"),
        ("# nothing\n", "config.yml: is empty"),
        ("- a", "config.yml:1: must be a mapping at the top level, as in databases: {shop: {}}"),
        ("just words", "config.yml:1: must be a mapping at the top level"),
        ("a: [1\nb: 2", "config.yml:2: not valid YAML: "),
        ("a:\n\tb: 1", "config.yml:2: not valid YAML: "),
        ("a:\n\tb: 1", "; indent with spaces, not tabs"),
        ("databases:\n  *: {}", 'a name with * in it needs quotes: "tenant_*"'),
        ("databases: {a: }\nlog: {level: ${L}}", "needs quotes inside { } and [ ]"),
        ("a: 1\n---\nb: 2", "config.yml:2: not valid YAML: "),
        ("databases: &a\n  x: *a", "config.yml:2: databases.x: contains itself"),
        ("databases: {a: }\nx: !!python/name:os.system y", "cannot be read as YAML's python/name"),
        (
            "databases: {a: }\nstart: 2024-13-45",
            "config.yml:2: start: cannot be read as YAML's timestamp; put text in quotes",
        ),
        ("databases: {a: }\nname: !!binary aGk=", "config.yml:2: name: is binary; write it as text"),
        ("databases: {a: }\nshutdown_grace: [0x" + "f" * 5000 + "]", "shutdown_grace[0]: is too large"),
        ("databases: {a: }\nname: x\nname: y", "config.yml:3: name: is written twice, first on line 2"),
        ("databases: {a: }\n? {x: 1}\n: y", "config.yml:2: a key must be text"),
        ("databases:\n  <<: 3", "config.yml:1: databases: << takes a mapping"),
        ("x: " + "[" * 100 + "]" * 100, "nested more than 64 levels deep"),
        # So deep that libyaml's composer would overflow the stack.
        ("a: 1\nx: " + "[" * 100_000, "config.yml:2: nested more than 64 levels deep"),
        ("a: 1\nx:\n  " + "{k: [" * 50_000, "config.yml:3: nested more than 64 levels deep"),
        ("a:\n" + "- " * 60 + "[" * 2000, "config.yml:2: nested more than 64 levels deep"),
        # A mistake with many brackets is not depth.
        ("a: 1\nx: [" + "[], " * 2000 + "}", "config.yml:2: not valid YAML: "),
        ("a: 1\nx: '" + "[" * 2000, "not valid YAML: "),
        ("- " * 100_000, "config.yml:1: nested more than 64 levels deep"),
        ("databases: {a: }\nname: !pa55word", "config.yml:2: name: cannot be read as a tag; put text in quotes"),
        ("databases: &a\n  x: {<<: *a}", "contains itself"),
        ("databases: &a\n  <<: *a", "config.yml:1: databases: << takes a mapping"),
        ("a: \x01", "config.yml:1: not valid YAML: it contains a character that cannot be printed"),
    ],
)
def test_what_is_not_yaml_is_one_problem_with_its_line(problems: Problems, text: str, problem: str) -> None:
    found = problems(text)
    assert any(problem in line for line in found), found


def test_aliases_that_multiply_are_refused_quickly(problems: Problems) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too large to be a config file" in problems("\n".join(lines))[0]


def test_merges_that_multiply_cost_no_more_than_they_say(problems: Problems) -> None:
    merges = [f"&a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: {n}}}" for n in range(1, 100)]
    found = problems(f"databases: {{a: }}\nadmin: {{<<: [&a0 {{port: 80}}, {', '.join(merges)}]}}")
    assert len(found) == 99
    assert all("unknown key" in line for line in found)


def test_a_file_that_is_not_utf8_is_named_with_its_line() -> None:
    Path("latin.yml").write_bytes(b"a: 1\nname: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yml:2: is not text in UTF-8"):
        load("latin.yml", environ={})
