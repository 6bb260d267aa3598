"""Texts that a careless function takes for ever over: how each begins, and what it goes on with again and again."""

from __future__ import annotations

Text = str | tuple[str, str]


def _after(beginning: str, *units: str) -> list[Text]:
    return [(beginning, unit) for unit in units]


PLAIN: list[Text] = ["lorem ipsum ", "é☃"]
LINKS: list[Text] = [
    *_after("https://x/", "?password", "0123456789abcdef"),
    "://",
    "mongodb://",
    "://u:p",
    "://u:p@",
    "a@",
]
ESCAPES: list[Text] = ["%41", "\\u0061", "\\x61", "&#x61;", "&", "&amp;", "\0", "%25", "\\", "&amp;amp;#x61;"]
ESCAPES += ["%c3", "\\ud83d", "%", "\\055", "\\303", "%u0061", "\\u{61}", "&#97", "\n", "\r\n ", "s3\ncret-word"]
SECRETS: list[Text] = ["s3cret", "a", "abc", "s3cret-word", "p%C3%A4$$ ", "00000-tenant-secre"]
JSON: list[Text] = ['"', "\0", "\\", "\U000e0001"]
TOKENS: list[Text] = ["[", '{"a":', "9", "a=b&", '"\\', "&", "%"]
VALUES: list[Text] = [
    '{"$oid":"5"},',
    '{"$ref":"a","$id":{"$numberLong":"5"}},',
    '"\\ud800",',
    "NaN,",
    "{},[],",
    "[",
    '{"a":',
]
PLACES: list[Text] = ["{{", "}}", "{", "}", "{a", "{a}", "{a|", "{a.b.c}", "{}", "{a|{"]
URLS: list[Text] = [
    "http://",
    *_after("http://", "a", "a.", "@", ":", "é", ":/?#@"),
    *_after("http://h/placeholder", "x"),
]
URLS += _after("http://h/", "%", "../", "{a}/", "{a", "?a={a}&")
BROKERS: list[Text] = [
    "redis://",
    *_after("redis://", "a", "a,", "@", ":", "é", "/?#@"),
    ("kafka://", "["),
    ("mqtt://h?", "a=b&"),
]
CONFIG: list[Text] = [*LINKS, "; a=b", "%41", ":", "@", "?a=b", "&", "{a}/", "{", "a,b:c"]
HEADERS: list[Text] = ["a; ", " ", "=", "Basic ", "Zm9v"]
VARIABLES: list[Text] = [
    "${A}",
    "${E:-x}",
    "$${",
    "}",
    "${A:-${B}}",
    "$",
    "x",
    "{",
    "${B}",
    "${file:/x}",
    "${",
    "${A:-",
]
VARIABLES += [("${A", "x"), *_after("${A:-", "x", "${B}")]
YAML: list[Text] = [
    "a: b\n",
    "- a\n",
    "[",
    "- ",
    "{",
    "a: ",
    "&a ",
    "*a ",
    '"',
    "? ",
    "!a ",
    "\t",
    "#",
    "%",
    "---\n",
    "\n",
    "a:\n- ",
]
YAML += _after("a: [", "b, ", "{", "&a b, ") + _after("a: {", "b, ", "b: c, ") + _after("a: ", "x ", "|\n ", "\\x41")
YAML += [("a: |\n", " x\n"), ("<<: ", "["), ("a: &a {}\nb: [", "*a, "), ('"', "\\x41"), ("a: &a [", "a, "), "a: &a\n"]
JS: list[Text] = [
    "/",
    "/[",
    "[1 ",
    "1 ",
    "[",
    "{",
    "{a:",
    '"',
    "'a",
    "`",
    "`${",
    "`a",
    "(",
    ")",
    "a ",
    "a:",
    "//",
    "/*",
    "/**/",
    "=>",
]
JS += [
    "function ",
    "\\",
    "..",
    "0x",
    "1e",
    "const a = ",
    "require(",
    "process.env.",
    "process ",
    "* ",
    "async ",
    "get ",
]
JS += _after("module.exports = {a: [", "1 ", "/[", "1, ", "{}, ", '"b" ', "a => b, ", "`a` ", "/a/ ", "-", "(", "\n")
JS += _after("module.exports = {", "a ", "a:1,", "a(){},", "[a]", "...a,", "a:", '"', "{", "a:1 ", "a:{},")
JS += _after("module.exports = {a:", "x ", "`${`", '"b"+', "(", "a.", "1;", "/*") + _after("({a:", "(", "{")
DRIVER: list[Text] = [
    "not authorized on ",
    "not authorized on x to execute command { a: ",
    ", Topology",
    "command { a:",
]
DRIVER += [", Timeout:", " to execute command {", ", full error:", ("not authorized on ", "x")]
STREAM: list[Text] = ['_data: "', ('_data: "', "A"), '_data: "A']
NATS: list[Text] = ["permissions violation for ", 'permissions violation for publish to "']
TOPICS: list[Text] = ["a.", ".", "a", "a b", "..", "\x01", "é"]
DATES: list[Text] = ["9", " ", "Mon, ", "(", "Mon, 01 Jan 2020 00:00:", "\\", '"', "٣", "-", ":"]
NUMBERS: list[Text] = ["1", " ", "1.", ("1", " "), ("1.", "1")]
