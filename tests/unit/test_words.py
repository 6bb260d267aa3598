"""One name for one thing: identifiers of the past do not come back."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OLD = {
    "key_hash": "ordering_key, or id_hash for the part of it that is a document's",
    "Stage": "StepRunner",
    "hungry": "wants_more",
    "sated": "full",
    "appetite": "backpressure",
    "knock": "probe",
    "knocks": "probe",
    "parked": "retried, waiting",
    "parking": "RetryQueue",
    "PARK": "RETRY",
    "Traveller": "LetterResults",
    "ReplayedLetter": "LetterResults",
    "passage": "StepRunner, for replays too",
    "Meters": "Observer",
    "StepMetrics": "StepObserver",
    "Excerpt": "BoundedSource",
    "unspoken": "redact",
    "mend": "fix, remedy",
    "mends": "fix, remedy",
}
"""Identifiers that are not to be used any more, and what to write instead."""


def test_no_file_uses_an_old_name() -> None:
    # Constants too, with or without an underscore before them.
    words = [*OLD, *(word.upper() for word in OLD if word.islower())]
    pattern = re.compile(r"\b_*(" + "|".join(words) + r")\b")
    found = [
        f"{path.relative_to(ROOT)}: {word}; write {OLD.get(word) or OLD[word.lower()]}"
        for folder in ("mess", "tests", "bench", "docs")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
        for word in sorted(set(pattern.findall(path.read_text())))
    ]
    assert not found, "\n".join(found)
