"""What the options of a config may hold, rightly and wrongly, as far as a schema cannot say it; with a secret in every
place for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

SECRET = "xyzzy"
"""Stands in each secret of a generated config, and nowhere else."""
VARIABLE_SECRET = "plugh"
"""Stands in the values of variables, which no error shows, wherever they are."""
WEBHOOK_SECRET = "whsec_" + f"{SECRET}Abc" * 5
VARIABLES = {
    "A": "1",
    "EMPTY": "",
    "URL": f"http://u:{VARIABLE_SECRET}@h/",
    "TOKEN": f"token-{VARIABLE_SECRET}",
    "BYTES": "\udce9",
}
"""The environment of the generated configs."""

good_references = st.sampled_from(["${A}", "${EMPTY:-x}", "${NONE:-7}", "${NONE:-${A}}", "$${A}", "x${A}y"])
references = good_references | st.sampled_from(
    [
        *("${NONE}", "${NONE:-${NEITHER}}", "${", "${A", "${A:-", "${}", "${A B}", "${A:+b}", "${file:}", "${URL}"),
        *("${file:nowhere}", "${file:\0}", "${TOKEN}", "${BYTES}", "${file:x"),
        *("${1}", "}${A}", "$A", "${A}${", "${" * 9, "${EMPTY}"),
    ]
)
odd_texts = st.one_of(
    st.sampled_from(
        ["", " ", "\t", "~", "null", "yes", "off", "0x10", "1_000", "1e3", "-1", "NaN", "*", "[", "{", "?"]
    ),
    st.sampled_from(["\0", "\x1b[31m", "\u2028", "\ufeff", "\U0001f600", "é", "a\nb", "{x", "x}", "{}", "{a.b}", "{{"]),
    st.sampled_from(["a" * 300, "9" * 400, "9" * 400 + "s", "a." * 200, "[z-a]", "tenant_*", "[!", "[[:alpha:]]"]),
    st.text(max_size=6),
)
_odd_numbers = st.one_of(
    st.integers(-5, 70_000),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**300, 10**400, -(2**63) - 1, 0.0, -0.0, 1e308, 5e-324]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.floats(),
)
_passwords = st.sampled_from([SECRET, f"p%40ss-{SECRET}", f"{SECRET}é", f"12:{SECRET}"])
_odd_passwords = st.sampled_from(
    [*(before + SECRET for before in ("p@ss-", "p/", "1/", "?", "%zz", "[", "a ")), f"{SECRET}#"]
)
_hosts = st.sampled_from(["h", "h:1", "[::1]", "é.example", "127.0.0.1:65535"])
_odd_hosts = st.sampled_from(["h:99999", "h:0", "h:x", "[::1", "a..b", "h,i:2", "", " ", "@", "-", "h:", "*"])


@st.composite
def _urls(draw: st.DrawFn, schemes: str, *, wrong: bool = False) -> str:
    scheme = draw(st.sampled_from(schemes.split()))
    user = draw(st.sampled_from(["", "u:{}@", ":{}@", "u%40:{}@"]))
    user = user.replace("{}", draw(_passwords | _odd_passwords if wrong else _passwords))
    host = draw(_hosts | _odd_hosts if wrong else _hosts)
    path = draw(st.sampled_from(["", "/", f"/hook/{SECRET}", *(["/é", "/ x", "/a%zz"] if wrong else [])]))
    query = draw(
        st.sampled_from(["", f"?token={SECRET}", f"?password={SECRET}", *(["?", "#x", "?a"] if wrong else [])])
    )
    return f"{scheme}{user}{host}{path}{query}"


_BSON_TYPES = st.sampled_from(
    [
        *("$oid", "$date", "$numberLong", "$numberInt", "$numberDouble", "$numberDecimal", "$binary", "$uuid", "$code"),
        *("$scope", "$regularExpression", "$regex", "$options", "$timestamp", "$ref", "$id", "$db", "$minKey", "$type"),
        *("$maxKey", "$undefined", "$symbol", "$dbPointer", "base64", "subType", "pattern", "options", "t", "i"),
    ]
)
_query_keys = st.sampled_from(["fullDocument.total", "operationType", "$and", "$or", "$gte", "$in", "$not", "$ne", "a"])
_query_values = st.one_of(
    _odd_numbers,
    st.sampled_from(["x", "2026-01-01T00:00:00Z", "65a000000000000000000001", "1", "AP8=", "04", "im", "zz", "\0", ""]),
    st.booleans() | st.none(),
    references,
)
queries = st.recursive(
    _query_values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_BSON_TYPES | _query_keys, inner, max_size=3),
    max_leaves=6,
)
"""What may stand under `match`: MongoDB's operators and Extended JSON, rightly and wrongly put together."""

odd = st.one_of(
    st.none(),
    st.booleans(),
    _odd_numbers,
    odd_texts,
    references,
    st.lists(odd_texts | _odd_numbers, max_size=2),
    st.dictionaries(odd_texts, _odd_numbers | odd_texts, max_size=2),
)
"""What nobody would write on purpose."""


class Option(NamedTuple):
    """What an option may hold, rightly and wrongly."""

    right: st.SearchStrategy[Any]
    wrong: st.SearchStrategy[Any]


def _choice(*right: Any, wrong: Sequence[Any] = ("",)) -> Option:
    return Option(st.sampled_from(right), st.sampled_from(wrong) | references)


def _url(right: str, wrong: str) -> Option:
    return Option(_urls(right), _urls(f"{right} {wrong}", wrong=True))


_SECRETS = Option(
    _passwords | st.sampled_from(["${TOKEN}", f"Bearer {SECRET}", f"{SECRET} {SECRET}"]),
    st.one_of(
        _odd_passwords,
        st.sampled_from([f"whsec_{SECRET}", f"whsec_{SECRET}é", f"{SECRET}\n", f"\0{SECRET}", "${file:" + SECRET]),
        st.just({"x": SECRET}) | st.just([SECRET]),
    ),
)
DURATIONS = _choice(
    "250ms", "10s", "5m", "2h", "30d", "1.5s", " 7 s ", 1.5, wrong=["10", "s", "-1s", "\u0661s", "9999999d", -1]
)
SIZES = _choice("64MiB", "1MB", "512B", "1", 1, "1.5KiB", wrong=["0", 0, "0.1B", "-1", "1TB", "9" * 60, 1.5, True])
STATUSES = _choice(200, "201", "5xx", "4XX", wrong=[99, 600, "0xx", 200.0, True, "*"])
NAMES = _choice(
    "shop", "orders", "tenant_*", "x y", "é", "on", "123", "[ab]?", wrong=["mess", "a.b", "*", "system.x", "[z-a]"]
)
TEMPLATES = _choice(
    "{db}.{collection}", "{documentKey._id}", "{$id}", "{{x}}", "x%s", wrong=["{", "}", "{}", "{a..b}", "{.}", "{%}"]
)
_PATHS = _choice("documentKey._id", "a", "a.0.b", "$id", "operationType", "²", wrong=[".", "a..b", "a."])
_FUNCTIONS = _choice(
    *("my_plugins:enrich", "json:dumps"),
    wrong=[
        *("my_plugins:nothing", "my_plugins", ":", "a:b:c", "no_such:f", "broken:f", "exits:f", "my_plugins:NUMBER"),
        *("my_plugins:change_hook", "my_plugins:enrich.x", "é:é", "a" * 300 + ":f", "x." * 300 + "y:f", "json:dumps"),
    ],
)
_HOOKS = Option(st.just("my_plugins:change_hook"), _FUNCTIONS.wrong)
STEPS = _choice("log", "http", "queue", "filter", "field-map", "enrich", wrong=["shttp", "http ", "Log", ""])
_HEADERS = Option(
    st.dictionaries(st.sampled_from(["Authorization", "X-Key"]), _SECRETS.right, max_size=2),
    st.dictionaries(st.sampled_from(["X-é", "", "a b", "X:Y"]), _SECRETS.right | _SECRETS.wrong, max_size=2),
)
_OPERATIONS = st.sampled_from(["insert", "update", "replace", "delete", "drop", "rename", "dropDatabase"])
_MATCHES = Option(st.dictionaries(_query_keys, queries, max_size=2), st.dictionaries(_query_keys, queries) | queries)
BY_NAME: dict[str, Option] = {
    "endpoint": _url("http:// https://", "ftp:// // x http:"),
    "secret": Option(st.just(WEBHOOK_SECRET) | st.just([WEBHOOK_SECRET]), _SECRETS.right | _SECRETS.wrong),
    "bearer": _SECRETS,
    "password": _SECRETS,
    "username": _choice("u", "é", wrong=["", "u:v"]),
    "headers": _HEADERS,
    "match": _MATCHES,
    "changeHook": _HOOKS,
    "change_hook": _HOOKS,
    "plugins": Option(
        st.just({"enrich": "my_plugins:enrich"}),
        st.dictionaries(STEPS.right | STEPS.wrong, _FUNCTIONS.wrong, max_size=2),
    ),
    "start": _choice(
        *("now", "oldest", "2026-01-31", "2026-01-31T12:00:00+02:00"),
        wrong=["0001-01-01T00:00:00+14:00", "9999", "soon"],
    ),
    "host": _choice("127.0.0.1", "::", wrong=["[", " "]),
    "target": TEMPLATES,
    "key": TEMPLATES,
    "template": TEMPLATES,
    "path": _PATHS,
    "ca": _choice("authority.pem", wrong=["my_plugins.py", "\0", "a" * 300, "."]),
    "certificate": _choice("client.pem", wrong=["my_plugins.py", ""]),
    "type_prefix": _choice("com.example", "", wrong=["é", "a b"]),
    "source": _choice("/mongodb/{db}/{collection}", "https://h/{db}", wrong=["a b", "{", "%zz"]),
    "operations": Option(st.lists(_OPERATIONS, min_size=1, max_size=3), st.lists(st.just("invalidate"), max_size=1)),
    "name": _choice("relay", "A.b_c-1", wrong=["", "-x", "a b", "x" * 101, "é"]),
    "database": _choice("state", "kept", wrong=["", "a.b", "admin", "\0"]),
}
URLS = {
    "broker": _url("redis:// rediss:// kafka:// amqp:// amqps:// nats:// tls:// mqtt:// mqtts://", "kafkas:// x:// //"),
    "sqlite": _url("sqlite:/// mongodb:// mongodb+srv://", "sqlite:// http://"),
    "": _url("mongodb:// mongodb+srv://", "http:// //"),
}
SETTINGS = Option(
    st.dictionaries(st.sampled_from(["linger.ms"]), st.integers(0, 9), max_size=1),
    st.dictionaries(
        st.sampled_from(["sasl.password", "ssl.key.pem", "ssl.key.password", "acks", "client.id", "no.such", ""]),
        _SECRETS.right | _odd_numbers | st.booleans(),
        max_size=2,
    ),
)
