"""JSON and JS-style files: data loads as it is, and code is named with its place and the Python way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mess.config.load import load
from tests.unit.config.conftest import Load, Problems

DATA = "databases: { a: {} }, pipeline: ['log']"


@pytest.mark.parametrize("name", ["config.js", "config.cjs", "config.mjs", "config.json"])
@pytest.mark.parametrize(
    "text",
    [
        f"module.exports = {{ {DATA} }};",
        f"module.exports = {{ {DATA} }}",
        f"'use strict';\n\nmodule.exports = exports = {{ {DATA} }};\n",
        f"exports = {{ {DATA} }}",
        f"export default {{ {DATA} }};",
        f"{{ {DATA}, }}",
        f"// a comment: module.exports = 1\n/* {{ */ module.exports /* = */ = {{ {DATA} }}; // }}",
        '{"databases": {"a": {}}, "pipeline": ["log"]}',
    ],
)
def test_every_way_to_export_an_object_is_read(loads: Load, name: str, text: str) -> None:
    config = loads(text, name).config
    assert list(config.databases) == ["a"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("'it\\'s'", "it's"),
        ('"a\\tb\\u0041\\x41\\u{1F600}"', "a\tbAA😀"),
        ('"\\ud83d\\ude00"', "😀"),
        (r'"C:\\xampp \\u0041 \\n"', r"C:\xampp \u0041 \n"),
        ("'one \\\ntwo'", "one two"),
        ("`a template`", "a template"),
        ("'// no comment /* nor this'", "// no comment /* nor this"),
        ("'function () { return }'", "function () { return }"),
        ("'$${not_a_variable} => {'", "${not_a_variable} => {"),
        ("-1.5e3", -1500.0),
        ("+5", 5),
        (".5", 0.5),
        ("0x1F", 31),
        ("0b11", 3),
        ("12345678901234567890", 12345678901234567890),
        ("true", True),
        ("null", None),
        ("[1, [2,], {},]", [1, [2], {}]),
    ],
)
def test_values_are_what_javascript_means_by_them(loads: Load, written: str, value: object) -> None:
    step = f"{{ name: 'log', config: {{ x: {written} }} }}"
    loaded = loads(f"module.exports = {{ databases: {{ a: {{}} }}, pipeline: [{step}] }}", "config.js")
    assert loaded.tree["pipeline"][0]["config"] == {"x": value}


def test_any_word_may_be_a_key(loads: Load) -> None:
    keys = ["e1", "true", "null", "1", "$a", "_b", "été", "'q r'", '"s"', "Infinity", "function", "async", "get"]
    query = f"{{ 'fullDocument.x': {{ $eq: {{ {', '.join(f'{key}: 1' for key in keys)} }} }} }}"
    loaded = loads(f"{{ {DATA}, match: {query} }}", "config.js")
    assert list(loaded.tree["match"]["fullDocument.x"]["$eq"]) == [key.strip("'\"") for key in keys]


SAMPLE = """\
'use strict';
// function no() {}   (item) => {}   require('x')   process.env.X
/* async function no() {
   module.exports = {} */
module.exports = {
  pipeline: [
    { name: 'log' },
    // { name: 'x', f: function () { return "}" } },
  ],
  plugins: {
    one: function (input) { return "a } // b"; },
    two: async (input, config) => { if (/["'}]/.test(input)) { return `${input}}`; } return { a: 1, b: [2] }; },
    three(input) { return input },
    async fourStep(input) { return input; },
    five: x => x,
    six: require('./six'),
    seven: helper,
  },
  databases: {
    a: {
      changeHook(item) {
        console.log(item, { x: 1 });
      },
      collections: {
        b: { async changeHook(item) { await send(item); } },
        c: { changeHook: async function named(item) { } },
      },
    },
  },
};
"""


def test_every_function_is_reported_and_none_in_a_comment_or_text(problems: Problems) -> None:
    found = problems(SAMPLE, "config.js")
    places = [line.split(": ")[:2] for line in found]
    assert places == [
        ["config.js:11", "plugins.one"],
        ["config.js:12", "plugins.two"],
        ["config.js:13", "plugins.three"],
        ["config.js:14", "plugins.fourStep"],
        ["config.js:15", "plugins.five"],
        ["config.js:16", "plugins.six"],
        ["config.js:17", "plugins.seven"],
        ["config.js:21", "databases.a.changeHook"],
        ["config.js:25", "databases.a.collections.b.changeHook"],
        ["config.js:26", "databases.a.collections.c.changeHook"],
    ]


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (
            "plugins: { myEnricher: (input) => input }",
            "config.js:3: plugins.myEnricher: JavaScript functions do not run here; write it in Python: put `def "
            "my_enricher(input, config, context): return input` into my_plugins.py beside this "
            "file, and write myEnricher: "
            '"my_plugins:my_enricher" here',
        ),
        (
            "changeHook: function (item) {}",
            "config.js:3: changeHook: JavaScript functions do not run here; write it in Python: put `def "
            "change_hook(item, context): ...` into my_plugins.py beside this file, and write changeHook: "
            '"my_plugins:change_hook" here',
        ),
        (
            "pipeline: [function (x) {}]",
            "config.js:3: pipeline[0]: JavaScript functions do not run here; write it in "
            "Python: put `def enrich(input, "
            "config, context): return input` into my_plugins.py beside this file, and name it as plugins: {enrich: "
            '"my_plugins:enrich"}',
        ),
        ("name: process.env.RELAY", 'config.js:3: name: process.env is not known here; write "${RELAY}"'),
        ("name: process.env['RELAY']", 'config.js:3: name: process.env is not known here; write "${RELAY}"'),
        (
            "name: process.env.RELAY || 'x'",
            'config.js:3: name: process.env is not known here; write "${RELAY:-default}"',
        ),
        ("name: `a-${process.env.RELAY}`", 'config.js:3: name: process.env is not known here; write "${RELAY}", with'),
        ("name: 'a-' + process.env.RELAY", 'config.js:3: name: process.env is not known here; write "${RELAY}", with'),
        (
            "name: `a-${b}`",
            "config.js:3: name: a template with ${…} is JavaScript; write the text itself, and environment",
        ),
        (
            "plugins: require('./plugins')",
            "config.js:3: plugins: JavaScript packages cannot be loaded here; name a function",
        ),
        (
            "name: relayName",
            "config.js:3: name: relayName is a JavaScript variable; write its value, and text in quotes",
        ),
        ("name", "config.js:3: name is a JavaScript variable; write its value"),
        (
            "concurrency: 2 * 8",
            "config.js:3: concurrency: this is JavaScript code, not data; write the value that it gives",
        ),
        ("concurrency: 1_000", "config.js:3: concurrency: this is JavaScript code"),
        ("...defaults", "config.js:3: ... is JavaScript; write out what it stands for"),
        ("[key]: 1", "config.js:3: this is JavaScript code"),
        ("changeHook(item, sent = new Set()) {}", "config.js:3: changeHook: JavaScript functions do not run here"),
        ("concurrency: x++ / 2, admin: { /* port */ }", "config.js:3: concurrency: this is JavaScript code"),
        ("name: 'a' admin: {}", "config.js:3: a comma is missing before admin"),
        ("name: 'a', name: 'b'", "config.js:3: name: is written twice, first on line 3"),
        ("admn: {}", 'config.js:3: admn: unknown key; did you mean "admin"?'),
    ],
)
def test_code_is_named_with_line_path_and_the_python_way(problems: Problems, member: str, problem: str) -> None:
    found = problems(f"module.exports = {{\n databases: {{ a: {{}} }},\n {member}\n}};", "config.js")
    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "const x = require('x');\n{}",
            "config.js:1: JavaScript packages cannot be loaded here; name a function of an installed Python",
        ),
        ("const { a, b } = require('x')\n{}", "config.js:1: JavaScript packages cannot be loaded here"),
        ("import x from 'x'\n{}", "config.js:1: JavaScript packages cannot be loaded here"),
        ("function f(x)\n{ return {} }\n{}", "config.js:1: JavaScript functions do not run here"),
        ("const f = (x) =>\n x;\n{}", "config.js:1: JavaScript functions do not run here"),
        ("module.exports = () => ({});", "config.js:1: JavaScript functions do not run here"),
        ("module.exports = config;", "config.js:1: config is a JavaScript variable"),
        ("{}\nmodule.exports.x = 1", "config.js:2: there can be only one object; put everything into it"),
        ("{}\nfunction f() {}", "config.js:2: JavaScript functions do not run here"),
        ("{}}", "config.js:1: } closes nothing"),
        ("{\na: {", "config.js:2: the { on this line is not closed"),
        ("{a: [1\n}", "config.js:2: } does not close the [ on line 1"),
        ("{a: 'x\n}", "config.js:1: the text that starts with ' on this line is not closed"),
        ("{a: `x\n}", "config.js:1: the text that starts with ` on this line is not closed"),
        ("{}\n/* x", "config.js:2: the comment that begins with /* on this line is not closed"),
        (
            "{\n a: 1,,}",
            "config.js:2: cannot be read at ,: a comma, quote or bracket is missing or superfluous (column 7)",
        ),
        ("{a: [1,}}", "config.js:1: } does not close the [ on line 1"),
        ("{a: /x}", "config.js:1: the text that starts with / on this line is not closed"),
        ("{a = 1}", "config.js:1: cannot be read at ="),
        ("{a: }", "config.js:1: cannot be read at }"),
        ("{'hunter2' 'hunter2'}", "config.js:1: cannot be read at this value"),
        ("", "config.js: is empty; run `mess init` to create one"),
        ("foo()", "config.js: contains no config; write module.exports = {…}"),
        ("// nothing", "config.js: contains no config; write module.exports = {…}"),
        ("[1]", "config.js:1: must be a mapping at the top level"),
        ("{a:" * 100 + "1" + "}" * 100, "config.js:1: nested more than 64 levels deep"),
    ],
)
def test_what_is_no_object_is_named_with_its_line(problems: Problems, text: str, problem: str) -> None:
    found = problems(text, "config.js")
    assert any(line.startswith(problem) for line in found), found


def test_functions_are_reported_up_to_where_the_file_cannot_be_read(problems: Problems) -> None:
    found = problems("{\nplugins: { a: () => 1 },\nb: [1,,\n}", "config.js")
    assert [line.split(": ")[:2] for line in found] == [
        ["config.js:2", "plugins.a"],
        ["config.js:3", "cannot be read at ,"],
    ]


def test_no_text_of_the_code_is_shown(problems: Problems) -> None:
    texts = [
        "`mongodb://u:hunter2@${h}`",
        "'mongodb://u:hunter2@' + h",
        "(x) => 'hunter2'",
        "process.env.H || 'hunter2'",
    ]
    for text in texts:
        assert "hunter2" not in str(
            problems(f"{{ databases: {{ a: {{}} }}, mongodb: {{ url: {text} }} }}", "config.js")
        )


def test_lines_are_counted_with_any_line_ending(problems: Problems) -> None:
    for ending in ("\n", "\r\n", "\r"):
        Path("config.js").write_bytes(f"{{{ending} databases: {{a: {{}}}},{ending} nme: 1 }}".encode())
        assert problems(Path("config.js").read_bytes().decode(), "config.js")[0].startswith(
            'config.js:3: nme: unknown key; did you mean "name"?'
        )


def test_a_usual_file_loads_fast(loads: Load) -> None:
    text = "module.exports = {\n" + "".join(
        f"  // comment {n}\n  db{n}: {{ collections: {{ a: {{}}, b: {{ pipeline: ['log'] }} }} }},\n" for n in range(20)
    )
    text = text.replace("{\n", "{ pipeline: ['log'], databases: {\n", 1) + "}};"
    loads(text, "config.js")  # once, to import what it takes
    began = time.perf_counter()
    load("config.js", environ={})
    assert time.perf_counter() - began < 0.3
