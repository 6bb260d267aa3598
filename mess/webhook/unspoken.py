"""What a relay sends to an endpoint and must not show, in whatever the endpoint says of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus


class Unspoken:
    """Takes secrets out of texts: as they are, and escaped for a URL or for JSON."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {
            form
            for secret in secrets
            for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
        }
        # The longest first, since one may be a part of another.
        self._forms = sorted(forms - {""}, key=len, reverse=True)

    def hidden_in(self, text: str) -> str:
        """The text with `***` in the place of each."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text
