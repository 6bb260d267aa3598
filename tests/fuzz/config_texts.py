"""Texts of config files with something wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.config_options import SECRET, WEBHOOK_SECRET

ROOT = Path(__file__).parents[2]


def sources(*suffixes: str) -> list[bytes]:
    """The files that come with MESS, and one with every place for a secret, of these kinds."""
    files = [
        ROOT / "config/config.yml",
        ROOT / "mess/config/template.yml",
        *sorted((ROOT / "config/examples").iterdir()),
    ]
    texts = [file.read_text() for file in files if file.suffix in suffixes]
    texts += [text for suffix, text in _WITH_SECRETS.items() if suffix in suffixes]
    return [text.encode() for text in texts]


_FULL: dict[str, Any] = {
    "name": "mess",
    "mongodb": {"url": f"mongodb://relay:{SECRET}@h1:27017,h2/?replicaSet=rs0"},
    "state": {"url": f"mongodb://relay:{SECRET}@h3/", "retention": {"max_age": "30d"}},
    "start": "2026-01-31",
    "databases": {
        "shop": {"collections": {"orders": {"match": {"fullDocument.total": {"$gte": 100}}}, "c*": {"order": "none"}}},
        "tenant_*": {"full_document": "when_available", "changeHook": "my_plugins:change_hook"},
    },
    "plugins": {"enrich": "my_plugins:enrich"},
    "pipeline": [
        "log",
        {"name": "field-map", "config": {"fields": {"id": "documentKey._id", "t": {"template": "{db}"}}}},
        {
            "name": "http",
            "config": {
                "endpoint": f"https://user:{SECRET}@example.com/hooks/{SECRET}?token={SECRET}",
                "headers": {"X-Api-Key": SECRET, "Authorization": f"Bearer {SECRET}"},
                "sign": {"secret": [WEBHOOK_SECRET, WEBHOOK_SECRET]},
                "batch": {"max_events": 100, "max_bytes": "1MiB"},
            },
            "retry": {"first": "200ms", "cap": "5s"},
        },
        {
            "name": "http",
            "config": {
                "endpoint": "https://example.com/",
                "auth": {"basic": {"username": "u", "password": SECRET}},
                "client_certificate": {"certificate": "client.pem", "password": SECRET},
            },
        },
        {"name": "http", "config": {"endpoint": "https://example.com/", "auth": {"bearer": SECRET}}},
        {"name": "queue", "config": {"url": f"redis://:{SECRET}@localhost:6379/0", "target": "{db}"}},
        {"name": "enrich", "config": {"anything": [1, {"x": None}]}},
    ],
}


def as_javascript(tree: Any) -> str:
    """A tree as the Node.js tool's users write it: keys without quotes where they may be, comments, trailing commas."""
    if isinstance(tree, dict):
        members = [
            f"{key if key.isidentifier() else _quoted(key)}: {as_javascript(value)}" for key, value in tree.items()
        ]
        return "{ // a comment\n" + "".join(f"{member},\n" for member in members) + "}"
    if isinstance(tree, list):
        return "[" + "".join(f"{as_javascript(value)}, " for value in tree) + "]"
    return _quoted(tree) if isinstance(tree, str) else json.dumps(tree)


def _quoted(text: str) -> str:
    return "'" + json.dumps(text)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


def _yaml(tree: Any, indent: str = "") -> str:
    """Block style, as people write it."""
    if isinstance(tree, dict) and tree:
        return "".join(f"\n{indent}{json.dumps(key)}:{_yaml(value, indent + '  ')}" for key, value in tree.items())
    if isinstance(tree, list) and tree:
        return "".join(f"\n{indent}-{_yaml(value, indent + '  ')}" for value in tree)
    return f" {json.dumps(tree)}"


def _bare(text: str) -> str:
    """YAML without quotes where none are needed, in which a change of one character has more to break."""
    return text.replace('"', "")


_WITH_SECRETS = {
    ".yml": _bare(_yaml({key: value for key, value in _FULL.items() if key != "plugins"})),
    ".yaml": _yaml(_FULL),
    ".js": "module.exports = " + as_javascript(_FULL) + ";\n",
    ".json": json.dumps(_FULL, indent=2),
}

_BITS = [
    *(b"\t", b" ", b"\n", b"\r\n", b"\r", b":", b": ", b"- ", b"#", b"'", b'"', b"`"),
    *(b"{", b"}", b"[", b"]", b",", b"?"),
    *(b"&a ", b"*a", b"<<: *a", b"<<: [*a, *a]", b"!!int ", b"!!binary ", b"!!set ", b"!x ", b"%YAML 9\n", b"---\n"),
    *(b"...\n", b"|\n", b">\n", b"~", b"\xff", b"\xfe\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"\x1b"),
    *(b"\xe2\x80\xa8", b"\x85", b"\\", b"\\u", b"\\x", b"//", b"/*", b"*/", b"=>", b"() => {}", b"...x", b"${", b"}"),
    *(b"function f() {}", b"module.exports = ", b"[" * 70, b"{a: " * 70, b"- " * 70, b"9" * 400, b"@", b"%", b"\\0"),
]


@st.composite
def mutated(draw: st.DrawFn, texts: list[bytes]) -> bytes:
    """One of the texts with something deleted, put in, repeated or exchanged in a few places."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        lines = text.split(b"\n")
        at = draw(st.integers(0, len(text)))
        one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.sampled_from(["bit", "bit", "byte", "cut", "gap", "swap", "repeat", "drop", "indent", "end"])):
            case "bit":
                text = text[:at] + draw(st.sampled_from(_BITS)) + text[at:]
            case "byte":
                text = text[:at] + bytes([draw(st.integers(0, 255))]) + text[at + 1 :]
            case "cut":
                text = text[:at]
            case "gap":
                text = text[:at] + text[at + draw(st.integers(1, 12)) :]
            case "swap":
                lines[one], lines[other] = lines[other], lines[one]
                text = b"\n".join(lines)
            case "repeat":
                text = b"\n".join([*lines[:one], lines[other], *lines[one:]])
            case "drop":
                text = b"\n".join(lines[:one] + lines[one + 1 :])
            case "indent":
                lines[one] = draw(st.sampled_from([b" ", b"  ", b"\t"])) + lines[one]
                text = b"\n".join(lines)
            case "end":
                text = text + draw(st.sampled_from(_BITS))
    return text
