"""What to say of topics that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence


def missing_topics(names: Sequence[str]) -> tuple[str, str]:
    """That these topics are missing, and the remedy."""
    several = len(names) > 1
    they = "them" if several else "it"
    return (
        f"topic{'s' if several else ''} {', '.join(names)} {'do' if several else 'does'} not exist, or this user may "
        f"not see {they}",
        f"create {they}, or correct source.kafka.topics",
    )
