"""Makes text from outside safe to print."""

from __future__ import annotations

import json
import re

# Control characters, which can control terminals, and invisible characters that reorder text
# (https://www.unicode.org/reports/tr36/, 3.6) or break lines. Joiners stay, because words contain them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str, *, lines: bool = False) -> str:
    r"""Escape control characters, for example as `\x1b`; with `lines`, keep line breaks and tabs."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(lambda found: found[0] if lines and found[0] in "\n\t" else _escaped(found[0]), text)


def printable_json(text: str) -> str:
    """Escape control characters in JSON strings with JSON's own escapes, so that the meaning stays the same."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(lambda found: found[0] if found[0] in "\n\t\r" else _json_escaped(found[0]), text)


def _escaped(character: str) -> str:
    code = ord(character)
    return _NAMES.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _json_escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
