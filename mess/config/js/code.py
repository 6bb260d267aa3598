"""Suggests the Python equivalent of JavaScript code in a config file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mess.config.document import Path
from mess.config.js.tokens import Token

_ENVIRONMENT = re.compile(
    r"""process\s*\.\s*env\s*(?:\.\s*(\w+)|\[\s*["'](\w+)["']\s*\])[\s)]*(\|\s*\||\?\s*\?)?""",
)
_REQUIRE = re.compile(r"\b(?:require|import) \(|^import\b")
_FUNCTION = re.compile(r'=>|\bfunction\b(?! :)|^class\b|^(?:(?:async|get|set|\*) )*(?:""|[\w$]+) \(.*\) \{')
_HOOKS = ("changeHook", "change_hook")


def suggestion(code: Sequence[Token], path: Path = ()) -> str:
    """Describe the code at a path and how to replace it. Never quotes the code, which may contain a secret."""
    if is_function(code):
        return f"JavaScript functions do not run here; write it in Python: {_python_way(path)}"
    shape = _shape(code)
    # Names in ["…"] are strings, and templates have code in them.
    if found := _ENVIRONMENT.search(" ".join(token.text for token in code)):
        variable = f"{found[1] or found[2]}{':-default' if found[3] else ''}"
        around = ", with the text around it" if len(code) == 1 or "+" in shape else ""
        return f'process.env is not known here; write "${{{variable}}}"{around}'
    if _REQUIRE.search(shape):
        return (
            "JavaScript packages cannot be loaded here; name a function of an installed Python package (the "
            f"container installs those in MESS_PLUGINS), or write one: {_python_way(path)}"
        )
    if any(token.kind == "template" for token in code):
        return 'a template with ${…} is JavaScript; write the text itself, and environment variables as "${NAME}"'
    if code[0].text == "...":
        return "... is JavaScript; write out what it stands for"
    if len(code) == 1 and code[0].kind == "name":
        return f"{code[0].text} is a JavaScript variable; write its value, and text in quotes"
    return "this is JavaScript code, not data; write the value that it gives"


def is_function(code: Sequence[Token]) -> bool:
    """Whether the code is a function in any style, or contains one."""
    return _FUNCTION.search(_shape(code)) is not None


def _shape(code: Sequence[Token]) -> str:
    """The code without what is in quotes."""
    return " ".join(token.text if token.kind in ("name", "number", "mark") else '""' for token in code)


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
