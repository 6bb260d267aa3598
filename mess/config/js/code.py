"""Suggests the Python equivalent of JavaScript code in a config file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mess.config.document import Path
from mess.config.js.tokens import Token

_ENVIRONMENT = re.compile(r"""process\s*\.\s*env\s*(?:\.\s*(\w+)|\[\s*["'](\w+)["']\s*\])""")
_REQUIRE = re.compile(r"\b(?:require|import)\s*\(|^import\b|^(?:const|let|var)\b[^;]*=\s*require\b")
_FUNCTION = re.compile(r"=>|^(?:async\s+)?function\b|^class\b|^(?:const|let|var)\b[^=]*=\s*(?:async\s+)?function\b")
_METHOD = re.compile(r"""^(?:async\s+|get\s+|set\s+|\*\s*)*(?:["'][^"']*["']|[\w$]+)\s*\([^()]*\)\s*\{""")
_HOOKS = ("changeHook", "change_hook")


def suggestion(tokens: Sequence[Token], path: Path = ()) -> str:
    """Describe the code at a path and how to replace it. Never quotes the code, which may contain a secret."""
    code = " ".join(token.text for token in tokens if token.kind not in ("string", "regex"))
    if is_function(tokens):
        return f"JavaScript functions do not run here; write it in Python: {_python_way(path)}"
    # Names in ["…"] are strings.
    found = _ENVIRONMENT.search(" ".join(token.text for token in tokens))
    if found is not None:
        name = found[1] or found[2]
        default = ":-default" if "||" in code.replace(" ", "") or "??" in code.replace(" ", "") else ""
        around = ", with the text around it" if len(tokens) == 1 or "+" in code else ""
        return f'process.env is not known here; write "${{{name}{default}}}"{around}'
    if _REQUIRE.search(code):
        return (
            "JavaScript packages cannot be loaded here; name a function of an installed Python package (the "
            f"container installs those in MESS_PLUGINS), or write one: {_python_way(path)}"
        )
    if any(token.kind == "code" for token in tokens):
        return 'a template with ${…} is JavaScript; write the text itself, and environment variables as "${NAME}"'
    if tokens[0].text == "...":
        return "... is JavaScript; write out what it stands for"
    if len(tokens) == 1 and tokens[0].kind == "name":
        return f"{tokens[0].text} is a JavaScript variable; write its value, and text in quotes"
    return "this is JavaScript code, not data; write the value that it gives"


def is_function(tokens: Sequence[Token]) -> bool:
    """Whether the code is a function in any style, or contains an arrow function."""
    code = " ".join(token.text for token in tokens if token.kind not in ("regex", "template", "code"))
    quoted = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", '""', code, flags=re.DOTALL)
    return bool(_FUNCTION.search(quoted) or _METHOD.match(quoted))


def _python_way(path: Path) -> str:
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    name, parameters, written = "enrich", "input, config, context", 'name it as plugins: {enrich: "my_plugins:enrich"}'
    if key in _HOOKS:
        name, parameters, written = "change_hook", "item, context", f'write {key}: "my_plugins:change_hook" here'
    elif len(path) == 2 and path[0] == "plugins":
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|\W+", "_", key).strip("_").lower()
        name = snake if snake.isidentifier() else name
        written = f'write {key}: "my_plugins:{name}" here'
    result = "..." if key in _HOOKS else "return input"
    return f"put `def {name}({parameters}): {result}` into my_plugins.py beside this file, and {written}"
